"""Our own certificate: one context, reloaded in place so that open listeners show the new one."""

from __future__ import annotations

import ssl
from pathlib import Path

from stormsail.config import Settings
from stormsail.domain.errors import ConfigError


def make_context(settings: Settings, base: Path) -> ssl.SSLContext | None:
    """The server's context, or None where no certificate is configured. Raises ConfigError."""
    if settings.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_certificate(context, settings, base)
    return context


def load_certificate(context: ssl.SSLContext, settings: Settings, base: Path) -> None:
    """Reads certificate and key anew. Raises ConfigError and then keeps the old ones."""
    if settings.tls is None:
        return
    certificate, key = base / settings.tls.certificate, base / settings.tls.key
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The certificate {certificate} and its key cannot be used: {error}") from error
