"""Hashes passwords with argon2id, in a few threads with a bounded queue: log-ins cannot stop payments.

Each costs some 20 ms of processor time and 19 MiB; argon2 gives up the interpreter's lock meanwhile. Hashes of bcrypt
(`$2b$` and its elder forms) are verified where the extra `import` is installed, and replaced at the next log-in.
"""

import asyncio
import os
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from infra.settings import AuthSettings

_T = TypeVar("_T")
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_BCRYPT_BYTES: Final = 72
"""All that bcrypt ever looked at; those who made the hash cut the rest off."""
BCRYPT_MAX_COST: Final = 14
"""A second of processor time: one of a higher cost would let its owner's log-ins stop everybody else's."""
LOWEST_PRIORITY: Final = 19
"""Of nice(2): of two that want one processor, such a thread gets a seventieth."""
_COMMON: Final = Path(__file__).with_name("common_passwords.txt")


class HashingBusy(Exception):
    """The queue of passwords to be hashed is full: try again after `retry_after_s`."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"too many passwords are being checked; retry after {retry_after_s} s")


class UnusableHash(Exception):
    """A hash that is to be imported is of no form that can be verified; the message says which are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Whether the password is right; `rehashed` is to replace a hash of other parameters or of bcrypt."""

    is_right: bool
    rehashed: bytes | None = None


@cache
def common_passwords() -> frozenset[str]:
    """The commonest passwords, in lower case; `common_passwords.license.txt` says whose list it is."""
    return frozenset(_COMMON.read_text(encoding="utf-8").splitlines())


def imported_hash(password_hash: str) -> bytes:
    """What is stored of a hash that comes from elsewhere, for the command that imports its user.

    Raises UnusableHash unless it can be verified here, at a bounded cost.
    """
    found = _BCRYPT.fullmatch(password_hash)
    if found is None:
        raise UnusableHash("a password hash must be one of bcrypt: $2b$, two digits, $, and 53 characters")
    if not 4 <= int(found[1]) <= BCRYPT_MAX_COST:
        raise UnusableHash(f"a bcrypt hash must have a cost from 4 to {BCRYPT_MAX_COST}, not {int(found[1])}")
    return password_hash.encode()


class PasswordHashing:
    """One per process. Close it when the process ends."""

    def __init__(self, settings: AuthSettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_passes,
            memory_cost=settings.argon2_memory_kib,
            parallelism=1,
        )
        self._threads = ThreadPoolExecutor(
            settings.hashing_threads, thread_name_prefix="passwords", initializer=_give_way
        )
        self._most = settings.hashing_threads + settings.hashing_queue_max
        self._retry_after_s = settings.hashing_retry_after_s
        self._dummy = self._hasher.hash("whoever is unknown is compared with this")
        self._taken = 0
        self.hashed = 0
        """How often a hash was computed: the cost of an answer, told without a clock."""

    async def hash(self, password: str) -> bytes:
        """What is stored of a password that passed `check_password`, for the command that sets it.

        Raises HashingBusy.
        """
        return await self._run(lambda: self._hash(password))

    async def verify(self, password_hash: bytes | None, password: str) -> Verified:
        """Compare a prepared password with a hash; with a dummy where there is no such user or they have none, so that
        the answer takes as long. Raises HashingBusy.
        """
        return await self._run(
            lambda: self._verify(None if password_hash is None else password_hash.decode(), password)
        )

    def check_room(self) -> None:
        """Raise HashingBusy where another password would be refused now: for a look before anything is done for it."""
        if self._taken >= self._most:
            raise HashingBusy(self._retry_after_s)

    def close(self) -> None:
        """Finish what is in hand, and end the threads."""
        self._threads.shutdown()

    async def _run(self, work: Callable[[], _T]) -> _T:
        self.check_room()
        self._taken += 1
        future = self._threads.submit(work)
        # Counted until the thread has done it, not until its caller gave up waiting.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._taken -= 1

    def _hash(self, password: str) -> bytes:
        self.hashed += 1
        return self._hasher.hash(password).encode()

    def _verify(self, password_hash: str | None, password: str) -> Verified:
        if password_hash is not None and _BCRYPT.fullmatch(password_hash):
            if not _bcrypt_matches(password_hash, password):
                return Verified(is_right=False)
            return Verified(is_right=True, rehashed=self._hash(password))
        self.hashed += 1
        try:
            self._hasher.verify(password_hash or self._dummy, password)
        except VerifyMismatchError:
            return Verified(is_right=False)
        except (VerificationError, InvalidHashError):
            if password_hash is not None:
                raise
            return Verified(is_right=False)
        if password_hash is None:
            return Verified(is_right=False)
        stale = self._hasher.check_needs_rehash(password_hash)
        return Verified(is_right=True, rehashed=self._hash(password) if stale else None)


def _give_way() -> None:
    """Let this thread have the processor when nobody else wants it: a flood of log-ins is not to slow payments.

    On Linux a thread has a priority of its own (setpriority(2), "C library/kernel differences"); elsewhere it stays.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)


def _bcrypt_matches(password_hash: str, password: str) -> bool:
    try:
        import bcrypt
    except ImportError as error:
        raise UnusableHash("imported password hashes need bcrypt: install tallybook[import]") from error
    text = password.encode()[:_BCRYPT_BYTES]
    return b"\x00" not in text and bcrypt.checkpw(text, password_hash.encode())
