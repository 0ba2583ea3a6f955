"""A rate that is kept by several processes together, of which each takes a slice at a time.

Whatever the processes let pass in any time is at most what the bucket gives in that time, and one slice of each
process, taken before. Nothing is let pass that was not taken: a process that dies loses the rest of its slice, and the
bucket refills as it does anyway.

Where buckets cannot be reached, each process keeps the rate by itself for a moment before it asks again: a cell is not
shut because nobody can count.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from infra.database import CONNECTION_ERRORS
from infra.rate_limits.buckets import Bucket, Buckets, Grant, OwnBuckets

_log: Final = structlog.stdlib.get_logger("api")


class Taken(NamedTuple):
    """Whether one more may pass, how many more may at once, and when the bucket is full and has another one (s)."""

    allowed: bool
    left: int
    full_in_s: float
    next_in_s: float


class _Share:
    """What this process has of a bucket."""

    __slots__ = ("asking", "empty_until", "full_at", "held", "left")

    def __init__(self) -> None:
        self.held = 0
        self.left = 0
        self.full_at = 0.0
        self.empty_until = 0.0
        self.asking: asyncio.Task[None] | None = None


class SharedRates:
    """Counts requests by name, in slices of shared buckets."""

    def __init__(
        self,
        buckets: Buckets,
        *,
        names_max: int,
        timeout_s: float,
        away_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buckets = buckets
        self._own = OwnBuckets(names_max=names_max, clock=clock)
        self._names_max = names_max
        self._timeout_s = timeout_s
        self._away_s = away_s
        self._clock = clock
        self._away_until = 0.0
        self._shares: OrderedDict[str, _Share] = OrderedDict()

    async def take(self, name: str, bucket: Bucket) -> Taken:
        """Count one request. Most find what this process holds; who finds nothing asks for the next slice."""
        share = self._shares.get(name)
        if share is None:
            share = self._new(name)
        while True:
            if share.held > 0:
                share.held -= 1
                return Taken(True, share.held + share.left, max(share.full_at - self._clock(), 0.0), 0.0)  # noqa: FBT003
            now = self._clock()
            if now < share.empty_until:
                # Nobody is asked again before there can be another answer: to be refused costs no query.
                return Taken(False, 0, max(share.full_at - now, 0.0), share.empty_until - now)  # noqa: FBT003
            if share.asking is None:
                share.asking = asyncio.create_task(self._ask(name, bucket, share))
            await asyncio.shield(share.asking)

    def give_back(self, name: str) -> None:
        """Uncount one request: another limit refused it."""
        share = self._shares.get(name)
        if share is not None:
            share.held += 1

    def _new(self, name: str) -> _Share:
        share = self._shares[name] = _Share()
        if len(self._shares) > self._names_max:
            self._shares.popitem(last=False)
        return share

    async def _ask(self, name: str, bucket: Bucket, share: _Share) -> None:
        try:
            given = await self._given(name, bucket)
            now = self._clock()
            share.held += given.taken
            share.left = given.left
            share.full_at = now + given.full_in_s
            share.empty_until = 0.0 if given.taken else now + given.next_in_s
            if name in self._shares:
                self._shares.move_to_end(name)
        finally:
            share.asking = None

    async def _given(self, name: str, bucket: Bucket) -> Grant:
        if self._clock() >= self._away_until:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._buckets.take(name, bucket, bucket.slice)
            except CONNECTION_ERRORS as error:
                self._away_until = self._clock() + self._away_s
                _log.warning("rates_are_kept_by_this_process_alone", why=type(error).__name__)
        return self._own.take_now(name, bucket, bucket.slice)
