"""A name server on loopback whose zone is a dictionary.

In: records as in a zone file, by (name, kind). Out: answers over UDP; a name that is not there is NXDOMAIN, one that is
listed in `broken` gets SERVFAIL.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Zone = dict[tuple[str, str], list[str]]
TTL_S = 60


class NameServer:
    """Answers until its socket is closed; `zone` and `broken` may be changed meanwhile."""

    def __init__(self, zone: Zone, broken: set[tuple[str, str]]) -> None:
        self.zone = zone
        self.broken = broken
        self.asked: list[tuple[str, str]] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))

    @property
    def place(self) -> str:
        """`HOST:PORT`, as the configuration names it."""
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                packet, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            if not packet:
                return
            self.socket.sendto(self._answer(packet), peer)

    def close(self) -> None:
        """An empty packet to itself ends `serve`."""
        self.socket.sendto(b"", self.socket.getsockname())

    def _answer(self, packet: bytes) -> bytes:
        question = dns.message.from_wire(packet)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        [asked] = question.question
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        if (name, kind) in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif (name, kind) in self.zone:
            answer.answer.append(dns.rrset.from_text(asked.name, TTL_S, "IN", kind, *self.zone[name, kind]))
        return answer.to_wire()


@contextmanager
def name_server(zone: Zone, broken: set[tuple[str, str]] | None = None) -> Iterator[NameServer]:
    """A running name server; it ends with the block."""
    server = NameServer(zone, broken or set())
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(10)
        server.socket.close()
