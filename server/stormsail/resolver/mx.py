"""The mail hosts of a domain: MX in order of preference, else its own address; null MX means none.

In: a domain. Out: hosts with their addresses, to be tried in that order. Fails with NoMailHost where there certainly
is none (RFC 7505, NXDOMAIN) and with NextHopUnavailable where DNS did not say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver
import msgspec

from stormsail.domain.errors import NextHopUnavailable, PermanentError

LIFETIME_S = 10.0
HOSTS_LIMIT = 10


class MailHost(msgspec.Struct, frozen=True):
    """A host that takes mail for the domain, and its addresses (IPv6 and IPv4 mixed as found)."""

    name: str
    addresses: tuple[str, ...]


class NoMailHost(PermanentError):
    """The domain does not exist or takes no mail."""

    code = "no_mail_host"
    smtp_code = 556
    smtp_enhanced = "5.1.10"


class Resolver:
    """Asks the given name servers (`HOST` or `HOST:PORT`), or the system's where none are given."""

    def __init__(self, servers: Sequence[str] = (), chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            places = [server.rpartition(":") if ":" in server else (server, ":", "53") for server in servers]
            self._resolver.nameservers = [host for host, _, _ in places]
            self._resolver.nameserver_ports = {host: int(port) for host, _, port in places}
        self._resolver.lifetime = LIFETIME_S
        self._resolver.cache = dns.resolver.LRUCache(4096)

    async def mail_hosts(self, domain: str) -> list[MailHost]:
        """Where mail for the domain goes, the first to try first. Raises NoMailHost or NextHopUnavailable."""
        if domain.startswith("["):
            literal = domain.strip("[]").removeprefix("IPv6:")
            return [MailHost(literal, (literal,))]
        records = await self._ask(domain, "MX")
        if records is None:
            raise NoMailHost(f"The domain {domain} does not exist")
        exchanges = sorted((record.preference, self._chance(), str(record.exchange).rstrip(".")) for record in records)
        if any(name == "" for _, _, name in exchanges):
            raise NoMailHost(f"The domain {domain} takes no mail")
        names = [name for _, _, name in exchanges] or [domain]
        hosts = [MailHost(name, await self._addresses(name)) for name in names[:HOSTS_LIMIT]]
        usable = [host for host in hosts if host.addresses]
        if not usable:
            if not exchanges:
                raise NoMailHost(f"The domain {domain} has no mail host")
            raise NextHopUnavailable(f"The mail hosts of {domain} have no addresses")
        return usable

    async def _addresses(self, name: str) -> tuple[str, ...]:
        """A and AAAA of a host; one that fails does not hide the other."""
        found: list[str] = []
        failures = 0
        for kind in ("A", "AAAA"):
            try:
                found += [str(record.address) for record in await self._ask(name, kind) or []]
            except NextHopUnavailable:
                failures += 1
        if not found and failures:
            raise NextHopUnavailable(f"The addresses of {name} cannot be looked up now")
        return tuple(found)

    async def _ask(self, name: str, kind: str) -> list[Any] | None:
        """The records; empty where the name has none of the kind, None where it does not exist."""
        try:
            answer = await self._resolver.resolve(name + ".", kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return None
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise NextHopUnavailable(f"DNS did not answer for {name}: {type(error).__name__}") from error
        return list(answer)
