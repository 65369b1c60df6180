"""Passwords: hashed and checked, beside the event loop.

Argon2id with 46 MiB and one pass, as OWASP recommends: some 50 ms of one processor. A hash tells what it was made with,
so these figures may be raised: `Passwords.is_outdated` finds hashes that are to be made anew.
"""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from projecthub.errors import InvalidArgument, RateLimited
from projecthub.files.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from argon2 import PasswordHasher

LEAST: Final = 8
"""Characters of a password at least."""
MOST: Final = 256
"""Characters of a password at most."""

_AT_ONCE: Final = 2
_WAITING: Final = 100
_MEMORY_KIB: Final = 46 * 1024

T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords: two at once, so that people who sign in leave processors to the projects."""

    def __init__(self, *, memory_kib: int = _MEMORY_KIB) -> None:
        """Make the service; tests take less memory."""
        self._memory_kib = memory_kib
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="password")
        self._under_way = 0
        self._hasher: PasswordHasher | None = None

    async def hash(self, password: str) -> str:
        """What is stored of a password.

        Raises:
            InvalidArgument: It is too short or too long.
            RateLimited: Too many are being checked.
        """
        if not LEAST <= len(password) <= MOST:
            raise InvalidArgument(f"the password has {len(password)} characters; give {LEAST} to {MOST}")
        return await self._run(lambda: self._argon2().hash(_normal(password)))

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether a password is the one that was hashed. That there is none to compare with takes as long to find out.

        Raises:
            RateLimited: Too many are being checked.
        """
        given = _normal(password[: MOST + 1])
        return await self._run(lambda: self._verify(given, stored))

    async def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other figures than today's."""
        return await self._run(lambda: self._argon2().check_needs_rehash(stored))

    def close(self) -> None:
        """End the threads; what they do is finished. Idempotent."""
        self._threads.shutdown()

    def _verify(self, password: str, stored: str | None) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        if stored is None:
            self._argon2().hash(password)  # as much work as to verify one
            return False
        try:
            return self._argon2().verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def _argon2(self) -> PasswordHasher:
        # Imported when the first password comes: most hubs start faster for it, and many never see one.
        from argon2 import PasswordHasher

        if self._hasher is None:
            self._hasher = PasswordHasher(time_cost=1, memory_cost=self._memory_kib, parallelism=1)
        return self._hasher

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= _WAITING:
            raise RateLimited("too many people sign in at once; try again in some seconds", retry_after_s=5)
        self._under_way += 1
        try:
            return await in_thread(self._threads, work)
        finally:
            self._under_way -= 1


def _normal(password: str) -> str:
    """The same characters however a keyboard has put them together."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace").decode()
