"""A circuit breaker: who failed several times in a row is left alone for a while, and then tried by one call first."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """For the calls to one address in one process. Nothing of it is kept: a new process tries anew."""

    def __init__(self, *, failures_max: int, pause_ms: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """After `failures_max` failures in a row no call goes out for `pause_ms`; then one does, and decides."""
        self._failures_max = failures_max
        self._pause_s = pause_ms / 1_000
        self._now_s = monotonic_s
        self._failures = 0
        self._closed_until_s = 0.0

    def wait_ms(self) -> int:
        """How long a call has to wait; 0: it may go out now. Where others wait for its outcome, it is the one."""
        if self._failures < self._failures_max:
            return 0
        now_s = self._now_s()
        if now_s < self._closed_until_s:
            return max(1, int((self._closed_until_s - now_s) * 1_000))
        self._closed_until_s = now_s + self._pause_s
        return 0

    def succeeded(self) -> None:
        """A call came to an answer, whatever that says."""
        self._failures = 0

    def failed(self) -> None:
        """A call came to none."""
        self._failures += 1
        if self._failures >= self._failures_max:
            self._closed_until_s = self._now_s() + self._pause_s
