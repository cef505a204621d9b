"""Where a lane leads: the next hops of a primary or smarthost as configured, of a domain by MX (RFC 5321 §5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from stormsail.config import DeliverySettings, PrimarySettings
from stormsail.config.settings import parse_listener
from stormsail.domain.errors import NextHopUnavailable
from stormsail.domain.outcome import RetrySchedule
from stormsail.domain.routing import outward_lane, primary_lane
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
        self,
        primaries: Sequence[PrimarySettings],
        domains: Mapping[str, str],
        delivery: DeliverySettings,
        base: Path,
        resolver: Resolver,
    ) -> None:
        self._domains = domains
        """Of ours, with the name of the primary that each belongs to."""
        self._primaries = {primary.name: primary for primary in primaries}
        self._delivery = delivery
        self._base = base
        self._resolver = resolver

    def usable_lane(self, lane: str, domain: str) -> str | None:
        """The lane itself where it leads somewhere, else the one that mail for the domain takes now, if any.

        What was for a primary never goes out to the internet because its domain is not configured any more.
        """
        if self.policy(lane).connections:
            return lane
        primary = self._domains.get(domain)
        if primary is not None:
            return primary_lane(primary)
        return None if lane.startswith(primary_lane("")) else outward_lane(domain, self._uses_smarthost)

    @property
    def _uses_smarthost(self) -> bool:
        return self._delivery.route == "smarthost"

    def policy(self, lane: str) -> LanePolicy:
        """How the lane is used. One that the configuration does not have, or no longer, has no connections."""
        delivery = self._delivery
        kind, _, name = lane.partition(":")
        if kind == "primary":
            primary = self._primaries.get(name)
            connections = primary.connections if primary is not None else 0
            drain = min(primary.drain.connections, max(1, int(connections * DRAIN_SHARE))) if primary else 0
        elif kind == "smarthost":
            connections, drain = delivery.connections_per_domain * 4 if self._uses_smarthost else 0, 0
        else:
            connections, drain = 0 if self._uses_smarthost else delivery.connections_per_domain, 0
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
