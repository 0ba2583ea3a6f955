"""Tenants and their API keys, as the operator has them made, listed and ended: by commands, which the log holds."""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import typer

from cli.api_keys import (
    EVERYTHING,
    Days,
    NoSuchTenant,
    TenantId,
    ending,
    issue_key,
    new_key,
    no_such_tenant,
    revoke,
    show_key,
)
from cli.operators_commands import connected, issuing
from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_rows
from cli.texts import checked_line
from domain.identity.api_key import KeyTerms
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
from domain.kernel.tenant_mode import TenantMode
from host.addresses import reached_settings
from host.configured import owner_dsn
from infra.identity.new_api_keys import NewKey
from infra.settings import Settings

app = typer.Typer(help="Tenants and their API keys.", no_args_is_help=True)

_LIST: Final = """
SELECT t.tenant_id, t.name, t.mode, t.suspended_at, k.key_id, k.name AS key_name, k.prefix, k.scope, k.created_at,
    k.expires_at, k.revoked_at, k.allowed_networks, k.reads_per_hour, k.writes_per_hour, k.admin_per_hour
FROM access.tenants t LEFT JOIN access.api_keys k USING (tenant_id) ORDER BY t.tenant_id, k.created_at
"""
_TENANT: Final = re.compile(r"[a-z][a-z0-9-]{1,62}")


class Tenant(NamedTuple):
    """A tenant that was made, with its first key."""

    tenant_id: str
    key: NewKey


class TenantExists(Exception):
    """There is a tenant of this id; nothing was made."""


class TenantIdIsReserved(Exception):
    """No tenant may have this id; nothing was made."""


async def create_tenant(
    dsn: str, settings: Settings, *, tenant_id: str, name: str, mode: TenantMode, terms: KeyTerms = EVERYTHING
) -> Tenant:
    """Make a tenant and its first API key, which may do everything. Raises TenantExists, and then makes no key either,
    and TenantIdIsReserved.
    """
    async with issuing(dsn, settings, tenant_id) as issue:
        refused = await issue(CreateTenant(tenant_id=tenant_id, name=name, mode=mode))
        if refused == TenantIdReserved.code:
            raise TenantIdIsReserved(tenant_id)
        if refused is not None:
            raise TenantExists(tenant_id)
        return Tenant(tenant_id, await issue_key(issue, tenant_id, mode, terms))


async def suspend_tenant(dsn: str, settings: Settings, *, tenant_id: str, reason: str) -> None:
    """Let a tenant be read and not changed. Raises NoSuchTenant."""
    async with issuing(dsn, settings, tenant_id) as issue:
        if await issue(SuspendTenant(tenant_id=tenant_id, reason=reason)) is not None:
            raise NoSuchTenant(tenant_id)


async def reactivate_tenant(dsn: str, settings: Settings, *, tenant_id: str) -> None:
    """Let a tenant be changed again. Raises NoSuchTenant."""
    async with issuing(dsn, settings, tenant_id) as issue:
        if await issue(ReactivateTenant(tenant_id=tenant_id)) is not None:
            raise NoSuchTenant(tenant_id)


async def set_approval_limits(dsn: str, settings: Settings, *, tenant_id: str, limits: Sequence[Money]) -> None:
    """Let nobody alone refund or post more than this. Raises NoSuchTenant."""
    async with issuing(dsn, settings, tenant_id) as issue:
        if await issue(SetApprovalLimits(tenant_id=tenant_id, limits=tuple(limits))) is not None:
            raise NoSuchTenant(tenant_id)


@app.command("create")
def create(
    tenant_id: TenantId,
    *,
    name: Annotated[str, typer.Option(help="For people to read.", callback=checked_line)] = "",
    mode: Annotated[
        TenantMode,
        typer.Option(help="What it is for: real business, or rehearsing it with test clocks; it cannot be changed."),
    ] = TenantMode.LIVE,
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant and its first API key, which is shown once.

    Test clocks exist in test tenants only. A tenant that is there stays as it is and gets no key.
    [dim]Example:[/dim] [cyan]tallybook tenants create acme-test --mode test --name "Acme, rehearsing"[/cyan]
    """
    if not _TENANT.fullmatch(tenant_id):
        raise typer.BadParameter("A tenant's id is 2 to 63 lower-case letters, digits and hyphens, such as acme-eu.")
    settings = reached_settings(kafka=False)
    terms = ending(EVERYTHING, settings, days)
    try:
        made = asyncio.run(
            create_tenant(
                owner_dsn(settings), settings, tenant_id=tenant_id, name=name or tenant_id, mode=mode, terms=terms
            )
        )
    except TenantIdIsReserved:
        raise AnswerIsNo(f"The id {tenant_id} is kept for the platform itself; choose another one.") from None
    except TenantExists:
        raise AnswerIsNo(
            f"There is a tenant {tenant_id} already; nothing was made. "
            f"`tallybook tenants create-key {tenant_id}` makes another key for it."
        ) from None
    show_key(tenant_id, made.key, terms, as_json=as_json)


app.command("create-key")(new_key)
app.command("revoke-key")(revoke)


@app.command("suspend")
def suspend(
    tenant_id: TenantId,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the log; no personal data.", callback=checked_line)],
    as_json: AsJson = False,
) -> None:
    """Let a tenant be read and not changed, at once. What is under way is brought to its end.

    [dim]Example:[/dim] [cyan]tallybook tenants suspend acme --reason "unpaid since May"[/cyan]
    """
    settings = reached_settings(kafka=False)
    try:
        asyncio.run(suspend_tenant(owner_dsn(settings), settings, tenant_id=tenant_id, reason=reason))
    except NoSuchTenant:
        raise no_such_tenant(tenant_id) from None
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
        raise no_such_tenant(tenant_id) from None
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
        raise no_such_tenant(tenant_id) from None
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
        async with connected(owner_dsn(settings), settings) as connection:
            return [dict(row) for row in await connection.fetch(_LIST)]

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


def _tell(tenant_id: str, status: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenant_id": tenant_id, "status": status})
    else:
        console_for(as_json=False).print(f"{tenant_id} is {status}.")
