"""Passwords: argon2id (RFC 9106) in threads, so few at once that signing in never starves the mail.

In: a password and the hash kept of it. Out: whether they fit. An unknown address costs the same time as a known one.
Fails with Overloaded where too many wait, BadRequest for a password that is too weak to be set.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from stormsail.domain.errors import BadRequest, Overloaded

AT_ONCE = 2
WAITING_LIMIT = 200
SHORTEST = 10
FEWEST_LETTERS = 4

Result = TypeVar("Result")


class Passwords:
    """Hashes and compares; `close` when done."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(AT_ONCE, "stormsail-argon2")
        self._waiting = 0
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """The hash to keep of a new password."""
        return await self._run(lambda: self._hash(password))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether the password fits; without a kept hash the same work is done, and the answer is no."""
        return await self._run(lambda: self._verify(kept, password))

    def outdated(self, kept: str) -> bool:
        """Whether a fitting password should be hashed anew, with today's parameters."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        """Ends the threads; what is being computed is thrown away."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= WAITING_LIMIT:
            raise Overloaded("Too many people are signing in at this moment, please try again shortly")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_normal(password))

    def _verify(self, kept: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(kept or self._nobody(), _normal(password)) and kept is not None
        except (VerificationError, InvalidHashError):
            return False

    def _nobody(self) -> str:
        if not self._nobodys:
            self._nobodys = self._hasher.hash(secrets.token_hex())
        return self._nobodys


def check_strength(password: str, address: str) -> None:
    """Raises BadRequest for a password that would be guessed at once."""
    plain = _normal(password)
    if len(plain) < SHORTEST:
        raise BadRequest(f"A password has at least {SHORTEST} characters")
    if len(set(plain)) < FEWEST_LETTERS or plain.lower() in (address.lower(), address.partition("@")[0].lower()):
        raise BadRequest("That password would be guessed at once, please take another")


def _normal(password: str) -> str:
    """The same password from every keyboard (RFC 8265 §4.2.2)."""
    return unicodedata.normalize("NFC", password)
