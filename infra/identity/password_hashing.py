"""Passwords are hashed with argon2id, in a process of its own, with a bounded queue and at a bounded pace.

Each costs some 25 ms of processor time and 19 MiB: beyond the pace a log-in is refused before anything is done for it,
so a storm of them has a bounded share of the processors.

Hashes of bcrypt (`$2b$` and its elder forms) are verified where the extra `import` is installed, and replaced at the
next log-in. Threads here only wait for the processes (`hashing_process.py`), each for one of its own, which is started
when it is first needed.
"""

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from infra.rate_limits.buckets import Bucket, OwnBuckets
from infra.settings import AuthSettings

_PACE: Final = "passwords"
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
BCRYPT_MAX_COST: Final = 14
"""A second of processor time: one of a higher cost would let its owner's log-ins stop everybody else's."""
TRIES: Final = 2
"""A process that ended is started once more; a hash is the same whoever makes it."""
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

    def __init__(self, settings: AuthSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._command = [
            sys.executable,
            "-m",
            "infra.identity.hashing_process",
            str(settings.argon2_memory_kib),
            str(settings.argon2_passes),
        ]
        self._threads = ThreadPoolExecutor(settings.hashing_threads, thread_name_prefix="passwords")
        self._own = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._most = settings.hashing_threads + settings.hashing_queue_max
        self._retry_after_s = settings.hashing_retry_after_s
        self._pace = Bucket(settings.hashing_burst, settings.hashing_burst / settings.hashing_per_s)
        self._paced = OwnBuckets(names_max=1, clock=clock)
        self._taken = 0
        self.hashed = 0
        """How often a hash was computed: the cost of an answer, told without a clock."""

    async def hash(self, password: str) -> bytes:
        """What is stored of a password that passed `check_password`, for the command that sets it.

        Raises HashingBusy.
        """
        made: str = (await self._run({"do": "hash", "password": password}))["hash"]
        return made.encode()

    async def verify(self, password_hash: bytes | None, password: str) -> Verified:
        """Compare a prepared password with a hash; with a dummy where there is no such user or they have none, so that
        the answer takes as long. Raises HashingBusy, and UnusableHash where bcrypt is not installed.
        """
        stored = None if password_hash is None else password_hash.decode()
        found = await self._run({"do": "verify", "hash": stored, "password": password})
        if "unusable" in found:
            raise UnusableHash(found["unusable"])
        rehashed: str | None = found["rehashed"]
        return Verified(is_right=found["right"], rehashed=None if rehashed is None else rehashed.encode())

    def check_room(self) -> None:
        """Raise HashingBusy where another password would be refused now: for a look before anything is done for it."""
        if self._taken >= self._most or not self._paced.take_now(_PACE, self._pace, 0).left:
            raise HashingBusy(self._retry_after_s)

    def close(self) -> None:
        """Finish what is in hand, and end threads and processes."""
        self._threads.shutdown()
        for process in self._processes:
            _end(process)

    async def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        self.check_room()
        self._paced.take_now(_PACE, self._pace, 1)
        self._taken += 1
        future = self._threads.submit(self._ask, request)
        # Counted until the process has done it, not until its caller gave up waiting.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._taken -= 1

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.hashed += 1
        line = json.dumps(request).encode() + b"\n"
        for _ in range(TRIES):
            process = self._process()
            assert process.stdin is not None, "it has pipes"
            assert process.stdout is not None, "it has pipes"
            try:
                process.stdin.write(line)
                process.stdin.flush()
                answered = process.stdout.readline()
            except OSError:
                answered = b""
            if answered:
                found: dict[str, Any] = json.loads(answered)
                return found
            _end(process)
            self._own.process = None
        raise HashingBusy(self._retry_after_s)

    def _process(self) -> "subprocess.Popen[bytes]":
        """This thread's own."""
        process: subprocess.Popen[bytes] | None = getattr(self._own, "process", None)
        if process is None:
            process = self._own.process = subprocess.Popen(  # noqa: S603  our own module
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._processes.append(process)
        return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close its pipes, at which it ends."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue
    process.wait()
