"""The commands of a session that hands us mail (RFC 5321 §4.1.1), and the text after DATA.

In: commands from `Conversation`. Out: messages given to the intake, and their replies.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING

import structlog

from stormsail.domain.address import parse_address
from stormsail.domain.errors import UNKNOWN_FAILURE, StormsailError, TooManyRecipients
from stormsail.domain.ids import id_to_text
from stormsail.domain.reply import Reply
from stormsail.intake import Accepted, Incoming, ReceivedBody, ResolvedRecipient, Told

from .commands import parse_mail, parse_rcpt
from .conversation import Conversation
from .data import DataCollector

if TYPE_CHECKING:
    from .door import Door


SENDER_OK = b"250 2.1.0 Sender ok\r\n"
RECIPIENT_OK = b"250 2.1.5 Recipient ok\r\n"
log = structlog.get_logger()
GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"


class MailSession(Conversation):
    """A session of the MX or the connector door."""

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._helo = ""
        self._extended = False
        self._reverse_path: str | None = None
        self._recipients: dict[str, ResolvedRecipient] = {}
        self._message_size = 0

    async def smtp_EHLO(self, argument: str) -> None:
        if not argument:
            self._say(Reply(501, "5.5.4", "Syntax: EHLO hostname"))
            return
        self._introduce(argument, extended=True)
        self._message_size = self._parts.message_size()
        lines = [f"{self.hostname} greets you", "PIPELINING", f"SIZE {self._message_size}", "8BITMIME"]
        if self._parts.tls() is not None and not self._tls_name:
            lines.append("STARTTLS")
        lines.append("ENHANCEDSTATUSCODES")
        text = "".join(f"250{'-' if line is not lines[-1] else ' '}{line}\r\n" for line in lines)
        self._write(text.encode("ascii"))

    async def smtp_HELO(self, argument: str) -> None:
        if not argument:
            self._say(Reply(501, "5.5.4", "Syntax: HELO hostname"))
            return
        self._introduce(argument, extended=False)
        self._message_size = self._parts.message_size()
        self._say(Reply(250, "", self.hostname))

    def _introduce(self, name: str, *, extended: bool) -> None:
        self._forget_transaction()
        self._helo = name.split()[0]
        self._extended = extended

    def _mail_at_once(self, argument: str) -> bool:
        if not self._helo:
            self._say(Reply(503, "5.5.1", "Say EHLO first"))
        elif self._reverse_path is not None:
            self._say(Reply(503, "5.5.1", "There is a transaction already"))
        else:
            reverse_path = parse_mail(argument, self._message_size)
            if reverse_path:
                parse_address(reverse_path)
            self._parts.intake.check_room()
            self._reverse_path = reverse_path
            self._in_transaction = True
            self._write(SENDER_OK)
        return True

    def _rcpt_at_once(self, argument: str) -> bool:
        """Only for recipients that the directory knows."""
        if self._reverse_path is None or len(self._recipients) >= self._parts.limits.recipients:
            return False
        path = parse_rcpt(argument)
        recipient = self._parts.recipients.known(path) if "@" in path else None
        if recipient is None:
            return False
        self._add(recipient)
        return True

    def _add(self, recipient: ResolvedRecipient) -> None:
        """Who is named twice gets the message once; in other domains the case of a local part may matter."""
        ours = recipient.primary is not None
        self._recipients.setdefault(recipient.key if ours else recipient.address, recipient)
        self._write(RECIPIENT_OK)

    async def smtp_MAIL(self, argument: str) -> None:
        self._mail_at_once(argument)

    async def smtp_RCPT(self, argument: str) -> None:
        if self._reverse_path is None:
            self._say(Reply(503, "5.5.1", "Say MAIL first"))
            return
        path = parse_rcpt(argument)
        if len(self._recipients) >= self._parts.limits.recipients:
            raise TooManyRecipients("Too many recipients in one message")
        if path.lower() == "postmaster" and self._parts.recipients.postmaster is not None:
            path = self._parts.recipients.postmaster
        recipient = self._parts.recipients.known(path)
        if recipient is None:
            recipient = await self._parts.recipients.resolve(self._parts.direction, path)
        self._add(recipient)

    async def smtp_DATA(self, argument: str) -> None:
        self._data_at_once(argument)

    def _data_at_once(self, argument: str) -> bool:
        if not self._recipients:
            self._say(Reply(503, "5.5.1", "Say MAIL and RCPT first"))
        elif argument:
            self._say(Reply(501, "5.5.4", "Syntax: DATA"))
        elif self._waiting_octets:
            # Text sent before 354 would be taken for commands after a refusal, or hide a second message.
            self._door.note_behaviour(self.peer, good=False)
            self._goodbye(Reply(554, "5.5.0", "You did not wait for the reply to DATA"))
        else:
            parts = self._parts
            parts.intake.check_room()
            self._text = DataCollector(
                parts.memory, parts.spool, parts.check_header, self._message_size, parts.limits.line_length
            )
            self._write(GO_AHEAD)
        return True

    def _text_is_whole(self, text: DataCollector) -> None:
        """Gives the message to the intake, at once where that need not wait for anything but the disk."""
        try:
            body = text.finish()
            incoming = Incoming(
                self._parts.direction, self.peer, self._helo, self._protocol, self._tls_name,
                self._reverse_path or "", [*self._recipients.values()], self,
            )  # fmt: skip
            answer = partial(self._answer, text)
            if not self._parts.intake.take_at_once(incoming, body, answer):
                self._door.finish(self.loop.create_task(self._take_slowly(incoming, body, answer)))
        except StormsailError as error:
            self._answer(text, error)
        except Exception:
            log.exception("session_failed", peer=self.peer, verb="DATA")
            self._answer(text, StormsailError(UNKNOWN_FAILURE.text))

    async def _take_slowly(self, incoming: Incoming, body: ReceivedBody, answer: Told) -> None:
        try:
            answer(await self._parts.intake.take(incoming, body))
        except StormsailError as error:
            answer(error)
        except Exception:
            log.exception("session_failed", peer=self.peer, verb="DATA")
            answer(StormsailError(UNKNOWN_FAILURE.text))

    def _answer(self, text: DataCollector, outcome: Accepted | StormsailError) -> None:
        """The reply to a message, whatever became of it; there may be nobody left to hear it."""
        self._forget_transaction()
        if isinstance(outcome, StormsailError):
            self._say(outcome.reply)
            text.discard()
        else:
            text.release()
            if self.transport is None:
                self._parts.intake.orphan(outcome)
            else:
                self._confirm_later(outcome)
        self._decided()

    def _confirm_later(self, accepted: Accepted) -> None:
        """Says 250; what comes next from the peer, unless it is on its way already, confirms that it arrived."""
        if self._unconfirmed is not None:
            self._parts.intake.orphan(self._unconfirmed)
        self._unconfirmed = accepted
        self._commands_left = self._parts.limits.commands
        self._door.note_behaviour(self.peer, good=True)
        text = f"queued as {id_to_text(accepted.id)}"
        if accepted.repeat_of is not None:
            text = f"repeat of {id_to_text(accepted.repeat_of)}"
        self._write(f"250 2.0.0 Ok: {text}\r\n".encode())

    @property
    def _protocol(self) -> str:
        if not self._extended:
            return "SMTP"
        return "ESMTPS" if self._tls_name else "ESMTP"

    async def smtp_RSET(self, argument: str) -> None:
        self._forget_transaction()
        self._say(Reply(250, "2.0.0", "Ok"))

    async def smtp_NOOP(self, argument: str) -> None:
        self._say(Reply(250, "2.0.0", "Ok"))

    async def smtp_VRFY(self, argument: str) -> None:
        self._say(Reply(252, "2.5.2", "Send some mail, we will try"))

    async def smtp_EXPN(self, argument: str) -> None:
        self._say(Reply(502, "5.5.1", "There are no lists to show"))

    async def smtp_HELP(self, argument: str) -> None:
        self._say(Reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP QUIT STARTTLS VRFY"))

    async def smtp_QUIT(self, argument: str) -> None:
        self._goodbye(Reply(221, "2.0.0", "Bye"))

    async def smtp_STARTTLS(self, argument: str) -> None:
        """RFC 3207: nothing said before the handshake is believed after it, on either side."""
        context = self._parts.tls()
        if argument:
            self._say(Reply(501, "5.5.4", "Syntax: STARTTLS"))
        elif context is None or self._tls_name:
            self._say(Reply(503, "5.5.1", "TLS is not to be had now"))
        else:
            if self._waiting_octets:
                self._taken += len(await self._reader.read(self._waiting_octets))
            self._say(Reply(220, "2.0.0", "Go ahead"))
            try:
                await self._writer.start_tls(context, ssl_handshake_timeout=self._parts.limits.read_timeout_s)
            except (ssl.SSLError, OSError):
                self.transport.abort()
                return
            self.transport = self._writer.transport
            self._forget_transaction()
            self._helo = ""
            self._tls_name = self.transport.get_extra_info("ssl_object").version() or "TLS"

    def _forget_transaction(self) -> None:
        self._reverse_path = None
        self._recipients = {}
        self._in_transaction = False


MailSession.commands = {
    name.removeprefix("smtp_").encode(): getattr(MailSession, name)
    for name in dir(MailSession)
    if name.startswith("smtp_")
}
"""The command table, made once and not for every connection."""
MailSession.commands.pop(b"AUTH", None)
MailSession.at_once = {
    b"MAIL ": MailSession._mail_at_once,
    b"RCPT ": MailSession._rcpt_at_once,
    b"DATA\r": MailSession._data_at_once,
}
