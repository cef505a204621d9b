"""A gateway among wicked next hops, each the primary of a domain of its own, and one honest primary beside them.

In: mischief by name. Out: what was sent, what arrived where, and everything the gateway tells people meanwhile.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .deeds import Mischief
from .gateway import DIRECTORY, Gateway, message, running_gateway
from .next_hop import NextHop, next_hop
from .waiting import wait_until
from .wicked_hop import Text, WickedHop, wicked_hops

RETRY_S = 3


@dataclass
class Siege:
    """Names are those of the mischief; `rounds` counts how often mail was sent to all of them."""

    gateway: Gateway
    honest: NextHop
    hops: dict[str, WickedHop]
    mischief: Mapping[str, Mischief]
    rounds: int = 0
    told: str = ""
    """Everything the gateway said of its deliveries, and its log, while the hops were at it."""
    longest_wait_s: float = 0.0
    """How long a message to the honest primary took at most meanwhile."""
    _numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = {name: number for number, name in enumerate(self.hops)}

    def domain(self, name: str) -> str:
        return f"d{self._numbers[name]}.example"

    def subject(self, name: str, round_: int) -> str:
        return f"message {round_} to {self.domain(name)}"

    def turn_wicked(self, names: list[str]) -> None:
        for name in names:
            hop = self.hops[name]
            hop.victims, hop.deed = 0, self.mischief[name].do
            hop.drop_connections()

    def turn_honest(self) -> None:
        for hop in self.hops.values():
            hop.deed = None

    def send_to(self, names: list[str]) -> None:
        """One message to each domain; all are accepted."""
        self.rounds += 1
        with self.gateway.smtp() as client:
            for name in names:
                one = self.mischief[name]
                text = "y" * 70 + "\n"
                content = message(self.subject(name, self.rounds), text * (1 + one.octets // 71))
                refused = client.sendmail("x@example.org", f"ann@{self.domain(name)}", content)
                assert not refused

    def wait_until_all_have_acted(self, patience_s: float = 30) -> None:
        """Each hop has had a client, and each attempt that it brought has come to something."""

        def over() -> bool:
            return not self.idle_hops() and not self._untold()

        wait_until(over, "all deeds", patience_s, lambda: f"{self.idle_hops()} {self._untold()}")

    def _untold(self) -> list[str]:
        """Recipients behind wicked hops of whom no attempt has ended yet."""
        found = self.gateway.api("GET", "/queue", params={"limit": 500})["deliveries"]
        waiting = [one["recipient"] for one in found if one["state"] == "held" or not one["reply"]]
        return [recipient for recipient in waiting if not recipient.endswith("@example.com")]

    def idle_hops(self) -> list[str]:
        return [name for name, hop in self.hops.items() if hop.deed is not None and not hop.victims]

    def listen_in(self) -> None:
        """Collects what people are told: status, queue, lanes and traces, as data and as text, and the log."""
        api = self.gateway.api
        said: list[Any] = [api("GET", "/status"), api("GET", "/queue/lanes")]
        said += [api("GET", "/queue", params={"limit": 500})]
        said += [self.traces(self.rounds)]
        texts = [text for value in said for text in strings_of(value)]
        for words in (("status",), ("queue",), ("trace", "x@example.org", "--limit", "40")):
            done = self.gateway.cli(*words)
            texts.append((done.stdout + done.stderr).decode("utf-8", "replace"))
        texts.append((self.gateway.folder / "log").read_text("utf-8", "replace"))
        self.told += "\n".join(texts)

    def copies(self, name: str, round_: int) -> list[Text]:
        """The texts of that message which reached the hop's final dot, in order."""
        line = f"\r\nSubject: {self.subject(name, round_)}\r\n".encode()
        return [text for text in self.hops[name].texts if line in text.content]

    def traces(self, round_: int) -> Any:
        """Of the messages of one round, by the words of their subject."""
        return self.gateway.api("GET", "/trace", params={"q": f"message {round_} to", "limit": 200})["messages"]


def strings_of(value: Any) -> Iterator[str]:
    """Every string anywhere in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_of(inner)
    else:
        yield json.dumps(value)


class HonestTraffic(threading.Thread):
    """Somebody whose mail goes to the honest primary all the time; knows how long it took at most."""

    def __init__(self, siege: Siege) -> None:
        super().__init__(daemon=True)
        self._siege = siege
        self._over = threading.Event()
        self.count = 0

    def run(self) -> None:
        while not self._over.wait(0.1):
            before = len(self._siege.honest.taken)
            began = time.monotonic()
            self._siege.gateway.send("ann@example.com", message(f"honest {self.count}"))
            wait_until(lambda had=before: len(self._siege.honest.taken) > had, "honest mail")  # type: ignore[misc]
            self._siege.longest_wait_s = max(self._siege.longest_wait_s, time.monotonic() - began)
            self.count += 1

    def stop(self) -> None:
        self._over.set()
        self.join(30)


def _configure(gateway: Gateway, hops: Mapping[str, WickedHop], mischief: Mapping[str, Mischief]) -> None:
    tables, people = [], DIRECTORY
    for number, (name, hop) in enumerate(hops.items()):
        tls = "opportunistic" if mischief[name].tls else "none"
        tables.append(
            f'[[primary]]\nname = "p{number}"\nnext_hops = ["127.0.0.1:{hop.port}"]\ntls = "{tls}"\n'
            f'[[domain]]\nname = "d{number}.example"\nprimary = "p{number}"\n'
        )
        people += f"ann@d{number}.example,Ann,s{number},mailbox,,\n"
    (gateway.folder / "mailboxes.csv").write_text(people)
    text = gateway.config.read_text()
    for key, value in {"retry_first_s": RETRY_S, "retry_max_s": RETRY_S, "connect_timeout_s": 1.5,
                       "reply_timeout_s": 1.5, "dot_timeout_s": 1.5}.items():  # fmt: skip
        text = "\n".join(f"{key} = {value}" if line.startswith(f"{key} =") else line for line in text.split("\n"))
    gateway.config.write_text(text + "\n".join(tables))


@contextmanager
def siege_of(mischief: Mapping[str, Mischief]) -> Iterator[Siege]:
    """The gateway runs, everybody is honest as yet."""
    with (
        wicked_hops(list(mischief)) as hops,
        next_hop() as honest,
        running_gateway(primary=honest.port, started=False) as gateway,
    ):
        _configure(gateway, hops, mischief)
        gateway.start()
        yield Siege(gateway, honest, hops, mischief)
