"""What stands in a path: addresses may hold a slash, which arrives as `%2F` (see `entrance`)."""

from __future__ import annotations

from .entrance import SLASH


def address_in(segment: str) -> str:
    """The address in a path segment."""
    return segment.replace(SLASH, "/")
