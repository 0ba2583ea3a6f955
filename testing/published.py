"""A history as Kafka's records, as the relay publishes it: for tests that hand records to consumers themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.event_store.port import Recorded
from infra.kafka.records import BEFORE_FIRST, Headers, HeaderWriter
from infra.kafka.topics import full_name, partition_of
from projections.folding.facts import PROJECTION_OF_STREAM
from projections.read_model import Projection


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRecord:
    """A record as a Kafka client hands it over."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers
    timestamp: int


class Publisher:
    """Makes records in the order of the log, with the chain of previous positions in each partition."""

    def __init__(self, *, prefix: str = "", partitions: int = 12, incarnation: int = 1) -> None:
        self.prefix = prefix
        self.partitions = partitions
        self.incarnation = incarnation
        self.last: dict[tuple[str, int], int] = {}
        self._offsets: dict[tuple[str, int], int] = {}

    def republish(self, incarnation: int, *, partitions: int | None = None, dropped: bool = False) -> None:
        """From here on a new incarnation, after the old records or (the topics dropped) in empty topics."""
        self.incarnation = incarnation
        self.last.clear()
        self.partitions = partitions or self.partitions
        if dropped:
            self._offsets.clear()

    def records(self, events: Sequence[Recorded], projection: Projection) -> dict[int, list[PublishedRecord]]:
        """The records of one projection's topic, by partition."""
        found: dict[int, list[PublishedRecord]] = {}
        topic = full_name(self.prefix, projection.topic)
        writer = HeaderWriter(b"tests", self.incarnation)
        for event in events:
            if projection is Projection.LEDGER:
                value = event.postings
            else:
                value = event.payload if PROJECTION_OF_STREAM.get(event.stream_type) is projection else None
            if value is None:
                continue
            key = event.partition_key.encode()
            place = (topic, partition_of(key, self.partitions))
            offset = self._offsets.get(place, 0)
            previous = self.last.get(place, BEFORE_FIRST)
            headers = [*writer.write(event), ("previous_position", b"%d" % previous)]
            self.last[place] = event.position
            self._offsets[place] = offset + 1
            found.setdefault(place[1], []).append(
                PublishedRecord(
                    topic=topic,
                    partition=place[1],
                    offset=offset,
                    key=key,
                    value=value,
                    headers=headers,
                    timestamp=int(event.recorded_at.timestamp() * 1000),
                )
            )
        return found
