"""After everything that bears a secret was used, no table, topic, log or metric holds a password, token, secret or
address: in plain, encoded, or as a digest that tells it.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from api.http.callers import own_origin
from host.embedded.databases import PostgresServer
from host.embedded.postgres import EmbeddedPostgres
from host.launch import launch_process
from infra.database import Role, open_pool
from infra.identity.opening import open_identity
from testing.cell import open_whole
from testing.processors_cell import Cell, until
from testing.services import KafkaServer
from testing.traces import file_of, found_in, places_of
from tests.e2e import secrets_scene as scenery
from tests.e2e.second_factors_scene import second_factors
from tests.e2e.secrets_scene import Scene


@pytest.fixture
async def scene(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Scene]:
    async with (
        open_whole(
            postgres_server,
            template_database,
            kafka_server,
            services_folder,
            launch_process,  # their command lines are looked at
            instances=1,
            # All that anybody can ever have the roles log.
            TALLYBOOK_TELEMETRY_LOG_LEVEL="debug",
            TALLYBOOK_AUTH_REGISTRATION="true",
            TALLYBOOK_AUTH_REFRESH_GRACE_S="0",
            TALLYBOOK_API_LOG_INS_PER_MIN="1000",
            TALLYBOOK_AUTH_HASHING_PER_S="1000",
        ) as whole,
    ):
        settings = whole.cell.settings
        assert settings.database.url is not None
        pool = await open_pool(settings.database.url.get_secret_value(), Role.ACCESS, settings.database)
        port = next(role.port for role in whole.cell.supervisor.roles if role.role == "api")
        try:
            async with (
                open_identity(settings, pool, origin=own_origin(settings)) as identity,
                httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
            ):
                yield Scene(whole=whole, identity=identity, http=http)
        finally:
            await pool.close()


async def test_nothing_that_is_kept_or_told_holds_a_secret_or_an_address(
    scene: Scene, postgres_server: PostgresServer
) -> None:
    customer_id = await scenery.customers(scene)
    await scenery.users(scene)
    await second_factors(scene)
    await scenery.foreign_subjects(scene)
    await scenery.api_keys(scene)
    await scenery.portal(scene, customer_id)
    await scenery.documents(scene, customer_id)
    await scenery.cells_own(scene)
    await _is_told(scene.whole.cell)
    await scene.whole.at_rest()
    places = [place async for place in places_of(scene.whole.cell)]
    if isinstance(postgres_server, EmbeddedPostgres):
        places.append(file_of(postgres_server.log_file))
    # Each place is really looked into: what must be there is.
    for kind, name, text in (
        ("table", "log.events", customer_id),
        ("topic", "billing.events.v1", customer_id),
        ("file", "roles/logs/api-0.log", '"route":"/v1/customers/{customer_id}"'),
        ("file", "gateway/sandbox.sqlite3-wal", "pay_"),
        ("command line", "relay-0", "relay"),
        ("/metrics", "/metrics of processors-0", "tallybook_"),
        ("/metrics", "/metrics of api-0", "tallybook_"),
    ):
        content = b"".join(place.content for place in places if (place.kind, place.name) == (kind, name))
        assert text.encode() in content, (name, sorted(place.name for place in places if place.kind == kind))
    found = [line for place in places for line in found_in(place, scene.traces)]
    assert not found, "\n".join(found)


async def _is_told(cell: Cell) -> None:
    """The auth log is written a moment after the requests that it tells of."""

    async def written() -> bool:
        rows = await cell.pool.fetch("SELECT DISTINCT kind FROM access.auth_events")
        return {row[0] for row in rows} >= {"logged_in", "log_in_failed", "request_refused", "second_factor_failed"}

    await until(written, "the auth log")
