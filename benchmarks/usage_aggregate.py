"""Usage events counted a second, beside a client that reads the same records: `python -m benchmarks.usage_aggregate`.

Bare: it reads the topic and decodes every record, and keeps nothing. Ours tells repeats apart, measures, folds and
commits to a durable PostgreSQL, in one process. Each event has an id of its own, a customer and a meter of so many
(which makes so many series in two quarter hours), a value and two properties.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.results import Row
from benchmarks.servers import bench_servers, found_by
from domain.metering.aggregation import Aggregation
from domain.metering.usage_value import NANOS
from infra.settings import Settings
from testing.usage_topic import usage_topic
from usage.aggregation.meters import FixedMeters, MeterVersion
from usage.aggregation.role import Metering
from usage.topic import COMPRESSION
from usage.wire import EVENT, WireEvent, decode, encode, headers_of, partition_of_customer, topic_of

EVENTS: Final = 200_000
CUSTOMERS: Final = 200
METERS: Final = 6
RECORD_EVENTS: Final = 500
ROUNDS: Final = 3
TENANT: Final = "bench"


async def rows(events: int = EVENTS) -> list[Row]:
    """usage-aggregate: the best of some rounds of each, taken in turn, on servers of their own."""
    ours: list[float] = []
    bare: list[float] = []
    for nth in range(ROUNDS):
        async with bench_servers() as found:
            settings = replace(found, kafka=found.kafka.model_copy(update={"topic_prefix": f"bench{nth}."}))
            await _fill(settings, events, nth)
            bare.append(events / await _bare(settings))
            ours.append(events / await _counted(settings, events))
    return [Row("usage-aggregate", max(ours), "events/s", {"bare consume and decode": max(ours) / max(bare)})]


def _meters() -> FixedMeters:
    versions = [
        MeterVersion(meter_id=f"mtr_{nth}", code=f"meter_{nth}", version=1, effective_us=0, aggregation=Aggregation.SUM)
        for nth in range(METERS)
    ]
    return FixedMeters((TENANT, version) for version in versions)


def _bootstrap(settings: Settings) -> str:
    assert settings.kafka.bootstrap is not None
    return settings.kafka.bootstrap


async def _fill(settings: Settings, events: int, seed: int) -> None:
    """A topic with records as the API makes them."""
    chance = random.Random(seed)
    now_us = int(datetime.now(UTC).timestamp()) * 1_000_000
    await usage_topic(settings.kafka, settings.usage)
    by_partition: dict[int, list[WireEvent]] = {}
    for nth in range(events):
        customer = f"cus_{chance.randrange(CUSTOMERS):026d}"
        event = WireEvent(
            f"request-{seed}-{nth:012d}",
            EVENT,
            customer,
            f"mtr_{chance.randrange(METERS)}",
            now_us - chance.randrange(900_000_000),
            chance.randrange(1, 10_000) * NANOS // 100,
            {"region": "eu-west-1", "tier": "gold"},
        )
        place = partition_of_customer(TENANT, customer, settings.usage.partitions)
        by_partition.setdefault(place, []).append(event)
    async with AIOKafkaProducer(
        bootstrap_servers=_bootstrap(settings), acks="all", enable_idempotence=True, compression_type=COMPRESSION
    ) as producer:
        await asyncio.gather(*(_send(producer, settings, *each) for each in by_partition.items()))


async def _send(producer: AIOKafkaProducer, settings: Settings, partition: int, events: Sequence[WireEvent]) -> None:
    for start in range(0, len(events), RECORD_EVENTS):
        await producer.send_and_wait(
            topic_of(settings.kafka.topic_prefix),
            encode(events[start : start + RECORD_EVENTS]),
            partition=partition,
            headers=headers_of(TENANT),
        )


async def _bare(settings: Settings) -> float:
    """Seconds to read and decode everything."""
    consumer = AIOKafkaConsumer(bootstrap_servers=_bootstrap(settings), group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        topic = topic_of(settings.kafka.topic_prefix)
        places = [TopicPartition(topic, partition) for partition in range(settings.usage.partitions)]
        consumer.assign(places)
        left = sum((await consumer.end_offsets(places)).values())
        for place in places:
            consumer.seek(place, 0)
        start = time.perf_counter()
        while left:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    decode(record.value)
                    left -= 1
        return time.perf_counter() - start
    finally:
        await consumer.stop()


async def _counted(settings: Settings, events: int) -> float:
    """Seconds from an aggregator's first commit's beginning, which is when it has its partitions, to its last."""
    assert settings.database.url is not None
    dsn = settings.database.url.get_secret_value()
    metering = Metering(settings, dsn=dsn, bootstrap=_bootstrap(settings), meters=_meters())
    connection = await asyncpg.connect(dsn)
    task = asyncio.create_task(metering.run())
    try:
        await _until(connection, "SELECT count(*) FROM usage.checkpoints", settings.usage.partitions)
        start = time.perf_counter()
        await _until(connection, "SELECT coalesce(sum(ids), 0) FROM usage.dedupe_blocks", events)
        return time.perf_counter() - start
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await connection.close()


async def _until(connection: "asyncpg.Connection[asyncpg.Record]", number: str, reached: int) -> None:
    while await connection.fetchval(number) < reached:  # noqa: ASYNC110  another connection writes it
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    for row in found_by(rows(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)):
        print(row)
