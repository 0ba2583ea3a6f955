"""What nobody can ask for any more is removed, small blocks of ids become large ones, and nothing counts otherwise."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from infra.database import Role
from testing.services import FreshDatabase, KafkaServer
from testing.usage import Stream, counted_by, tenants_meters
from tests.integration.usage_scene import PARTITIONS, Scene, connected, open_scene
from usage.aggregation.dedupe import REMEMBERED_DAYS
from usage.aggregation.upkeep import BLOCK_IDS, SPARE_DAYS, Block, Kept, Upkeep, groups


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as opened:
        yield opened


async def keep(scene: Scene) -> Kept:
    """One upkeep, by the aggregator's role."""
    pool = await asyncpg.create_pool(scene.dsn, min_size=1, max_size=1, server_settings={"role": Role.METERING.value})
    upkeep = Upkeep(scene.settings, pool, bootstrap=scene.bootstrap)
    try:
        return await upkeep.once()
    finally:
        await upkeep.close()
        await pool.close()


async def ids(scene: Scene) -> list[tuple[int, bytes, bytes]]:
    """By partition the ids that are remembered, and where their records stand."""
    async with connected(scene.dsn) as connection:
        rows = await connection.fetch(
            "SELECT partition, hashes, places FROM usage.dedupe_blocks ORDER BY partition, first_offset"
        )
    hashes: dict[int, bytes] = {}
    places: dict[int, bytes] = {}
    for partition, some, where in rows:
        hashes[partition] = hashes.get(partition, b"") + some
        places[partition] = places.get(partition, b"") + where
    assert all(6 * len(hashes[each]) == 16 * len(places[each]) for each in hashes)
    return [(each, hashes[each], places[each]) for each in sorted(hashes)]


async def test_an_upkeep_changes_no_figure_and_forgets_no_id(scene: Scene) -> None:
    stream = Stream(4, customers=6, partitions=PARTITIONS)
    await scene.send(stream.records(900))
    await scene.start()
    await scene.caught_up()
    before, written = await ids(scene), await scene.written()
    async with connected(scene.dsn) as connection:
        blocks = await connection.fetchval("SELECT count(*) FROM usage.dedupe_blocks")
        nothing = await connection.fetchval("SELECT count(*) FROM usage.tallies WHERE times = 0")
    assert nothing
    assert await keep(scene) == Kept(expired=0, merged=blocks, tallies=nothing, conflicts=0)
    assert await keep(scene) == Kept(), "the second one finds nothing to do"
    assert await ids(scene) == before
    assert await scene.written() == written
    async with connected(scene.dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage.dedupe_blocks") == PARTITIONS

    await scene.kill()  # who takes a partition on now reads the large blocks
    await scene.send(scene.sent[:200])
    await scene.send(stream.records(300))
    await scene.start()
    await scene.caught_up()
    assert await scene.written() == counted_by(tenants_meters(), scene.sent).merged()
    assert [each for one in await scene.recounted() for each in one.differences] == []


async def test_what_is_not_remembered_is_not_kept(scene: Scene) -> None:
    await scene.send(Stream(5, customers=6, partitions=PARTITIONS).records(300))
    await scene.start()
    await scene.caught_up()
    async with connected(scene.dsn) as connection:
        (day,) = [row[0] for row in await connection.fetch("SELECT DISTINCT day FROM usage.dedupe_blocks")]
        await connection.executemany(
            "INSERT INTO usage.dedupe_blocks VALUES (0, $1, $2, $3, 1, $4)",
            [
                (-2, -1, day - REMEMBERED_DAYS - SPARE_DAYS - 1, bytes(16)),
                (-1, 0, day - REMEMBERED_DAYS - SPARE_DAYS, bytes(16)),
            ],
        )
        await connection.execute("UPDATE usage.conflicts SET record_offset = -1 - record_offset WHERE partition = 0")
        conflicts = await connection.fetchval("SELECT count(*) FROM usage.conflicts WHERE record_offset < 0")
        assert conflicts
        kept = await keep(scene)
        assert (kept.expired, kept.conflicts) == (1, conflicts)
        assert await connection.fetchval("SELECT min(first_offset) FROM usage.dedupe_blocks") == -1


def test_neighbours_of_one_day_are_one_block_as_far_as_they_fit() -> None:
    half = BLOCK_IDS // 2
    blocks = [Block(0, 1, half), Block(5, 1, half), Block(9, 1, 1), Block(10, 2, 1), Block(11, 2, 2), Block(12, 3, 9)]
    assert groups(blocks) == [blocks[0:2], blocks[3:5]]
    assert groups([]) == []
    assert groups([Block(0, 1, 10 * BLOCK_IDS), Block(1, 1, 1)]) == []
