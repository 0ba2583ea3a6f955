"""Up to when usage is counted: what the brokers held at an instant is in the figures once a checkpoint is beyond it."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from aiokafka.errors import KafkaError

from usage.watermarks import Ends

SEEN_MAX: Final = 600
"""Ends of a partition that are remembered."""
SEEN_EVERY: Final = timedelta(seconds=1)
"""What is remembered lies at least so far apart, so that it reaches back ten minutes however often is asked."""
ASK_TIMEOUT_S: Final = 2.0
PAUSE: Final = timedelta(seconds=5)
"""For so long brokers that did not answer are not asked again, so that nobody else waits for them."""


class _Seen(NamedTuple):
    at: datetime
    end: int


class Freshness:
    """What one process has seen of the ends of Kafka's partitions, each with the time before it was asked."""

    def __init__(self, ends: Ends, *, clock: Callable[[], datetime]) -> None:
        self._ends = ends
        self._clock = clock
        self._seen: dict[int, deque[_Seen]] = {}
        self._asks_again_at: datetime | None = None

    async def look(self, partition: int) -> None:
        """Ask the brokers how far it reaches. Where they do not answer in time, what was seen before is left."""
        at = self._clock()
        if self._asks_again_at is not None and at < self._asks_again_at:
            return
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                end = await self._ends.end(partition)
        except (KafkaError, OSError, TimeoutError):
            self._asks_again_at = self._clock() + PAUSE
        else:
            self._remember(partition, _Seen(at, end))

    def counted_until(self, partition: int, next_offset: int) -> datetime | None:
        """Whatever was acknowledged before this instant is counted, where all below an offset is; None: not known."""
        return max((each.at for each in self._seen.get(partition, ()) if each.end <= next_offset), default=None)

    def _remember(self, partition: int, seen: _Seen) -> None:
        """The newest is always kept; the one before it, where it is old enough beside its elder."""
        kept = self._seen.setdefault(partition, deque(maxlen=SEEN_MAX))
        if len(kept) > 1 and kept[-1].at - kept[-2].at < SEEN_EVERY:
            kept.pop()
        kept.append(seen)
