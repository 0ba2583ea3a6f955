"""A release whose read models differ fills them beside the live ones by itself; nothing stops, nothing is lost."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from infra.settings import ApiSettings
from projections.catalogue import BY_NAME, READ_MODELS
from projections.folding import row_store
from projections.folding.rebuild import rebuild
from projections.folding.refill import _LOCK
from projections.folding.tables import layout_of
from projections.models import invoices
from projections.read_model import Column, Projection, ReadModel
from testing.api_client import running_api
from testing.histories import History
from testing.projection_stack import ReadSide, read_side, until
from testing.random_histories import scramble
from testing.services import FreshDatabase, KafkaServer

TENANTS = ("acme", "other")


@pytest.fixture
async def side(database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str) -> AsyncIterator[ReadSide]:
    async with read_side(database, kafka_server, topic_prefix) as side:
        yield side


@contextlib.contextmanager
def another_release(model: ReadModel[Any]) -> Iterator[None]:
    """The read model with one more column."""
    columns, write = model.columns, model.write
    object.__setattr__(model, "columns", (*columns, Column("of_the_release", "text NOT NULL")))
    object.__setattr__(model, "write", lambda key, row: (*write(key, row), "newer"))
    _forget_statements()
    try:
        yield
    finally:
        object.__setattr__(model, "columns", columns)
        object.__setattr__(model, "write", write)
        _forget_statements()


def _forget_statements() -> None:
    """Statements are made once for a table, whose columns no running process changes but this one."""
    row_store._load_sql.cache_clear()
    row_store._upsert_sql.cache_clear()


async def _filled(side: ReadSide) -> None:
    """Wait until every table is this release's."""

    async def done() -> bool:
        layouts = {row["name"]: row["layout"] for row in await side.admin.fetch("SELECT name, layout FROM read.models")}
        return layouts == {model.name: layout_of(model) for model in READ_MODELS}

    await until(done, what="the read models to be filled")


async def test_a_new_column_fills_by_itself_while_everything_else_goes_on(side: ReadSide) -> None:
    history = scramble(History(5), TENANTS, 400)
    third = len(history.events) // 3
    await side.log(history, third)
    side.relay()
    _, old = side.workers()
    await side.caught_up()
    await side.stop(old)
    with another_release(invoices.TABLE):
        # Somebody fills, and dies of it: the read model stands still, and nothing else does.
        other = await asyncpg.connect(side.database.dsn)
        await other.execute("SELECT pg_advisory_lock($1, hashtext('billing'))", _LOCK)
        shown = await side.admin.fetchval("SELECT count(*) FROM read.invoices")
        role, _ = side.workers()
        await side.log(history, 2 * third)
        await side.caught_up()
        assert await side.admin.fetchval("SELECT count(*) FROM read.invoices") == shown, "readers keep the old table"
        billing = role.workers[0].health(None)
        assert billing.ok
        assert "invoices" in billing.detail
        found = await side.differences()
        assert {name for name in found if not name.startswith("standing:")} == set()
        assert set(found) == {"standing:invoices", "standing:billing_stats"}
        await other.close()
        await side.log(history)
        await _filled(side)
        await side.caught_up()
        assert await side.differences() == {}
        kept = await side.admin.fetch("SELECT DISTINCT of_the_release FROM read.invoices")
        assert [row[0] for row in kept] == ["newer"]


async def test_an_older_release_neither_writes_nor_fills_what_is_a_newer_ones(side: ReadSide) -> None:
    """Or two releases that run side by side would fill each other's tables for ever, or lose rows to each other."""
    history = scramble(History(6), TENANTS, 200)
    half = len(history.events) // 2
    await side.log(history, half)
    side.relay()
    _, task = side.workers()
    await side.caught_up()
    await side.stop(task)
    with another_release(invoices.TABLE):
        _, task = side.workers()
        await _filled(side)
        await side.stop(task)
        newer = layout_of(invoices.TABLE)
    role, task = side.workers()

    async def refuses() -> bool:
        return bool(role.workers) and "newer release" in role.workers[0].problem

    await until(refuses, what="the refusal")
    await side.log(history)
    assert not role.workers[0].health(None).ok
    live = await side.admin.fetchval("SELECT layout FROM read.models WHERE name = 'invoices'")
    assert live == newer
    # Going back for good is a decision, and a command.
    await rebuild(side.settings, [BY_NAME["invoices"]], owner_dsn=side.database.dsn)
    await side.caught_up()
    assert await side.differences() == {}
    with another_release(invoices.TABLE):
        assert layout_of(invoices.TABLE) in await side.admin.fetchval(
            "SELECT former_layouts FROM read.models WHERE name = 'invoices'"
        )


async def test_a_new_read_model_has_no_view_until_it_is_filled(side: ReadSide) -> None:
    """An empty list would be an answer, and a wrong one."""
    await side.log(scramble(History(7), TENANTS, 100))
    side.relay()
    _, task = side.workers()
    await side.caught_up()
    await side.stop(task)
    await side.admin.execute("DROP VIEW read.invoices; DROP TABLE read.invoices_v1 CASCADE")
    await side.admin.execute("DELETE FROM read.models WHERE name = 'invoices'")
    other = await asyncpg.connect(side.database.dsn)
    await other.execute("SELECT pg_advisory_lock($1, hashtext($2))", _LOCK, Projection.BILLING.value)
    side.workers()

    async def known() -> bool:
        return bool(await side.admin.fetchval("SELECT count(*) FROM read.models WHERE name = 'invoices'"))

    await until(known, what="the table")
    with pytest.raises(asyncpg.UndefinedTableError):
        await side.admin.fetch("SELECT * FROM read.invoices")
    await other.close()
    await _filled(side)
    await side.caught_up()
    assert await side.differences() == {}


async def test_the_api_says_that_a_read_model_is_being_filled(database: FreshDatabase) -> None:
    """Nothing that stands still passes for current, and nothing that is not there for empty."""
    async with running_api(database, ApiSettings(position_timeout_ms=50)) as api:
        client = await api.tenant("acme")
        made = await client.post("/v1/products", {"name": "P"})
        position = made.headers["ledger-position"]
        admin = await asyncpg.connect(database.dsn)
        await admin.execute("UPDATE relay.state SET position = (SELECT position FROM log.head)")
        at = {"min-ledger-position": position}
        assert (await client.send("GET", "/v1/products", headers=at)).status_code == 200
        await admin.execute("UPDATE read.models SET stands_at = 0 WHERE name = 'invoices'")
        made = await client.post("/v1/products", {"name": "Q"})
        await admin.execute("UPDATE relay.state SET position = (SELECT position FROM log.head)")
        at = {"min-ledger-position": made.headers["ledger-position"]}
        refused = await client.send("GET", "/v1/products", headers=at)
        assert (refused.status_code, refused.json()["code"]) == (503, "position_not_reached")
        await admin.execute("DROP VIEW read.invoices")
        refused = await client.get("/v1/invoices")
        assert (refused.status_code, refused.json()["code"]) == (503, "read_model_filling")
        assert refused.headers["retry-after"]
        await admin.close()
