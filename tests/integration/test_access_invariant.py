"""Invariant I11 on a real database: the tables that say who may do what, against the log."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from cli.api_keys import create_key, revoke_key
from cli.tenants import create_tenant, suspend_tenant
from domain.identity.foreign_subject import LinkSubject
from domain.identity.permissions import Role as TeamRole
from domain.identity.team import AddMember, InviteMember, ResendInvitation, WithdrawInvitation
from domain.identity.tenant import PLATFORM, EnterTenant, LeaveTenant, RevealPersonalData
from domain.identity.user import EraseUser, RegisterUser
from domain.kernel.stream import Command
from domain.kernel.tenant_mode import TenantMode
from infra.database import Role, open_pool
from infra.event_store.opening import open_writer
from infra.event_store.port import Credential, CredentialKind
from infra.settings import DatabaseSettings, Settings, WriterSettings
from processors.invariants.access import check_access
from schemas.codec import default_codec
from testing.examples.streams import PERSONAL
from testing.requests import request
from testing.services import FreshDatabase

TAMPERINGS = {
    "tenants": "UPDATE access.tenants SET suspended_at = NULL WHERE tenant_id = 'other'",
    "api_keys": "UPDATE access.api_keys SET revoked_at = NULL",
    "memberships": "UPDATE access.memberships SET role = 'admin' WHERE user_id = 'user_2'",
    "identity_links": "UPDATE access.identity_links SET user_id = 'user_1'",
    "users": "UPDATE access.users SET email_index = '\\x00' WHERE user_id = 'user_3'",
}


async def test_tables_of_access_are_the_fold_of_the_log_and_what_is_not_is_named(database: FreshDatabase) -> None:
    settings = Settings()
    for tenant_id in ("acme", "other"):
        await create_tenant(database.dsn, settings, tenant_id=tenant_id, name=tenant_id, mode=TenantMode.TEST)
    await suspend_tenant(database.dsn, settings, tenant_id="other", reason="unpaid")
    key = await create_key(database.dsn, settings, tenant_id="acme")
    assert await revoke_key(database.dsn, settings, key_id=key.key_id)
    writer = open_writer(database.dsn, WriterSettings())
    for user_id, role, by in (("user_1", TeamRole.ADMIN, None), ("user_2", TeamRole.VIEWER, "user_1")):
        command = AddMember(tenant_id="acme", user_id=user_id, role=role, by=by)
        assert (await writer.submit(request(command, tenant_id="acme"))).refusal_code is None
    linked = LinkSubject(
        tenant_id="acme", link_id="idl_1", user_id="user_2", issuer="https://i", subject_digest="0" * 64, by="user_1"
    )
    assert (await writer.submit(request(linked, tenant_id="acme"))).refusal_code is None
    known = (Credential(CredentialKind.EMAIL, "user_3", bytes(32)), Credential(CredentialKind.PASSWORD, "user_3", b"$"))
    registered = RegisterUser(user_id="user_3", personal=PERSONAL, is_verified=True)
    await writer.submit(request(registered, tenant_id=PLATFORM, credentials=known))
    await writer.submit(request(EraseUser(user_id="user_3"), tenant_id=PLATFORM))
    await writer.close()
    pool = await open_pool(database.dsn, Role.OWNER, DatabaseSettings())
    codec = default_codec()
    try:
        found = await check_access(pool, codec)
        assert found.holds, found.named
        assert dict(found.counts) == {
            "tenants": 2,
            "api keys": 3,
            "memberships": 2,
            "users": 1,
            "identity links": 1,
        }
        for kind, statement in TAMPERINGS.items():
            await tamper(database.dsn, statement)
            found = await check_access(pool, codec)
            assert {each.kind for each in found.named} >= {kind}, (kind, found.named)
        await tamper(database.dsn, "DELETE FROM access.api_key_digests; DELETE FROM access.memberships")
        found = await check_access(pool, codec)
        assert any("its digest is not there" in each.detail for each in found.named)
        assert {each.subject for each in found.named if each.kind == "memberships"} == {"acme/user_1", "acme/user_2"}
    finally:
        await pool.close()


INVITATIONS_AND_ENTRIES = {
    "invitations": (
        "UPDATE access.invitations SET role = 'admin'",
        "UPDATE access.invitations SET expires_at = expires_at + interval '1 second'",
        "DELETE FROM access.invitations",
        "INSERT INTO access.invitations VALUES ('acme', 'inv_2', 'admin', now())",
    ),
    "entries": (
        "UPDATE access.entries SET ends_at = ends_at + interval '1 hour'",
        "UPDATE access.entries SET is_revealed = true",
        "UPDATE access.entries SET user_id = 'user_2'",
        "DELETE FROM access.entries",
        "INSERT INTO access.entries VALUES ('acme', 'user_2', now() + interval '1 hour', true)",
    ),
}


@pytest.fixture
async def entered(database: FreshDatabase) -> FreshDatabase:
    """A tenant with an open invitation, one that was sent again, and ones that are over; entered, and left before."""
    settings = Settings()
    await create_tenant(database.dsn, settings, tenant_id="acme", name="acme", mode=TenantMode.TEST)
    writer = open_writer(database.dsn, WriterSettings())
    now = datetime.now(UTC)
    week = now + timedelta(days=6)
    enter = EnterTenant(tenant_id="acme", user_id="user_1", reason="to look")
    commands: list[Command] = [
        *(
            InviteMember(
                tenant_id="acme", invitation_id=each, user_id=None, role=TeamRole.VIEWER, expires_at=week, by=None
            )
            for each in ("inv_1", "inv_3")
        ),
        ResendInvitation(tenant_id="acme", invitation_id="inv_1", expires_at=week + timedelta(hours=1), by=None),
        WithdrawInvitation(tenant_id="acme", invitation_id="inv_3", by=None),
        enter,
        RevealPersonalData(tenant_id="acme", user_id="user_1", reason="to look"),
        LeaveTenant(tenant_id="acme", user_id="user_1"),
        enter,
    ]
    for command in commands:
        assert (await writer.submit(request(command, tenant_id="acme"))).refusal_code is None, command
    await writer.close()
    return database


async def test_an_altered_row_of_invitations_or_entries_is_found(entered: FreshDatabase) -> None:
    """Each alteration by itself, undone before the next one."""
    codec = default_codec()
    pool = await open_pool(entered.dsn, Role.OWNER, DatabaseSettings())
    connection = await asyncpg.connect(entered.dsn)
    try:
        assert (await check_access(pool, codec)).holds
        for kind, statements in INVITATIONS_AND_ENTRIES.items():
            table = f"access.{kind}"
            await connection.execute(f"CREATE TEMPORARY TABLE kept_{kind} AS SELECT * FROM {table}")  # noqa: S608
            for statement in statements:
                assert not (await connection.execute(statement)).endswith(" 0"), statement
                found = await check_access(pool, codec)
                assert {each.kind for each in found.named} == {kind}, (statement, found.named)
                await connection.execute(
                    f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{kind}"  # noqa: S608  from this file
                )
        assert (await check_access(pool, codec)).holds
    finally:
        await connection.close()
        await pool.close()


async def tamper(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
