"""The sandbox primary's IMAP server: enough of IMAP4rev1 (RFC 3501) for mail programs to look into its mailboxes.

In: connections on loopback, in clear text. Out: what is in the mailboxes. Sessions see new mail after each command and
while in IDLE (RFC 2177). A sick primary lets them hang (`mailbox`), refuses their password (`identity`) or cuts them.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from stormsail.demo.faults import Kind
from stormsail.demo.people import STAFF_PASSWORD
from stormsail.directory import Entry
from stormsail.directory.snapshot import WITH_COPIES

from .imap_selected import Selected
from .imap_syntax import LITERAL, ImapSyntaxError, listed, parse_command, quote
from .mailboxes import FLAG_LETTERS, FOLDERS, INBOX, Folder
from .post import Post

CAPABILITIES = b"IMAP4rev1 LITERAL+ IDLE UNSELECT"
ALL_FLAGS = listed(flag.encode() for flag in FLAG_LETTERS)
COMMAND_LIMIT = 1 << 20
IDLE_STEP_S = 0.5


class _Ended(Exception):
    """The client said LOGOUT or went away."""


class ImapSession:
    """One connection."""

    def __init__(self, post: Post, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._post = post
        self._reader = reader
        self._writer = writer
        self._user: Entry | None = None
        self._selected: Selected | None = None

    async def run(self) -> None:
        """Talks until one side ends it."""
        self._say(b"* OK [CAPABILITY " + CAPABILITIES + b"] sandbox primary")
        with suppress(_Ended, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            while True:
                await self._writer.drain()
                await self._obey(await self._read_command())

    async def _read_command(self) -> bytes:
        command = await self._reader.readuntil(b"\n")
        while (found := LITERAL.search(command)) is not None and len(command) < COMMAND_LIMIT:
            if not found.group(2):
                self._say(b"+ go ahead")
                await self._writer.drain()
            command += await self._reader.readexactly(min(int(found.group(1)), COMMAND_LIMIT))
            command += await self._reader.readuntil(b"\n")
        return command

    async def _obey(self, command: bytes) -> None:
        tag = command.split(b" ", 1)[0].strip() or b"*"
        await self._post.moving.wait()
        try:
            words = parse_command(command)
            verb = str(words[1]).upper() if len(words) > 1 else ""
            by_uid = verb == "UID"
            if by_uid:
                verb, words = str(words[2]).upper() if len(words) > 2 else "", words[1:]
            answer = await self._do(verb, list(words[2:]), by_uid)
        except (ImapSyntaxError, IndexError, ValueError) as error:
            self._say(tag + b" BAD " + ascii(str(error)).encode())
            return
        self._say(tag + b" " + answer)
        if verb == "LOGOUT":
            await self._writer.drain()
            raise _Ended

    async def _do(self, verb: str, words: list[object], by_uid: bool) -> bytes:
        if verb == "CAPABILITY":
            self._say(b"* CAPABILITY " + CAPABILITIES)
            return b"OK done"
        if verb == "NOOP" or verb == "CHECK":
            if self._selected is not None:
                self._selected.catch_up()
            return b"OK done"
        if verb == "LOGOUT":
            self._say(b"* BYE see you")
            return b"OK done"
        if verb == "LOGIN":
            return self._login(str(words[0]), str(words[1]))
        if self._user is None:
            return b"NO sign in first"
        if self._user.segment in self._post.faults.segments:
            return b"NO [UNAVAILABLE] the mailbox database is not available"
        if verb in ("LIST", "LSUB"):
            return self._list(verb, str(words[0]), str(words[1]))
        if verb in ("SELECT", "EXAMINE"):
            return self._select(str(words[0]), read_only=verb == "EXAMINE")
        if verb == "STATUS":
            return self._status(str(words[0]), words[1])
        if verb in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return b"OK done"
        if self._selected is None:
            return b"NO select a folder first"
        return await self._do_selected(verb, words, by_uid, self._selected)

    async def _do_selected(self, verb: str, words: list[object], by_uid: bool, selected: Selected) -> bytes:
        match verb:
            case "FETCH":
                selected.fetch(str(words[0]), words[1:], by_uid)
            case "STORE" | "EXPUNGE" if selected.read_only:
                return b"NO the folder is open for reading only"
            case "STORE":
                selected.store(str(words[0]), str(words[1]).upper(), words[2:], by_uid)
            case "SEARCH":
                selected.search(words, by_uid)
            case "EXPUNGE":
                selected.expunge()
            case "CLOSE" | "UNSELECT":
                if verb == "CLOSE" and not selected.read_only:
                    selected.expunge()
                self._selected = None
            case "IDLE":
                await self._idle(selected)
            case _:
                return b"BAD unknown command"
        if verb == "EXPUNGE" or (by_uid and verb != "STORE"):
            selected.catch_up()
        return b"OK done"

    def _login(self, name: str, password: str) -> bytes:
        entry = self._post.entry(name)
        if self._post.faults.has(Kind.IDENTITY):
            return b"NO [UNAVAILABLE] the sign-in service does not answer"
        if entry is None or entry.kind not in WITH_COPIES or password != STAFF_PASSWORD:
            return b"NO [AUTHENTICATIONFAILED] wrong name or password"
        self._user = entry
        return b"OK [CAPABILITY " + CAPABILITIES + b"] signed in"

    def _list(self, verb: str, reference: str, pattern: str) -> bytes:
        if not pattern:
            self._say(f'* {verb} (\\Noselect) "/" ""'.encode())
            return b"OK done"
        wanted = re.compile(re.escape(reference + pattern).replace(r"\*", ".*").replace("%", "[^/]*"), re.IGNORECASE)
        for name in FOLDERS:
            if wanted.fullmatch(name):
                marks = "\\HasNoChildren" if name == INBOX else f"\\HasNoChildren \\{name}"
                self._say(f'* {verb} ({marks}) "/" {name}'.encode())
        return b"OK done"

    def _open(self, name: str) -> Folder | None:
        assert self._user is not None
        return self._post.mailboxes.folder(self._user.address, name)

    def _select(self, name: str, *, read_only: bool) -> bytes:
        folder = self._open(name)
        self._selected = Selected(folder, read_only, self._say) if folder is not None else None
        if folder is None:
            return b"NO [NONEXISTENT] there is no such folder"
        unseen = [at for at, stored in enumerate(folder.messages.values(), 1) if "\\Seen" not in stored.flags]
        self._say(b"* FLAGS " + ALL_FLAGS)
        self._say(b"* OK [PERMANENTFLAGS " + (b"()" if read_only else ALL_FLAGS) + b"] ok")
        self._say(b"* %d EXISTS" % len(folder.messages))
        self._say(b"* 0 RECENT")
        if unseen:
            self._say(b"* OK [UNSEEN %d] the first one unread" % unseen[0])
        self._say(b"* OK [UIDVALIDITY %d] ok" % folder.uid_validity)
        self._say(b"* OK [UIDNEXT %d] ok" % folder.uid_next)
        return b"OK [READ-ONLY] open" if read_only else b"OK [READ-WRITE] open"

    def _status(self, name: str, asked: object) -> bytes:
        folder = self._open(name)
        if folder is None or not isinstance(asked, list):
            return b"NO [NONEXISTENT] there is no such folder"
        values = {
            "MESSAGES": len(folder.messages),
            "RECENT": 0,
            "UIDNEXT": folder.uid_next,
            "UIDVALIDITY": folder.uid_validity,
            "UNSEEN": sum("\\Seen" not in stored.flags for stored in folder.messages.values()),
        }
        pairs = [f"{str(item).upper()} {values[str(item).upper()]}" for item in asked if str(item).upper() in values]
        self._say(b"* STATUS " + quote(name) + b" " + listed([" ".join(pairs).encode()]))
        return b"OK done"

    async def _idle(self, selected: Selected) -> None:
        self._say(b"+ idling")
        ending = asyncio.ensure_future(self._reader.readuntil(b"\n"))
        try:
            while not ending.done():
                selected.catch_up()
                await self._writer.drain()
                await asyncio.wait([ending], timeout=IDLE_STEP_S)
            ending.result()
        finally:
            ending.cancel()

    def _say(self, line: bytes) -> None:
        self._writer.write(line + b"\r\n")


class ImapDoor:
    """The listener; shut, it cuts its sessions."""

    def __init__(self, post: Post, host: str, port: int) -> None:
        self._post = post
        self._place = (host, port)
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, *self._place, limit=COMMAND_LIMIT)

    def shut(self) -> None:
        """Refuses connections and cuts those that stand."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in self._sessions:
            session.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await ImapSession(self._post, reader, writer).run()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._sessions.discard(task)
            writer.close()
