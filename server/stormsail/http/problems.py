"""Errors as the API tells them (RFC 9457).

In: any exception that a route raised. Out: `application/problem+json` with the code and sentence of our own tree;
what is not in it is answered with 500 and logged, and says nothing of our insides.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from stormsail.domain.errors import StormsailError, TooManyTries
from stormsail.wire import PROBLEM_TYPE, Mistake, Problem

log = structlog.get_logger()

SENTENCES = {
    400: ("bad_request", "The request cannot be understood"),
    401: ("not_signed_in", "Please sign in"),
    403: ("not_allowed", "This is not allowed"),
    404: ("not_found", "There is nothing at this path"),
    405: ("method_not_allowed", "This path does not know that method"),
    413: ("request_too_large", "The request is too large"),
    415: ("unsupported_media_type", "The API takes JSON"),
}
INTERNAL = "Something went wrong here; it is in the gateway's log"


def on_stormsail_error(request: Request[Any, Any, Any], error: StormsailError) -> Response[Problem]:
    """An error of our own tree."""
    headers: dict[str, str] = {}
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyTries):
        headers["Retry-After"] = str(error.retry_after_s)
    if error.http_status >= 500:
        log.warning("request_failed", path=_path(request), code=error.code, why=error.sentence)
    return _answer(error.http_status, error.code, error.sentence, headers=headers)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """What the framework refuses: unknown paths, malformed bodies, values out of range."""
    if error.status_code >= 500:
        return on_unknown_error(request, error)
    code, sentence = SENTENCES.get(error.status_code, ("bad_request", error.detail))
    mistakes: list[Mistake] = []
    if isinstance(error, ValidationException):
        mistakes = _mistakes(error.extra)
        sentence = "; ".join(f"{mistake.key}: {mistake.message}" for mistake in mistakes) or sentence
    elif error.status_code == 400:
        sentence = error.detail
    return _answer(error.status_code, code, sentence, mistakes, dict(error.headers or {}))


def on_recursion(request: Request[Any, Any, Any], error: RecursionError) -> Response[Problem]:
    """JSON nested as deep as no honest client writes it; any other recursion is a fault of ours."""
    if "deserializing" in str(error):
        return _answer(400, "bad_request", "The JSON is nested too deeply")
    return on_unknown_error(request, error)


def on_unknown_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A fault of ours."""
    log.error("request_failed_unexpectedly", path=_path(request), exc_info=error)
    return _answer(500, "internal_error", INTERNAL)


def _answer(
    status: int, code: str, sentence: str, mistakes: list[Mistake] | None = None, headers: dict[str, str] | None = None
) -> Response[Problem]:
    title = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Error"
    problem = Problem(title=title, status=status, detail=sentence, code=code, errors=mistakes or [])
    return Response(problem, status_code=status, media_type=PROBLEM_TYPE, headers=headers or {})


def _mistakes(extra: object) -> list[Mistake]:
    if not isinstance(extra, list):
        return []
    found = []
    for item in extra:
        if isinstance(item, dict):
            key, message = str(item.get("key", "")), str(item.get("message", ""))
            missing = message == f"'{key}'"
            found.append(Mistake(key="body" if key == "data" else key, message="is missing" if missing else message))
    return found


def _path(request: Request[Any, Any, Any]) -> str:
    return str(request.scope.get("path_template", "")) or "unknown"
