"""The topic of usage read backwards: the newest records first, of one partition or several, as far as somebody asks.

Kafka reads forwards, so records are read in runs, each before the one that was read last. A run begins small and grows
while records are small; one that turns out to be too long is given up, and a shorter one is read. So whoever wants a
few events of now reads a few records, and what is held is bounded, however large records are.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heapreplace
from time import monotonic
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.kafka.unreadable import tolerate_unreadable_batches

RUN_FIRST: Final = 8
"""Records of the first run, each of which may have a megabyte."""
RUN_MAX: Final = 1_024
RUN_BYTES_MAX: Final = 4_000_000
RUN_BYTES_MIN: Final = 250_000
HELD_BYTES_MAX: Final = 16_000_000
"""About so many bytes are held at a time, parted among the partitions, and what one poll brings."""
POLL_FIRST: Final = 4
POLL_MAX: Final = 128
"""Records of a run's polls, the first of which find out how large they are: few bytes may unpack into many."""
POLL_MS: Final = 500


class Budget:
    """What somebody may read: so many bytes, for so long (s)."""

    def __init__(self, bytes_max: int, lasts_s: float, *, clock: Callable[[], float] = monotonic) -> None:
        self._bytes_left = bytes_max
        self._clock = clock
        self._until = clock() + lasts_s

    def spend(self, size: int) -> None:
        """So many bytes were read."""
        self._bytes_left -= size

    @property
    def is_spent(self) -> bool:
        """Whether no more is to be read."""
        return self._bytes_left <= 0 or self._clock() >= self._until


class Place(NamedTuple):
    """What of a partition is still to be read: the records before `offset`, and of that one the events before `nth`."""

    offset: int
    nth: int = 0

    @property
    def past(self) -> int:
        """The first offset that is not to be read."""
        return self.offset + 1 if self.nth else self.offset


class Passed(NamedTuple):
    """A record; `value` is None where nobody wants what it holds. Of its events those before `nth` are to be told, all
    of them where that is 0.
    """

    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None
    nth: int = 0

    @property
    def place(self) -> Place:
        """From where on it is read, it included."""
        return Place(self.offset, self.nth) if self.nth else Place(self.offset + 1)


Wants = Callable[[Any], bool]
"""Whether a record may hold something that is asked for: then its value is kept."""


class _Partition:
    """One partition's records from a place on, back to its beginning."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        place: TopicPartition,
        first: int,
        upto: Place,
        wants: Wants,
        *,
        run_bytes_max: int,
    ) -> None:
        self._consumer = consumer
        self._place = place
        self._first = first
        self._upto = upto
        self._wants = wants
        self._unread = upto.past
        self._run = RUN_FIRST
        self._run_bytes_max = run_bytes_max
        self._held: list[Passed] = []

    @property
    def number(self) -> int:
        """Which partition it is."""
        return int(self._place.partition)

    @property
    def newest(self) -> Passed | None:
        """The newest that was not taken yet, where one is held."""
        return self._held[-1] if self._held else None

    @property
    def rest(self) -> Place | None:
        """What is still to be read of it; None where that is nothing."""
        if self._held:
            return self._held[-1].place
        if self._unread <= self._first:
            return None
        return self._upto if self._unread == self._upto.past else Place(self._unread)

    async def fill(self, budget: Budget | None = None) -> Passed | None:
        """The newest. None where there is none, or the budget is spent before it is found."""
        while not self._held and self._unread > self._first and not (budget is not None and budget.is_spent):
            await self._read(budget)
        return self.newest

    async def take(self, budget: Budget) -> Passed | None:
        """Let the newest go, and give the next one, as `fill` does."""
        self._held.pop()
        return await self.fill(budget)

    async def _read(self, budget: Budget | None) -> None:
        first = max(self._first, self._unread - self._run)
        consumer, place = self._consumer, self._place
        held: list[Passed] = []
        size = 0
        consumer.assign([place])
        consumer.seek(place, first)
        while await consumer.position(place) < self._unread:
            if size > self._run_bytes_max and self._run > 1:
                self._run = max(1, min(self._run // 2, self._fitting(size, len(held))))
                return
            polled, most = 0, min(POLL_FIRST + len(held), POLL_MAX)
            found = await consumer.getmany(place, timeout_ms=POLL_MS, max_records=most)
            for record in found.get(place, ()):
                if record.offset >= self._unread:
                    break
                polled += len(record.value or b"")
                value = record.value if self._wants(record) else None
                nth = self._upto.nth if record.offset == self._upto.offset else 0
                held.append(Passed(place.partition, record.offset, record.timestamp, value, nth))
            size += polled
            if budget is not None:
                budget.spend(polled)
        self._unread, self._held = first, held
        self._run = max(1, min(2 * self._run, RUN_MAX, self._fitting(size, len(held))))

    def _fitting(self, size: int, count: int) -> int:
        """How many records a run may have, if they are as large as these."""
        return self._run_bytes_max // (size // max(1, count) + 1)


class Backwards:
    """Records of several partitions, the newest first by the times at which the broker appended them."""

    def __init__(self, partitions: list[_Partition]) -> None:
        self._partitions = partitions
        self._heap = [(_order(newest), each) for each in partitions if (newest := each.newest) is not None]
        heapify(self._heap)
        self._is_cut = False

    @classmethod
    async def begin(
        cls, consumer: AIOKafkaConsumer, topic: str, first: dict[int, int], upto: dict[int, Place], wants: Wants
    ) -> "Backwards":
        """From these places back to the first offsets that are told."""
        tolerate_unreadable_batches()
        run_bytes_max = max(RUN_BYTES_MIN, min(RUN_BYTES_MAX, HELD_BYTES_MAX // max(1, len(upto))))
        found = []
        for number, place in upto.items():
            partition = _Partition(
                consumer, TopicPartition(topic, number), first[number], place, wants, run_bytes_max=run_bytes_max
            )
            await partition.fill()
            found.append(partition)
        return cls(found)

    @property
    def newest(self) -> Passed | None:
        """The newest record that was not taken yet. None where there is none, or the budget is spent before it is known
        which one it is.
        """
        return self._heap[0][1].newest if self._heap and not self._is_cut else None

    @property
    def places(self) -> dict[int, Place]:
        """What is still to be read of each partition; of one that has nothing more there is none."""
        found = ((each.number, each.rest) for each in self._partitions)
        return {number: rest for number, rest in found if rest is not None}

    async def take(self, budget: Budget) -> None:
        """Let the newest go."""
        _, partition = self._heap[0]
        newest = await partition.take(budget)
        if newest is not None:
            heapreplace(self._heap, (_order(newest), partition))
        else:
            heappop(self._heap)
            self._is_cut = partition.rest is not None


def _order(record: Passed) -> tuple[int, int]:
    """Newer ones come first; of one instant those of the lower partition."""
    return -record.timestamp_ms, record.partition
