"""The relay against a bare aiokafka loop that sends the same bytes: `python -m benchmarks.relay [events]`.

Bare: records made beforehand, appended to batches and sent page by page, nothing read, nothing remembered. Ours reads
the log, makes headers, chooses partitions, waits for every acknowledgement and moves its checkpoint.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.accepted import accepted
from benchmarks.results import Row
from benchmarks.servers import bench_servers, found_by
from domain.catalogue import STREAMS
from domain.kernel.accounts import CASH, REVENUE, credit, debit
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.ledger.journal_entry import PostJournalEntry
from infra.event_store.opening import open_writer
from infra.ids import new_id
from infra.kafka.relay import Relay
from infra.kafka.topics import PUBLISHED, ensure_topics, full_name
from infra.settings import Settings
from testing.requests import request

EVENTS = 60_000
PAGE = 2_000
ROUNDS = 3

Bytes = tuple[str, int, bytes, bytes, list[tuple[str, bytes]]]


async def rows(events: int = EVENTS) -> list[Row]:
    """Records per second, the best of some rounds of each, taken in turn."""
    async with bench_servers() as settings:
        assert settings.database.url is not None
        assert settings.kafka.bootstrap is not None
        dsn, bootstrap = settings.database.url.get_secret_value(), settings.kafka.bootstrap
        await _fill(dsn, settings, events)
        ours: list[float] = []
        bare: list[float] = []
        for round_ in range(ROUNDS):
            prefix = f"bench{round_}."
            seconds, records = await _relay(dsn, bootstrap, settings, prefix)
            ours.append(records / seconds)
            stored = await _read_back(bootstrap, prefix)
            bare.append(len(stored) / await _bare(bootstrap, f"bare{round_}.", stored))
        return [Row("relay", max(ours), "records/s", {"bare aiokafka send_batch": max(ours) / max(bare)})]


async def _fill(dsn: str, settings: Settings, events: int) -> None:
    """A log of postings of an ordinary size, half as many records again for the ledger's topic as there are events."""
    writer = open_writer(dsn, settings.writer)
    money = Money(1999, currency_code("USD"))
    postings = (debit(CASH, money), credit(REVENUE, money))
    for start in range(0, events, 5_000):
        commands = [
            PostJournalEntry(entry_id=new_id("je_"), memo=f"benchmark entry {nth}", postings=postings)
            for nth in range(start, min(events, start + 5_000))
        ]
        await accepted(writer, map(request, commands))
    await writer.close()


async def _relay(dsn: str, bootstrap: str, settings: Settings, prefix: str) -> tuple[float, int]:
    """Seconds to publish the whole log into new topics, and how many records that were."""
    kafka = settings.kafka.model_copy(update={"topic_prefix": prefix})
    await _make_topics(bootstrap, prefix, settings)
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE relay.state SET position = 0, lease_until = NULL")
    await connection.execute("DELETE FROM relay.published")
    head = await connection.fetchval("SELECT position FROM log.head")
    entries = await connection.fetchval("SELECT count(*) FROM log.events WHERE postings IS NOT NULL")
    relay = Relay(replace(settings, kafka=kafka), dsn=dsn, bootstrap=bootstrap, streams=STREAMS)
    task = asyncio.create_task(relay.run())
    await _until(lambda: relay.leads)
    start = time.perf_counter()
    await _until(lambda: relay.position >= head)
    seconds = time.perf_counter() - start
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await connection.close()
    return seconds, head + entries


async def _until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 - what is timed must not be changed by the timing
        await asyncio.sleep(0.001)


async def _make_topics(bootstrap: str, prefix: str, settings: Settings) -> None:
    kafka = settings.kafka
    await ensure_topics(
        bootstrap,
        prefix=prefix,
        partitions=kafka.partitions,
        replication_factor=1,
        request_timeout_ms=kafka.request_timeout_ms,
    )


async def _read_back(bootstrap: str, prefix: str) -> list[Bytes]:
    """The relay's own records, to be sent again as they are."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    places = [TopicPartition(full_name(prefix, topic), n) for topic in PUBLISHED for n in range(12)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    ends = await consumer.end_offsets(places)
    found: list[Bytes] = []
    total = sum(ends.values())
    while len(found) < total:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            found += [(r.topic, r.partition, r.key, r.value, list(r.headers)) for r in records]
    await consumer.stop()
    return found


async def _bare(bootstrap: str, prefix: str, records: list[Bytes]) -> float:
    settings = Settings()
    await _make_topics(bootstrap, prefix, settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, acks="all", max_batch_size=1_044_480
    )
    await producer.start()
    for warmed in PUBLISHED:  # leaders are known before the clock starts, as they are to the relay
        await asyncio.gather(*[producer.send_and_wait(full_name(prefix, warmed), b"", partition=n) for n in range(12)])
    start = time.perf_counter()
    for first in range(0, len(records), PAGE):
        batches: dict[tuple[str, int], BatchBuilder] = {}
        for topic, partition, key, value, headers in records[first : first + PAGE]:
            batch = batches.get((topic, partition))
            if batch is None:
                batch = batches[topic, partition] = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None, headers=headers)
        await asyncio.gather(
            *[
                await producer.send_batch(batch, prefix + topic.partition(".")[2], partition=partition)
                for (topic, partition), batch in batches.items()
            ]
        )
    seconds = time.perf_counter() - start
    await producer.stop()
    return seconds


if __name__ == "__main__":
    for row in found_by(rows(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)):
        print(row)
