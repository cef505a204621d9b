"""Where a lane leads: the next hops of a primary or smarthost as configured, of a domain by MX (RFC 5321 §5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from stormsail.config import DeliverySettings, PrimarySettings
from stormsail.config.settings import parse_listener
from stormsail.domain.errors import NextHopUnavailable
from stormsail.domain.outcome import RetrySchedule
from stormsail.resolver import Resolver
from stormsail.smtpclient import NextHop, hops_of_primary
from stormsail.smtpclient.transaction import Timeouts

DRAIN_SHARE = 2 / 3
"""Of a lane's connections, what a drain may take; the rest is for new mail."""


class LanePolicy(msgspec.Struct, frozen=True):
    """How a lane is used."""

    to_primary: str | None
    """The name of the primary it leads to; None: to the internet."""
    connections: int
    drain_connections: int
    connect_timeout_s: float
    timeouts: Timeouts
    schedule: RetrySchedule


class Hops:
    """Knows all lanes by their names (`primary:NAME`, `smarthost`, `mx:DOMAIN`)."""

    def __init__(
        self, primaries: Sequence[PrimarySettings], delivery: DeliverySettings, base: Path, resolver: Resolver
    ) -> None:
        self._primaries = {primary.name: primary for primary in primaries}
        self._delivery = delivery
        self._base = base
        self._resolver = resolver

    def policy(self, lane: str) -> LanePolicy:
        """How the lane is used. A primary that is no longer configured has no connections."""
        delivery = self._delivery
        kind, _, name = lane.partition(":")
        if kind == "primary":
            primary = self._primaries.get(name)
            connections = primary.connections if primary is not None else 0
            drain = min(primary.drain.connections, max(1, int(connections * DRAIN_SHARE))) if primary else 0
        else:
            connections, drain = delivery.connections_per_domain, 0
        if kind == "smarthost":
            connections *= 4
        return LanePolicy(
            name if kind == "primary" else None,
            connections,
            drain,
            delivery.connect_timeout_s,
            Timeouts(delivery.reply_timeout_s, delivery.dot_timeout_s),
            RetrySchedule(delivery.retry_first_s, delivery.retry_max_s),
        )

    async def next_hops(self, lane: str) -> list[NextHop]:
        """The hops to try in order. Raises NoMailHost or NextHopUnavailable for a domain of the internet."""
        kind, _, name = lane.partition(":")
        if kind == "primary":
            primary = self._primaries.get(name)
            if primary is None:
                raise NextHopUnavailable(f"There is no primary {name} any more")
            return hops_of_primary(primary, self._base)
        if kind == "smarthost":
            return [self._smarthost()]
        hosts = await self._resolver.mail_hosts(name)
        delivery = self._delivery
        return [
            NextHop(host.name, address, delivery.mx_port, delivery.mx_tls)
            for host in hosts
            for address in host.addresses
        ]

    def _smarthost(self) -> NextHop:
        delivery = self._delivery
        place = parse_listener(delivery.smarthost or "")
        secret = delivery.smarthost_password
        password = secret.read(self._base) if secret is not None else None
        return NextHop(
            place.host, place.host, place.port, delivery.smarthost_tls, None, delivery.smarthost_user, password
        )
