"""The routes of the API, a file a subject. They convert and guard; what is done, others do."""

from . import accounts, directory, events, mailboxes, open, people, queue, sending, status, stream, trace, upkeep

API_ROUTES = [
    *status.ROUTES,
    *events.ROUTES,
    *queue.ROUTES,
    *trace.ROUTES,
    *mailboxes.ROUTES,
    *sending.ROUTES,
    *people.ROUTES,
    *accounts.ROUTES,
    *directory.ROUTES,
    *stream.ROUTES,
    *upkeep.ROUTES,
]
OPEN_ROUTES = open.ROUTES

__all__ = ["API_ROUTES", "OPEN_ROUTES"]
