"""From a password to a signed token, and what a dump of the database is good for."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from domain.identity.passwords import check_password
from domain.identity.refreshing import Refreshing, SessionKind
from infra.database import Connection
from infra.identity.access_tokens import AccessToken
from infra.identity.one_time_tokens import Grant, Purpose
from infra.identity.password_hashing import common_passwords
from testing.credentials import DAY, MASTER_KEY, NOW, SECOND, USER, Credentials, open_credentials
from testing.services import FreshDatabase

PASSWORD = "a sentence of nothing but words"
TABLES = ("passwords", "one_time_tokens", "sessions", "signing_keys", "log_in_failures")


@pytest.fixture
async def owner(database: FreshDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def credentials(database: FreshDatabase) -> AsyncIterator[Credentials]:
    async with open_credentials(database.dsn) as opened:
        yield opened


async def store(owner: Connection, user_id: str, password_hash: bytes) -> None:
    """What the event of a changed password writes."""
    await owner.execute("INSERT INTO access.passwords (user_id, hash) VALUES ($1, $2)", user_id, password_hash)


async def test_a_password_opens_a_session_whose_refresh_tokens_lead_to_signed_tokens(
    owner: Connection, credentials: Credentials
) -> None:
    chosen = check_password(PASSWORD, common=common_passwords(), address="ada@example.com", name="Ada Lovelace")
    await store(owner, USER, await credentials.hashing.hash(chosen))
    assert await credentials.passwords.check(USER, PASSWORD)
    assert not await credentials.passwords.check(USER, PASSWORD + "!")

    started = await credentials.sessions.start(USER, SessionKind.PROGRAM, NOW, tenant_id="acme")
    refreshed = await credentials.sessions.refresh(started.secret, NOW + SECOND)
    assert (refreshed.outcome, refreshed.session is not None) == (Refreshing.NEXT, True)
    assert refreshed.token not in (None, started.secret)

    assert await credentials.signing.keep_up(NOW)
    keys = await credentials.signing.at(NOW)
    session_id = started.session.session_id
    token = credentials.tokens.sign(keys, user_id=USER, tenant_id="acme", role="admin", session_id=session_id, now=NOW)
    told = credentials.tokens.verify(keys, token, NOW + SECOND)
    assert isinstance(told, AccessToken)
    assert (told.user_id, told.tenant_id, told.role, told.session_id) == (USER, "acme", "admin", session_id)
    session = await credentials.sessions.by_id(told.session_id, NOW + SECOND)
    assert session is not None
    assert session.user_id == USER


async def test_a_dump_of_the_database_holds_nothing_that_can_be_presented(
    database: FreshDatabase, owner: Connection, credentials: Credentials
) -> None:
    await store(owner, USER, await credentials.hashing.hash(PASSWORD))
    program = await credentials.sessions.start(USER, SessionKind.PROGRAM, NOW)
    refreshed = await credentials.sessions.refresh(program.secret, NOW + SECOND)
    browser = await credentials.sessions.start(USER, SessionKind.BROWSER, NOW)
    one_time = await credentials.one_time.make(
        Grant(purpose=Purpose.RESET_PASSWORD, subject_id=USER), lasts=DAY, now=NOW
    )
    await credentials.signing.keep_up(NOW)
    await credentials.attempts.begin("Ada@Example.com", "192.0.2.7", NOW)
    rows = [
        str(row[0])
        for table in TABLES
        for row in await owner.fetch(f"SELECT to_jsonb(t)::text FROM access.{table} t")  # noqa: S608  from this file
    ]
    dump = "\n".join(rows)
    assert len(rows) == 7  # one row of each, a second session, and failures by account and by address
    assert refreshed.token is not None
    shown = (PASSWORD, program.secret, refreshed.token, browser.secret, one_time)
    for secret in (*shown, *(secret.rpartition("_")[2] for secret in shown), "example.com", "192.0.2.7", "PRIVATE"):
        for form in (secret, secret.encode().hex()):
            assert form not in dump
    # What a dump and another master key make is not taken: neither a token of its secret, nor a signature.
    async with open_credentials(database.dsn, master_key=MASTER_KEY[::-1]) as thief:
        assert (await thief.sessions.refresh(refreshed.token, NOW + SECOND)).outcome is Refreshing.OVER
        assert (await thief.signing.at(NOW)).keys == []
    async with open_credentials(database.dsn, master_key=MASTER_KEY[::-1]) as thief:
        forged = await thief.sessions.start(USER, SessionKind.PROGRAM, NOW)
        assert (await credentials.sessions.refresh(forged.secret, NOW)).outcome is Refreshing.OVER
    assert (await credentials.sessions.refresh(refreshed.token, NOW + 2 * SECOND)).outcome is Refreshing.NEXT


async def test_only_its_role_sees_the_credentials(owner: Connection) -> None:
    for role in ("tallybook_reader", "tallybook_writer", "tallybook_relay", "tallybook_projector"):
        await owner.execute(f"SET ROLE {role}")
        for table in TABLES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await owner.fetch(f"SELECT * FROM access.{table}")  # noqa: S608  from this file
        await owner.execute("RESET ROLE")
    await owner.execute("SET ROLE tallybook_access")
    for table in ("log.events", "vault.people", "vault.personal_data", "log.command_results"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.fetch(f"SELECT * FROM {table}")  # noqa: S608  from this file


def test_the_commonest_passwords_are_known_in_lower_case() -> None:
    known = common_passwords()
    assert len(known) > 8_000
    assert {"password1", "qwertyuiop", "12345678"} <= known
    assert all(re.fullmatch(r"\S.{7,}", each) and each == each.lower() for each in known)
