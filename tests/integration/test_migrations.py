"""Migrations: each file once and never changed, repeatable ones whenever they change, rights in one table."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from infra.database import Connection, Role
from infra.event_store.opening import open_writer
from infra.migrations import HERE, BadMigrations, migrate, numbered, repeatable
from infra.settings import WriterSettings
from testing.requests import request
from testing.services import FreshDatabase
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Open

RIGHTS = (HERE / "repeatable" / "rights.sql").read_text(encoding="utf-8")


@pytest.fixture
async def admin(database: FreshDatabase) -> AsyncIterator[Connection]:
    connection: Connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations, to be changed."""
    return shutil.copytree(HERE, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__"))


async def test_migrating_again_changes_nothing(database: FreshDatabase, admin: Connection) -> None:
    before = await admin.fetch("SELECT * FROM ops.migrations ORDER BY name")
    await migrate(database.dsn)
    assert await admin.fetch("SELECT * FROM ops.migrations ORDER BY name") == before
    assert [row["name"] for row in before] == [each.name for each in (*numbered(), *repeatable())]


async def test_a_repeatable_file_that_changed_is_applied_again_under_a_writer_that_goes_on(
    database: FreshDatabase, admin: Connection, folder: Path
) -> None:
    writer = open_writer(database.dsn, WriterSettings(), handlers=HANDLERS, codec=CounterCodec())
    await writer.submit(request(Open(counter_id="c1")))
    append = folder / "repeatable" / "append.sql"
    changed = append.read_text(encoding="utf-8").replace(
        "\n    OUT base bigint", "\n    of_the_next_release text DEFAULT 'unsaid',\n    OUT base bigint"
    )
    append.write_text(changed, encoding="utf-8")

    await migrate(database.dsn, folder=folder)

    assert (await writer.submit(request(Open(counter_id="c2")))).position == 2
    await writer.close()
    names = await admin.fetchval("SELECT proargnames FROM pg_proc WHERE oid = 'log.append'::regproc")
    assert "of_the_next_release" in names
    may_call = "SELECT has_function_privilege($1, 'log.append'::regproc, 'EXECUTE')"
    assert [role for role in Role if await admin.fetchval(may_call, role)] == [Role.OWNER, Role.WRITER]


async def test_a_file_that_was_applied_never_changes(database: FreshDatabase, admin: Connection, folder: Path) -> None:
    log = folder / "0001_log.sql"
    log.write_text(log.read_text(encoding="utf-8") + "\nCREATE TABLE log.more (a int);\n", encoding="utf-8")
    with pytest.raises(BadMigrations, match=r"0001_log\.sql has changed since"):
        await migrate(database.dsn, folder=folder)
    assert await admin.fetchval("SELECT to_regclass('log.more')") is None


async def test_a_new_file_is_applied_once(database: FreshDatabase, admin: Connection, folder: Path) -> None:
    name = f"{len(numbered()) + 1:04}_more.sql"
    (folder / name).write_text("CREATE TABLE log.more (a int); INSERT INTO log.more VALUES (1);", encoding="utf-8")
    for _ in range(2):
        await migrate(database.dsn, folder=folder)
    assert [tuple(row) for row in await admin.fetch("SELECT a, tableoid::regclass::text FROM log.more")] == [
        (1, "log.more")
    ]
    assert await admin.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'more'") == Role.OWNER


@pytest.mark.parametrize("name", ["0001_again.sql", "0099_too_far.sql", "0002-relay.sql"])
def test_numbers_count_up_from_one(folder: Path, name: str) -> None:
    (folder / name).write_text("", encoding="utf-8")
    with pytest.raises(BadMigrations, match="two have one number, or one is missing"):
        numbered(folder)


def test_the_table_of_rights_has_a_column_for_each_role_but_the_owner() -> None:
    columns = re.search(r"\) AS t \(name, ([a-z, ]+)\)", RIGHTS)
    assert columns is not None
    assert [f"tallybook_{name}" for name in columns[1].split(", ")] == [role for role in Role if role is not Role.OWNER]


async def test_the_table_of_rights_names_every_table_and_function(admin: Connection) -> None:
    named = set(re.findall(r"\('([a-z]+\.[a-z_]+)'", RIGHTS))
    read_models = {row[0] for row in await admin.fetch("SELECT name FROM read.models")}
    rows = await admin.fetch(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "UNION SELECT n.nspname, p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = ANY($1) AND p.prorettype <> 'trigger'::regtype",
        ["access", "log", "ops", "read", "relay", "reporting", "usage", "vault"],
    )
    found = {
        f"{schema}.{name}"
        for schema, name in rows
        if name not in {"migrations", "search_texts"}
        and not (schema == "read" and re.sub(r"_v\d+$", "", name) in read_models)
    }
    assert found == named
