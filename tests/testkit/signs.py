"""What senders hear, readers see and the gateway says of itself while its disk is ill."""

from __future__ import annotations

from .correspondent import Correspondent
from .gateway import Gateway

FOR_NOW = {"421", "451", "452"}
"""What a sender may be told for whom there is no room, or no disk."""


def codes(witness: Correspondent) -> set[str]:
    """What was said to senders whose message was not taken."""
    return {words[:3] for letter in witness.letters for words in letter.refused}


def refusals(witness: Correspondent) -> int:
    """How often a sender was told something else than 250."""
    return sum(len(letter.refused) for letter in witness.letters)


def lost_replies(witness: Correspondent) -> int:
    """How often a sender sent a whole message and heard nothing."""
    return sum(letter.lost for letter in witness.letters)


def healthy(gateway: Gateway) -> bool:
    """Whether the gateway itself says that its store is well."""
    return all(one["ok"] for one in gateway.status()["own_health"] if one["name"] in ("store", "disk"))


def readable(gateway: Gateway, token: str, mailbox: str) -> int:
    """How many messages a person, signed in already, can list and read whole."""
    with gateway.as_person(token) as person:
        listed = person.get(f"/mailboxes/{mailbox}/messages", params={"limit": 500})
        assert listed.status_code == 200, listed.text
        sources = [person.get(f"/messages/{one['id']}/raw") for one in listed.json()["messages"]]
    assert all(one.status_code == 200 and one.content for one in sources), [one.status_code for one in sources]
    return len(sources)
