"""Where the servers are that a command is to speak to: those of the environment, else the embedded ones that run."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from host.configured import owner_dsn
from host.embedded.process import LOOPBACK, find_process
from host.embedded.servers import Servers
from host.roster import read_roster, roles_folder
from infra.database import Pool, Role, open_pool
from infra.settings import Settings, SettingsError, load_settings


def reached_settings(*, kafka: bool = True) -> Settings:
    """The settings with the addresses of what runs on the data folder filled in: embedded servers and the gateway.

    Raises SettingsError where PostgreSQL, or Kafka unless it is not wanted, is neither configured nor running.
    """
    settings = load_settings()
    servers = Servers.from_settings(settings)
    if servers.postgres is not None and not servers.postgres.find():
        raise SettingsError(f"No database: {_how_to_get(settings, 'TALLYBOOK_DATABASE_URL')}")
    if kafka and servers.kafka is not None and not servers.kafka.find():
        raise SettingsError(f"No Kafka: {_how_to_get(settings, 'TALLYBOOK_KAFKA_BOOTSTRAP')}")
    return _with_gateway(servers.connected(settings))


def _how_to_get(settings: Settings, variable: str) -> str:
    roster = read_roster(roles_folder(settings))
    if roster is not None and find_process(roster.supervisor_pid, roster.supervisor_started_at) is not None:
        return "the embedded one ended, and what runs on this data folder starts it again. Try again in a moment."
    return f"set {variable}, or start the embedded one with `tallybook up`."


def _with_gateway(settings: Settings) -> Settings:
    """Fill in where the gateway is that the supervisor of this data folder runs: it may have taken a free port."""
    roster = read_roster(roles_folder(settings))
    if settings.gateway.url is not None or roster is None:
        return settings
    for role in roster.roles:
        if role.name.startswith("gateway-") and role.port and find_process(role.pid, role.started_at):
            url = f"http://{LOOPBACK}:{role.port}"
            return replace(settings, gateway=settings.gateway.model_copy(update={"url": url}))
    return settings


def reached_api_url(settings: Settings) -> tuple[str, str]:
    """Where the API is, and the file of the certificate that it answers with, empty for plain HTTP: on the port that
    the settings name, else where the API runs that the supervisor of this data folder started, which may have taken a
    free port, else on the settings' own port.
    """
    api = settings.api
    is_named = "port" in api.model_fields_set and api.port != 0
    roster = None if is_named else read_roster(roles_folder(settings))
    for role in () if roster is None else roster.roles:
        if role.name == "api" and role.port and find_process(role.pid, role.started_at):
            scheme = "https" if role.certificate_file else "http"
            return f"{scheme}://{LOOPBACK}:{role.port}", role.certificate_file
    return f"{api.scheme}://{api.host}:{api.port}", str(api.tls_certificate_file or "")


@contextlib.asynccontextmanager
async def owner_pool(settings: Settings, *, statement_timeout_ms: int | None = None) -> AsyncIterator[Pool]:
    """Connections that read every schema. Reports over everything may take longer than a query may."""
    database = settings.database
    if statement_timeout_ms is not None:
        longest = {"statement_timeout_ms": statement_timeout_ms, "transaction_timeout_ms": statement_timeout_ms}
        database = database.model_copy(update=longest)
    pool = await open_pool(owner_dsn(settings), Role.OWNER, database)
    try:
        yield pool
    finally:
        await pool.close()
