"""How far Kafka's partitions of usage reached when somebody began to wait for what was in them."""

from collections.abc import Hashable
from typing import Final, Protocol

PINNED_MAX: Final = 100_000
"""What is waited for, of which the watermark is remembered."""


class Ends(Protocol):
    """Knows how far Kafka's partitions of usage reach."""

    async def end(self, partition: int) -> int:
        """The offset after the last record that was acknowledged."""
        ...


class Watermarks:
    """Where partitions ended when a thing was first waited for: what comes meanwhile is not waited for."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._pinned: dict[Hashable, int] = {}

    async def of(self, waits: Hashable, partition: int) -> int:
        """The offset that a partition is to be counted up to, for whoever names this thing."""
        pinned = self._pinned.get(waits)
        if pinned is None:
            if len(self._pinned) >= PINNED_MAX:
                self._pinned.clear()
            pinned = self._pinned[waits] = await self._ends.end(partition)
        return pinned

    def forget(self, waits: Hashable) -> None:
        """Nobody waits for it any more."""
        self._pinned.pop(waits, None)
