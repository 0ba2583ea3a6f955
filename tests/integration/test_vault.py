"""Personal data: sealed, bound to its place, opened by query, gone with its key."""

import base64
import dataclasses
import hashlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from infra.commitments import Person, commitment
from infra.database import Connection, Pool, Role, open_pool
from infra.event_store.log import PostgresLog
from infra.event_store.opening import open_writer
from infra.event_store.port import Answer
from infra.event_store.writer import GroupCommitWriter
from infra.settings import DatabaseSettings, WriterSettings
from infra.vault import OPEN, Sealed, Unsealable, Vault
from testing.requests import TENANT, request
from testing.services import FreshDatabase
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Open, Touch

ADA: Person = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "address": {"lines": ["12 St James's Square"], "zip": None},
}
MASTER = bytes(range(32))
ROWS_READ = """
SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_all_tables WHERE schemaname = 'vault'
"""


@pytest.fixture
def vault() -> Vault:
    return Vault(MASTER)


@pytest.fixture
async def pool(database: FreshDatabase) -> AsyncIterator[Pool]:
    pool = await open_pool(database.dsn, Role.WRITER, DatabaseSettings())
    yield pool
    await pool.close()


@pytest.fixture
async def writer(database: FreshDatabase) -> AsyncIterator[GroupCommitWriter]:
    writer = open_writer(database.dsn, WriterSettings(), handlers=HANDLERS, codec=CounterCodec())
    yield writer
    await writer.close()


@pytest.fixture
async def ada(vault: Vault, writer: GroupCommitWriter) -> Sealed:
    sealed = vault.seal(TENANT, "cus_ada", ADA)
    await writer.submit(request(Open(counter_id="c1"), seals=sealed.rows))
    return sealed


async def test_what_was_sealed_opens_and_shows_nowhere(vault: Vault, ada: Sealed, pool: Pool) -> None:
    assert await vault.open(pool, TENANT, "cus_ada", ada.rows.reference) == ADA
    assert b"Ada" not in ada.rows.sealed
    assert "Ada" not in repr(ada.key)
    assert base64.b16encode(ada.key.data_key).decode() not in repr(ada)


async def test_each_revision_opens_by_its_reference(
    vault: Vault, ada: Sealed, writer: GroupCommitWriter, pool: Pool
) -> None:
    key = await vault.key_of(pool, TENANT, "cus_ada")
    assert key == ada.key
    second = vault.seal(TENANT, "cus_ada", {"name": "Ada King"}, key)
    await writer.submit(request(Touch(counter_id="c1"), seals=second.rows))
    wanted = [("cus_ada", ada.rows.reference), ("cus_ada", second.rows.reference), ("cus_nobody", "pd_1")]
    opened = await vault.open_many(pool, TENANT, wanted)
    assert opened == {wanted[0]: ADA, wanted[1]: {"name": "Ada King"}}
    assert await vault.open_many(pool, "other", wanted) == {}


async def test_erasing_a_person_leaves_nothing_to_open(
    vault: Vault, ada: Sealed, writer: GroupCommitWriter, pool: Pool
) -> None:
    answer = vault.seal_answer(ada.key, "k", b'{"name":"Ada Lovelace"}')
    await writer.submit(request(Touch(counter_id="c1"), key="k", answer=lambda _: answer))
    stored = await PostgresLog(pool).outcome(TENANT, "k")
    assert stored is not None
    assert stored.answer is not None
    assert await vault.open_answer(pool, TENANT, "k", stored.answer) == b'{"name":"Ada Lovelace"}'

    await writer.submit(request(Touch(counter_id="c1"), erases="cus_ada"))

    assert await vault.open(pool, TENANT, "cus_ada", ada.rows.reference) is None
    assert await vault.key_of(pool, TENANT, "cus_ada") is None
    assert await pool.fetchval("SELECT count(*) FROM vault.people") == 0, "the salt is gone: nothing can be opened"
    assert await vault.open_answer(pool, TENANT, "k", stored.answer) is None
    # A vault in another process, which has opened it all before, has nothing either.
    assert await Vault(MASTER).open_many(pool, TENANT, [("cus_ada", ada.rows.reference)]) == {}


