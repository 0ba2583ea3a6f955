"""Buckets of requests that refill evenly (generic cell rate algorithm): of each, the time is kept when it is full."""

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from math import floor
from typing import Final, NamedTuple, Protocol

HOUR_S: Final = 3_600
BURST: Final = 1_000
"""A bucket holds the requests of an hour, at most so many, unless those of a minute are more: who may ask a thousand
times a second has no hour's worth of that at once.
"""
SLICES: Final = 20
_ROUNDING: Final = 1e-6


class Bucket(NamedTuple):
    """How many requests it holds, and how long it takes to fill from empty."""

    depth: int
    window_s: float

    @property
    def slice(self) -> int:
        """What a process takes at once, so that most requests ask nobody."""
        return max(1, self.depth // SLICES)


@lru_cache(maxsize=1_024)
def bucket_of(per_hour: int) -> Bucket:
    """The bucket of a rate."""
    depth = max(per_hour // 60, min(per_hour, BURST))
    return Bucket(depth, depth * HOUR_S / per_hour)


class Grant(NamedTuple):
    """What was taken from a bucket, and what is left in it. `next_in_s`: until it has another one."""

    taken: int
    left: int
    full_in_s: float
    next_in_s: float


class Buckets(Protocol):
    """Where buckets are kept. Raises one of CONNECTION_ERRORS where they cannot be reached."""

    async def take(self, name: str, bucket: Bucket, wanted: int) -> Grant:
        """Take what there is, up to what is wanted."""
        ...

    async def close(self) -> None:
        """End its connections."""
        ...


def grant(full_at: float, now: float, bucket: Bucket, wanted: int) -> Grant:
    """What a bucket that is full at `full_at` gives. The stores in SQL and in Lua work it out in the same way."""
    cost = bucket.window_s / bucket.depth
    waiting = max(full_at - now, 0.0)
    free = max(floor((bucket.window_s - waiting) / cost + _ROUNDING), 0)
    taken = min(wanted, free)
    waiting += taken * cost
    return Grant(taken, free - taken, waiting, max(waiting + cost - bucket.window_s, 0.0))


class OwnBuckets:
    """Buckets of this process alone; of the names least recently seen nothing is known beyond `names_max`."""

    def __init__(self, *, names_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._names_max = names_max
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take_now(self, name: str, bucket: Bucket, wanted: int) -> Grant:
        """Take what there is, up to what is wanted."""
        now = self._clock()
        given = grant(self._full_at.get(name, now), now, bucket, wanted)
        self._full_at[name] = now + given.full_in_s
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._names_max:
            self._full_at.popitem(last=False)
        return given

    def give_back(self, name: str, bucket: Bucket) -> None:
        """Put one back that was taken."""
        full_at = self._full_at.get(name)
        if full_at is not None:
            self._full_at[name] = full_at - bucket.window_s / bucket.depth
