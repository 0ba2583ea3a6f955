"""Connections to PostgreSQL in one of its roles. Whoever the URL logs in as takes the role on from the first moment."""

from enum import StrEnum
from typing import Final, TypeAlias

import asyncpg

from infra.settings import DatabaseSettings

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
CONNECTION_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that was told of its end, and is used before it is closed
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
"""What a connection may raise at any moment while the database restarts or fails over."""


class Role(StrEnum):
    """The roles that the migrations make; each may do what its part of the system does, and no more."""

    OWNER = "tallybook_owner"
    WRITER = "tallybook_writer"
    RELAY = "tallybook_relay"
    PROJECTOR = "tallybook_projector"
    READER = "tallybook_reader"
    ACCESS = "tallybook_access"
    METERING = "tallybook_metering"


REPORTERS: Final = "tallybook_reporting"
"""The group of logins that read the views of the schema `reporting`. It is nobody's part: no process takes it on."""


async def open_pool(dsn: str, role: Role, settings: DatabaseSettings) -> Pool:
    """A pool of connections in a role, with the settings' limits on statements and transactions.

    The reader role sees nothing until `tallybook.tenant` is set, best by `SET LOCAL` in the query's transaction.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=settings.pool_min_connections,
        max_size=settings.pool_max_connections,
        timeout=settings.connect_timeout_s,
        server_settings=server_settings(role, settings),
        reset=_nothing_to_reset,
    )


async def _nothing_to_reset(_connection: object) -> None:
    """What is set on a connection is set for one transaction; a round trip per use to reset it would be for nothing."""


def server_settings(role: Role, settings: DatabaseSettings) -> dict[str, str]:
    """The start-up parameters of a connection in a role."""
    return {
        "application_name": role.value.replace("_", "-"),
        "role": role.value,
        "statement_timeout": f"{settings.statement_timeout_ms}ms",
        "transaction_timeout": f"{settings.transaction_timeout_ms}ms",
        "jit": "off",
    }
