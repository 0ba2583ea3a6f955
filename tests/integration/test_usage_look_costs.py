"""What a look asks of the database: no more for many customers than for one, unless somebody watches them."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from infra.database import Role
from processors.usage_alerts.looking import Found, look_at, scene_of
from testing.services import FreshDatabase, KafkaServer
from tests.integration.usage_shop import TODAY
from tests.integration.watched_shop import Watched, watched_shop
from usage.looks import NO_EARLIER, Look
from usage.partials import bucket_of
from usage.taken_back import TakenBack


@pytest.fixture
async def shop(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Watched]:
    async with watched_shop(database, kafka_server, topic_prefix, tmp_path) as opened:
        yield opened


class Costs:
    """A connection of the reader's, and how many queries run on it."""

    def __init__(self, shop: Watched, dsn: str) -> None:
        self._shop = shop
        self._dsn = dsn
        self.queries = 0

    async def of(self, looks: Sequence[Look]) -> tuple[int, list[Found]]:
        """The queries of a look at all of these, and what it finds."""
        settings = self._shop.api.parts.settings
        assert self._shop.pool is not None
        connection = await asyncpg.connect(self._dsn, server_settings={"role": Role.READER.value})
        try:
            await connection.execute("SELECT set_config('tallybook.tenant', 'acme', false)")
            asked: list[str] = []
            connection.add_query_logger(lambda query: asked.append(query.query))
            taken_back = TakenBack(self._shop.pool, settings.kafka, settings.usage)
            scene = await scene_of(connection, "acme", looks, taken_back, datetime.now(UTC))
            found = [await look_at(scene, look) for look in looks]
            return len(asked), found
        finally:
            await connection.close()


async def test_what_nobody_watches_is_found_by_as_many_queries_however_many_customers_there_are(
    shop: Watched, database: FreshDatabase
) -> None:
    costs, meter = Costs(shop, database.dsn), await shop.meter("traffic")
    customers = [await shop.customer() for _ in range(5)]
    await shop.alert(meter=await shop.meter("other"), every=1)
    for customer in customers:
        await shop.used(customer, "traffic", (TODAY, 1))
    await shop.look()
    looks = [Look("acme", customer, meter, bucket_of(TODAY), 1) for customer in customers]
    of_one, _ = await costs.of(looks[:1])
    of_all, found = await costs.of(looks)
    assert (of_all, {each.again_ms for each in found}) == (of_one, {None})


async def test_a_figure_is_asked_for_where_somebody_watches(shop: Watched, database: FreshDatabase) -> None:
    costs, customer = Costs(shop, database.dsn), await shop.customer()
    meter, level = await shop.meter("traffic"), await shop.meter("stored", "time_weighted_sum")
    await shop.used(customer, "traffic", (TODAY, 1))
    await shop.used(customer, "stored", (TODAY - timedelta(days=1), 1))
    look = Look("acme", customer, meter, NO_EARLIER, 1)
    await shop.look()
    unwatched, _ = await costs.of([look])
    for each in (meter, level):
        await shop.alert(meter=each, every=1, period="month")
    await shop.look()
    watched, _ = await costs.of([look])
    assert watched - unwatched == 2, "its figure, and what was told"
    at_level, (found,) = await costs.of([look._replace(meter_id=level)])
    assert found.again_ms is not None
    assert at_level - watched == 13, "two figures of five queries in place of one, and what is held"
