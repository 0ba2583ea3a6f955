"""What else may be on the topic of usage, or no longer: transactions that are committed or given up, batches that are
bombs, and records that are gone before they were counted.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from testing.processors_cell import until
from testing.services import FreshDatabase, KafkaServer
from testing.usage import START_US, TENANTS, Sent
from tests.integration.usage_scene import PARTITIONS, Scene, connected, open_scene
from usage.topic import COMPRESSION
from usage.wire import EVENT, WireEvent, encode, headers_of, partition_of_customer, topic_of

TENANT, CUSTOMER = TENANTS[0], "cus_1"
PARTITION = partition_of_customer(TENANT, CUSTOMER, PARTITIONS)
ELSEWHERE = next(
    f"cus_{nth}" for nth in range(9) if partition_of_customer(TENANT, f"cus_{nth}", PARTITIONS) != PARTITION
)


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as opened:
        yield opened


def used(nth: int, *, customer: str = CUSTOMER) -> Sent:
    event = WireEvent(f"e{nth}", EVENT, customer, "count", START_US, None, {})
    return Sent(TENANT, partition_of_customer(TENANT, customer, PARTITIONS), (event,))


async def next_offset(scene: Scene, partition: int = PARTITION) -> int:
    async with connected(scene.dsn) as connection:
        found = await connection.fetchval("SELECT next_offset FROM usage.checkpoints WHERE partition = $1", partition)
    return int(found or 0)


async def count_of(scene: Scene, customer: str = CUSTOMER) -> int:
    async with connected(scene.dsn) as connection:
        found = await connection.fetchval(
            "SELECT sum(a.n) FROM usage.aggregates a JOIN usage.series USING (series) WHERE customer_id = $1", customer
        )
    return int(found or 0)


async def counts(scene: Scene, events: int, customer: str = CUSTOMER) -> None:
    """Wait until a customer's events are so many."""

    async def reached() -> bool:
        return await count_of(scene, customer) >= events

    await until(reached, f"{events} events to be counted")
    assert await count_of(scene, customer) == events


async def prove(scene: Scene) -> None:
    assert [each for one in await scene.recounted() for each in one.differences] == []


async def test_a_transaction_counts_once_it_is_committed_and_never_if_it_is_given_up(
    scene: Scene, topic_prefix: str
) -> None:
    """Its end takes an offset at which no record is."""
    topic, headers = topic_of(topic_prefix), headers_of(TENANT)
    producer = AIOKafkaProducer(
        bootstrap_servers=scene.bootstrap, transactional_id=f"{topic_prefix}.tests", compression_type=COMPRESSION
    )
    await producer.start()
    try:
        await scene.start()
        for nth, is_kept in enumerate((True, False, True)):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, encode(used(nth).events), partition=PARTITION, headers=headers)
            await (producer.commit_transaction() if is_kept else producer.abort_transaction())
        await counts(scene, 2)

        async def passed() -> bool:
            return await next_offset(scene) == 6  # three records, three ends

        await until(passed, "the last transaction's end to be passed")
        await scene.send([used(1)])  # what was given up was never counted
        await counts(scene, 3)
        await prove(scene)
    finally:
        await producer.stop()


async def test_a_batch_that_is_a_bomb_is_a_dead_letter_and_the_partition_goes_on(
    scene: Scene, topic_prefix: str
) -> None:
    """Less than a broker's megabyte, it unpacks to more than any batch may."""
    producer = AIOKafkaProducer(
        bootstrap_servers=scene.bootstrap,
        compression_type=COMPRESSION,
        max_batch_size=200_000_000,
        max_request_size=200_000_000,
    )
    await producer.start()
    try:
        place, headers = topic_of(topic_prefix), headers_of(TENANT)
        await producer.send_and_wait(place, bytes(70_000_000), partition=PARTITION, headers=headers)
    finally:
        await producer.stop()
    await scene.send([used(1)])
    await scene.start()
    await counts(scene, 1)
    async with connected(scene.dsn) as connection:
        (error,) = [row[0] for row in await connection.fetch("SELECT error FROM ops.dead_letters")]
    assert "offsets 0 to 0" in error
    await prove(scene)


async def test_a_partition_of_which_usage_is_lost_stands_still_until_a_person_has_looked(
    scene: Scene, topic_prefix: str
) -> None:
    await scene.send([used(nth) for nth in range(4)])
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.bootstrap)
    await admin.start()
    try:
        await scene.start()
        await counts(scene, 4)
        await scene.kill()
        await scene.send([used(nth) for nth in range(4, 8)])
        await admin.delete_records({TopicPartition(topic_of(topic_prefix), PARTITION): RecordsToDelete(6)})
    finally:
        await admin.close()
    await scene.start()
    log = scene.folder / "metering-0.log"

    async def told() -> bool:
        return b"usage_lost" in await asyncio.to_thread(log.read_bytes)

    await until(told, "usage_lost in the log")
    assert await next_offset(scene) == 4
    assert await count_of(scene) == 4

    await scene.send([used(1, customer=ELSEWHERE)])  # the other partitions go on
    await counts(scene, 1, ELSEWHERE)
    assert await next_offset(scene) == 4

    await scene.send([used(4), used(5)])  # whoever has them sends them again
    async with connected(scene.dsn) as connection:
        await connection.execute("UPDATE usage.checkpoints SET next_offset = 6 WHERE partition = $1", PARTITION)
    await counts(scene, 8)
    await prove(scene)
