"""Accounts on a clock that tests set, with password hashing that costs next to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from argon2 import PasswordHasher

from stormsail.accounts import Accounts, Passwords
from testkit.clock import SetClock

PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@asynccontextmanager
async def open_accounts(
    data_dir: Path, clock: SetClock | None = None, canonical: Callable[[str], str | None] = lambda key: None
) -> AsyncIterator[Accounts]:
    """Accounts between start and stop."""
    accounts = Accounts(data_dir, clock or SetClock(), canonical, Passwords(CHEAP))
    await accounts.start()
    try:
        yield accounts
    finally:
        await accounts.stop()
