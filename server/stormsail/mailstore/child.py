"""One digest child: a process that is asked one message at a time and killed when it takes too long (DESIGN §3.11).

In: requests. Out: answers. Raises ChildDied where the child ended over a message, ChildSlow where it was killed for
its time, ChildUnavailable where none can be started at all, which says nothing about the message. Blocks: it belongs
to a thread of its own, never to the event loop.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading

import msgspec

from stormsail.clock import Clock
from stormsail.digest import Answer, Hello, Request, decode_answer, encode_request, frame
from stormsail.digest.protocol import LENGTH
from stormsail.domain.reply import escape

SLICE_MS = 250
START_S = 30.0
NICE = 10
"""Digests give way to taking and passing on mail."""
READ_SIZE = 1 << 20
ANSWER_EXTRA = 64 << 20
PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
"""The environment may hold secrets of the gateway; a child gets only what Python needs."""


class ChildUnavailable(Exception):
    """No child can be started."""


class ChildDied(Exception):
    """The child ended while it had the message."""


class ChildSlow(ChildDied):
    """The child was killed because the message took too long."""


class DigestChild:
    """Starts the process when it is first needed, and again after it died."""

    def __init__(self, clock: Clock, memory: int, seconds: float) -> None:
        self._clock = clock
        self._memory = memory
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = -1
        self._stopped = threading.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def ask(self, request: Request) -> Answer:
        """The child's answer. Raises ChildDied, ChildSlow, ChildUnavailable."""
        process = self._process or self._start()
        deadline = self._clock.monotonic() + self._seconds
        data = encode_request(request)
        try:
            self._write(process, frame(data), deadline)
            self._write(process, data, deadline)
            return self._read(process, deadline, len(data) + ANSWER_EXTRA)
        except TimeoutError as error:
            self._bury("")
            raise ChildSlow(f"it took longer than {self._seconds:g} s") from error
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            raise ChildDied(self._bury(str(error))) from error

    def retire(self) -> None:
        """Ends the process; the next request gets a fresh one."""
        self._bury("")

    def stop(self) -> None:
        """Ends the process for good, from any thread."""
        self._stopped.set()
        process = self._process
        if process is not None:
            process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._stopped.is_set():
            raise ChildUnavailable("The mailstore is stopping")
        options = ["--memory", str(self._memory), "--seconds", str(self._seconds), "--nice", str(NICE)]
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        try:
            self._errors = os.memfd_create("digest-errors")
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "stormsail.digest", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment | {"LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        except OSError as error:
            self._last_words()
            raise ChildUnavailable(f"A digest child cannot be started: {error.strerror}") from error
        self._process = process
        if self._stopped.is_set():
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)
        self._greet(process)
        return process

    def _greet(self, process: subprocess.Popen[bytes]) -> None:
        try:
            answer = self._read(process, self._clock.monotonic() + START_S, ANSWER_EXTRA)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            raise ChildUnavailable(f"A digest child does not start: {self._bury(str(error))}") from error
        if not isinstance(answer, Hello):
            self._bury("")
            raise ChildUnavailable("A digest child speaks before it is asked")

    def _bury(self, reason: str) -> str:
        """Makes sure that the process is gone; says how it ended, with its last words."""
        process, self._process = self._process, None
        if process is None:
            return reason
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        words = self._last_words()
        return " ".join(part for part in (f"it ended with {code}", reason, words) if part)

    def _last_words(self) -> str:
        errors, self._errors = self._errors, -1
        if errors < 0:
            return ""
        lines = os.pread(errors, READ_SIZE, 0).decode("utf-8", "replace").strip().splitlines()
        os.close(errors)
        return escape(lines[-1])[:200] if lines else ""

    def _write(self, process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
        assert process.stdin is not None
        target = process.stdin.fileno()
        view = memoryview(data)
        while view:
            self._wait(target, select.POLLOUT, deadline)
            try:
                view = view[os.write(target, view) :]
            except BlockingIOError:
                continue

    def _read(self, process: subprocess.Popen[bytes], deadline: float, limit: int) -> Answer:
        assert process.stdout is not None
        source = process.stdout.fileno()
        received = bytearray()
        length = LENGTH.size
        while len(received) < length:
            self._wait(source, select.POLLIN, deadline)
            chunk = os.read(source, min(READ_SIZE, length - len(received)))
            if not chunk:
                raise EOFError
            received += chunk
            if len(received) == LENGTH.size and length == LENGTH.size:
                length += LENGTH.unpack(received)[0]
                if length > limit:
                    raise EOFError("its answer is too long")
        return decode_answer(received[LENGTH.size :])

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        """Until the pipe is ready. Raises TimeoutError at the deadline of the clock, looked at every quarter second."""
        poll = select.poll()
        poll.register(descriptor, event)
        while True:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise TimeoutError
            if poll.poll(min(SLICE_MS, int(left * 1000) + 1)):
                return
