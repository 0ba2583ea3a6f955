"""Tenants and their API keys: made, listed and revoked here, and nowhere else."""

import asyncio
import re
from typing import Annotated, Final, NamedTuple

import asyncpg
import typer

from api.http.access import NewKey, make_key
from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_rows
from domain.identity.permissions import Scope
from domain.kernel.tenant_mode import TenantMode
from host.addresses import owner_dsn, reached_settings
from infra.database import Role, server_settings
from infra.settings import Settings

app = typer.Typer(help="Tenants and their API keys.", no_args_is_help=True)

_TENANT: Final = re.compile(r"[a-z][a-z0-9-]{1,62}")


class Tenant(NamedTuple):
    """A tenant that was made, with its first key."""

    tenant_id: str
    key: NewKey


class TenantExists(Exception):
    """There is a tenant of this id; nothing was made."""


class NoSuchTenant(Exception):
    """There is no tenant of this id."""


async def create_tenant(dsn: str, settings: Settings, *, tenant_id: str, name: str, mode: TenantMode) -> Tenant:
    """Make a tenant and its first API key. Raises TenantExists, and then makes no key either."""
    key = make_key(mode)
    connection = await _connect(dsn, settings)
    try:
        async with connection.transaction():
            made = await connection.fetchval(
                "INSERT INTO access.tenants (tenant_id, name, mode) VALUES ($1, $2, $3) "
                "ON CONFLICT (tenant_id) DO NOTHING RETURNING true",
                tenant_id,
                name,
                mode,
            )
            if not made:
                raise TenantExists(tenant_id)
            await _insert_key(connection, tenant_id, key, Scope.ADMIN)
    finally:
        await connection.close()
    return Tenant(tenant_id, key)


async def create_key(dsn: str, settings: Settings, *, tenant_id: str, scope: Scope = Scope.ADMIN) -> NewKey:
    """Make another key. Raises NoSuchTenant."""
    connection = await _connect(dsn, settings)
    try:
        mode = await connection.fetchval("SELECT mode FROM access.tenants WHERE tenant_id = $1", tenant_id)
        if mode is None:
            raise NoSuchTenant(tenant_id)
        key = make_key(TenantMode(mode))
        await _insert_key(connection, tenant_id, key, scope)
    finally:
        await connection.close()
    return key


async def revoke_key(dsn: str, settings: Settings, *, key_id: str) -> bool:
    """Revoke a key for good; False if there is none of this id that is valid. Caches hold it for seconds at most."""
    connection = await _connect(dsn, settings)
    try:
        revoked = await connection.fetchval(
            "UPDATE access.api_keys SET revoked_at = clock_timestamp() WHERE key_id = $1 AND revoked_at IS NULL "
            "RETURNING true",
            key_id,
        )
    finally:
        await connection.close()
    return bool(revoked)


async def _insert_key(
    connection: "asyncpg.Connection[asyncpg.Record]", tenant_id: str, key: NewKey, scope: Scope
) -> None:
    await connection.execute(
        "INSERT INTO access.api_keys (key_id, tenant_id, prefix, sha256, scope) VALUES ($1, $2, $3, $4, $5)",
        key.key_id,
        tenant_id,
        key.prefix,
        key.sha256,
        scope,
    )


async def _connect(dsn: str, settings: Settings) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        dsn,
        timeout=settings.database.connect_timeout_s,
        server_settings=server_settings(Role.OWNER, settings.database),
    )


TenantId = Annotated[str, typer.Argument(help="2 to 63 lower-case letters, digits and hyphens; it cannot be changed.")]


@app.command("create")
def create(
    tenant_id: TenantId,
    *,
    name: Annotated[str, typer.Option(help="For people to read.")] = "",
    mode: Annotated[
        TenantMode,
        typer.Option(help="What it is for: real business, or rehearsing it with test clocks; it cannot be changed."),
    ] = TenantMode.LIVE,
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
            create_tenant(owner_dsn(settings), settings, tenant_id=tenant_id, name=name or tenant_id, mode=mode)
        )
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
    as_json: AsJson = False,
) -> None:
    """Make another API key of a tenant, which is shown once.

    A key gets the least scope that its program needs; docs/permissions.md tells what each scope holds.

    [dim]Example:[/dim] [cyan]tallybook tenants create-key acme --scope read[/cyan]
    """
    settings = reached_settings(kafka=False)
    try:
        key = asyncio.run(create_key(owner_dsn(settings), settings, tenant_id=tenant_id, scope=scope))
    except NoSuchTenant:
        raise AnswerIsNo(
            f"There is no tenant {tenant_id}; `tallybook tenants list` shows them, "
            f"`tallybook tenants create {tenant_id}` makes it."
        ) from None
    _show(tenant_id, key, as_json=as_json)


@app.command("revoke-key")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, `key_…`, not the key itself.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Revoke an API key; processes that know it believe it for some seconds more.

    [dim]Example:[/dim] [cyan]tallybook tenants revoke-key key_01m7ywe9z7e398x54gfbrtqnk7[/cyan]
    """
    settings = reached_settings(kafka=False)
    if not asyncio.run(revoke_key(owner_dsn(settings), settings, key_id=key_id)):
        raise AnswerIsNo(f"There is no valid key {key_id}; `tallybook tenants list` shows them.")
    if as_json:
        print_json({"key_id": key_id, "revoked": True})
    else:
        console_for(as_json=False).print(f"{key_id} is revoked.")


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
                "SELECT t.tenant_id, t.name, t.mode, k.key_id, k.prefix, k.scope, k.created_at, k.revoked_at "
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
            "key_id": "key",
            "prefix": "prefix",
            "scope": "scope",
            "created_at": "made",
            "revoked_at": "revoked",
        },
        rows,
    )


def _show(tenant_id: str, key: NewKey, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenant_id": tenant_id, "key_id": key.key_id, "api_key": key.secret})
        return
    console = console_for(as_json=False)
    console.print(f"API key [bold]{key.key_id}[/bold]; it is shown once and not stored:", soft_wrap=True)
    console.print(key.secret, highlight=False, soft_wrap=True)
