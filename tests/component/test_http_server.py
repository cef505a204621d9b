"""The HTTP server in our loop: the control socket knows its peers, connections that dawdle or flood are closed."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from litestar.types import Receive, Scope, Send

from stormsail.config import Listener
from stormsail.domain.errors import StoreError
from stormsail.domain.roles import Role
from stormsail.http import CONTROL_SOCKET, HttpServer, StreamHub
from stormsail.http import protocol as protocol_module
from stormsail.http.principal import PEER_SCOPE_KEY, PeerCredentials, local_principal
from testkit.clock import SetClock

NO_GROUP = "stormsail-no-such-group"


async def say_peer(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers with what it was told of its peer."""
    await receive()
    body = repr(scope.get(PEER_SCOPE_KEY)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@asynccontextmanager
async def serving(data_dir: Path, *hosts: str) -> AsyncIterator[HttpServer]:
    server = HttpServer(say_peer, StreamHub(SetClock()))
    await server.start([Listener(host, 0) for host in hosts], data_dir, NO_GROUP)
    try:
        yield server
    finally:
        await server.stop()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """One request, and the body of its answer."""
    writer.write(b"GET / HTTP/1.1\r\nhost: gateway\r\nstormsail.peer: forged\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


def test_the_control_socket_is_for_its_owner_and_group_and_tells_who_the_peer_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path):
            path = tmp_path / CONTROL_SOCKET
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            body = await ask(*await asyncio.open_unix_connection(path))
            assert body == repr(PeerCredentials(os.getpid(), os.getuid(), os.getgid())).encode()
        assert not path.exists()

    asyncio.run(story())


def test_over_tcp_nobody_has_a_local_user_whatever_they_claim(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, "127.0.0.1") as server:
            address = server.addresses[0]
            assert address.port > 0
            assert await ask(*await asyncio.open_connection(address.host, address.port)) == b"None"

    asyncio.run(story())


def test_a_data_directory_with_a_long_path_has_a_control_socket_too(tmp_path: Path) -> None:
    async def story() -> None:
        deep = tmp_path / ("deep" * 30)
        deep.mkdir()
        async with serving(deep):
            folder = os.open(deep, os.O_PATH)
            body = await ask(*await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{CONTROL_SOCKET}"))
            os.close(folder)
            assert body.startswith(b"PeerCredentials")

    asyncio.run(story())


def test_a_socket_left_by_a_crash_is_in_nobodys_way(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / CONTROL_SOCKET))
    left.close()

    async def story() -> None:
        async with serving(tmp_path):
            assert await ask(*await asyncio.open_unix_connection(tmp_path / CONTROL_SOCKET))

    asyncio.run(story())


def test_an_address_in_use_is_told_in_a_sentence(tmp_path: Path) -> None:
    async def story() -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        listener = Listener("127.0.0.1", taken.getsockname()[1])
        server = HttpServer(say_peer, StreamHub(SetClock()))
        with pytest.raises(StoreError, match=f"HTTP cannot be served at {listener}: Address already in use"):
            await server.start([listener], tmp_path, NO_GROUP)
        taken.close()

    asyncio.run(story())


def test_several_addresses_are_served_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, "127.0.0.1", "127.0.0.2") as server:
            for address in server.addresses:
                assert await ask(*await asyncio.open_connection(address.host, address.port)) == b"None"

    asyncio.run(story())


def test_a_header_without_end_is_refused_and_the_connection_closed(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, "127.0.0.1") as server:
            address = server.addresses[0]
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: gateway\r\n")
            with suppress(ConnectionResetError):
                # What we sent too much may make the kernel answer for the server.
                writer.write(b"x-flood: " + b"x" * 200_000)
                answer = await asyncio.wait_for(reader.read(), 10)
                assert answer.startswith(b"HTTP/1.1 431 ")
            writer.close()

    asyncio.run(story())


def test_a_connection_that_says_nothing_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "HEADER_PATIENCE_S", 0.1)

    async def story() -> None:
        async with serving(tmp_path, "127.0.0.1") as server:
            address = server.addresses[0]
            for beginning in (b"", b"GET / HTTP/1.1\r\nhost: gate"):
                reader, writer = await asyncio.open_connection(address.host, address.port)
                writer.write(beginning)
                assert await asyncio.wait_for(reader.read(), 10) == b""
                writer.close()

    asyncio.run(story())


def test_many_requests_on_one_connection_do_not_add_up_to_a_flood(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, "127.0.0.1") as server:
            address = server.addresses[0]
            reader, writer = await asyncio.open_connection(address.host, address.port)
            request = b"GET / HTTP/1.1\r\nhost: gateway\r\nx-padding: " + b"x" * 30_000 + b"\r\n\r\n"
            for _ in range(5):
                writer.write(request)
                assert (await reader.readuntil(b"None")).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(story())


def test_stopping_takes_less_than_a_second_with_idle_connections_open(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, "127.0.0.1") as server:
            address = server.addresses[0]
            reader, writer = await asyncio.open_connection(address.host, address.port)
            began = asyncio.get_running_loop().time()
            await server.stop()
            assert asyncio.get_running_loop().time() - began < 1
            assert await reader.read() == b""
            writer.close()

    asyncio.run(story())


def test_root_and_the_services_own_user_are_owners() -> None:
    for uid in {0, os.geteuid()}:
        principal = asyncio.run(local_principal(PeerCredentials(1, uid, 0), NO_GROUP))
        assert principal is not None
        assert (principal.actor, principal.role) == (f"uid:{pwd.getpwuid(uid).pw_name}", Role.OWNER)


def test_members_of_the_operators_group_are_operators_and_others_nobody() -> None:
    daemon = pwd.getpwnam("daemon")
    member = asyncio.run(local_principal(PeerCredentials(1, daemon.pw_uid, daemon.pw_gid), "daemon"))
    assert member is not None
    assert (member.actor, member.role) == ("uid:daemon", Role.OPERATOR)
    assert asyncio.run(local_principal(PeerCredentials(1, daemon.pw_uid, daemon.pw_gid), NO_GROUP)) is None
    assert asyncio.run(local_principal(PeerCredentials(1, 4_000_000, 4_000_000), "daemon")) is None


def test_credentials_are_read_as_the_kernel_writes_them() -> None:
    assert protocol_module.CREDENTIALS.size == struct.calcsize("3i") == 12
    ours: list[Any] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair(socket.AF_UNIX)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
        ours.append(protocol_module._credentials(transport))
        transport.close()
        there.close()

    asyncio.run(story())
    assert ours == [PeerCredentials(os.getpid(), os.getuid(), os.getgid())]
