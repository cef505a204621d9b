"""Mail from outside that the primary refused is kept where its recipient finds it (DESIGN §3.9): Junk, or Inbox if
it was only too large."""

from __future__ import annotations

import asyncio

import structlog

from stormsail.delivery import Leg
from stormsail.domain.errors import StormsailError
from stormsail.domain.ids import id_to_text
from stormsail.domain.replies import ReplyClass
from stormsail.mailstore import Mailstore

log = structlog.get_logger()


class RefusedMail:
    """Moves copies of refused mail."""

    def __init__(self, mailstore: Mailstore) -> None:
        self._mailstore = mailstore
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, message_id: int, leg: Leg, about: ReplyClass) -> None:
        """The primary refused the message for this recipient."""
        log.warning("refused_by_primary", message=id_to_text(message_id), about=about.value)
        if about is ReplyClass.MESSAGE_REFUSED and leg.mailbox is not None:
            task = asyncio.get_running_loop().create_task(self._file(message_id, leg.mailbox))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _file(self, message_id: int, mailbox: str) -> None:
        try:
            await self._mailstore.file_refused(message_id, mailbox, "junk")
        except StormsailError as error:
            log.warning("refused_copy_not_moved", message=id_to_text(message_id), why=error.sentence)
