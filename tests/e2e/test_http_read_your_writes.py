"""A query that names a command's position shows what the command did, however far behind the read models are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from domain.catalogue import STREAMS
from infra.kafka.relay import Relay
from infra.settings import ApiSettings, KafkaSettings
from projections.folding.tables import prepare
from projections.folding.worker import Projections
from testing.api_client import Api, Client, running_api
from testing.projection_stack import stack_settings
from testing.services import FreshDatabase, KafkaServer
from tests.integration.billing_scene import Shop, flat_price

PATIENT = ApiSettings(position_timeout_ms=60_000)


@pytest.fixture
async def api(database: FreshDatabase, topic_prefix: str) -> AsyncIterator[Api]:
    async with running_api(database, PATIENT, KafkaSettings(topic_prefix=topic_prefix)) as running:
        yield running


@contextlib.asynccontextmanager
async def running(database: FreshDatabase, kafka: KafkaServer, topic_prefix: str) -> AsyncIterator[None]:
    """A relay and the projections' workers."""
    settings = stack_settings(topic_prefix)
    relay = Relay(settings, dsn=database.dsn, bootstrap=kafka.bootstrap, streams=STREAMS)
    workers = Projections(settings, dsn=database.dsn, bootstrap=kafka.bootstrap)
    tasks = [asyncio.create_task(relay.run()), asyncio.create_task(workers.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_was_written_can_be_read_at_its_position(
    api: Api, database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    client = await api.tenant("acme")
    early = await client.post("/v1/customers", {"name": "Ada", "currency": "EUR"})
    async with running(database, kafka_server, topic_prefix):
        await shows(client, early.headers["ledger-position"], early.headers["location"], early.content)
        for number in range(20):
            made = await client.post("/v1/products", {"name": f"Product {number}"})
            await shows(client, made.headers["ledger-position"], made.headers["location"], made.content)
        amount = {"amount": 1999, "currency": "EUR"}
        payment = await client.post("/v1/payments", {"customer": early.json()["id"], "amount": amount})
        position = payment.headers["ledger-position"]
        listed = await client.get("/v1/payments", **{"Min-Ledger-Position": position})
        assert [each["id"] for each in listed.json()["data"]] == [payment.json()["id"]]
        health = (await api.http.get("/health")).json()
        behind = [part for part in health["parts"] if "lag_events" in part]
        assert {part["name"] for part in behind} >= {"relay", "projection billing", "projection payments"}
        assert {(part["ok"], part["lag_events"]) for part in behind} == {(True, 0)}


async def test_a_report_holds_what_was_written_at_its_position(
    api: Api, database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    client = await api.tenant("acme")
    async with running(database, kafka_server, topic_prefix):
        shop = await Shop.opened(client)
        price = await shop.price(flat_price(1_000), timing="in_arrears")
        subscription = await shop.subscribed(await shop.customer(), price)
        await shop.advance("2026-02-01T00:00:00Z")
        path = f"/v1/subscriptions/{subscription['id']}"
        await client.post(f"{path}/renew", {})
        ended = await client.post(f"{path}/cancel", {"at_period_end": False})
        position = {"Min-Ledger-Position": ended.headers["ledger-position"]}
        days = "from=2026-01-01&to=2026-02-28"
        mrr = (await client.get(f"/v1/reports/mrr?{days}", **position)).json()["currencies"][0]["periods"]
        assert [(period["new"]["amount"], period["churn"]["amount"]) for period in mrr] == [(1_000, 0), (0, -1_000)]
        revenue = (await client.get(f"/v1/reports/revenue?{days}", **position)).json()["currencies"][0]["periods"]
        assert [period["net"]["amount"] for period in revenue] == [0, 1_000]


async def shows(client: Client, position: str, path: str, expected: bytes) -> None:
    """The query waits, then shows exactly what the command answered."""
    shown = await client.get(path, **{"Min-Ledger-Position": position})
    assert shown.status_code == 200, shown.text
    assert shown.content == expected


async def test_a_position_that_is_not_reached_in_time_is_told(database: FreshDatabase) -> None:
    async with running_api(database, ApiSettings(position_timeout_ms=50)) as api:
        await prepare(database.dsn, api.parts.settings.database)
        client = await api.tenant("acme")
        made = await client.post("/v1/products", {"name": "P"})
        for _ in range(2):
            waiting = await client.get(
                made.headers["location"], **{"Min-Ledger-Position": made.headers["ledger-position"]}
            )
            assert (waiting.status_code, waiting.json()["code"]) == (503, "position_not_reached")
            assert int(waiting.headers["retry-after"]) >= 1
        assert (await client.get("/v1/products", **{"Min-Ledger-Position": "0"})).status_code == 200
        for bad in ("-1", "x", "1.0", "9" * 20, ""):
            refused = await client.get("/v1/products", **{"Min-Ledger-Position": bad})
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_header")


async def test_a_read_model_that_is_not_there_yet_is_no_defect(database: FreshDatabase) -> None:
    """A new release's API may be up before the worker that makes its read models."""
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("DROP VIEW IF EXISTS read.products")
    await connection.close()
    async with running_api(database) as api:
        client = await api.tenant("acme")
        early = await client.get("/v1/products")
        assert (early.status_code, early.json()["code"]) == (503, "read_model_filling")
