"""The relay on the real PostgreSQL and Kafka: everything once or more, in order, without gaps, whoever leads."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from domain.catalogue import STREAMS
from domain.kernel.accounts import CASH, EQUITY, credit, debit
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.ledger.journal_entry import PostJournalEntry
from host.embedded.kafka import EmbeddedKafka
from infra.ids import new_id
from infra.kafka.records import BEFORE_FIRST, Delivered, delivered
from infra.kafka.relay import Relay
from infra.kafka.republishing import new_incarnation, republish
from infra.kafka.topics import PUBLISHED, TopicName, full_name, partition_of
from infra.settings import RelaySettings, Settings
from infra.telemetry import PartHealth
from schemas.codec import default_codec
from testing.requests import request
from testing.services import FreshDatabase, KafkaServer
from tests.integration.log_filling import domain_writer, new_product

LEASE_MS = 1_500
LIMIT_S = 60.0
PARTITIONS = 12


def settings_for(prefix: str) -> Settings:
    base = Settings()
    return replace(
        base,
        kafka=base.kafka.model_copy(update={"topic_prefix": prefix}),
        relay=RelaySettings(lease_ms=LEASE_MS, poll_interval_ms=50, restart_backoff_ms=50, batch_max_events=200),
    )


@contextlib.asynccontextmanager
async def relaying(dsn: str, bootstrap: str, prefix: str) -> AsyncIterator[Relay]:
    relay = Relay(settings_for(prefix), dsn=dsn, bootstrap=bootstrap, streams=STREAMS)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.contextmanager
def relay_process(dsn: str, bootstrap: str, prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "TALLYBOOK_DATABASE_URL": dsn,
        "TALLYBOOK_KAFKA_BOOTSTRAP": bootstrap,
        "TALLYBOOK_KAFKA_TOPIC_PREFIX": prefix,
        "TALLYBOOK_RELAY_LEASE_MS": str(LEASE_MS),
        "TALLYBOOK_RELAY_POLL_INTERVAL_MS": "50",
        "TALLYBOOK_RELAY_BATCH_MAX_EVENTS": "50",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.relay_process"], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


async def fill(dsn: str, events: int) -> None:
    async with domain_writer(dsn) as writer:
        await asyncio.gather(*(writer.submit(request(new_product(nth))) for nth in range(events)))


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for an async condition; the limit only bounds a test that would otherwise hang."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {LIMIT_S} s: {what}")


async def published_to(dsn: str, position: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:

        async def reached() -> bool:
            return bool(await connection.fetchval("SELECT position >= $1 FROM relay.state", position))

        await until(reached, f"published up to position {position}")
    finally:
        await connection.close()


async def everything(bootstrap: str, prefix: str) -> dict[tuple[str, int], list[Delivered]]:
    """All records of the published topics, per partition in offset order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(full_name(prefix, topic), n) for topic in PUBLISHED for n in range(PARTITIONS)]
        consumer.assign(places)
        found: dict[tuple[str, int], list[Delivered]] = defaultdict(list)
        ends = await consumer.end_offsets(places)
        behind = {place for place, end in ends.items() if end > 0}
        while behind:
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                found[place.topic, place.partition] += [delivered(record) for record in records]
            behind = {place for place in behind if await consumer.position(place) < ends[place]}
        return found
    finally:
        await consumer.stop()


def first_sights(records: list[Delivered]) -> list[Delivered]:
    """What a consumer keeps: records past its checkpoint. It fails on a gap, as a consumer must."""
    kept: list[Delivered] = []
    checkpoint = BEFORE_FIRST
    for record in records:
        if record.position <= checkpoint:
            continue
        assert record.previous_position == checkpoint, "a record is missing before this one"
        checkpoint = record.position
        kept.append(record)
    return kept


async def assert_topic_equals_log(dsn: str, bootstrap: str, prefix: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT position, payload, postings FROM log.events ORDER BY position")
    finally:
        await connection.close()
    topics = await everything(bootstrap, prefix)
    kept = [record for records in topics.values() for record in first_sights(records)]
    ledger = full_name(prefix, TopicName.LEDGER)
    events = sorted((record for record in kept if record.topic != ledger), key=lambda record: record.position)
    assert [(record.position, record.value) for record in events] == [(row[0], row[1]) for row in rows]
    entries = sorted((record for record in kept if record.topic == ledger), key=lambda record: record.position)
    assert [(record.position, record.value) for record in entries] == [(row[0], row[2]) for row in rows if row[2]]
    for record in kept:
        assert record.partition == partition_of(record.key, PARTITIONS)


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"abc", 479470107),
    ],
)
def test_partitions_are_the_java_client_s(key: bytes, murmur2: int) -> None:
    assert partition_of(key, 12) == (murmur2 & 0x7FFF_FFFF) % 12


