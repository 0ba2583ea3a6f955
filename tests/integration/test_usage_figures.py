"""Figures by window and group, added up by the database, are those of the domain's aggregation of the same events."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from domain.metering.aggregation import (
    ZERO,
    Aggregation,
    GroupUsage,
    PartialAggregate,
    Window,
    level_at,
    merge,
    quantity_of_groups,
)
from testing.services import FreshDatabase, KafkaServer
from testing.usage import METERS, SPAN_US, START_US, TENANTS, Model, Stream, counted_by, tenants_meters
from tests.integration.usage_scene import PARTITIONS, all_series, connected, open_scene
from usage.aggregation.fold import BUCKET_US
from usage.figures import NOTHING, Figure, Place, figures
from usage.partials import FIRST_BUCKET, start_of

FIRST = START_US // BUCKET_US
BUCKETS = SPAN_US // BUCKET_US
CUSTOMERS = 3


def expected(
    model: Model,
    whose: tuple[str, str, str],
    groups: Sequence[tuple[str, ...]] | None,
    ends: Sequence[int],
    held_until: datetime,
) -> list[Figure]:
    """By window what counts of those groups, or of all."""
    aggregation = next(each.aggregation for each in METERS if each.meter_id == whose[2])
    parts: dict[tuple[str, ...], list[tuple[int, PartialAggregate]]] = {}
    for (*place, _version, group, bucket), added in model.parts.items():
        if tuple(place) == whose and (groups is None or group in groups):
            parts.setdefault(group, []).extend((bucket, part) for part in added)

    def counted(group: tuple[str, ...], first: int, end: int) -> PartialAggregate:
        kept = (part for bucket, part in parts[group] if first <= bucket < end)
        return merge(PartialAggregate(aggregation=aggregation), *kept)

    found = []
    for first, end in pairwise(ends):
        held = aggregation is Aggregation.TIME_WEIGHTED_SUM
        window = Window(start=start_of(first), end=min(start_of(end), held_until) if held else start_of(end))
        used = [
            GroupUsage(
                partial=counted(group, first, end),
                carried_in=level_at(counted(group, FIRST_BUCKET, first), start_of(first)) if held else ZERO,
            )
            for group in parts
        ]
        quantity = quantity_of_groups(aggregation, used, window)
        found.append(Figure(quantity, sum(each.partial.count for each in used)))
    return found


def told(found: Mapping[Place, Figure], part: int, windows: int) -> list[Figure]:
    return [found.get((part, nth), NOTHING) for nth in range(windows)]


async def test_figures_are_the_domains_in_whatever_windows(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> None:
    chance = random.Random(7)
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as scene:
        await scene.send(Stream(7, customers=CUSTOMERS, partitions=PARTITIONS).records(2_500))
        await scene.start()
        await scene.caught_up()
        model = counted_by(tenants_meters(), scene.sent)
        seen: set[Aggregation] = set()
        async with connected(scene.dsn) as connection:
            for tenant_id in TENANTS:
                for customer_id in (f"cus_{nth}" for nth in range(CUSTOMERS)):
                    series = await all_series(connection, tenant_id, customer_id)
                    for meter_id in sorted({each.version.meter_id for each in series}):
                        of_meter = [each for each in series if each.version.meter_id == meter_id]
                        cuts = sorted(chance.sample(range(FIRST - 3, FIRST + BUCKETS + 4), chance.randint(2, 7)))
                        held_until = start_of(FIRST + chance.randint(1, BUCKETS))
                        whose = tenant_id, customer_id, meter_id
                        groups = sorted({each.groups for each in of_meter})
                        parts = [of_meter, *([each for each in of_meter if each.groups == one] for one in groups)]
                        found = await figures(connection, parts, cuts[:-1], cuts[-1], held_until=held_until)
                        for nth, part in enumerate([None, *([one] for one in groups)]):
                            wanted = expected(model, whose, part, cuts, held_until)
                            assert told(found, nth, len(cuts) - 1) == wanted, (whose, cuts, part)
                        if any(figure.events for figure in found.values()):
                            seen.add(of_meter[0].version.aggregation)
        assert seen == set(Aggregation)


async def test_what_nobody_has_counted_comes_to_nothing(database: FreshDatabase) -> None:
    async with connected(database.dsn) as connection:
        assert await figures(connection, [[]], [FIRST], FIRST + 1, held_until=start_of(FIRST)) == {}
