"""One API process on one database for all attacks; it must be alive, and without a traceback in its log, at the end."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from host.embedded.databases import PostgresServer
from host.stack import NO_LIMITS
from infra.settings import Settings
from projections.folding.tables import prepare
from testing.services import fresh_database
from tests.attack.target import Target
from tests.e2e.api_process import ApiProcess

NO_RATE_LIMITS = {
    "TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN": "10000000",
    **NO_LIMITS,
}


@pytest.fixture(scope="session")
async def target(
    postgres_server: PostgresServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Target]:
    """A running API with one tenant and its key."""
    folder: Path = tmp_path_factory.mktemp("attacked")
    async with fresh_database(postgres_server, template_database) as fresh:
        await prepare(fresh.dsn, Settings().database)
        tenant = await create_tenant(fresh.dsn, Settings(), tenant_id="acme", name="Acme", mode=TenantMode.TEST)
        process = ApiProcess(fresh.dsn, folder, **NO_RATE_LIMITS)
        process.start()
        connection = await asyncpg.connect(fresh.dsn)
        try:
            yield Target(process=process, database=connection, dsn=fresh.dsn, key=tenant.key.secret, tenant_id="acme")
            assert process.is_running, "an attack ended the process"
            assert "Traceback" not in process.log
        finally:
            await connection.close()
            process.kill()