async def test_the_log_is_published_in_order_with_its_entries(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    dollars = Money(500, currency_code("USD"))
    async with (
        relaying(database.dsn, kafka_server.bootstrap, topic_prefix),
        domain_writer(database.dsn) as writer,
    ):
        for nth in range(20):
            entry = PostJournalEntry(
                entry_id=new_id("je_"), memo="opening", postings=(debit(CASH, dollars), credit(EQUITY, dollars))
            )
            outcomes = await asyncio.gather(writer.submit(request(new_product(nth))), writer.submit(request(entry)))
        await published_to(database.dsn, max(outcome.position for outcome in outcomes))
    await assert_topic_equals_log(database.dsn, kafka_server.bootstrap, topic_prefix)
    topics = await everything(kafka_server.bootstrap, topic_prefix)
    entries = [record for (topic, _), records in topics.items() if "ledger" in topic for record in records]
    assert default_codec().decode_entry(entries[0].value).postings[0].amount == dollars


async def test_a_killed_leader_is_replaced_and_nothing_is_missed(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    await fill(database.dsn, 2_000)
    with relay_process(database.dsn, kafka_server.bootstrap, topic_prefix) as leader:
        await published_to(database.dsn, 300)
        leader.kill()
        async with relaying(database.dsn, kafka_server.bootstrap, topic_prefix):
            await published_to(database.dsn, 2_000)
    await assert_topic_equals_log(database.dsn, kafka_server.bootstrap, topic_prefix)


async def test_a_frozen_leader_is_replaced_within_its_lease_and_cannot_come_back(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    await fill(database.dsn, 2_000)
    with relay_process(database.dsn, kafka_server.bootstrap, topic_prefix) as leader:
        await published_to(database.dsn, 300)
        leader.send_signal(signal.SIGSTOP)
        async with relaying(database.dsn, kafka_server.bootstrap, topic_prefix) as follower:
            await published_to(database.dsn, 2_000)
            leader.send_signal(signal.SIGCONT)
            await fill(database.dsn, 500)
            await published_to(database.dsn, 2_500)
            assert follower.leads
            connection = await asyncpg.connect(database.dsn)
            assert await connection.fetchval("SELECT epoch FROM relay.state") == 2
            await connection.close()
    await assert_topic_equals_log(database.dsn, kafka_server.bootstrap, topic_prefix)


async def test_a_killed_broker_comes_back_and_nothing_is_missed(
    database: FreshDatabase, own_kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    await fill(database.dsn, 1_000)
    async with relaying(database.dsn, own_kafka.bootstrap, topic_prefix):
        await published_to(database.dsn, 200)
        own_kafka.kill()
        await fill(database.dsn, 500)
        own_kafka.start()
        await published_to(database.dsn, 1_500)
    await assert_topic_equals_log(database.dsn, own_kafka.bootstrap, topic_prefix)


async def test_republishing_starts_a_new_incarnation_from_the_first_event(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    await fill(database.dsn, 100)
    async with relaying(database.dsn, kafka_server.bootstrap, topic_prefix):
        await published_to(database.dsn, 100)
        assert await republish(database.dsn) == 2
        await published_to(database.dsn, 100)
    topics = await everything(kafka_server.bootstrap, topic_prefix)
    by_incarnation: dict[int, set[int]] = defaultdict(set)
    for records in topics.values():
        for incarnation in {record.incarnation for record in records}:
            of_it = [record for record in records if record.incarnation == incarnation]
            by_incarnation[incarnation] |= {record.position for record in first_sights(of_it)}
    assert by_incarnation == {1: set(range(1, 101)), 2: set(range(1, 101))}


async def test_health_says_that_a_republishing_holds_the_lease_and_then_that_a_relay_takes_it_next(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    relay = Relay(settings_for(topic_prefix), dsn=database.dsn, bootstrap=kafka_server.bootstrap, streams=STREAMS)
    connection = await asyncpg.connect(database.dsn)

    async def said() -> PartHealth:
        (part,) = [part for part in await relay.health(connection) if part.name == "relay"]
        return part

    try:
        assert (await said()).detail == "no relay holds the lease"
        async with new_incarnation(database.dsn):
            held = await said()
            assert held.ok
            assert held.detail == "incarnation 2 begins: `tallybook relay republish` holds the lease"
        given_back = await said()
        assert not given_back.ok
        assert given_back.detail.startswith("incarnation 2 begins")
        assert given_back.detail.endswith("a relay takes it next")
        async with relaying(database.dsn, kafka_server.bootstrap, topic_prefix):
            await until(lambda: _leads(said), "a relay leads")
    finally:
        await connection.close()


async def _leads(said: Callable[[], Awaitable[PartHealth]]) -> bool:
    part = await said()
    return part.ok and part.detail == "follows"  # the relay that is asked is not the one that leads
