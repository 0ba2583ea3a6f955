"""I5: the published topics hold what the log holds: every event once or more, in order, linked without gaps.

Each partition is read from its start. Records of older incarnations and records of others are counted and skipped;
of this incarnation, a record must be the log's event at its position, bytes and all, follow the one it names, and
stand on the partition of its key. What is then left to compare is how many there are, and which is the last.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from domain.kernel.stream import Stream
from infra.database import Pool
from infra.event_store.log import COLUMNS, recorded
from infra.event_store.port import Recorded
from infra.kafka.records import BEFORE_FIRST, ConsumerRecord, Delivered, NotOurRecord, delivered
from infra.kafka.topics import PUBLISHED, TopicName, full_name, partition_of
from infra.kafka.unreadable import tolerate_unreadable_batches
from infra.settings import KafkaSettings
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from processors.invariants.log_pages import log_pages

POLL_MS: Final = 500
POLL_RECORDS: Final = 2_000

_AT: Final = f"SELECT {COLUMNS} FROM log.events WHERE position = ANY($1::bigint[])"  # noqa: S608  constants


@dataclass(slots=True)
class _Partition:
    """One partition of one topic as far as it was read, and what the log has for it."""

    topic: str
    number: int
    last: int = BEFORE_FIRST
    records: int = 0
    expected: int = 0
    expected_last: int = BEFORE_FIRST
    broken: bool = False

    @property
    def name(self) -> str:
        return f"{self.topic}/{self.number}"


class _Topics:
    """Which partition each event and each entry belongs to."""

    def __init__(self, streams: Mapping[str, Stream[Any]], kafka: KafkaSettings) -> None:
        prefix = kafka.topic_prefix
        self._partitions = kafka.partitions
        self._topics = {name: full_name(prefix, stream.topic) for name, stream in streams.items()}
        self.ledger = full_name(prefix, TopicName.LEDGER)
        self.all = {
            (name, number): _Partition(name, number)
            for name in (full_name(prefix, topic) for topic in PUBLISHED)
            for number in range(kafka.partitions)
        }

    def of(self, event: Recorded) -> list[_Partition]:
        """The partitions that hold a record of this event."""
        number = partition_of(event.partition_key.encode(), self._partitions)
        places = [self.all[self._topics[event.stream_type], number]]
        if event.postings is not None:
            places.append(self.all[self.ledger, number])
        return places


async def check_kafka(
    pool: Pool,
    streams: Mapping[str, Stream[Any]],
    *,
    bootstrap: str,
    kafka: KafkaSettings,
    progress: Progress = silent,
) -> Checked:
    """Compare up to the relay's checkpoint; what it has yet to publish is counted, not a difference."""
    tolerate_unreadable_batches()
    findings = Findings(Invariant.KAFKA)
    state = await pool.fetchrow("SELECT s.incarnation, s.position, h.position AS head FROM relay.state s, log.head h")
    assert state is not None, "the relay's state and the log's head are one row each"
    published: int = state["position"]
    findings.count("events in the log", published)
    findings.count("events not published yet", state["head"] - published)
    topics = _Topics(streams, kafka)
    async for page in log_pages(pool, to=published, progress=lambda done, total: progress(done, 2 * total)):
        for event in page:
            for partition in topics.of(event):
                partition.expected += 1
                partition.expected_last = event.position
    reader = _Reader(pool, topics, state["incarnation"], published, findings)
    await _read_all(bootstrap, kafka, reader, lambda done, total: progress(done + total, 2 * total))
    for partition in topics.all.values():
        if partition.broken:
            continue
        if (partition.records, partition.last) != (partition.expected, partition.expected_last):
            detail = (
                f"{partition.records} records, the last of position {partition.last}; the log has "
                f"{partition.expected}, the last at {partition.expected_last}"
            )
            findings.differ("lost", partition.name, detail)
    return findings.checked()


async def _read_all(bootstrap: str, kafka: KafkaSettings, reader: "_Reader", progress: Progress) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=kafka.request_timeout_ms,
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for topic, number in reader.topics.all]
        async with asyncio.timeout(kafka.request_timeout_ms / 1000):
            ends = await consumer.end_offsets(places)
        left = {place for place in places if ends[place] > 0}
        total, done = sum(ends.values()), 0
        consumer.assign(sorted(left))
        if left:
            await consumer.seek_to_beginning(*left)
        silent_s = 0.0
        while left:
            polled: Mapping[TopicPartition, Sequence[ConsumerRecord]] = await consumer.getmany(
                timeout_ms=POLL_MS, max_records=POLL_RECORDS
            )
            silent_s = 0.0 if polled else silent_s + POLL_MS / 1000
            if silent_s * 1000 > kafka.request_timeout_ms:
                raise TimeoutError(f"Kafka sends no more records of {', '.join(map(str, sorted(left)))}")
            for place, records in polled.items():
                done += len(records)
                await reader.take(place.topic, place.partition, records)
            left = {place for place in left if await consumer.position(place) < ends[place]}
            progress(done, total)
    finally:
        await consumer.stop()


class _Reader:
    """Takes records partition by partition."""

    def __init__(self, pool: Pool, topics: _Topics, incarnation: int, published: int, findings: Findings) -> None:
        self._pool = pool
        self._incarnation = incarnation
        self._published = published
        self._findings = findings
        self.topics = topics

    async def take(self, topic: str, number: int, records: Sequence[ConsumerRecord]) -> None:
        """The next records of a partition."""
        partition = self.topics.all[topic, number]
        findings = self._findings
        fresh: list[Delivered] = []
        for record in records:
            try:
                fact = delivered(record)
            except NotOurRecord:
                findings.count("records of others")
                continue
            if fact.incarnation != self._incarnation:
                findings.count("records of other incarnations")
            elif fact.position > self._published:
                findings.count("records beyond the checkpoint")
            elif fact.position <= partition.last:
                findings.count("records sent again")
            else:
                if fact.previous_position != partition.last and not partition.broken:
                    detail = (
                        f"offset {fact.offset}: position {fact.position} follows {fact.previous_position}, "
                        f"but {partition.last} is what was there before"
                    )
                    findings.differ("gap", partition.name, detail)
                    partition.broken = True
                partition.last = fact.position
                partition.records += 1
                fresh.append(fact)
        findings.count("records", len(fresh))
        await self._compare(partition, fresh)

    async def _compare(self, partition: _Partition, facts: Sequence[Delivered]) -> None:
        if not facts:
            return
        rows = await self._pool.fetch(_AT, [fact.position for fact in facts])
        events = {row["position"]: recorded(row) for row in rows}
        for fact in facts:
            event = events.get(fact.position)
            if event is None:
                self._findings.differ("no such event", partition.name, f"position {fact.position}")
            elif (why := self._differs(partition, fact, event)) is not None:
                self._findings.differ("not the event", partition.name, f"position {fact.position}: {why}")

    def _differs(self, partition: _Partition, fact: Delivered, event: Recorded) -> str | None:
        value = event.postings if partition.topic == self.topics.ledger else event.payload
        if partition not in self.topics.of(event):
            return "it belongs to another partition"
        said = (fact.event_id, fact.tenant_id, fact.stream_type, fact.stream_id, fact.stream_version, fact.event_type)
        meant = (
            event.event_id,
            event.tenant_id,
            event.stream_type,
            event.stream_id,
            event.stream_version,
            event.event_type,
        )
        if said != meant:
            return f"the record says {said}, the log {meant}"
        if fact.key != event.partition_key.encode():
            return "its key differs"
        return None if fact.value == value else "its bytes differ"
