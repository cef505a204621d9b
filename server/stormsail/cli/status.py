"""`stormsail status`."""

from __future__ import annotations

from cyclopts import App

from stormsail.wire import Status

from .events import event_table
from .link import open_link
from .options import DEFAULTS, Options
from .present import ago, duration, plural, print_json, print_out, safe, table


def add_status_commands(app: App) -> None:
    """Adds the command."""
    app.command(status)


def status(options: Options = DEFAULTS) -> int:
    """Verdicts, events, queue, alerts, age of the directory, health of the gateway itself."""
    with open_link(options.data_dir()) as link:
        answer = link.get("/status")
    if options.json:
        print_json(answer)
    else:
        print_out(*status_lines(answer.read(Status)))
    return 0


def status_lines(now: Status) -> list[str]:
    """The status for people."""
    queue = now.queue
    open_now = {name: getattr(queue, name) for name in queue.__struct_fields__ if name != "oldest_age_s"}
    totals = {name: getattr(now.totals, name) for name in now.totals.__struct_fields__}
    age = "never imported" if now.directory.age_s is None else f"{duration(now.directory.age_s)} old"
    oldest = "" if queue.oldest_age_s is None else f", the oldest {duration(queue.oldest_age_s)} old"
    return [
        f"Stormsail {safe(now.version)} at {safe(now.hostname)}, up {duration(now.uptime_s)}",
        "",
        *(event_table(now.events) or ["No continuity event: mail is handed to the primary."]),
        "",
        f"Open       {_counts(open_now)}{oldest}",
        f"So far     {_counts(totals)}",
        f"Directory  {plural(now.directory.mailboxes, 'mailbox', 'mailboxes')} in "
        f"{plural(now.directory.segments, 'segment')}, {age}",
        f"People     {now.readiness.can_sign_in} of {now.readiness.people} can sign in",
        *_verdict_lines(now),
        *[f"Alert      {safe(alert.statement)} ({ago(alert.at)})" for alert in now.alerts],
        *[f"{'Well' if item.ok else 'NOT WELL':<11}{safe(item.name)}: {safe(item.detail)}" for item in now.own_health],
    ]


def _verdict_lines(now: Status) -> list[str]:
    rows = [(verdict.scope, verdict.component, verdict.verdict, verdict.statement) for verdict in now.verdicts]
    return table(("SCOPE", "COMPONENT", "VERDICT", ""), rows) or ["Verdicts   none: nothing observes the primary yet"]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "nothing"
