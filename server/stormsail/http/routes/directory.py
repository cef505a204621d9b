"""The directory over the API: who is in it, importing, what was learnt from the primary."""

from __future__ import annotations

from typing import Literal

from litestar import get, post
from litestar.params import FromQuery, JSONBody

from stormsail.clock import to_rfc3339
from stormsail.directory import EntryKind
from stormsail.domain.roles import Role
from stormsail.wire import DirectoryEntry, DirectoryPage, ImportAnswer, ImportRequest, LearntAddress, LearntList

from .given import OPERATOR, Asking, PageLimit, Parts, audited

CSV_LIMIT = 32 << 20


@get("/directory", guards=OPERATOR, tags=["directory"])
async def list_directory(
    parts: Parts,
    q: FromQuery[str] = "",
    segment: FromQuery[str | None] = None,
    kind: FromQuery[Literal["mailbox", "shared", "group", "contact", "resource"] | None] = None,
    after: FromQuery[str] = "",
    limit: PageLimit = 200,
) -> DirectoryPage:
    """Entries by address, those whose address, alias or name contains `q`."""
    wanted = EntryKind(kind) if kind is not None else None
    rows = parts.directory.list_entries(q, segment=segment, kind=wanted, after=after, limit=limit)
    entries = [
        DirectoryEntry(
            address=row.address,
            name=row.name,
            kind=row.kind,
            segment=row.segment,
            aliases=list(row.aliases),
            members=list(row.members),
        )
        for row in rows
    ]
    return DirectoryPage(entries=entries, next=entries[-1].address if len(entries) == limit else None)


@post("/directory/import", guards=OPERATOR, tags=["directory"], status_code=200, request_max_body_size=CSV_LIMIT)
async def import_directory(data: JSONBody[ImportRequest], parts: Parts, principal: Asking) -> ImportAnswer:
    """Replaces what was imported by command before; 409 where too many addresses would go and `force` is not set."""
    async with audited(parts, principal, "directory.import", data.source, "forced;" if data.force else "") as deed:
        result = await parts.directory.import_csv(
            data.csv, force=data.force, actor=principal.actor, may_delegate=principal.role.includes(Role.OWNER)
        )
        deed.detail += f" {result.entries} entries, {result.added} added, {result.removed} removed"
    return ImportAnswer(
        entries=result.entries,
        added=result.added,
        removed=result.removed,
        changed=result.changed,
        warnings=list(result.warnings),
    )


@get("/directory/learnt", guards=OPERATOR, tags=["directory"])
async def list_learnt(parts: Parts) -> LearntList:
    """Addresses that the primary takes though the directory does not list them."""
    rows = parts.directory.list_learnt()
    return LearntList(addresses=[LearntAddress(address=row.address, at=to_rfc3339(row.at)) for row in rows])


ROUTES = [list_directory, import_directory, list_learnt]
