"""Facts from Kafka's records and from the log's rows: the same facts, whichever way they came."""

from collections.abc import Mapping
from typing import Any, Final

from domain.catalogue import STREAMS
from infra.kafka.records import Delivered
from infra.kafka.topics import partition_of
from projections.read_model import Fact, Projection
from schemas.codec import decode_entry, decode_event

PROJECTION_OF_STREAM: Final[Mapping[str, Projection]] = {
    name: each for name, stream in STREAMS.items() for each in Projection if each.topic.value == stream.topic.value
}
"""Streams of a topic that no projection folds are not in it."""

LOG_COLUMNS: Final = (
    "position, event_id, tenant_id, stream_type, stream_id, stream_version, event_type, partition_key, effective_at, "
    "recorded_at, causation_id, payload, postings"
)


def delivered_fact(projection: Projection, record: Delivered) -> Fact:
    """The fact of a record of the projection's topic. Raises MalformedPayload and whatever the event's class raises."""
    decode = decode_entry if projection is Projection.LEDGER else decode_event
    return Fact(
        decode(record.value),
        record.event_type,
        record.tenant_id,
        record.stream_type,
        record.stream_id,
        record.stream_version,
        record.position,
        record.event_id,
        record.effective_at,
        record.recorded_at,
        record.causation_id,
        record.key[len(record.tenant_id.encode()) + 1 :].decode(),
        record.partition,
    )


class Shards:
    """The partition of each key, remembered: computing it costs more than folding the event."""

    def __init__(self, partitions: int, *, known_max: int = 500_000) -> None:
        self.partitions = partitions
        self._known: dict[str, int] = {}
        self._known_max = known_max

    def of(self, partition_key: str) -> int:
        """The partition of a key."""
        shard = self._known.get(partition_key)
        if shard is None:
            if len(self._known) >= self._known_max:
                self._known.clear()
            shard = self._known[partition_key] = partition_of(partition_key.encode(), self.partitions)
        return shard


def logged_fact(row: Any, event: object, shard: int) -> Fact:
    """The fact of a row of LOG_COLUMNS whose event, or entry, is decoded."""
    tenant_id = row[2]
    return Fact(
        event,
        row[6],
        tenant_id,
        row[3],
        row[4],
        row[5],
        row[0],
        row[1],
        row[8],
        row[9],
        row[10],
        row[7][len(tenant_id) + 1 :],
        shard,
    )
