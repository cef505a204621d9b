"""The line to the running gateway: HTTP over its control socket.

In: a method, a path, a body. Out: the decoded answer. Fails with GatewayAbsent where nothing answers, Refused with
the gateway's own sentence where it says no.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from stormsail.domain.errors import StormsailError
from stormsail.wire import Asked, Problem

API = "http://gateway/api/v1"
SOCKET_NAME = "control.sock"
CONNECT_S = 5.0
Got = TypeVar("Got")


class GatewayAbsent(StormsailError):
    """Nothing answers at the control socket."""


class Refused(StormsailError):
    """The gateway said no."""


class Answered(msgspec.Struct, frozen=True):
    """An answer's bytes: JSON for printing, or decoded for showing."""

    content: bytes

    def read(self, kind: type[Got]) -> Got:
        """The answer as a struct."""
        return msgspec.json.decode(self.content, type=kind)


class Link:
    """Requests to one gateway."""

    def __init__(self, client: httpx.Client, path: Path) -> None:
        self._client = client
        self._path = path

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Answered:
        return self._ask("GET", path, query=query)

    def post(self, path: str, body: Asked | None = None) -> Answered:
        return self._ask("POST", path, body)

    def put(self, path: str, body: Asked) -> Answered:
        return self._ask("PUT", path, body)

    def _ask(
        self, method: str, path: str, body: Asked | None = None, query: Mapping[str, Any] | None = None
    ) -> Answered:
        content = None if body is None else msgspec.json.encode(body)
        chosen = {key: value for key, value in (query or {}).items() if value is not None}
        headers = {"content-type": "application/json"} if content is not None else {}
        try:
            answer = self._client.request(method, API + path, content=content, params=chosen, headers=headers)
        except httpx.HTTPError as error:
            raise GatewayAbsent(_why_absent(error, self._path)) from error
        if answer.is_success:
            return Answered(answer.content)
        raise Refused(_sentence(answer))


@contextmanager
def open_link(data_dir: Path) -> Iterator[Link]:
    """A line to the gateway that owns the data directory."""
    path = data_dir / SOCKET_NAME
    try:
        # A socket's own path may be too long for the kernel (108 octets); by way of its folder it never is.
        folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise GatewayAbsent(f"The gateway is not running: {data_dir}: {error.strerror}") from error
    try:
        transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{folder}/{SOCKET_NAME}")
        timeout = httpx.Timeout(None, connect=CONNECT_S)
        with httpx.Client(transport=transport, timeout=timeout, trust_env=False) as client:
            yield Link(client, path)
    finally:
        os.close(folder)


def _why_absent(error: BaseException, path: Path) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM):
        return f"You may not use {path}: be root, the gateway's own user, or a member of its operators' group"
    if isinstance(error, httpx.ConnectError):
        return f"The gateway is not running: nothing answers at {path}"
    return f"The gateway went away before it answered: {error or type(error).__name__}"


def _sentence(answer: httpx.Response) -> str:
    try:
        return msgspec.json.decode(answer.content, type=Problem).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"The gateway answered with status {answer.status_code}"
