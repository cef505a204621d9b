"""What a reload can take over and what it cannot. Pure."""

from __future__ import annotations

from stormsail.config import Settings
from stormsail.directory import DomainRule
from stormsail.domain.address import normal_domain

TABLES = ("server", "listen", "limits")


def domain_rules(settings: Settings) -> list[DomainRule]:
    """The domains of ours, in the directory's form."""
    return [
        DomainRule(normal_domain(domain.name), domain.primary, domain.unknown_recipients.value)
        for domain in settings.domain
    ]


def needs_restart(old: Settings, fresh: Settings) -> list[str]:
    """The keys that changed and have no effect before a restart."""
    changed = [name for name in TABLES if getattr(old, name) != getattr(fresh, name)]
    if old.delivery.route != fresh.delivery.route:
        changed.append("delivery.route")
    if (old.tls is None) != (fresh.tls is None):
        changed.append("tls")
    if _marks(old) != _marks(fresh):
        changed.append("primary.connector_mark.header")
    return changed


def _marks(settings: Settings) -> set[str]:
    marks = [primary.connector_mark for primary in settings.primary]
    return {mark.header.lower() for mark in marks if mark is not None}
