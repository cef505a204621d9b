"""The HTTP server in the gateway's own event loop: TCP listeners and the control socket.

In: the ASGI app, addresses, a path. Out: bound addresses, and requests handed to the app. Ends within seconds: live
streams say `bye`, running requests may finish. Fails with StoreError where an address or the socket cannot be had.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
import uvicorn
from litestar.types import ASGIApp

from stormsail.config import Listener
from stormsail.domain.errors import StoreError

from .protocol import ControlProtocol, GuardedProtocol
from .stream_hub import StreamHub

log = structlog.get_logger()

CONTROL_SOCKET = "control.sock"
BACKLOG = 512
KEEP_ALIVE_S = 75
GRACE_S = 5
START_POLL_S = 0.01


class _OwnLoopServer(uvicorn.Server):
    """uvicorn as a part of a program that has its own signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """`start` opens everything, `stop` ends it."""

    def __init__(self, app: ASGIApp, hub: StreamHub) -> None:
        self._app = app
        self._hub = hub
        self._servers: list[tuple[_OwnLoopServer, asyncio.Task[None]]] = []
        self._control_path: Path | None = None
        self.addresses: list[Listener] = []
        """Where TCP is listened on, with the ports that were really given."""

    async def start(self, listeners: Sequence[Listener], data_dir: Path, operators_group: str) -> None:
        """Opens the listeners and the control socket in the data directory. Raises StoreError."""
        sockets = [bind_tcp(listener) for listener in listeners]
        self.addresses = [
            Listener(listener.host, bound.getsockname()[1]) for listener, bound in zip(listeners, sockets, strict=True)
        ]
        self._control_path = data_dir / CONTROL_SOCKET
        control = bind_control(self._control_path, operators_group)
        if sockets:
            await self._run(GuardedProtocol, sockets)
        await self._run(ControlProtocol, [control])

    async def stop(self) -> None:
        """Ends the streams, then the servers."""
        self._hub.close()
        for server, _ in self._servers:
            server.should_exit = True
        for _, task in self._servers:
            await task
        self._servers.clear()
        if self._control_path is not None:
            self._control_path.unlink(missing_ok=True)

    async def _run(self, protocol: type[GuardedProtocol], sockets: list[socket.socket]) -> None:
        config = uvicorn.Config(
            self._app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        server = _OwnLoopServer(config)
        task = asyncio.create_task(server.serve(sockets), name=f"stormsail-http-{protocol.__name__}")
        while not server.started:
            if task.done():
                await task
                raise StoreError("The HTTP server ended while it was starting")
            await asyncio.sleep(START_POLL_S)
        self._servers.append((server, task))


def bind_tcp(listener: Listener) -> socket.socket:
    """A bound TCP socket. Raises StoreError with the address."""
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((listener.host, listener.port))
    except OSError as error:
        bound.close()
        raise StoreError(f"HTTP cannot be served at {listener}: {error.strerror or error}") from error
    bound.setblocking(False)
    return bound


def bind_control(path: Path, group: str) -> socket.socket:
    """The control socket, for its owner and the group only; nobody can connect before it is listened on."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        _bind_in_folder(bound, path)
        os.chmod(path, 0o660)
        _give_to_group(path, group)
    except OSError as error:
        bound.close()
        raise StoreError(f"The control socket {path} cannot be opened: {error.strerror or error}") from error
    bound.setblocking(False)
    return bound


def _bind_in_folder(bound: socket.socket, path: Path) -> None:
    """By way of its folder: the path itself may be longer than the 108 octets that the kernel takes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        bound.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _give_to_group(path: Path, group: str) -> None:
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        return
    try:
        os.chown(path, -1, gid)
    except PermissionError:
        log.warning("control_socket_without_group", group=group)
