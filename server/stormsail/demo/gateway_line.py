"""The demo's line to the gateway: the operator's API by the control socket, the staff's by HTTP with a password.

In: questions and drafts. Out: decoded answers. Fails with httpx.HTTPError where the gateway does not answer, and
StormsailError with its own sentence where it refuses.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from stormsail.domain.errors import Conflict, StormsailError
from stormsail.domain.roles import Role
from stormsail.wire import (
    AccountRequest,
    EventList,
    EventReport,
    MessagePage,
    Problem,
    SendRequest,
    SentAnswer,
    SignedIn,
    SignInRequest,
    Status,
)

from .people import STAFF_PASSWORD

API = "/api/v1"
Got = TypeVar("Got")


class GatewayLine:
    """Both ways in. `close` at the end."""

    def __init__(self, control_socket: Path, http_port: int) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(control_socket))
        self._operator = httpx.AsyncClient(transport=transport, base_url=f"http://gateway{API}", timeout=30)
        self._staff = httpx.AsyncClient(base_url=f"http://127.0.0.1:{http_port}{API}", timeout=30)
        self._tokens: dict[str, str] = {}

    async def close(self) -> None:
        await self._operator.aclose()
        await self._staff.aclose()

    async def status(self) -> Status:
        return _read(await self._operator.get("/status"), Status)

    async def events(self) -> EventList:
        return _read(await self._operator.get("/events"), EventList)

    async def report(self, event_id: str) -> EventReport:
        return _read(await self._operator.get(f"/events/{event_id}/report"), EventReport)

    async def add_account(self, address: str, name: str, role: Role, password: str) -> bool:
        """A new account; False where it is there already."""
        asked = AccountRequest(address=address, name=name, role=role, password=password)
        try:
            _read(await self._operator.post("/accounts", content=msgspec.json.encode(asked)), object)
        except Conflict:
            return False
        return True

    async def send(self, author: str, to: list[str], subject: str, text: str) -> SentAnswer:
        """Sends as somebody of the staff."""
        draft = SendRequest(author=author, to=to, subject=subject, text=text)
        headers = {**await self._signed_in(author), "Idempotency-Key": str(uuid.uuid4())}
        return _read(
            await self._staff.post("/messages", content=msgspec.json.encode(draft), headers=headers), SentAnswer
        )

    async def inbox(self, owner: str) -> MessagePage:
        """The newest messages of somebody's inbox, as they see them here."""
        query = {"folder": "inbox", "limit": "20"}
        answer = await self._staff.get(
            f"/mailboxes/{owner}/messages", params=query, headers=await self._signed_in(owner)
        )
        return _read(answer, MessagePage)

    async def _signed_in(self, address: str) -> dict[str, str]:
        if address not in self._tokens:
            asked = SignInRequest(address=address, password=STAFF_PASSWORD, label="demo")
            answer = _read(await self._staff.post("/session", content=msgspec.json.encode(asked)), SignedIn)
            self._tokens[address] = answer.token or ""
        return {"Authorization": f"Bearer {self._tokens[address]}"}


def _read(answer: httpx.Response, kind: type[Got]) -> Got:
    if answer.is_success:
        return msgspec.json.decode(answer.content, type=kind)
    try:
        sentence = msgspec.json.decode(answer.content, type=Problem).detail
    except msgspec.MsgspecError:
        sentence = f"The gateway answered {answer.status_code}"
    raise Conflict(sentence) if answer.status_code == httpx.codes.CONFLICT else StormsailError(sentence)
