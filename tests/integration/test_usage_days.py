"""Days are the sums of their quarter hours, whatever is sent, late, voided, corrected, killed or closed meanwhile; and
what is used of a period by days is what the domain makes of the same events.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from domain.metering.aggregation import (
    ADDED_BY_GROUP,
    ZERO,
    Aggregation,
    GroupUsage,
    PartialAggregate,
    Window,
    level_at,
    merge,
    quantity_of_groups,
)
from infra.database import Connection, Role
from infra.migrations import HERE
from testing.services import FreshDatabase, KafkaServer
from testing.usage import METERS, START_US, TENANTS, Model, Sent, Stream, counted_by, tenants_meters
from tests.integration.usage_scene import PARTITIONS, Scene, connected, open_scene
from usage.aggregation.fold import BUCKET_US
from usage.closings import Closings, Wanted
from usage.days import DAY_BUCKETS, day_in_sql, day_of, whole_days
from usage.ends import KafkaEnds
from usage.figures import NOTHING, Figure
from usage.live import Metered
from usage.partials import FIRST_BUCKET, Buckets, start_of
from usage.used import used_in

CUSTOMERS = 3
STRETCH = 50
"""So many times as far from each other as `Stream` makes them: four hours become eight days."""
FIRST = START_US // BUCKET_US
LAST = FIRST + STRETCH * 16


def stretched(records: Sequence[Sent]) -> list[Sent]:
    """The same records over days instead of hours: repeats are still repeats."""
    return [replace_times(each) for each in records]


def replace_times(sent: Sent) -> Sent:
    events = tuple(
        each._replace(timestamp_us=START_US + STRETCH * (each.timestamp_us - START_US)) for each in sent.events
    )
    return sent._replace(events=events)


async def days_and_quarter_hours(connection: Connection) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
    """Days as they are kept, and as they are added up; without those that came to nothing."""
    kept = {
        (row["series"], row["day"]): (row["n"], int(row["total"]))
        for row in await connection.fetch("SELECT * FROM usage.days WHERE n <> 0 OR total <> 0")
    }
    added: dict[Any, tuple[int, int]] = {}
    for row in await connection.fetch("SELECT series, bucket, n, total FROM usage.aggregates"):
        key = row["series"], day_of(row["bucket"])
        n, total = added.get(key, (0, 0))
        added[key] = n + row["n"], total + int(row["total"])
    return kept, {key: sums for key, sums in added.items() if sums != (0, 0)}


def expected(model: Model, whose: tuple[str, str, str], period: Window) -> Figure:
    """What the domain makes of the events that count in the period's quarter hours."""
    aggregation = next(each.aggregation for each in METERS if each.meter_id == whose[2])
    parts: dict[tuple[str, ...], list[tuple[int, PartialAggregate]]] = {}
    for (*place, _version, group, bucket), added in model.parts.items():
        if tuple(place) == whose:
            key = group if aggregation in ADDED_BY_GROUP else ()
            parts.setdefault(key, []).extend((bucket, part) for part in added)
    empty = PartialAggregate(aggregation=aggregation)

    def of(group: tuple[str, ...], first: int, end: int) -> PartialAggregate:
        return merge(empty, *(part for bucket, part in parts[group] if first <= bucket < end))

    first, end = (int(each.timestamp()) // 900 for each in (period.start, period.end))
    held = aggregation is Aggregation.TIME_WEIGHTED_SUM
    used = [
        GroupUsage(
            partial=of(group, first, end),
            carried_in=level_at(of(group, FIRST_BUCKET, first), period.start) if held else ZERO,
        )
        for group in parts
    ]
    if not used:
        return NOTHING
    return Figure(quantity_of_groups(aggregation, used, period), sum(each.partial.count for each in used))


def periods(chance: random.Random) -> list[Window]:
    """Of quarter hours of one day, of neighbours, of many days, with midnights as bounds, and of nothing."""
    midnight = -(-FIRST // DAY_BUCKETS) * DAY_BUCKETS
    bounds = [midnight, midnight + DAY_BUCKETS, midnight + 4 * DAY_BUCKETS, FIRST - 200, FIRST, LAST, LAST + 3_000]
    bounds += [chance.randrange(FIRST, LAST) for _ in range(6)]
    drawn = (sorted(chance.sample(bounds, 2)) for _ in range(8))
    near = ((first, first + chance.randrange(1, 90)) for first in (chance.randrange(FIRST, LAST) for _ in range(3)))
    return [Window(start=start_of(first), end=start_of(end)) for first, end in (*drawn, *near)]


async def test_what_is_used_of_a_period_is_the_domains_by_however_many_days(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> None:
    chance = random.Random(11)
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as scene:
        stream = Stream(11, customers=CUSTOMERS, partitions=PARTITIONS)
        await scene.send(stretched(stream.records(1_200)))
        await scene.start()
        await scene.caught_up()
        await close_some(scene, chance)
        await scene.send(stretched(stream.records(600)))  # late, as well as in time
        await scene.kill()
        await scene.start()
        await scene.caught_up()
        model, seen = counted_by(tenants_meters(), scene.sent), set[Aggregation]()
        async with connected(scene.dsn) as connection:
            kept, added = await days_and_quarter_hours(connection)
            assert kept == added
            assert await connection.fetchval("SELECT count(*) FROM usage.aggregates WHERE late > 0") > 0
            for tenant_id in TENANTS:
                for customer_id in (f"cus_{nth}" for nth in range(CUSTOMERS)):
                    for meter_id in sorted({each.meter_id for each in METERS}):
                        whose = tenant_id, customer_id, meter_id
                        for period in periods(chance):
                            found = await used_in(connection, Metered(*whose), period, held_until=period.end)
                            assert found == expected(model, whose, period), (whose, period)
                            if found.events:
                                seen.add(next(each.aggregation for each in METERS if each.meter_id == meter_id))
        assert seen == set(Aggregation)
        assert [difference for each in await scene.recounted() for difference in each.differences] == []


async def close_some(scene: Scene, chance: random.Random) -> None:
    """Close the time of some meters, so that what comes is late."""
    ends = KafkaEnds(scene.settings, bootstrap=scene.bootstrap)
    pool = await asyncpg.create_pool(scene.dsn, min_size=1, max_size=1, server_settings={"role": Role.WRITER.value})
    closings = Closings(pool, ends, partitions=PARTITIONS)
    try:
        for nth, customer_id in enumerate(f"cus_{nth}" for nth in range(CUSTOMERS)):
            for each in chance.sample(sorted({meter.meter_id for meter in METERS}), 5):
                wanted = Wanted(
                    tenant_id=TENANTS[0],
                    customer_id=customer_id,
                    meter_id=each,
                    since=start_of(FIRST),
                    until=start_of(LAST + 5_000),
                    reference=f"il_{nth}_{each}",
                )
                await closings.close(wanted, waits=False)
    finally:
        await pool.close()
        await ends.close()


async def test_a_recount_tells_of_a_day_that_is_not_the_sum_of_its_quarter_hours(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> None:
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as scene:
        await scene.send(Stream(3, customers=2, partitions=PARTITIONS).records(60))
        await scene.start()
        await scene.caught_up()
        async with connected(scene.dsn) as connection:
            one = "(SELECT ctid FROM usage.days WHERE n > 0 LIMIT 1)"
            await connection.execute(f"UPDATE usage.days SET n = n + 1 WHERE ctid = {one}")  # noqa: S608
        (difference,) = (each for found in await scene.recounted() for each in found.differences)
        assert difference.what == "day"
        async with connected(scene.dsn) as connection:
            await connection.execute("TRUNCATE usage.days")
            await connection.execute(filling())
            kept, added = await days_and_quarter_hours(connection)
        assert kept == added, "the migration fills them"
        assert [each for found in await scene.recounted() for each in found.differences] == []


def filling() -> str:
    """What the migration does with quarter hours that were counted before it."""
    script = (HERE / "0018_usage_days.sql").read_text(encoding="utf-8")
    return script[script.index("INSERT INTO usage.days") :]


@given(first=st.integers(-400, 400), length=st.integers(-30, 400))
def test_whole_days_and_what_is_left_are_the_time_and_nothing_else(first: int, length: int) -> None:
    """Of any two quarter hours, before 1970 too, and where the second is not behind the first."""
    days = whole_days(Buckets(first, first + length))
    inside = [*range(*days.before), *range(days.first * DAY_BUCKETS, days.end * DAY_BUCKETS), *range(*days.behind)]
    assert inside == [*range(first, first + length)]


async def test_the_database_and_we_know_the_same_days(database: FreshDatabase) -> None:
    async with connected(database.dsn) as connection:
        rows = await connection.fetch(f"SELECT n, {day_in_sql('n')} AS day FROM generate_series(-500, 500) n")  # noqa: S608
    assert [row["day"] for row in rows] == [day_of(row["n"]) for row in rows]
