"""Stormsail, a self-hosted email continuity gateway. The parts and their order are in server/docs/overview.md."""

__version__ = "0.1.0"
