"""What a next hop may do to whoever brings it mail: wrong, endless, slow, early, unasked, coloured, broken answers.

In: nothing; contexts for TLS come from the caller. Out: deeds by name, for `WickedHop`.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from stormsail.domain.replies import Stage

from .wicked_hop import KEYWORDS, Deed, Gone, Peer, dialogue

PAINT = b"\x1b[2J\x1b]0;owned\x07\x9b31m\x00\x7f\xc2\x9b\xe2\x80\xae"
STAGES = (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT)
LARGE = 8_000_000
"""More than the buffers between two sockets hold."""


@dataclass(frozen=True)
class Mischief:
    """A deed, how large a message it needs, and whether the hop offers STARTTLS."""

    do: Deed
    octets: int = 0
    tls: bool = False


def at(stage: Stage, answer: bytes | Deed) -> Mischief:
    """An otherwise honest session."""
    return Mischief(lambda peer: dialogue(peer, {stage: answer}))


def pouring(data: bytes, first: bytes = b"") -> Deed:
    def pour(peer: Peer) -> None:
        peer.say(first)
        peer.pour(data)

    return pour


def dripping(data: bytes, pause_s: float) -> Deed:
    return lambda peer: peer.drip(data, pause_s)


def leave(_: Peer) -> None:
    raise Gone


def reset(peer: Peer) -> None:
    peer.reset()


def fall_silent(peer: Peer) -> None:
    peer.until_gone()


def speak_first(peer: Peer) -> None:
    """Answers to questions that were not asked yet, in pieces, so that they do not fit what is asked."""
    peer.say(b"220 wicked.test\r\n250 an answer to EHLO\r\n")
    peer.hear()
    peer.say(b"250-wicked.test\r\n")
    time.sleep(0.05)
    peer.say(b"250-PIPELINING\r\n250 8BITMIME\r\n")
    dialogue(peer, {Stage.GREETING: b""})


def interrupt(answer: bytes) -> Deed:
    """Answers when a part of the text is there, and reads no further: the end cannot have come yet."""

    def answer_early(peer: Peer) -> None:
        peer.say(b"354 go ahead\r\n")
        peer.hear_some(100_000)
        peer.say(answer)
        peer.deaf_until_gone()

    return answer_early


def stop_reading(peer: Peer) -> None:
    peer.say(b"354 go ahead\r\n")
    peer.hear_some(1000)
    peer.deaf_until_gone()


def chatter(peer: Peer) -> None:
    """Takes the message and goes on talking."""
    peer.texts[-1].answer = b"250 2.0.0 ok\r\n"
    peer.say(b"250 2.0.0 ok\r\n250 2.0.0 ok\r\n354 more\r\n421 4.3.2 " + PAINT + b"\r\n")


def secured(then: Callable[[Peer, ssl.SSLContext], None], context: ssl.SSLContext) -> Mischief:
    """Offers STARTTLS and spoils it; where none comes it has no time for mail in clear."""

    def do(peer: Peer) -> None:
        peer.say(b"220 wicked.test\r\n")
        peer.hear()
        peer.say(b"250-wicked.test\r\n250 STARTTLS\r\n")
        if peer.hear().strip().upper() == b"STARTTLS":
            peer.say(b"220 2.0.0 go ahead\r\n")
            then(peer, context)
        else:
            peer.say(b"421 4.3.2 not now\r\n")

    return Mischief(do, tls=True)


def garbled_handshake(peer: Peer, _: ssl.SSLContext) -> None:
    peer.hear_some(10)
    peer.say(b"\x16\x03\x03\xff\xff" + b"\0" * 70_000)
    peer.until_gone()


def handshake_then(last: Callable[[Peer], None]) -> Callable[[Peer, ssl.SSLContext], None]:
    def then(peer: Peer, context: ssl.SSLContext) -> None:
        peer.start_tls(context).close()
        last(peer)

    return then


def plain_words_in_tls(peer: Peer, context: ssl.SSLContext) -> None:
    bare = peer.start_tls(context)
    bare.sendall(b"250-wicked.test\r\n250 STARTTLS\r\n")
    bare.close()
    peer.until_gone()


def cut_in_tls(peer: Peer, context: ssl.SSLContext) -> None:
    """All goes well up to the text."""
    bare = peer.start_tls(context)

    def cut(_: Peer) -> None:
        bare.close()
        peer.reset()

    peer.hear()
    peer.say(KEYWORDS)
    dialogue(peer, {Stage.GREETING: b"", Stage.DATA: cut})


def wrong_answers() -> dict[str, Mischief]:
    """Answers that mean nothing where they come, at each stage."""
    always = {"999": b"999 9.9.9 what\r\n", "no code": b"yes of course\r\n"}
    seldom = {"half a code": b"25\r\n", "nothing": b"\r\n", "199": b"199 wait\r\n", "NUL": b"\0\0\0\r\n"}
    deeds = {f"{name} at {stage.value}": at(stage, answer) for name, answer in always.items() for stage in STAGES}
    for stage in (Stage.RCPT, Stage.DOT):
        deeds |= {f"{name} at {stage.value}": at(stage, answer) for name, answer in seldom.items()}
    for stage in (Stage.MAIL, Stage.RCPT, Stage.DOT):
        deeds[f"354 at {stage.value}"] = at(stage, b"354 go ahead\r\n")
    deeds["250 where 354 is due"] = at(Stage.DATA, b"250 2.0.0 ok\r\n")
    deeds["codes that differ in one reply"] = at(Stage.DOT, b"250-2.0.0 ok\r\n451 4.3.0 or not\r\n")
    return deeds


def painted_answers() -> dict[str, Mischief]:
    return {
        f"paint at {stage.value}": at(stage, b"451-4.3.0 " + PAINT + b"\r\n451 4.3.0 a\rb" + PAINT + b"\r\n")
        for stage in (Stage.GREETING, Stage.EHLO, *STAGES)
    }


def endless_answers() -> dict[str, Mischief]:
    deeds = {}
    for stage in (Stage.GREETING, Stage.EHLO, *STAGES):
        code = {Stage.GREETING: b"220", Stage.DATA: b"354"}.get(stage, b"250")
        deeds[f"endless lines at {stage.value}"] = at(stage, pouring(code + b"-still here\r\n" * 1000))
        deeds[f"endless line at {stage.value}"] = at(stage, pouring(b"x" * 65_536, code + b" "))
        deeds[f"one octet a second at {stage.value}"] = at(stage, dripping(code + b" 2.0.0 ok\r\n", 1.0))
    return deeds


def mischief(context: ssl.SSLContext) -> dict[str, Mischief]:
    """All of it by name."""
    lines = b"".join(b"250-X-%d\r\n" % number for number in range(10_000))
    return {
        "talks before its banner": at(Stage.GREETING, b"250 hello\r\n220 wicked.test\r\n"),
        "greets twice": at(Stage.GREETING, b"220 wicked.test\r\n220 wicked.test\r\n"),
        "speaks another protocol": at(Stage.GREETING, b"SSH-2.0-OpenSSH_9.2\r\n"),
        "answers before it is asked": Mischief(speak_first),
        "EHLO with 10,000 lines": at(Stage.EHLO, lines + b"250 8BITMIME\r\n"),
        "EHLO with paint": at(Stage.EHLO, b"250-" + PAINT + b"\r\n250-SIZE " + PAINT + b"\r\n250 X\r\n"),
        "a SIZE of five thousand digits": at(Stage.EHLO, b"250-wicked.test\r\n250 SIZE " + b"9" * 5000 + b"\r\n"),
        "a SIZE in superscript": at(Stage.EHLO, "250-wicked.test\r\n250 SIZE ²\r\n".encode()),
        "a SIZE below nothing": at(Stage.EHLO, b"250-wicked.test\r\n250 SIZE -1\r\n"),
        "leaves after RCPT": at(Stage.RCPT, leave),
        "falls silent after RCPT": at(Stage.RCPT, fall_silent),
        "250 before the dot": at(Stage.DATA, b"354 go ahead\r\n250 2.0.0 ok\r\n"),
        "250 in the middle of the text": Mischief(at(Stage.DATA, interrupt(b"250 2.0.0 ok\r\n")).do, LARGE),
        "451 in the middle of the text": Mischief(at(Stage.DATA, interrupt(b"451 4.3.0 no\r\n")).do, LARGE),
        "nonsense in the middle of the text": Mischief(at(Stage.DATA, interrupt(PAINT + b"\r\n")).do, LARGE),
        "stops reading": Mischief(at(Stage.DATA, stop_reading).do, LARGE),
        "goes on talking": at(Stage.DOT, chatter),
        "leaves after the dot": at(Stage.DOT, leave),
        "resets after the dot": at(Stage.DOT, reset),
        "falls silent after the dot": at(Stage.DOT, fall_silent),
        "resets in the handshake": secured(lambda peer, _: peer.reset(), context),
        "a garbled handshake": secured(garbled_handshake, context),
        "no handshake at all": secured(lambda peer, _: peer.until_gone(), context),
        "resets after the handshake": secured(handshake_then(reset), context),
        "leaves after the handshake": secured(handshake_then(leave), context),
        "pours after the handshake": secured(handshake_then(pouring(b"250-x\r\n" * 1000)), context),
        "plain words inside TLS": secured(plain_words_in_tls, context),
        "resets inside TLS": secured(cut_in_tls, context),
        **wrong_answers(),
        **painted_answers(),
        **endless_answers(),
    }  # fmt: skip
