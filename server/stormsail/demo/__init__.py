"""The demo: gateway, sandbox primary and people who write, on this machine, with the same code as in production.

`stormsail demo` is `run_demo`; `stormsail demo break KIND` and `stormsail demo heal` are the other two.
"""

from .breaking import break_primary, heal_primary
from .run import run_demo

__all__ = ["break_primary", "heal_primary", "run_demo"]
