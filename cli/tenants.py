"""Tenants and their API keys, as the operator has them made, listed and ended: by commands, which the log holds."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple, Protocol

import asyncpg
import typer

from api.http.access import NewKey, make_key
from cli import operators_commands
from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_rows
from domain.identity.api_key import CELLS_LIMITS, CreateApiKey, KeyTerms, RevokeApiKey
from domain.identity.permissions import Scope
from domain.identity.tenant import (
    CreateTenant,
    ReactivateTenant,
    SetApprovalLimits,
    SuspendTenant,
    TenantIdReserved,
)
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from domain.kernel.tenant_mode import TenantMode
from host.addresses import reached_settings
from host.configured import owner_dsn
from infra.database import Connection, Role, server_settings
from infra.event_store.opening import open_writer
from infra.event_store.port import Credential, CredentialKind
from infra.ids import new_id
from infra.settings import Settings

app = typer.Typer(help="Tenants and their API keys.", no_args_is_help=True)

KEY_LASTS_DAYS: Final = 90

_TENANT: Final = re.compile(r"[a-z][a-z0-9-]{1,62}")


class Tenant(NamedTuple):
    """A tenant that was made, with its first key."""

    tenant_id: str
    key: NewKey


class TenantExists(Exception):
    """There is a tenant of this id; nothing was made."""


class TenantIdIsReserved(Exception):
    """No tenant may have this id; nothing was made."""


class NoSuchTenant(Exception):
    """There is no tenant of this id."""


async def create_tenant(
    dsn: str, settings: Settings, *, tenant_id: str, name: str, mode: TenantMode, expires_at: datetime | None = None
) -> Tenant:
    """Make a tenant and its first API key, which may do everything. Raises TenantExists, and then makes no key either,
    and TenantIdIsReserved.
    """
    async with _issuing(dsn, settings, tenant_id) as issue:
        refused = await issue(CreateTenant(tenant_id=tenant_id, name=name, mode=mode))
        if refused == TenantIdReserved.code:
            raise TenantIdIsReserved(tenant_id)
        if refused is not None:
            raise TenantExists(tenant_id)
        return Tenant(tenant_id, await _create_key(issue, tenant_id, mode, Scope.ADMIN, expires_at))


async def create_key(
    dsn: str,
    settings: Settings,
    *,
    tenant_id: str,
    scope: Scope = Scope.ADMIN,
    expires_at: datetime | None = None,
) -> NewKey:
    """Make another key. Raises NoSuchTenant."""
    found = await _find(dsn, settings, "SELECT mode FROM access.tenants WHERE tenant_id = $1", tenant_id)
    if found is None:
        raise NoSuchTenant(tenant_id)
    async with _issuing(dsn, settings, tenant_id) as issue:
        return await _create_key(issue, tenant_id, TenantMode(found["mode"]), scope, expires_at)


async def revoke_key(dsn: str, settings: Settings, *, key_id: str) -> bool:
    """Revoke a key for good; False if there is none of this id that is not revoked."""
    query = "SELECT tenant_id FROM access.api_keys WHERE key_id = $1 AND revoked_at IS NULL"
    found = await _find(dsn, settings, query, key_id)
    if found is None:
        return False
    async with _issuing(dsn, settings, found["tenant_id"]) as issue:
        return await issue(RevokeApiKey(tenant_id=found["tenant_id"], key_id=key_id, by=None)) is None


async def suspend_tenant(dsn: str, settings: Settings, *, tenant_id: str, reason: str) -> None:
    """Let a tenant be read and not changed. Raises NoSuchTenant."""
    async with _issuing(dsn, settings, tenant_id) as issue:
        if await issue(SuspendTenant(tenant_id=tenant_id, reason=reason)) is not None:
            raise NoSuchTenant(tenant_id)


async def reactivate_tenant(dsn: str, settings: Settings, *, tenant_id: str) -> None:
    """Let a tenant be changed again. Raises NoSuchTenant."""
    async with _issuing(dsn, settings, tenant_id) as issue:
        if await issue(ReactivateTenant(tenant_id=tenant_id)) is not None:
            raise NoSuchTenant(tenant_id)


async def set_approval_limits(dsn: str, settings: Settings, *, tenant_id: str, limits: Sequence[Money]) -> None:
    """Let nobody alone refund or post more than this. Raises NoSuchTenant."""
    async with _issuing(dsn, settings, tenant_id) as issue:
        if await issue(SetApprovalLimits(tenant_id=tenant_id, limits=tuple(limits))) is not None:
            raise NoSuchTenant(tenant_id)


class _Issue(Protocol):
    """Takes a command to the log: the code of its refusal, None where it was accepted."""

    async def __call__(self, command: Command, *credentials: Credential) -> str | None: ...


@contextlib.asynccontextmanager
async def _issuing(dsn: str, settings: Settings, tenant_id: str) -> AsyncIterator[_Issue]:
    """A writer for some commands in a tenant. Each is a new request: whoever runs this twice asks for it twice."""
    writer = open_writer(dsn, settings.writer)
    correlation_id = new_id("cli_")

    async def issue(command: Command, *credentials: Credential) -> str | None:
        return await operators_commands.issue(writer, tenant_id, command, *credentials, correlation_id=correlation_id)

    try:
        yield issue
    finally:
        await writer.close()


async def _create_key(
    issue: _Issue, tenant_id: str, mode: TenantMode, scope: Scope, expires_at: datetime | None
) -> NewKey:
    key = make_key(mode)
    terms = KeyTerms(
        name="made by the operator",
        scope=scope,
        expires_at=expires_at,
        is_end_given=False,
        allowed_networks=(),
        limits=CELLS_LIMITS,
    )
    command = CreateApiKey(tenant_id=tenant_id, key_id=key.key_id, prefix=key.prefix, terms=terms, by=None)
    refused = await issue(command, Credential(CredentialKind.API_KEY, key.key_id, key.sha256))
    assert refused is None, refused
    return key


async def _find(dsn: str, settings: Settings, query: str, subject: str) -> "asyncpg.Record | None":
    connection = await _connect(dsn, settings)
    try:
        return await connection.fetchrow(query, subject)
    finally:
        await connection.close()


async def _connect(dsn: str, settings: Settings) -> Connection:
    return await asyncpg.connect(
        dsn,
        timeout=settings.database.connect_timeout_s,
        server_settings=server_settings(Role.OWNER, settings.database),
    )


def _expiry(days: int) -> datetime | None:
    return datetime.now(UTC) + timedelta(days=days) if days else None


TenantId = Annotated[str, typer.Argument(help="2 to 63 lower-case letters, digits and hyphens; it cannot be changed.")]
Days = Annotated[int, typer.Option(min=0, max=3650, help="How long the key works; 0: until it is revoked.")]


@app.command("create")
def create(
    tenant_id: TenantId,
    *,
    name: Annotated[str, typer.Option(help="For people to read.")] = "",
    mode: Annotated[
        TenantMode,
        typer.Option(help="What it is for: real business, or rehearsing it with test clocks; it cannot be changed."),
    ] = TenantMode.LIVE,
    days: Days = KEY_LASTS_DAYS,
    as_json: AsJson = False,
) -> None:
    """Make a tenant and its first API key, which is shown once.

    Test clocks exist in test tenants only. A tenant that is there stays as it is and gets no key.
    [dim]Example:[/dim] [cyan]tallybook tenants create acme-test --mode test --name "Acme, rehearsing"[/cyan]
    """
    if not _TENANT.fullmatch(tenant_id):
        raise typer.BadParameter("A tenant's id is 2 to 63 lower-case letters, digits and hyphens, such as acme-eu.")
    settings = reached_settings(kafka=False)
    try:
        made = asyncio.run(
            create_tenant(
                owner_dsn(settings),
                settings,
                tenant_id=tenant_id,
                name=name or tenant_id,
                mode=mode,
                expires_at=_expiry(days),
            )
        )
    except TenantIdIsReserved:
        raise AnswerIsNo(f"The id {tenant_id} is kept for the platform itself; choose another one.") from None
    except TenantExists:
        raise AnswerIsNo(
            f"There is a tenant {tenant_id} already; nothing was made. "
            f"`tallybook tenants create-key {tenant_id}` makes another key for it."
        ) from None
    _show(tenant_id, made.key, as_json=as_json)


@app.command("create-key")
def new_key(
    tenant_id: TenantId,
    *,
    scope: Annotated[
        Scope,
        typer.Option(help="What it may do: read; write, and read; or everything, as the tenant's first key may."),
    ] = Scope.ADMIN,
    days: Days = KEY_LASTS_DAYS,
    as_json: AsJson = False,
) -> None:
    """Make another API key of a tenant, which is shown once.

    A key gets the least scope that its program needs; docs/permissions.md tells what each scope holds.

    [dim]Example:[/dim] [cyan]tallybook tenants create-key acme --scope read[/cyan]
    """
    settings = reached_settings(kafka=False)
    try:
        key = asyncio.run(
            create_key(owner_dsn(settings), settings, tenant_id=tenant_id, scope=scope, expires_at=_expiry(days))
        )
    except NoSuchTenant:
        raise _no_such_tenant(tenant_id) from None
    _show(tenant_id, key, as_json=as_json)


@app.command("revoke-key")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, `key_…`, not the key itself.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Revoke an API key, for good and at once.

    [dim]Example:[/dim] [cyan]tallybook tenants revoke-key key_01m7ywe9z7e398x54gfbrtqnk7[/cyan]
    """
    settings = reached_settings(kafka=False)
    if not asyncio.run(revoke_key(owner_dsn(settings), settings, key_id=key_id)):
        raise AnswerIsNo(f"There is no valid key {key_id}; `tallybook tenants list` shows them.")
    if as_json:
        print_json({"key_id": key_id, "revoked": True})
    else:
        console_for(as_json=False).print(f"{key_id} is revoked.")


