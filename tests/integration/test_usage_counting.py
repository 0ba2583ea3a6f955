"""Usage is counted exactly: by the model and by a recount, whatever is killed, sent twice, or handed over."""

import asyncio
import random
from pathlib import Path
from typing import cast

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from infra.database import Pool
from infra.kafka.unreadable import UNPACKED_BYTES_MAX
from testing.processors_cell import until
from testing.services import FreshDatabase, KafkaServer
from testing.usage import Stream, counted_by, tenants_meters
from tests.attack.foreign_records import write_batch
from tests.integration.usage_scene import PARTITIONS, Scene, connected, open_scene
from tests.lengths import LENGTH
from usage.lookup import CountedEvents
from usage.wire import topic_of


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


async def test_a_batch_that_unpacks_into_too_much_is_a_dead_letter_and_what_follows_is_counted(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> None:
    """Two kilobytes can fill any memory. Whoever reads the topic comes past them: a recount and a look-up, too."""
    stream = Stream(5, customers=4, partitions=PARTITIONS)
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as scene:
        await scene.send(stream.records(40))
        for partition in range(PARTITIONS):
            await write_batch(scene.bootstrap, topic_of(topic_prefix), partition, lambda _: too_much())
        before = len(scene.sent)
        await scene.send(stream.records(40))
        await scene.start()
        written = len(scene.sent) + PARTITIONS
        await until_counted(scene, written)
        assert await scene.written() == counted_by(tenants_meters(), scene.sent).merged()
        recounted = await scene.recounted()
        assert [difference for each in recounted for difference in each.differences] == []
        assert sum(each.upto for each in recounted) == written
        async with connected(scene.dsn) as connection:
            letters = await connection.fetchval("SELECT count(*) FROM ops.dead_letters WHERE error LIKE '%offsets%'")
            looked = CountedEvents(cast("Pool", connection), scene.settings.kafka, scene.settings.usage)
            near = [(each.tenant_id, event) for each in scene.sent[before - 2 : before + 2] for event in each.events]
            found = [await looked.find(tenant_id, event.customer, event.id) for tenant_id, event in near]
        assert letters == PARTITIONS
        assert any(found)


def too_much() -> bytes:
    """A batch that the brokers take, of one record that is larger than a batch may be once it is unpacked."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=4, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=2 * UNPACKED_BYTES_MAX,
    )  # fmt: skip
    builder.append(0, timestamp=1, key=None, value=bytes(UNPACKED_BYTES_MAX), headers=[])
    return bytes(builder.build())


async def until_counted(scene: Scene, records: int) -> None:
    async def reached() -> bool:
        return await scene.counted() >= records

    await until(reached, "everything to be counted")


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
