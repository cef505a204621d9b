"""One sender that goes on at a steady pace over one session and takes the time of every answer to a final dot.

In: a port, a pace, letters. Out: for each message when its 250 came, how long after the dot, and our id of it. A pace
that the server does not keep up with is noticed: what is sent late is sent at once, and `late_s` says how late it got.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from bench.letters import message
from stormsail.domain.ids import id_from_text
from testkit.smtp_talk import SmtpTalk

PATIENCE_S = 60.0


class Sent(msgspec.Struct, frozen=True):
    """A message that was taken: when its 250 came (seconds of `time.time`), seconds after the dot, its id."""

    at: float
    took_s: float
    message_id: int


class Steady(threading.Thread):
    """Sends `per_second` messages a second for `seconds`, each to the next of `recipient(n)`; `sent` grows meanwhile."""

    def __init__(self, port: int, per_second: float, seconds: float, recipient: Callable[[int], str]) -> None:
        super().__init__(name="steady sender", daemon=True)
        self.sent: list[Sent] = []
        self.late_s = 0.0
        self.error: Exception | None = None
        self._port = port
        self._pace_s = 1 / per_second
        self._count = max(1, int(per_second * seconds))
        self._recipient = recipient
        self._enough = threading.Event()

    def run(self) -> None:
        try:
            with SmtpTalk(self._port, timeout_s=PATIENCE_S) as talk:
                talk.reply()
                talk.ask("EHLO sender.example")
                self._send_all(talk)
        except (OSError, EOFError, RuntimeError) as error:
            self.error = error

    def end(self) -> None:
        """Stops before the time is over, and waits for that."""
        self._enough.set()
        self.result()

    def result(self) -> list[Sent]:
        """Waits for the end; everything that was sent. Raises what went wrong."""
        self.join()
        if self.error is not None:
            raise self.error
        return self.sent

    def _send_all(self, talk: SmtpTalk) -> None:
        began = time.monotonic()
        for number in range(self._count):
            left = began + number * self._pace_s - time.monotonic()
            if self._enough.wait(max(0.0, left)):
                return
            self.late_s = max(self.late_s, -left)
            self.sent.append(_send(talk, number, self._recipient(number)))


def _send(talk: SmtpTalk, number: int, recipient: str) -> Sent:
    content = message(number, recipient)
    for command, wanted in (
        ("MAIL FROM:<a@elsewhere.example>", "250"),
        (f"RCPT TO:<{recipient}>", "250"),
        ("DATA", "354"),
    ):
        reply = talk.ask(command)
        if not reply.startswith(wanted):
            raise RuntimeError(f"{command}: {reply}")
    talk.send(content)
    began = time.perf_counter()
    talk.send(b".\r\n")
    reply = talk.reply()
    took = time.perf_counter() - began
    found = id_from_text(reply.rpartition("queued as ")[2])
    if not reply.startswith("250") or found is None:
        raise RuntimeError(f"final dot: {reply}")
    return Sent(time.time(), took, found)
