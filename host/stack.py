"""Everything at once: the servers, a migrated database, a supervisor of the roles. For dev, demo and fault tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from host.embedded.process import claim_port
from host.embedded.servers import Servers
from host.launch import Launch, launch_process
from host.registry import MIGRATE, load
from host.roster import roles_folder
from host.supervisor import Supervisor, end_leftovers
from infra.settings import Settings, data_dir

_ANY_RATE: Final = "1000000000"
NO_LIMITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "TALLYBOOK_API_READS_PER_HOUR": _ANY_RATE,
        "TALLYBOOK_API_WRITES_PER_HOUR": _ANY_RATE,
        "TALLYBOOK_API_ADMIN_PER_HOUR": _ANY_RATE,
        "TALLYBOOK_API_USAGE_REQUESTS_PER_HOUR": _ANY_RATE,
        "TALLYBOOK_API_TENANT_REQUESTS_PER_HOUR": _ANY_RATE,
        "TALLYBOOK_API_LOG_INS_PER_MIN": _ANY_RATE,
        "TALLYBOOK_AUTH_HASHING_PER_S": _ANY_RATE,
    }
)
"""The environment of a stack that is loaded on purpose: to demonstrate, to measure, to break it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What runs. `settings` hold the addresses that the roles were given."""

    settings: Settings
    servers: Servers
    supervisor: Supervisor

    @property
    def api_url(self) -> str:
        api = self.settings.api
        return f"{api.scheme}://{api.host}:{api.port}"

    @property
    def certificate_file(self) -> Path | None:
        """By what the API is known at this address, where it speaks HTTPS."""
        return self.settings.api.tls_certificate_file


@contextlib.asynccontextmanager
async def running_stack(
    settings: Settings,
    *,
    environment: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda _text: None,
    launch: Launch = launch_process,
) -> AsyncIterator[Stack]:
    """Start the servers that are not configured, migrate, and enter a supervisor; no role is started yet.

    On leaving, also by cancellation, roles and then servers are stopped: exactly those that were started here.
    `environment` goes to every role; `tell` hears of every restart; `launch` (for tests) is how a role becomes a
    process. Raises EmbeddedServerError and SupervisorError, whose messages say what to do.
    """
    data_dir(settings)
    folder = roles_folder(settings)
    # Before the servers: what a killed run left behind must not write into them.
    await end_leftovers(folder, patience_s=settings.general.stop_timeout_s)
    settings = _with_ports(settings)
    servers = Servers.from_settings(settings)
    starting = asyncio.create_task(asyncio.to_thread(servers.start))
    try:
        # A thread cannot be cancelled; and a server that is just starting must be stopped, too.
        await asyncio.shield(starting)
        connected = servers.connected(settings)
        await migrate(connected, servers)
        variables = {
            **servers.environment(),
            "TALLYBOOK_DATA_DIR": str(data_dir(settings)),
            "TALLYBOOK_API_PORT": str(settings.api.port),
            "TALLYBOOK_GATEWAY_PORT": str(settings.gateway.port),
            "TALLYBOOK_GATEWAY_URL": settings.gateway.url or f"http://{settings.gateway.host}:{settings.gateway.port}",
            **(environment or {}),
        }
        async with Supervisor(
            folder,
            settings.supervisor,
            environment=variables,
            stop_timeout_s=settings.general.stop_timeout_s,
            tell=tell,
            launch=launch,
        ) as supervisor:
            yield Stack(settings=connected, servers=servers, supervisor=supervisor)
    finally:
        await asyncio.gather(starting, return_exceptions=True)
        await asyncio.to_thread(servers.stop)


async def migrate(settings: Settings, servers: Servers) -> None:
    """Make the database if it is the embedded server's, and bring it to the newest schema."""
    if servers.postgres is not None:
        await servers.postgres.ensure_database(settings.database.name)
    owner = settings.database.owner_url or settings.database.url
    if owner is not None:
        await load(MIGRATE)(owner.get_secret_value())


def _with_ports(settings: Settings) -> Settings:
    """Return the settings with ports that are free now; a wanted one that is taken is an error that names it."""
    api = claim_port(settings.api.port, 0, variable="TALLYBOOK_API_PORT")
    gateway = claim_port(settings.gateway.port, 0, variable="TALLYBOOK_GATEWAY_PORT")
    return replace(
        settings,
        api=settings.api.model_copy(update={"port": api}),
        gateway=settings.gateway.model_copy(update={"port": gateway}),
    )
