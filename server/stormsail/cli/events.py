"""`stormsail events`, `activate`, `end`, `pause`, `resume`, `report`: continuity events (DESIGN §5)."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from cyclopts import App, Parameter

from stormsail.wire import ActivateRequest, EndRequest, Event, EventList, EventReport, MailboxBalance

from .link import Answered, Link, open_link
from .options import DEFAULTS, Flag, Options
from .present import ago, confirm_word, duration, plural, print_json, print_out, safe, table, warn

EVENT_HEAD = ("ID", "SCOPE", "STATE", "HELD", "HANDED BACK", "LEFT", "STARTED", "BY", "REASON")
BALANCE_HEAD = ("MAILBOX", "CAME IN", "HANDED BACK", "FILED ONLY HERE", "REFUSED", "DROPPED", "STILL OPEN")
PAGE = 1000


def add_event_commands(app: App) -> None:
    """Adds these commands."""
    for name, command in (("events", events), ("report", report), ("activate", activate), ("end", end)):
        app.command(command, name=name)
    app.command(pause)
    app.command(resume)


def event_table(rows: list[Event]) -> list[str]:
    """Events, a line each."""
    return table(
        EVENT_HEAD,
        [
            (event.id, event.scope, "paused" if event.paused else event.state, event.held, event.handed_back)
            + (duration(event.eta_s) if event.eta_s is not None else "-",)
            + (ago(event.started_at), event.started_by, event.reason)
            for event in rows
        ],
    )


def events(*, every: Annotated[bool, Flag, Parameter(name="--all")] = False, options: Options = DEFAULTS) -> int:
    """Continuity events that are not closed; all of them with --all."""
    with open_link(options.data_dir()) as link:
        answer = link.get("/events", {"state": "any" if every else "open"})
    if options.json:
        print_json(answer)
    else:
        print_out(*(event_table(answer.read(EventList).events) or ["No continuity event"]))
    return 0


def activate(
    *,
    scope: str,
    reason: str,
    yes: Annotated[bool, Flag] = False,
    options: Options = DEFAULTS,
) -> int:
    """Starts an event: mail for SCOPE (all, domain:NAME, segment:NAME, mailbox:ADDRESS) is held, people work here."""
    whole = scope.strip() == "all"
    if whole and not yes and not confirm_word("all", "This holds the mail of the whole organisation here."):
        warn("Nothing was activated")
        return 1
    with open_link(options.data_dir()) as link:
        answer = link.post("/events", ActivateRequest(scope=scope, reason=reason))
    return _say_event(answer, options, "is active")


def end(event: str, *, force: Annotated[bool, Flag] = False, options: Options = DEFAULTS) -> int:
    """Ends an event: tries one held message per segment, then hands everything back."""
    with open_link(options.data_dir()) as link:
        answer = link.post(f"/events/{_id(event)}/end", EndRequest(force=force))
    return _say_event(answer, options, "is handing back")


def pause(event: str, options: Options = DEFAULTS) -> int:
    """Halts the handing back of an event."""
    with open_link(options.data_dir()) as link:
        answer = link.post(f"/events/{_id(event)}/pause")
    return _say_event(answer, options, "is paused")


def resume(event: str, options: Options = DEFAULTS) -> int:
    """Goes on handing back."""
    with open_link(options.data_dir()) as link:
        answer = link.post(f"/events/{_id(event)}/resume")
    return _say_event(answer, options, "is handing back")


def report(event: str, *, messages: Annotated[bool, Flag] = False, options: Options = DEFAULTS) -> int:
    """The event's balance: came in = handed back + filed only here + refused + dropped + still open."""
    with open_link(options.data_dir()) as link:
        whole = _whole_report(link, event, messages)
    if options.json:
        print_json(whole)
        return 0
    found = Answered(msgspec.json.encode(whole)).read(EventReport)
    print_out(*report_lines(found))
    return 0 if found.balanced else 1


def report_lines(found: EventReport) -> list[str]:
    """The report for people."""
    total = found.balance
    whole = ("all", total.came_in, total.handed_back, total.filed_only_here, total.refused, total.dropped)
    lines = [
        *event_table([found.event]),
        "",
        *table(BALANCE_HEAD, [(*whole, total.still_open), *map(_balance_row, found.mailboxes)]),
        "",
        "The balance comes out."
        if found.balanced
        else "THE BALANCE DOES NOT COME OUT: please run stormsail ledger check.",
        "",
        *table(("AT", "WHAT", "WHO", "DETAIL"), [(ago(x.at), x.kind, x.actor, x.detail) for x in found.timeline]),
    ]
    if found.messages is not None:
        rows = [
            (x.message_id, ago(x.received_at), x.reverse_path or "<>", x.recipient, x.state) for x in found.messages
        ]
        lines += ["", *table(("MESSAGE", "RECEIVED", "REVERSE PATH", "RECIPIENT", "STATE"), rows)]
    return lines


def _balance_row(one: MailboxBalance) -> tuple[object, ...]:
    return (one.mailbox, one.came_in, one.handed_back, one.filed_only_here, one.refused, one.dropped, one.still_open)


def _whole_report(link: Link, event: str, messages: bool) -> dict[str, Any]:
    """The report with all pages of its messages."""
    query: dict[str, Any] = {"messages": "true" if messages else "false", "limit": PAGE}
    whole: dict[str, Any] = link.get(f"/events/{_id(event)}/report", query).read(dict)
    page = whole
    while page["next"] is not None:
        page = link.get(f"/events/{_id(event)}/report", {**query, "after": page["next"]}).read(dict)
        whole["messages"] += page["messages"]
    return {**whole, "next": None}


def _say_event(answer: Answered, options: Options, what: str) -> int:
    if options.json:
        print_json(answer)
    else:
        event = answer.read(Event)
        print_out(
            f"Event {event.id} over {safe(event.scope)} {what}, {plural(event.held, 'delivery', 'deliveries')} held"
        )
    return 0


def _id(text: str) -> str:
    """An id as a path segment."""
    return quote(text, safe="")
