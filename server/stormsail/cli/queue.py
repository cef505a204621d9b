"""`stormsail queue` and `queue hold|release|retry|drop|lanes`, `stormsail trace`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from stormsail.wire import ChangedAnswer, Delivery, LaneList, QueuePage, SelectRequest, Trace, TracedMessage

from .link import open_link
from .options import DEFAULTS, Flag, Options
from .present import ago, clip, confirm_word, plural, print_json, print_out, safe, table, warn

HEAD = ("ID", "STATE", "RECIPIENT", "REVERSE PATH", "ACCEPTED", "NEXT TRY", "TRIES", "LAST REPLY")
REPLY_COLUMNS = 80


def add_queue_commands(app: App) -> None:
    """Adds these commands."""
    queue = App(name="queue", help="Deliveries: look at them, hold, release, retry or drop them.")
    queue.default(show)
    for move, command in (("hold", hold), ("release", release), ("retry", retry), ("drop", drop), ("lanes", lanes)):
        queue.command(command, name=move)
    app.command(queue)
    app.command(trace)


def show(
    *,
    id: str | None = None,
    recipient: str | None = None,
    reverse_path: str | None = None,
    domain: str | None = None,
    state: str | None = None,
    age: str | None = None,
    limit: int = 100,
    after: str | None = None,
    options: Options = DEFAULTS,
) -> int:
    """Open deliveries, oldest first; filters narrow each other. AGE: only those accepted longer ago (10m, 2h, 3d)."""
    query = {"id": id, "recipient": recipient, "reverse_path": reverse_path, "domain": domain, "state": state}
    with open_link(options.data_dir()) as link:
        answer = link.get("/queue", {**query, "age": age, "limit": limit, "after": after})
    if options.json:
        print_json(answer)
        return 0
    page = answer.read(QueuePage)
    print_out(*table(HEAD, [_row(delivery) for delivery in page.deliveries]))
    more = f", the next ones with --after {page.next}" if page.next is not None else ""
    print_out(f"{len(page.deliveries)} of {plural(page.matching, 'delivery', 'deliveries')}{more}")
    return 0


def _row(delivery: Delivery) -> tuple[object, ...]:
    due = ago(delivery.due_at) if delivery.due_at is not None else "-"
    return (
        *(delivery.id, delivery.state, delivery.recipient, delivery.reverse_path or "<>", ago(delivery.received_at)),
        *(due, delivery.attempts, clip(delivery.reply, REPLY_COLUMNS)),
    )


def hold(*selector: str, options: Options = DEFAULTS) -> int:
    """Holds waiting deliveries until they are released."""
    return _move("hold", selector, options, "held")


def release(*selector: str, options: Options = DEFAULTS) -> int:
    """Lets held deliveries go that no active event holds."""
    return _move("release", selector, options, "released")


def retry(*selector: str, options: Options = DEFAULTS) -> int:
    """Makes waiting deliveries due now."""
    return _move("retry", selector, options, "due now")


def drop(*selector: str, yes: Annotated[bool, Flag] = False, options: Options = DEFAULTS) -> int:
    """Gives deliveries up for good; copies in mailboxes here stay."""
    question = f"This gives up every delivery that {' '.join(map(safe, selector))} names, for good."
    if selector and not yes and not confirm_word("drop", question):
        warn("Nothing was dropped")
        return 1
    return _move("drop", selector, options, "dropped")


def _move(move: str, selector: tuple[str, ...], options: Options, done: str) -> int:
    """SELECTOR: all, id:…, recipient:…, reverse_path:…, domain:…, state:…, age:…; several narrow each other."""
    if not selector:
        warn("Say which deliveries: all, or id:, recipient:, reverse_path:, domain:, state:, age:")
        return 2
    with open_link(options.data_dir()) as link:
        answer = link.post(f"/queue/{move}", SelectRequest(selector=" ".join(selector)))
    if options.json:
        print_json(answer)
    else:
        print_out(f"{plural(answer.read(ChangedAnswer).changed, 'delivery', 'deliveries')} {done}")
    return 0


def lanes(options: Options = DEFAULTS) -> int:
    """Next hops: what runs and waits for each, and whether its circuit breaker keeps it closed off."""
    with open_link(options.data_dir()) as link:
        answer = link.get("/queue/lanes")
    if options.json:
        print_json(answer)
        return 0
    rows = [
        (lane.name, lane.running, lane.backlog, lane.breaker, ago(lane.open_until), lane.last_failure)
        for lane in answer.read(LaneList).lanes
    ]
    head = ("NEXT HOP", "RUNNING", "WAITING", "BREAKER", "NEXT TRIAL", "LAST FAILURE")
    print_out(*(table(head, rows) or ["No next hop was used yet"]))
    return 0


def trace(*query: str, limit: Annotated[int, Parameter()] = 20, options: Options = DEFAULTS) -> int:
    """Everything that happened to a message: by our id, Message-ID, address, words of the subject."""
    if not query:
        warn("Say what to look for: an id, a Message-ID, an address, words of the subject")
        return 2
    with open_link(options.data_dir()) as link:
        answer = link.get("/trace", {"q": " ".join(query), "limit": limit})
    if options.json:
        print_json(answer)
        return 0
    found = answer.read(Trace)
    if not found.messages:
        warn(f"No message matches {found.query}")
        return 1
    for message in found.messages:
        print_out(*message_lines(message), "")
    if found.more:
        print_out("There are more; narrow the search or raise --limit")
    return 0


def message_lines(message: TracedMessage) -> list[str]:
    """One message's story for people."""
    lines = [
        f"{message.id}  {safe(message.subject or '(subject not known)')}",
        f"  From        {safe(message.header_from or '-')}",
        f"  Message-ID  {safe(message.message_id or '-')}",
        f"  Envelope    from {safe(message.reverse_path or '<>')}, {message.size} octets, by {message.direction}",
        f"  Accepted    {ago(message.received_at)} from {safe(message.peer)} ({safe(message.helo)}) "
        f"{safe(message.tls or 'without TLS')}",
    ]
    if message.notes:
        lines.append(f"  Noted       {', '.join(map(safe, message.notes))}")
    for delivery in message.deliveries:
        lines.append(f"  To {safe(delivery.recipient)}: {delivery.state}")
        steps = [(ago(step.at), step.input, step.state, step.remote, step.reply, step.actor) for step in delivery.steps]
        lines += table(("AT", "WHAT", "STATE", "REMOTE", "REPLY", "BY"), steps, "    ")
    return lines
