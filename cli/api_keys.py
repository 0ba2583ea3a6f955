"""`tallybook tenants create-key` and `revoke-key`: API keys as the operator makes and ends them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from cli.operators_commands import Issue, connected, issuing
from cli.output import AnswerIsNo, AsJson, console_for, print_json, shown
from cli.texts import checked_line
from domain.identity.api_key import (
    CELLS_LIMITS,
    LIMIT_MAX,
    NETWORKS_MAX,
    CreateApiKey,
    InvalidApiKeyTerms,
    KeyLimits,
    KeyTerms,
    RevokeApiKey,
    check_terms,
)
from domain.identity.permissions import Scope
from domain.kernel.frozen import replace
from domain.kernel.tenant_mode import TenantMode
from host.addresses import reached_settings
from host.configured import owner_dsn
from infra.event_store.port import Credential, CredentialKind
from infra.identity.new_api_keys import NewKey, make_key
from infra.settings import Settings

EVERYTHING: Final = KeyTerms(
    name="made by the operator",
    scope=Scope.ADMIN,
    expires_at=None,
    is_end_given=False,
    allowed_networks=(),
    limits=CELLS_LIMITS,
)
"""What a tenant's first key is good for."""


class NoSuchTenant(Exception):
    """There is no tenant of this id."""


async def create_key(dsn: str, settings: Settings, *, tenant_id: str, terms: KeyTerms = EVERYTHING) -> NewKey:
    """Make a key. Raises NoSuchTenant."""
    async with connected(dsn, settings) as connection:
        mode = await connection.fetchval("SELECT mode FROM access.tenants WHERE tenant_id = $1", tenant_id)
    if mode is None:
        raise NoSuchTenant(tenant_id)
    async with issuing(dsn, settings, tenant_id) as issue:
        return await issue_key(issue, tenant_id, TenantMode(mode), terms)


async def revoke_key(dsn: str, settings: Settings, *, key_id: str) -> bool:
    """Revoke a key for good; False if there is none of this id that is not revoked."""
    query = "SELECT tenant_id FROM access.api_keys WHERE key_id = $1 AND revoked_at IS NULL"
    async with connected(dsn, settings) as connection:
        tenant_id = await connection.fetchval(query, key_id)
    if tenant_id is None:
        return False
    async with issuing(dsn, settings, tenant_id) as issue:
        return await issue(RevokeApiKey(tenant_id=tenant_id, key_id=key_id, by=None)) is None


async def issue_key(issue: Issue, tenant_id: str, mode: TenantMode, terms: KeyTerms) -> NewKey:
    """Make a key of a tenant that is there. The terms were checked."""
    key = make_key(mode)
    command = CreateApiKey(tenant_id=tenant_id, key_id=key.key_id, prefix=key.prefix, terms=terms, by=None)
    refused = await issue(command, Credential(CredentialKind.API_KEY, key.key_id, key.sha256))
    assert refused is None, refused
    return key


TenantId = Annotated[str, typer.Argument(help="2 to 63 lower-case letters, digits and hyphens; it cannot be changed.")]
Days = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=3650,
        help="How long the key works, and its successors together; 0: until it is revoked. "
        "Without it TALLYBOOK_AUTH_API_KEY_DAYS says, anew for each successor.",
    ),
]
PerHour = typer.Option(min=1, max=LIMIT_MAX, help="Requests of this class an hour; without it as for every key.")


def new_key(
    tenant_id: TenantId,
    *,
    name: Annotated[str, typer.Option(help="What it is for, for people to read.", callback=checked_line)] = (
        EVERYTHING.name
    ),
    scope: Annotated[
        Scope,
        typer.Option(help="What it may do: read; write, and read; or everything, as the tenant's first key may."),
    ] = Scope.ADMIN,
    days: Days = None,
    expires_at: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="When it ends instead, such as 2027-01-31T00:00:00Z."),
    ] = None,
    allowed_networks: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-network",
            help=f"Where it works from, such as 192.0.2.0/24 or 192.0.2.7; up to {NETWORKS_MAX} times. "
            "Without it from everywhere.",
        ),
    ] = None,
    reads_per_hour: Annotated[int | None, PerHour] = None,
    writes_per_hour: Annotated[int | None, PerHour] = None,
    admin_per_hour: Annotated[int | None, PerHour] = None,
    as_json: AsJson = False,
) -> None:
    """Make another API key of a tenant, which is shown once.

    A key gets the least scope that its program needs; docs/permissions.md tells what each scope holds. An end given
    here is also its successors'.

    [dim]Example:[/dim] [cyan]tallybook tenants create-key acme --scope read[/cyan], or
    [cyan]tallybook tenants create-key acme --name imports --scope write --days 30
    --allowed-network 192.0.2.0/24 --writes-per-hour 10000[/cyan]
    """
    if days is not None and expires_at is not None:
        raise typer.BadParameter("A key ends after --days or at --expires-at, not both.")
    settings = reached_settings(kafka=False)
    limits = KeyLimits(reads_per_hour=reads_per_hour, writes_per_hour=writes_per_hour, admin_per_hour=admin_per_hour)
    terms = replace(ending(EVERYTHING, settings, days), name=name, scope=scope, limits=limits)
    if expires_at is not None:
        terms = replace(terms, expires_at=expires_at.astimezone(UTC), is_end_given=True)
    terms = _checked(replace(terms, allowed_networks=tuple(allowed_networks or ())))
    try:
        key = asyncio.run(create_key(owner_dsn(settings), settings, tenant_id=tenant_id, terms=terms))
    except NoSuchTenant:
        raise no_such_tenant(tenant_id) from None
    show_key(tenant_id, key, terms, as_json=as_json)


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


def ending(terms: KeyTerms, settings: Settings, days: int | None) -> KeyTerms:
    """The terms with an end in so many days, 0 being none; None: the end that keys have of which nobody says it."""
    lasts = settings.auth.api_key_days if days is None else days
    ends = datetime.now(UTC) + timedelta(days=lasts) if lasts else None
    return replace(terms, expires_at=ends, is_end_given=days is not None and ends is not None)


def _checked(terms: KeyTerms) -> KeyTerms:
    try:
        check_terms(terms, datetime.now(UTC))
    except InvalidApiKeyTerms as refusal:
        option = {"expires_at": "--expires-at", "allowed_networks": "--allowed-network"}
        raise typer.BadParameter(
            refusal.describe(), param_hint=option.get((refusal.param or "").partition(".")[0])
        ) from None
    return terms


def no_such_tenant(tenant_id: str) -> AnswerIsNo:
    """What is said of a tenant that is not there."""
    return AnswerIsNo(
        f"There is no tenant {tenant_id}; `tallybook tenants list` shows them, "
        f"`tallybook tenants create {tenant_id}` makes it."
    )


def show_key(tenant_id: str, key: NewKey, terms: KeyTerms, *, as_json: bool) -> None:
    """Tell a key, this once, and until when it works."""
    if as_json:
        print_json(
            {"tenant_id": tenant_id, "key_id": key.key_id, "api_key": key.secret, "expires_at": terms.expires_at}
        )
        return
    console = console_for(as_json=False)
    lasts = (
        "until it is revoked" if terms.expires_at is None else f"until {shown(terms.expires_at)} (--days says how long)"
    )
    console.print(f"API key [bold]{key.key_id}[/bold] works {lasts}; it is shown once and not stored:", soft_wrap=True)
    console.print(key.secret, highlight=False, soft_wrap=True)
