"""Tenants and their API keys: made, listed and revoked here, and nowhere else."""

import asyncio
import re
from typing import Annotated, Final, NamedTuple

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from api.http.access import NewKey, make_key
from host.addresses import owner_dsn, reached_settings
from infra.database import Role, server_settings
from infra.settings import Settings

app = typer.Typer(help="Tenants and their API keys.", no_args_is_help=True)

_TENANT: Final = re.compile(r"[a-z][a-z0-9-]{1,62}")


class Tenant(NamedTuple):
    """A tenant that was made, with its first key."""

    tenant_id: str
    key: NewKey


async def create_tenant(dsn: str, settings: Settings, *, tenant_id: str, name: str) -> Tenant:
    """Make a tenant, unless it is there, and one more API key for it."""
    key = make_key()
    connection = await _connect(dsn, settings)
    try:
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO access.tenants (tenant_id, name) VALUES ($1, $2) ON CONFLICT (tenant_id) DO NOTHING",
                tenant_id,
                name,
            )
            await _insert_key(connection, tenant_id, key)
    finally:
        await connection.close()
    return Tenant(tenant_id, key)


async def create_key(dsn: str, settings: Settings, *, tenant_id: str) -> NewKey:
    """Make another key. Raises asyncpg.ForeignKeyViolationError where there is no such tenant."""
    key = make_key()
    connection = await _connect(dsn, settings)
    try:
        await _insert_key(connection, tenant_id, key)
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


async def _insert_key(connection: "asyncpg.Connection[asyncpg.Record]", tenant_id: str, key: NewKey) -> None:
    await connection.execute(
        "INSERT INTO access.api_keys (key_id, tenant_id, prefix, sha256) VALUES ($1, $2, $3, $4)",
        key.key_id,
        tenant_id,
        key.prefix,
        key.sha256,
    )


async def _connect(dsn: str, settings: Settings) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        dsn,
        timeout=settings.database.connect_timeout_s,
        server_settings=server_settings(Role.OWNER, settings.database),
    )


TenantId = Annotated[str, typer.Argument(help="2 to 63 lower-case letters, digits and hyphens; it cannot be changed.")]


@app.command("create")
def create(tenant_id: TenantId, *, name: Annotated[str, typer.Option(help="For people to read.")] = "") -> None:
    """Make a tenant and its first API key, which is shown once.

    [dim]Example:[/dim] [cyan]tallybook tenants create acme --name "Acme Ltd"[/cyan]
    """
    if not _TENANT.fullmatch(tenant_id):
        raise typer.BadParameter("A tenant's id is 2 to 63 lower-case letters, digits and hyphens.")
    settings = reached_settings()
    made = asyncio.run(create_tenant(owner_dsn(settings), settings, tenant_id=tenant_id, name=name or tenant_id))
    _show(made.key)


@app.command("create-key")
def new_key(tenant_id: TenantId) -> None:
    """Make another API key of a tenant, which is shown once.

    [dim]Example:[/dim] [cyan]tallybook tenants create-key acme[/cyan]
    """
    settings = reached_settings()
    try:
        key = asyncio.run(create_key(owner_dsn(settings), settings, tenant_id=tenant_id))
    except asyncpg.ForeignKeyViolationError:
        raise typer.BadParameter(f"There is no tenant {tenant_id}.") from None
    _show(key)


@app.command("revoke-key")
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, `key_…`, not the key itself.")]) -> None:
    """Revoke an API key; processes that know it believe it for some seconds more.

    [dim]Example:[/dim] [cyan]tallybook tenants revoke-key key_01m7ywe9z7e398x54gfbrtqnk7[/cyan]
    """
    settings = reached_settings()
    if not asyncio.run(revoke_key(owner_dsn(settings), settings, key_id=key_id)):
        raise typer.BadParameter(f"There is no valid key {key_id}.")
    Console().print(f"{key_id} is revoked.")


@app.command("list")
def list_keys() -> None:
    """Show all tenants and their keys, without the secrets.

    [dim]Example:[/dim] [cyan]tallybook tenants list[/cyan]
    """
    settings = reached_settings()

    async def fetch() -> list[asyncpg.Record]:
        connection = await _connect(owner_dsn(settings), settings)
        try:
            return await connection.fetch(
                "SELECT t.tenant_id, t.name, k.key_id, k.prefix, k.created_at, k.revoked_at FROM access.tenants t "
                "LEFT JOIN access.api_keys k USING (tenant_id) ORDER BY t.tenant_id, k.created_at"
            )
        finally:
            await connection.close()

    table = Table("tenant", "name", "key", "prefix", "made", "revoked")
    for row in asyncio.run(fetch()):
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)


def _show(key: NewKey) -> None:
    console = Console()
    console.print(f"API key [bold]{key.key_id}[/bold]; it is shown once and not stored:")
    console.print(key.secret, highlight=False, soft_wrap=True)
