"""A whole gateway in a thread of its own, with people and mailboxes, for tests that speak to its API.

In: a folder. Out: its addresses, clients for each role, and the loop to ask its parts on. All of it is the real thing;
the primary is a port that nobody listens on, so that mail stays where tests can look at it.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx
import structlog
import uvloop

from stormsail.app.gateway import Gateway
from stormsail.config import load_settings
from stormsail.domain.errors import StormsailError
from stormsail.domain.roles import Role
from stormsail.store import Ownership
from testkit.waiting import wait_until

T = TypeVar("T")
PASSWORD = "correct horse battery"
PATIENCE_S = 20.0

CONFIG = """
[server]
hostname = "mx.example.com"
data_dir = "data"

[listen]
mx = ["127.0.0.1:0"]
http = ["127.0.0.1:0"]

[http]
trusted_proxies = ["127.0.0.1"]

[limits]
disk_reserve = 1048576

[[primary]]
name = "nobody"
next_hops = ["127.0.0.1:1"]
tls = "none"

[[domain]]
name = "example.com"
primary = "nobody"
unknown_recipients = "accept"

[directory]
mailboxes = "mailboxes.csv"

[people]
sending = "always"
"""

MAILBOXES = """address,name,segment,kind,aliases,members
ann@example.com,Ann Smith,london,mailbox,a.smith@example.com,
bo@example.com,Bo Berg,leeds,mailbox,,
vi@example.com,Vi Viewer,leeds,mailbox,,
op@example.com,Op Erator,leeds,mailbox,,
ow@example.com,Ow Ner,london,mailbox,,
info@example.com,Information,london,shared,,ann@example.com
sales/uk@example.com,Sales UK,london,shared,,ann@example.com
all@example.com,Everybody,,group,,ann@example.com bo@example.com
"""

PEOPLE = {
    "ann@example.com": Role.STAFF,
    "bo@example.com": Role.STAFF,
    "vi@example.com": Role.VIEWER,
    "op@example.com": Role.OPERATOR,
    "ow@example.com": Role.OWNER,
}


class ApiGateway:
    """A running gateway. `ask` runs something on its loop and waits for it."""

    def __init__(self, folder: Path, config: str) -> None:
        self.config_path = folder / "stormsail.toml"
        self.config_path.write_text(config)
        (folder / "mailboxes.csv").write_text(MAILBOXES)
        self.data_dir = folder / "data"
        self.url = ""
        self.mx_port = 0
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._clients: list[httpx.Client] = []
        self._accounts: set[str] = set()
        self._shared: dict[str, httpx.Client] = {}
        self.gateway: Gateway

    def start(self) -> None:
        """Its log goes where pytest collects it: what commands print is theirs alone."""
        structlog.configure(
            processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
            logger_factory=structlog.stdlib.LoggerFactory(),
        )
        self._thread.start()
        assert self._started.wait(PATIENCE_S), "the gateway did not start in time"
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ends it; a second call does nothing."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._shared.clear()
        self.begin_stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the gateway did not stop in time"
        self._loop = None

    def begin_stop(self) -> None:
        """Tells it to stop, as SIGTERM does, without waiting for it."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    def ask(self, work: Callable[[Gateway], Awaitable[T]]) -> T:
        """Runs `work(gateway)` on the gateway's loop."""
        assert self._loop is not None

        async def run() -> T:
            return await work(self.gateway)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE_S)

    def tell(self, work: Callable[[Gateway], None]) -> None:
        """Calls `work(gateway)` on the gateway's loop."""

        async def run(gateway: Gateway) -> None:
            work(gateway)

        self.ask(run)

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        """A client over TCP, closed at the end."""
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        client = httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S, trust_env=False)
        self._clients.append(client)
        return client

    def control(self) -> httpx.Client:
        """A client over the control socket, by which this process's user is an owner."""
        folder = os.open(self.data_dir, os.O_PATH | os.O_DIRECTORY)
        transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{folder}/control.sock")
        client = httpx.Client(base_url="http://gateway", transport=transport, timeout=PATIENCE_S)
        self._clients.append(client)
        return client

    def signed_in(self, address: str, *, fresh: bool = False) -> httpx.Client:
        """A client with a token of that person: one of its own where `fresh`, else a shared one."""
        if fresh:
            return self.client(self._sign_in(address))
        if address not in self._shared:
            self._shared[address] = self.client(self._sign_in(address))
        return self._shared[address]

    def _sign_in(self, address: str) -> str:
        self.add_account(address)
        answer = self.client().post("/api/v1/session", json={"address": address, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    def receive(self, message: EmailMessage, *recipients: str, reverse_path: str = "someone@elsewhere.example") -> None:
        """Brings a message in by the MX door."""
        with smtplib.SMTP("127.0.0.1", self.mx_port, timeout=PATIENCE_S) as smtp:
            smtp.send_message(message, reverse_path, recipients)

    def wait_for_message(self, client: httpx.Client, mailbox: str, subject: str) -> dict[str, Any]:
        """The message with that subject, as soon as it is in the list and ready."""

        def found() -> dict[str, Any] | None:
            path = f"/api/v1/mailboxes/{quote(mailbox, safe='')}/messages"
            messages = client.get(path, params={"limit": 1000}).json()["messages"]
            return next((one for one in messages if one["subject"] == subject and one["state"] != "preparing"), None)

        return cast("dict[str, Any]", wait_until(found, f"the message {subject!r} in {mailbox}"))

    def add_account(self, address: str) -> None:
        """An account for one of `PEOPLE`, unless there is one; argon2 takes its time."""
        if address in PEOPLE and address not in self._accounts:
            body = {"address": address, "role": PEOPLE[address], "password": PASSWORD}
            answer = self.control().post("/api/v1/accounts", json=body)
            assert answer.status_code == 201, answer.text
            self._accounts.add(address)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._live())
        except BaseException as error:
            # Whatever it is, the test that waits for the start has to see it.
            self._failure = error
            self._started.set()
            raise

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        settings = load_settings(self.config_path)
        self.data_dir.mkdir(exist_ok=True)
        ownership = Ownership(self.data_dir)
        ownership.acquire()
        self.gateway = Gateway(self.config_path, settings, ownership, _no_rival)
        try:
            words = dict(word.split("=", 1) for word in (await self.gateway.start()).split())
            self.url = f"http://{words['http']}"
            self.mx_port = int(words["mx"].rpartition(":")[2])
            self._started.set()
            await self._stopping.wait()
        finally:
            await self.gateway.stop()
            ownership.release()


def _no_rival(error: StormsailError) -> None:
    raise AssertionError(f"another gateway took the data: {error}")


@contextmanager
def api_gateway(folder: Path, config: str = CONFIG) -> Iterator[ApiGateway]:
    """A gateway with mailboxes, stopped at the end; who signs in gets an account."""
    running = ApiGateway(folder, config)
    running.start()
    try:
        yield running
    finally:
        running.stop()
