"""The line to the running gateway: HTTP over its control socket.

In: a method, a path, a body. Out: the decoded answer. Fails with GatewayAbsent where nothing answers, Refused with
the gateway's own sentence where it says no.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from stormsail.domain.errors import StormsailError
from stormsail.wire import Asked, Problem

API = "/api/v1"
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


class ControlConnection(HTTPConnection):
    """HTTP over a Unix socket. The standard library's, since a larger client takes a third of a second to import."""

    def __init__(self, path: str) -> None:
        super().__init__("gateway")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_S)
        self.sock.connect(self._path)
        self.sock.settimeout(None)


class Link:
    """Requests to one gateway."""

    def __init__(self, connection: ControlConnection) -> None:
        self._connection = connection

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
        chosen = {key: _in_a_query(value) for key, value in (query or {}).items() if value is not None}
        target = f"{API}{path}?{urlencode(chosen, errors='surrogateescape')}" if chosen else API + path
        headers = {"content-type": "application/json"} if content is not None else {}
        try:
            self._connection.request(method, target, content, headers)
            answer = self._connection.getresponse()
            said = answer.read()
        except (OSError, HTTPException) as error:
            raise GatewayAbsent(f"The gateway went away before it answered: {error or type(error).__name__}") from error
        finally:
            self._connection.close()  # the next request opens it anew: a person may have thought for long
        if 200 <= answer.status < 300:
            return Answered(said)
        raise Refused(_sentence(answer.status, said))


@contextmanager
def open_link(data_dir: Path) -> Iterator[Link]:
    """A line to the gateway that owns the data directory."""
    path = data_dir / SOCKET_NAME
    try:
        # A socket's own path may be too long for the kernel (108 octets); by way of its folder it never is.
        folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise GatewayAbsent(f"The gateway is not running: {data_dir}: {error.strerror}") from error
    connection = ControlConnection(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
    try:
        try:
            connection.connect()
        except OSError as error:
            raise GatewayAbsent(_why_absent(error, path)) from error
        yield Link(connection)
    finally:
        connection.close()
        os.close(folder)


def _why_absent(error: OSError, path: Path) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"You may not use {path}: be root, the gateway's own user, or a member of its operators' group"
    return f"The gateway is not running: nothing answers at {path}"


def _in_a_query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sentence(status: int, said: bytes) -> str:
    try:
        return msgspec.json.decode(said, type=Problem).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"The gateway answered with status {status}"
