"""An error as the API tells it (RFC 9457): `code` is stable and for programs, `detail` is a sentence for people."""

from __future__ import annotations

from msgspec import field

from .base import Answer

PROBLEM_TYPE = "application/problem+json"


class Mistake(Answer, frozen=True, kw_only=True):
    """One thing that is wrong with a request: where, and what."""

    key: str
    message: str


class Problem(Answer, frozen=True, kw_only=True):
    """The body of every answer that is not a success. `type` says no more than the HTTP status does."""

    title: str
    status: int
    detail: str
    code: str
    type: str = "about:blank"
    errors: list[Mistake] = field(default_factory=list)
