"""Two tenants' random histories, with everything derived from them: an API, and what each tenant's lists answer."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import asyncpg

from api.http.principal import Principal, PrincipalKind, principal_of
from domain.identity.permissions import Role
from domain.kernel.tenant_mode import TenantMode
from host.embedded.databases import PostgresServer
from infra.database import Connection
from infra.settings import ApiSettings, DatabaseSettings, Settings
from projections.folding.tables import migrate
from projections.reports.logins import grant_login, list_logins, revoke_login
from projections.reports.report import Kind
from testing.api_client import Api, Client, project, running_api
from testing.histories import History, write_log
from testing.made_credentials import MadeCredentials
from testing.random_histories import scramble
from testing.reported import KINDS, OF_RESOURCES, Row
from testing.services import FreshDatabase, fresh_database

TENANTS = ("acme", "other")
_ALL_FOLDED = """
INSERT INTO read.checkpoints (projection, fold, partition, topic, incarnation, position, kafka_offset)
SELECT p.name, p.fold, n, p.name, p.incarnation, h.position, 0
FROM read.projections p, log.head h, generate_series(0, 11) AS n
"""
"""Up to where a rebuild folds."""


@dataclass
class Scene:
    """An API over both histories, a client of each tenant, and an administrator's connection."""

    api: Api
    clients: dict[str, Client]
    admin: Connection

    async def listed(self, report: str, tenant: str = "acme") -> list[Row]:
        """The rows of a report, made of the resources of the API's list."""
        path, rows_of = OF_RESOURCES[report]
        return [row for resource in await everything(self.clients[tenant], path) for row in rows_of(resource)]

    async def principal_of(self, client: Client) -> Principal:
        """Who asks with a client's key."""
        found = await self.api.parts.credentials.keys.find(client.key)
        assert found is not None
        return found

    async def asks_as(self, role: Role, own_id: str = "user_1") -> Client:
        """A client of acme that asks as somebody of this role; of a customer it is their id."""
        credentials = self.api.parts.credentials
        made = credentials.keys if isinstance(credentials.keys, MadeCredentials) else MadeCredentials(credentials.keys)
        credentials.keys = made
        made.principals[f"made-{role}"] = principal_of(
            PrincipalKind.CUSTOMER if role is Role.CUSTOMER else PrincipalKind.USER,
            role,
            tenant_id="acme",
            principal_id=own_id,
            mode=TenantMode.TEST,
            session="session_1",
        )
        return replace(self.clients["acme"], key=f"made-{role}")

    async def login(self, tenant: str) -> str:
        """Make a reporting login of the tenant; where it connects to."""
        database = self.api.database
        name = f"{tenant}_{database.name}"
        password = await grant_login(database.dsn, DatabaseSettings(), tenant_id=tenant, login=name)
        return database.dsn_as(name).replace(database.server.password, password)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A database with both histories and all that is derived of them, to be copied, and each tenant's key."""

    name: str
    keys: Mapping[str, str]


_WRITTEN: Final[dict[int, Written]] = {}
"""By the length of the histories: made once a process."""


@contextlib.asynccontextmanager
async def reports_scene(
    server: PostgresServer, template: str, api: ApiSettings | None = None, events: int = 600
) -> AsyncIterator[Scene]:
    """The scene on a database of its own; its logins, which are the server's, end with it."""
    if events not in _WRITTEN:
        _WRITTEN[events] = await _written(server, template, events)
    async with fresh_database(server, _WRITTEN[events].name) as database:
        await migrate(database.dsn)  # the rights on a database itself are not copied with it
        admin = await asyncpg.connect(database.dsn)
        try:
            async with running_api(database, api) as running:
                clients = {
                    tenant: Client(http=running.http, key=key, tenant_id=tenant, parts=running.parts)
                    for tenant, key in _WRITTEN[events].keys.items()
                }
                yield Scene(running, clients, admin)
        finally:
            for login in await list_logins(database.dsn, DatabaseSettings()):
                await revoke_login(database.dsn, DatabaseSettings(), login=login.login)
            await admin.close()


async def _written(server: PostgresServer, template: str, events: int) -> Written:
    database = FreshDatabase(name=f"reports_{events}", server=server)
    await server.copy_database(database.name, template=template)
    admin = await asyncpg.connect(database.dsn)
    try:
        await write_log(admin, scramble(History(23), TENANTS, events).events)
        async with running_api(database) as running:
            keys = {tenant: (await running.tenant(tenant)).key for tenant in TENANTS}
        await project(database, Settings())
        await admin.execute(_ALL_FOLDED)
    finally:
        await admin.close()
    return Written(name=database.name, keys=keys)


async def everything(client: Client, path: str) -> list[Row]:
    """All resources of a list, page by page."""
    found: list[Row] = []
    after = ""
    while True:
        answer = await client.get(f"{path}{after}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"{'&' if '?' in path else '?'}limit=100&starting_after={page['next_cursor']}"


async def rows_of_view(url: str, report: str) -> list[Row]:
    """A report as a login reads it, JSON parsed."""
    connection = await asyncpg.connect(url)
    try:
        return [_parsed(report, record) for record in await connection.fetch(f"SELECT * FROM {report}")]  # noqa: S608
    finally:
        await connection.close()


def _parsed(report: str, record: "asyncpg.Record") -> Row:
    return {
        name: json.loads(value) if value is not None and KINDS[report][name] is Kind.JSON else value
        for name, value in record.items()
    }


def as_compared(rows: list[Row], names: set[str]) -> list[str]:
    """Rows in an order of their own, by these columns alone."""
    return sorted(json.dumps({name: row[name] for name in sorted(names)}, default=_told) for row in rows)


def _told(value: Any) -> str:
    return format(value.normalize(), "f") if hasattr(value, "normalize") else str(value)
