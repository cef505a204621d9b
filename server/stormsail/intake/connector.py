"""Who may hand us mail for the world: the trust rule of the connector door (DESIGN §3.5).

A vendor's networks are shared by all its customers. So a peer in `connector_networks` is enough only where
`connector_trust = "dedicated"`; else the message must carry the tenant's mark exactly once with a listed value.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from stormsail.config import PrimarySettings
from stormsail.domain.errors import UntrustedPeer

from .body import HeaderFacts


class ConnectorRule:
    """The networks and marks of all primaries."""

    def __init__(self, primaries: Sequence[PrimarySettings]) -> None:
        self.replace(primaries)

    def replace(self, primaries: Sequence[PrimarySettings]) -> None:
        """Takes the primaries of a reloaded configuration; a mark with a new field name needs a restart."""
        self._primaries = [
            (primary, [ipaddress.ip_network(text) for text in primary.connector_networks]) for primary in primaries
        ]

    @property
    def marks(self) -> frozenset[str]:
        """The names of the header fields that are tenants' marks."""
        marks = [primary.connector_mark for primary, _ in self._primaries]
        return frozenset(mark.header for mark in marks if mark is not None)

    def admits(self, peer: str) -> bool:
        """Whether any primary's mail may come from that address."""
        return bool(self._candidates(peer))

    def check_message(self, peer: str, facts: HeaderFacts) -> None:
        """Raises UntrustedPeer where no primary vouches for the message."""
        for primary in self._candidates(peer):
            if primary.connector_trust == "dedicated":
                return
            mark = primary.connector_mark
            if mark is None:
                continue
            values = facts.values(mark.header.lower().encode())
            listed = {value.lower() for value in mark.values}
            if len(values) == 1 and values[0].decode("utf-8", "replace").strip().lower() in listed:
                return
        raise UntrustedPeer("The message does not carry the mark of an organisation that we send mail for")

    def _candidates(self, peer: str) -> list[PrimarySettings]:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return []
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return [
            primary
            for primary, networks in self._primaries
            if any(address.version == network.version and address in network for network in networks)
        ]
