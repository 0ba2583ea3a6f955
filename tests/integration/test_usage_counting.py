"""Usage is counted exactly: by the model and by a recount, whatever is killed, sent twice, or handed over."""

import asyncio
import random
from pathlib import Path

import pytest

from host.embedded.kafka import EmbeddedKafka
from host.embedded.postgres import EmbeddedPostgres
from testing.services import FreshDatabase, KafkaServer
from testing.usage import Stream, counted_by, tenants_meters
from tests.conftest import migrate
from tests.integration.usage_scene import PARTITIONS, Scene, connected, open_scene
from tests.lengths import LENGTH


async def prove(scene: Scene) -> None:
    """What is kept is what the model says, and what a recount finds."""
    await scene.caught_up()
    model = counted_by(tenants_meters(), scene.sent)
    assert await scene.written() == model.merged()
    async with connected(scene.dsn) as connection:
        ids = await connection.fetchval("SELECT coalesce(sum(ids), 0) FROM usage.dedupe_blocks")
        conflicts = await connection.fetchval("SELECT count(*) FROM usage.conflicts")
    assert ids == len(model.counted)
    assert conflicts == model.conflicts
    recounted = await scene.recounted()
    assert [difference for each in recounted for difference in each.differences] == []
    assert sum(each.upto for each in recounted) == len(scene.sent)
    assert model.conflicts
    assert model.duplicates
    assert model.refused


async def test_one_aggregator_counts_exactly(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> None:
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as scene:
        await scene.send(Stream(1, customers=6, partitions=PARTITIONS).records(1_500))
        await scene.start()
        await prove(scene)
        async with connected(scene.dsn) as connection:
            letters = await connection.fetchval("SELECT count(*) FROM ops.dead_letters WHERE consumer = 'metering'")
        assert letters > 0


@pytest.mark.parametrize("aggregators", [1, 2, 3])
async def test_aggregators_that_are_killed_and_hand_over_count_exactly(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path, aggregators: int
) -> None:
    chance = random.Random(aggregators)
    stream = Stream(10 + aggregators, customers=8, partitions=PARTITIONS)
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as scene:
        await scene.start(aggregators)
        for _ in range(LENGTH.scaled(3)):
            before = await scene.counted()
            await scene.send(stream.records(400))
            await wait_for(scene, before + chance.randint(1, 20))
            await scene.kill(chance.randrange(len(scene.running)))
            await scene.start()
        await prove(scene)


async def wait_for(scene: Scene, records: int) -> None:
    """Wait until so many are counted: the kill then comes in the middle of the others."""
    while await scene.counted() < min(records, len(scene.sent)):
        await asyncio.sleep(0.02)


async def test_a_broker_and_a_database_that_start_again_cost_nothing(
    durable_postgres: EmbeddedPostgres, own_kafka: EmbeddedKafka, topic_prefix: str, tmp_path: Path
) -> None:
    dsn = durable_postgres.dsn()
    await migrate(dsn)
    stream = Stream(21, customers=6, partitions=PARTITIONS)
    async with open_scene(dsn, own_kafka.bootstrap, topic_prefix, tmp_path) as scene:
        await scene.start(2)
        for server in (own_kafka, durable_postgres):
            before = await scene.counted()
            await scene.send(stream.records(400))
            await wait_for(scene, before + 5)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await scene.send(stream.records(100))
        await prove(scene)
