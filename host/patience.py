"""How long something is waited for: not when it must be done, but how long it may stand still, however slow it is."""

import time
from collections.abc import Callable, Hashable


class Patience:
    """Ends once nothing new was seen for `limit_s` seconds by `clock`, which is this machine's.

    What was seen before is not new, so that something which goes to and fro is not waited for without end.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._seen: set[Hashable] = set()
        self._since = clock()

    def is_over(self, sight: Hashable) -> bool:
        """Take a look at it. `sight` is how far it is."""
        if sight not in self._seen:
            self._seen.add(sight)
            self._since = self._clock()
        return self._clock() - self._since > self._limit_s
