"""Where the servers are that a command is to speak to: those of the environment, else the embedded ones that run."""

import contextlib
from collections.abc import AsyncIterator

from host.embedded.servers import Servers
from infra.database import Pool, Role, open_pool
from infra.settings import Settings, SettingsError, load_settings


def reached_settings() -> Settings:
    """The settings with the addresses of the embedded servers filled in, where those run.

    Raises SettingsError where something is neither configured nor running.
    """
    settings = load_settings()
    servers = Servers.from_settings(settings)
    if servers.postgres is not None and not servers.postgres.find():
        raise SettingsError("No database: set TALLYBOOK_DATABASE_URL, or start the embedded one with `tallybook up`.")
    if servers.kafka is not None and not servers.kafka.find():
        raise SettingsError("No Kafka: set TALLYBOOK_KAFKA_BOOTSTRAP, or start the embedded one with `tallybook up`.")
    return servers.connected(settings)


def owner_dsn(settings: Settings) -> str:
    """The database as its owner."""
    url = settings.database.owner_url or settings.database.url
    if url is None:
        raise SettingsError("TALLYBOOK_DATABASE_URL is not set: name the database, or use `tallybook dev`.")
    return url.get_secret_value()


def writer_dsn(settings: Settings) -> str:
    """The database as the roles' processes log in to it."""
    url = settings.database.url or settings.database.owner_url
    if url is None:
        raise SettingsError("TALLYBOOK_DATABASE_URL is not set: name the database, or use `tallybook dev`.")
    return url.get_secret_value()


def bootstrap(settings: Settings) -> str:
    """The brokers."""
    if settings.kafka.bootstrap is None:
        raise SettingsError("TALLYBOOK_KAFKA_BOOTSTRAP is not set: name the brokers, or use `tallybook dev`.")
    return settings.kafka.bootstrap


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
