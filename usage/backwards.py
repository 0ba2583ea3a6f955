"""The topic of usage read backwards: the newest records first, of one partition or several, as far as somebody asks.

Kafka reads forwards, so records are read in runs, each before the one that was read last. A run begins small and grows
while records are small: whoever wants a few events of now reads a few records, and no run takes much memory.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heapreplace
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.kafka.unreadable import tolerate_unreadable_batches

RUN_FIRST: Final = 8
"""Records of the first run, each of which may have a megabyte."""
RUN_MAX: Final = 1_024
RUN_BYTES: Final = 4_000_000
"""No run grows beyond about as many bytes of records."""
POLL_MS: Final = 500


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


Wants = Callable[[Any], bool]
"""Whether a record may hold something that is asked for: then its value is kept."""


class _Partition:
    """One partition's records from a place on, back to its beginning."""

    def __init__(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, first: int, upto: Place, wants: Wants
    ) -> None:
        self._consumer = consumer
        self._place = place
        self._first = first
        self._upto = upto
        self._wants = wants
        self._unread = upto.past
        self._run = RUN_FIRST
        self._kept: list[Passed] = []

    @property
    def newest(self) -> Passed:
        """The newest that was not taken yet."""
        return self._kept[-1]

    @property
    def order(self) -> tuple[int, int]:
        """Newer ones come first; of one instant those of the lower partition."""
        return -self.newest.timestamp_ms, self.newest.partition

    async def fill(self) -> bool:
        """Whether there is a newest one."""
        while not self._kept and self._unread > self._first:
            await self._read()
        return bool(self._kept)

    async def take(self) -> bool:
        """Let the newest go; whether there is another one."""
        self._kept.pop()
        return await self.fill()

    async def _read(self) -> None:
        first = max(self._first, self._unread - self._run)
        consumer, place, size = self._consumer, self._place, 0
        consumer.assign([place])
        consumer.seek(place, first)
        while await consumer.position(place) < self._unread:
            for record in (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
                if record.offset >= self._unread:
                    break
                size += len(record.value or b"")
                value = record.value if self._wants(record) else None
                nth = self._upto.nth if record.offset == self._upto.offset else 0
                self._kept.append(Passed(place.partition, record.offset, record.timestamp, value, nth))
        self._unread = first
        average = size // max(1, len(self._kept)) + 1
        self._run = max(1, min(2 * self._run, RUN_MAX, RUN_BYTES // average))


class Backwards:
    """Records of several partitions, the newest first by the times at which the broker appended them."""

    def __init__(self, partitions: list[_Partition]) -> None:
        self._heap = [(each.order, each) for each in partitions]
        heapify(self._heap)

    @classmethod
    async def begin(
        cls, consumer: AIOKafkaConsumer, topic: str, first: dict[int, int], upto: dict[int, Place], wants: Wants
    ) -> "Backwards":
        """From these places back to the first offsets that are told."""
        tolerate_unreadable_batches()
        found = []
        for number, place in upto.items():
            partition = _Partition(consumer, TopicPartition(topic, number), first[number], place, wants)
            if await partition.fill():
                found.append(partition)
        return cls(found)

    @property
    def newest(self) -> Passed | None:
        """The newest record that was not taken yet, if there is one."""
        return self._heap[0][1].newest if self._heap else None

    @property
    def places(self) -> dict[int, Place]:
        """What is still to be read of each partition; of one that has nothing more there is none."""
        return {each.newest.partition: _place_before(each.newest) for _, each in self._heap}

    async def take(self) -> None:
        """Let the newest go."""
        _, partition = self._heap[0]
        if await partition.take():
            heapreplace(self._heap, (partition.order, partition))
        else:
            heappop(self._heap)


def _place_before(record: Passed) -> Place:
    """From where on a record is read, it included."""
    return Place(record.offset, record.nth) if record.nth else Place(record.offset + 1)
