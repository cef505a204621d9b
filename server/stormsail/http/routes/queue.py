"""Deliveries over the API: the queue with filters, next hops, and moving what a selector names. Deeds are audited."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from stormsail.domain.errors import NotFound
from stormsail.domain.states import OPEN
from stormsail.http.lanes import show_lane
from stormsail.http.parts import ApiParts
from stormsail.http.shown import parse_id, show_delivery
from stormsail.ledger import QueueFilter, parse_selector
from stormsail.wire import ChangedAnswer, LaneList, QueuePage, SelectRequest

from .given import OPERATOR, Asking, PageLimit, Parts, audited

DeliveryStateWord = Annotated[str | None, QueryParameter(name="state")]
Age = Annotated[str | None, QueryParameter(description="Only those accepted longer ago: 30s, 10m, 2h, 3d")]


@get("/queue", guards=OPERATOR, tags=["queue"])
async def read_queue(
    parts: Parts,
    id: FromQuery[str | None] = None,
    recipient: FromQuery[str | None] = None,
    reverse_path: FromQuery[str | None] = None,
    domain: FromQuery[str | None] = None,
    delivery_state: DeliveryStateWord = None,
    lane: FromQuery[str | None] = None,
    age: Age = None,
    after: FromQuery[str | None] = None,
    limit: PageLimit = 100,
) -> QueuePage:
    """A page of deliveries, oldest first: open ones, or those in the state asked for. Filters narrow each other."""
    words = {"id": id, "recipient": recipient, "reverse_path": reverse_path, "domain": domain}
    words |= {"state": delivery_state, "lane": lane, "age": age}
    chosen = filter_of({key: value for key, value in words.items() if value is not None})
    now = parts.clock.now_ms()
    start = parse_id(after, "delivery") if after is not None else 0
    rows = await parts.reader.queue(chosen, now, start, limit)
    shown = [show_delivery(row, message) for row, message in rows]
    return QueuePage(
        deliveries=shown,
        matching=await _count(parts, chosen, now),
        next=shown[-1].id if len(shown) == limit else None,
    )


@get("/queue/lanes", guards=OPERATOR, tags=["queue"])
async def read_lanes(parts: Parts) -> LaneList:
    """Next hops: what waits for each, and whether its circuit breaker keeps it closed off."""
    waiting = await parts.reader.waiting_counts()
    return LaneList(lanes=[show_lane(lane, waiting.get(lane.name, 0)) for lane in parts.queue.lanes()])


@post("/queue/{move:str}", guards=OPERATOR, tags=["queue"], status_code=200)
async def move_deliveries(
    move: FromPath[str], data: JSONBody[SelectRequest], parts: Parts, principal: Asking
) -> ChangedAnswer:
    """`hold`, `release`, `retry` or `drop` the deliveries that the selector names."""
    moves = {
        "hold": parts.queue.hold,
        "release": parts.queue.release,
        "retry": parts.queue.retry,
        "drop": parts.queue.drop,
    }
    if move not in moves:
        raise NotFound("The queue knows hold, release, retry and drop")
    chosen = parse_selector(data.selector)
    async with audited(parts, principal, f"queue.{move}", data.selector) as deed:
        changed = await moves[move](chosen, principal.actor)
        deed.detail = f"{changed} deliveries"
    return ChangedAnswer(changed=changed)


def filter_of(words: dict[str, str]) -> QueueFilter:
    """The filter of query parameters. Raises BadRequest. Values with blanks, such as quoted local parts, are kept."""
    plain = {key: value for key, value in words.items() if key in ("recipient", "reverse_path", "lane")}
    rest = " ".join(f"{key}:{value}" for key, value in words.items() if key not in plain)
    chosen = parse_selector(rest or "all")
    plain = {key: "" if value == "<>" else value for key, value in plain.items()}
    return QueueFilter(
        chosen.id,
        plain.get("recipient"),
        plain.get("reverse_path"),
        chosen.domain,
        chosen.state,
        plain.get("lane"),
        chosen.older_than_ms,
    )


async def _count(parts: ApiParts, chosen: QueueFilter, now: int) -> int:
    """How many match; by state alone the running tally knows."""
    if chosen == QueueFilter(state=chosen.state):
        tally = await parts.reader.tally()
        states = OPEN if chosen.state is None else {chosen.state}
        return sum(tally.get(state, 0) for state in states)
    return await parts.reader.queue_count(chosen, now)


ROUTES = [read_queue, read_lanes, move_deliveries]
