"""atheris, where it is installed and wanted: it has to see the door's modules before anything else imports them.

Out: `guide`, the module atheris, or None: not installed, `--blind` asked for, or not running as a fuzzer at all.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

guide: Any = None
if sys.argv[0].endswith("smtp_dialogue.py") and "--blind" not in sys.argv and find_spec("atheris") is not None:
    guide = import_module("atheris")
    with guide.instrument_imports(include=["stormsail.smtpserver", "stormsail.domain", "aiosmtpd"]):
        import_module("stormsail.smtpserver")
