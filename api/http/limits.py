"""Request limits per key or address: a bucket that refills evenly over a minute, so that no edge doubles a burst."""

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Final, NamedTuple

from api.http.replies import Header

WINDOW_S: Final = 60


class Allowance(NamedTuple):
    """Whether the request may pass, how many more may at once, and seconds until the bucket is full again."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int

    def headers(self) -> tuple[Header, ...]:
        """The RateLimit fields (draft-ietf-httpapi-ratelimit-headers)."""
        policy = f'"default";q={self.limit};w={WINDOW_S}'
        state = f'"default";r={self.remaining};t={self.reset_s}'
        return (b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())


class RateLimiter:
    """Up to `per_min` requests a minute for each name; the names least recently seen are forgotten beyond `max_names`.

    Generic cell rate algorithm: a name has one number, the time at which its bucket will be full again.
    """

    def __init__(self, per_min: int, *, max_names: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_min = per_min
        self._max_names = max_names
        self._clock = clock
        self._cost_s = WINDOW_S / per_min
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str) -> Allowance:
        """Count one request."""
        now = self._clock()
        full_at = max(now, self._full_at.get(name, now)) + self._cost_s
        over_s = full_at - now - WINDOW_S
        if over_s > 1e-9:
            return self._allowance(full_at - self._cost_s - now, retry_after_s=ceil(over_s), allowed=False)
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._max_names:
            self._full_at.popitem(last=False)
        return self._allowance(full_at - now, retry_after_s=0, allowed=True)

    def give_back(self, name: str) -> None:
        """Uncount one request: it turned out not to be for this limit."""
        full_at = self._full_at.get(name)
        if full_at is not None:
            self._full_at[name] = full_at - self._cost_s

    def _allowance(self, filled_s: float, *, retry_after_s: int, allowed: bool) -> Allowance:
        remaining = max(0, int((WINDOW_S - filled_s) / self._cost_s + 1e-9))
        return Allowance(allowed, self._per_min, remaining, ceil(filled_s), retry_after_s)