async def test_a_reader_opens_its_own_tenants_people_only(vault: Vault, ada: Sealed, database: FreshDatabase) -> None:
    connection: Connection = await asyncpg.connect(database.dsn, server_settings={"role": Role.READER.value})
    for tenant, seen in (("other", None), (TENANT, ADA)):
        await connection.execute("SELECT set_config('tallybook.tenant', $1, false)", tenant)
        assert await vault.open(connection, TENANT, "cus_ada", ada.rows.reference) == seen
    await connection.close()


def test_sealed_data_is_bound_to_its_place(vault: Vault) -> None:
    sealed = vault.seal(TENANT, "cus_ada", ADA)
    wrapped_key, content = sealed.rows.wrapped_key, sealed.rows.sealed
    assert wrapped_key is not None
    assert vault.unseal(TENANT, "cus_ada", sealed.rows.reference, wrapped_key, content) == ADA
    swapped = (
        ("other", "cus_ada", sealed.rows.reference),
        (TENANT, "cus_eve", sealed.rows.reference),
        (TENANT, "cus_ada", "pd_other"),
    )
    for place in swapped:
        with pytest.raises(Unsealable):
            vault.unseal(*place, wrapped_key, content)
    for changed in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        with pytest.raises(Unsealable):
            vault.unseal(TENANT, "cus_ada", sealed.rows.reference, wrapped_key, changed)
    with pytest.raises(Unsealable):
        Vault(bytes(32)).unseal(TENANT, "cus_ada", sealed.rows.reference, wrapped_key, content)


async def test_a_sealed_answer_is_bound_to_its_key(vault: Vault, ada: Sealed, pool: Pool) -> None:
    answer = vault.seal_answer(ada.key, "k", b"body")
    assert await vault.open_answer(pool, TENANT, "k", answer) == b"body"
    with pytest.raises(Unsealable):
        await vault.open_answer(pool, TENANT, "another", answer)
    assert await vault.open_answer(pool, TENANT, "k", Answer(b"nobody's")) == b"nobody's"


def test_the_commitment_is_the_revisions_under_the_persons_salt(vault: Vault) -> None:
    sealed = vault.seal(TENANT, "cus_ada", ADA)
    assert sealed.commitment == commitment(sealed.key.salt, sealed.rows.reference, ADA)
    assert vault.seal(TENANT, "cus_ada", ADA).commitment != sealed.commitment, "another salt, another commitment"


def test_a_key_serves_its_own_person_only(vault: Vault) -> None:
    key = vault.seal(TENANT, "cus_ada", ADA).key
    with pytest.raises(ValueError, match="another person"):
        vault.seal(TENANT, "cus_eve", ADA, key)
    with pytest.raises(ValueError, match="another person"):
        vault.seal(TENANT, "cus_ada", ADA, dataclasses.replace(key, tenant_id="other"))


def test_a_master_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(b"short")


def test_a_requests_hash_says_nothing_without_the_master_key(vault: Vault) -> None:
    text = b'["POST","/v1/customers","acme",{"name":"Ada Lovelace"}]'
    assert vault.request_hash(text) == Vault(MASTER).request_hash(text)
    assert len(vault.request_hash(text)) == 32
    assert vault.request_hash(text) != vault.request_hash(text + b" ")
    assert vault.request_hash(text) not in {Vault(bytes(32)).request_hash(text), hashlib.sha256(text).digest()}


async def test_a_plan_made_while_the_vault_was_empty_reads_what_it_opens_and_no_more(
    database: FreshDatabase, vault: Vault
) -> None:
    connection = await asyncpg.connect(database.dsn)
    statement = await connection.prepare(OPEN)
    for _ in range(10):  # the server plans it once and for all
        await statement.fetch(TENANT, ["cus_1"], ["pdt_1"])
    await connection.execute(
        "INSERT INTO vault.people SELECT $1, 'cus_' || n, '', '' FROM generate_series(1, 5000) AS n", TENANT
    )
    await connection.execute(
        "INSERT INTO vault.personal_data SELECT $1, 'cus_' || n, 'pdt_' || n, '' FROM generate_series(1, 5000) AS n",
        TENANT,
    )
    await connection.execute("SELECT pg_stat_force_next_flush()")
    before = await connection.fetchval(ROWS_READ)
    for _ in range(10):
        assert len(await statement.fetch(TENANT, ["cus_1", "cus_9"], ["pdt_1", "pdt_9"])) == 2
    await connection.execute("SELECT pg_stat_force_next_flush()")
    assert await connection.fetchval(ROWS_READ) - before == 10 * 2 * 2  # a key and a revision of each
    await connection.close()
