"""Request limits per key or address: buckets that refill evenly over their window, so that no edge doubles a burst.

They are of one process: several take as many times as much, together.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Final, NamedTuple

from api.http.replies import Header

WINDOW_S: Final = 60
HOUR_S: Final = 3_600


class Bucket(NamedTuple):
    """So many requests (`limit`) in a window (s); `policy` is what the RateLimit fields call it."""

    limit: int
    window_s: int = WINDOW_S
    policy: str = "default"


class Allowance(NamedTuple):
    """Whether the request may pass, how many more may at once, and seconds until the bucket is full again."""

    allowed: bool
    bucket: Bucket
    remaining: int
    reset_s: int
    retry_after_s: int

    def headers(self) -> tuple[Header, ...]:
        """The RateLimit fields (draft-ietf-httpapi-ratelimit-headers)."""
        limit, window_s, name = self.bucket
        policy = f'"{name}";q={limit};w={window_s}'
        state = f'"{name}";r={self.remaining};t={self.reset_s}'
        return (b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())


class RateLimiter:
    """Up to `per_min` requests a minute for each name; the names least recently seen are forgotten beyond `max_names`.

    Generic cell rate algorithm: a name has one number, the time at which its bucket will be full again.
    """

    def __init__(self, per_min: int, *, max_names: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._usual = Bucket(per_min)
        self._max_names = max_names
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, bucket: Bucket | None = None) -> Allowance:
        """Count one request, of a minute's bucket if no other is named."""
        bucket = bucket or self._usual
        now, cost_s = self._clock(), bucket.window_s / bucket.limit
        full_at = max(now, self._full_at.get(name, now)) + cost_s
        over_s = full_at - now - bucket.window_s
        if over_s > 1e-9:
            return _allowance(bucket, full_at - cost_s - now, retry_after_s=ceil(over_s), allowed=False)
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._max_names:
            self._full_at.popitem(last=False)
        return _allowance(bucket, full_at - now, retry_after_s=0, allowed=True)

    def give_back(self, name: str) -> None:
        """Uncount one request of a minute's bucket: it turned out not to be for this limit."""
        full_at = self._full_at.get(name)
        if full_at is not None:
            self._full_at[name] = full_at - self._usual.window_s / self._usual.limit


def _allowance(bucket: Bucket, filled_s: float, *, retry_after_s: int, allowed: bool) -> Allowance:
    remaining = max(0, int((bucket.window_s - filled_s) / bucket.window_s * bucket.limit + 1e-9))
    return Allowance(allowed, bucket, remaining, ceil(filled_s), retry_after_s)
