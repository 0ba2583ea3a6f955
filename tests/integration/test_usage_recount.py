"""A recount compares everything that aggregators write, whatever of it was changed by hand, and mends what nobody has
billed.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from infra.database import Role
from testing.processors_cell import until
from testing.services import FreshDatabase, KafkaServer
from testing.usage import START_US, TENANTS, Stream, counted_by, tenants_meters
from tests.integration.usage_scene import PARTITIONS, Scene, connected, open_scene
from usage.closings import Closed, Closings, Wanted
from usage.ends import KafkaEnds
from usage.recount import recount
from usage.recounted_rows import Difference
from usage.wire import WireEvent, topic_of

CUSTOMERS = 5
TAMPERED = {
    "series": "UPDATE usage.series SET customer_id = 'cus_x' WHERE series = (SELECT min(series) FROM usage.series)",
    "sum": "DELETE FROM usage.aggregates WHERE (n <> 0 OR total <> 0) AND bucket % 3 = 0",
    "day": "UPDATE usage.days SET n = n + 1 WHERE series > (SELECT min(series) FROM usage.days)",
    "tally": "UPDATE usage.tallies SET times = times + 1 WHERE bucket % 3 = 1",
    "conflict": "UPDATE usage.conflicts SET appended_at = appended_at + interval '1 s' WHERE record_offset % 2 = 0",
    "void": "DELETE FROM usage.voids WHERE record_offset % 2 = 0",
    "ids": "DELETE FROM usage.dedupe_blocks WHERE first_offset % 2 = 1",
}
FORGED = {
    "void": "INSERT INTO usage.voids SELECT partition, record_offset, 999, tenant_id, customer_id, 'forged', '', "
    "appended_at FROM usage.voids LIMIT 1",
    "conflict": "INSERT INTO usage.conflicts SELECT partition, record_offset, 999, tenant_id, customer_id, 'forged', "
    "kind, appended_at FROM usage.conflicts LIMIT 1",
    "sum": "INSERT INTO usage.aggregates SELECT series, 1, 0, tenant_id, 1, 5 FROM usage.aggregates LIMIT 1",
    "tenant": "UPDATE usage.aggregates SET tenant_id = 'x' WHERE (series, bucket) = (SELECT series, bucket FROM "
    "usage.aggregates WHERE n <> 0 LIMIT 1)",
}


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as opened:
        yield opened


async def differences(scene: Scene, *, mends: bool = False) -> list[Difference]:
    """Of all partitions."""
    async with connected(scene.dsn) as connection:
        found = [
            await recount(scene.settings, connection, bootstrap=scene.bootstrap, partition=number, mends=mends)
            for number in range(PARTITIONS)
        ]
    return [one for each in found if each is not None for one in each.differences]


async def execute(scene: Scene, statement: str, *arguments: object) -> None:
    async with connected(scene.dsn) as connection:
        assert int((await connection.execute(statement, *arguments)).rpartition(" ")[2]) > 0, statement


async def counted(scene: Scene, events: int = 500) -> Stream:
    """So many events with all that goes wrong, counted."""
    stream = Stream(21, customers=CUSTOMERS, partitions=PARTITIONS)
    await scene.send(stream.records(events))
    await scene.start()
    await scene.caught_up()
    assert await differences(scene) == []
    return stream


@pytest.mark.parametrize("by_hand", [TAMPERED, FORGED], ids=["changed", "forged"])
async def test_whatever_was_changed_is_told_and_mended_while_it_is_counted_on(
    scene: Scene, by_hand: dict[str, str]
) -> None:
    stream = await counted(scene)
    for what, statement in by_hand.items():
        await execute(scene, statement)
        assert ("sum" if what == "tenant" else what) in {each.what for each in await differences(scene)}
    told = await differences(scene)
    assert not any(each.mended or each.billed_by for each in told)

    sending = asyncio.create_task(scene.send(stream.records(200)))
    assert all(each.mended for each in await differences(scene, mends=True))
    await sending
    await scene.send(scene.sent[:150])  # what was counted counts once, also by who counted meanwhile
    await scene.caught_up()
    assert await differences(scene) == []
    assert await scene.written() == counted_by(tenants_meters(), scene.sent).merged()


async def test_what_a_closing_has_billed_is_told_and_left_as_it_is(scene: Scene) -> None:
    await counted(scene)
    pool = await asyncpg.create_pool(scene.dsn, min_size=1, max_size=2, server_settings={"role": Role.WRITER.value})
    ends = KafkaEnds(scene.settings, bootstrap=scene.bootstrap)
    since = datetime.fromtimestamp(START_US / 1e6, UTC)
    closings = Closings(pool, ends, partitions=PARTITIONS)

    async def is_closed() -> bool:
        wanted = Wanted(
            tenant_id=TENANTS[0], customer_id="cus_1", meter_id="mtr_sum", since=since,
            until=since + timedelta(hours=2), reference="il_1",
        )  # fmt: skip
        return isinstance(await closings.close(wanted), Closed)

    try:
        await until(is_closed, "the period to be closed")
    finally:
        await ends.close()
        await pool.close()
    await execute(
        scene,
        "UPDATE usage.aggregates SET total = total + 7 WHERE n <> 0 AND series IN (SELECT series FROM usage.series "
        "WHERE tenant_id = $1 AND customer_id = 'cus_1')",
        TENANTS[0],
    )
    told = await differences(scene, mends=True)
    assert {(each.what, each.billed_by, each.mended) for each in told} == {
        ("sum", 1, False), ("sum", 0, True), ("day", 0, True),
    }  # fmt: skip
    left = await differences(scene)
    assert left == [each for each in told if each.billed_by]


async def test_of_a_topic_that_has_lost_its_beginning_what_is_recent_is_compared(scene: Scene) -> None:
    """Events of before are known by their ids alone."""
    await counted(scene)
    now_us = (int(datetime.now(UTC).timestamp()) + 7_200) * 1_000_000

    def of_now(event: WireEvent) -> WireEvent:
        return event._replace(id=f"r{event.id}", timestamp_us=now_us + event.timestamp_us % 3_600_000_000)

    recent = [
        each._replace(events=tuple(map(of_now, each.events)))
        for each in Stream(22, customers=CUSTOMERS, partitions=PARTITIONS).records(300)
    ]
    before = len(scene.sent)
    await scene.send(recent)
    await scene.caught_up()
    async with connected(scene.dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage.voids WHERE event_id LIKE 'r%'") > 0
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.bootstrap)
    await admin.start()
    try:
        topic = topic_of(scene.settings.kafka.topic_prefix)
        for number in range(PARTITIONS):
            upto = sum(each.partition == number for each in scene.sent[:before])
            await admin.delete_records({TopicPartition(topic, number): RecordsToDelete(upto)})
    finally:
        await admin.close()
    assert await differences(scene) == []
    await execute(scene, "DELETE FROM usage.voids WHERE event_id LIKE 'r%'")
    assert {each.what for each in await differences(scene)} == {"void"}
    assert all(each.mended for each in await differences(scene, mends=True))
    assert await differences(scene) == []


async def test_nothing_is_mended_where_it_is_lost_from_where_on_a_version_counts(scene: Scene) -> None:
    await counted(scene)
    written = await scene.written()
    async with connected(scene.dsn) as connection:
        adopted = await connection.fetch("SELECT * FROM usage.adopted_meters")
    await execute(scene, "DELETE FROM usage.adopted_meters WHERE meter_id = 'mtr_sum'")
    told = await differences(scene, mends=True)
    assert {"meter", "sum"} <= {each.what for each in told}
    assert not any(each.mended for each in told if each.what in {"meter", "sum"})
    async with connected(scene.dsn) as connection:
        await connection.execute("TRUNCATE usage.adopted_meters")
        await connection.copy_records_to_table("adopted_meters", schema_name="usage", records=[*map(tuple, adopted)])
    assert await differences(scene) == []
    assert await scene.written() == written
