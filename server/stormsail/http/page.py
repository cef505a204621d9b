"""The page at `/`: what this gateway is and where its API is. Self-contained, without script; the policy says so."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 38rem; margin: 12vh auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
code { font-size: 0.95em; }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stormsail at {hostname}</title>
<style>{style}</style>
</head>
<body>
<h1>Stormsail at {hostname}</h1>
<p>This is a mail continuity gateway. Mail passes through it, a readable copy stays, and when the organisation's own
mail system is down, people go on reading and writing here.</p>
<p>Programs find the API at <code>/api/v1</code>, its description at
<a href="/api/v1/openapi.json"><code>/api/v1/openapi.json</code></a>.</p>
<p>If you came here to read your mail: use the program your organisation told you about, with your address and the
password you were given for this gateway.</p>
</body>
</html>
"""
STYLE_HASH = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def make_page(hostname: str) -> str:
    """The page of this gateway."""
    return PAGE.format(hostname=escape(hostname), style=STYLE)
