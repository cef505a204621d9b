"""Who is asking: somebody with a token or cookie, or a user of this machine at the control socket.

Over the control socket the kernel tells who the peer is (SO_PEERCRED): root and the service's own user are owners,
members of the operators' group are operators; the audit trail has the real user.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from dataclasses import dataclass
from typing import NamedTuple

from stormsail.accounts import Account, Session
from stormsail.domain.roles import Role

PEER_SCOPE_KEY = "stormsail.peer"


class PeerCredentials(NamedTuple):
    """What SO_PEERCRED says of the process at the other end of a Unix socket."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Principal:
    """Who is asking, and what they may do. `account` and `session` are None at the control socket."""

    actor: str
    role: Role
    account: Account | None = None
    session: Session | None = None
    by_cookie: bool = False


async def local_principal(peer: PeerCredentials, group: str) -> Principal | None:
    """The principal that a local user is; None where they may not ask at all. Looks users up off the loop."""
    return await asyncio.to_thread(_look_up, peer, group)


def _look_up(peer: PeerCredentials, group: str) -> Principal | None:
    try:
        name = pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        name = str(peer.uid)
    actor = f"uid:{name}"
    if peer.uid in (0, os.geteuid()):
        return Principal(actor, Role.OWNER)
    if _is_member(name, peer.gid, group):
        return Principal(actor, Role.OPERATOR)
    return None


def _is_member(name: str, gid: int, group: str) -> bool:
    try:
        wanted = grp.getgrnam(group).gr_gid
    except KeyError:
        return False
    try:
        return wanted == gid or wanted in os.getgrouplist(name, gid)
    except KeyError:
        return False