@app.command("suspend")
def suspend(
    tenant_id: TenantId,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the log; no personal data.")],
    as_json: AsJson = False,
) -> None:
    """Let a tenant be read and not changed, at once. What is under way is brought to its end.

    [dim]Example:[/dim] [cyan]tallybook tenants suspend acme --reason "unpaid since May"[/cyan]
    """
    settings = reached_settings(kafka=False)
    try:
        asyncio.run(suspend_tenant(owner_dsn(settings), settings, tenant_id=tenant_id, reason=reason))
    except NoSuchTenant:
        raise _no_such_tenant(tenant_id) from None
    _tell(tenant_id, "suspended", as_json=as_json)


@app.command("reactivate")
def reactivate(tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Let a suspended tenant be changed again, at once.

    [dim]Example:[/dim] [cyan]tallybook tenants reactivate acme[/cyan]
    """
    settings = reached_settings(kafka=False)
    try:
        asyncio.run(reactivate_tenant(owner_dsn(settings), settings, tenant_id=tenant_id))
    except NoSuchTenant:
        raise _no_such_tenant(tenant_id) from None
    _tell(tenant_id, "active", as_json=as_json)


@app.command("set-approval-limits")
def approval_limits(
    tenant_id: TenantId,
    limits: Annotated[
        list[str] | None, typer.Argument(help="An amount and its currency, such as 500.00EUR; none: no limits.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let nobody alone refund or post by hand more than this: above it a second person approves.

    The limits replace those before. Refunds of one payment count together. A currency without a limit has none.

    [dim]Example:[/dim] [cyan]tallybook tenants set-approval-limits acme 500.00EUR 60000JPY[/cyan]
    """
    amounts = [_limit(text) for text in limits or ()]
    if len({amount.currency for amount in amounts}) < len(amounts):
        raise typer.BadParameter("There is one limit for a currency.")
    settings = reached_settings(kafka=False)
    try:
        asyncio.run(set_approval_limits(owner_dsn(settings), settings, tenant_id=tenant_id, limits=amounts))
    except NoSuchTenant:
        raise _no_such_tenant(tenant_id) from None
    shown = [amount.format() for amount in amounts]
    if as_json:
        print_json({"tenant_id": tenant_id, "approval_limits": shown})
    else:
        told = f"a second person approves above {', '.join(shown)}" if shown else "nobody needs a second person"
        console_for(as_json=False).print(f"{tenant_id}: {told}.")


def _limit(text: str) -> Money:
    try:
        return Money.parse(text[:-3], currency_code(text[-3:].upper()))
    except Refusal as refusal:
        raise typer.BadParameter(f"{text}: {refusal.summary()} Write it like 500.00EUR.") from None


@app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """Show all tenants and their keys, without the secrets.

    [dim]Example:[/dim] [cyan]tallybook tenants list --json[/cyan]
    """
    settings = reached_settings(kafka=False)

    async def fetch() -> list[dict[str, object]]:
        connection = await _connect(owner_dsn(settings), settings)
        try:
            rows = await connection.fetch(
                "SELECT t.tenant_id, t.name, t.mode, t.suspended_at, k.key_id, k.prefix, k.scope, k.created_at, "
                "k.expires_at, k.revoked_at "
                "FROM access.tenants t LEFT JOIN access.api_keys k USING (tenant_id) ORDER BY t.tenant_id, k.created_at"
            )
        finally:
            await connection.close()
        return [dict(row) for row in rows]

    rows = asyncio.run(fetch())
    if as_json:
        print_json(rows)
        return
    print_rows(
        console_for(as_json=False),
        {
            "tenant_id": "tenant",
            "name": "name",
            "mode": "mode",
            "suspended_at": "suspended",
            "key_id": "key",
            "prefix": "prefix",
            "scope": "scope",
            "created_at": "made",
            "expires_at": "until",
            "revoked_at": "revoked",
        },
        rows,
    )


def _no_such_tenant(tenant_id: str) -> AnswerIsNo:
    return AnswerIsNo(
        f"There is no tenant {tenant_id}; `tallybook tenants list` shows them, "
        f"`tallybook tenants create {tenant_id}` makes it."
    )


def _tell(tenant_id: str, status: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenant_id": tenant_id, "status": status})
    else:
        console_for(as_json=False).print(f"{tenant_id} is {status}.")


def _show(tenant_id: str, key: NewKey, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenant_id": tenant_id, "key_id": key.key_id, "api_key": key.secret})
        return
    console = console_for(as_json=False)
    console.print(f"API key [bold]{key.key_id}[/bold]; it is shown once and not stored:", soft_wrap=True)
    console.print(key.secret, highlight=False, soft_wrap=True)
