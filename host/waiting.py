"""What a role needs before it starts, waited for: a server that is not there yet is said in one line, not a traceback.

Whatever starts a role (a container's runtime, the supervisor) seldom starts it after its servers. Within the bound the
role waits for them; beyond it the process ends with EXIT_UNAVAILABLE, for the same runtime to start it again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

import asyncpg
import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from host.configured import bootstrap, writer_dsn
from infra.database import CONNECTION_ERRORS
from infra.settings import Settings
from infra.telemetry import mask_text

log = structlog.get_logger(__name__)

EXIT_UNAVAILABLE: Final = 69
"""Exit status of a role whose servers are not there (EX_UNAVAILABLE of sysexits.h)."""

TRY_PAUSE_S: Final = 0.5
TELL_PAUSE_S: Final = 10.0
"""How often somebody who waits says so."""

AWAY: Final = (*CONNECTION_ERRORS, KafkaError)
NEEDS_KAFKA: Final = frozenset({"relay", "projections", "processors", "metering"})
NEEDS_NOTHING: Final = frozenset({"gateway"})


class ServersAway(Exception):
    """A server that a role cannot do without is not there; the message says which, and what to look at."""


class NotMigrated(Exception):
    """The database has no schema of ours yet."""


async def await_servers(settings: Settings, role: str) -> None:
    """Return once the servers that a role needs answer. Raises ServersAway after `general.start_wait_s`."""
    if role in NEEDS_NOTHING:
        return
    deadline = monotonic() + settings.general.start_wait_s
    await _await("PostgreSQL", "TALLYBOOK_DATABASE_URL", lambda: _ask_postgres(settings), deadline)
    if role in NEEDS_KAFKA:
        await _await("Kafka", "TALLYBOOK_KAFKA_BOOTSTRAP", lambda: _ask_kafka(settings), deadline)


async def _await(server: str, variable: str, ask: Callable[[], Awaitable[None]], deadline: float) -> None:
    tell_at = 0.0
    while True:
        try:
            await ask()
        except (*AWAY, NotMigrated) as error:
            why = mask_text(str(error) or type(error).__name__)
            left_s = deadline - monotonic()
            if left_s <= 0:
                raise ServersAway(f"{server} is not there ({why}): start it, or look at {variable}") from None
            if monotonic() >= tell_at:
                tell_at = monotonic() + TELL_PAUSE_S
                log.warning("waits_for_server", server=server, variable=variable, why=why, gives_up_in_s=round(left_s))
            await asyncio.sleep(TRY_PAUSE_S)
        else:
            return


async def _ask_postgres(settings: Settings) -> None:
    connection = await asyncpg.connect(writer_dsn(settings), timeout=settings.database.connect_timeout_s)
    try:
        if await connection.fetchval("SELECT to_regclass('read.projections')") is None:
            raise NotMigrated("the database is not migrated: run `tallybook migrate`")
    finally:
        connection.terminate()


async def _ask_kafka(settings: Settings) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap(settings), request_timeout_ms=settings.kafka.request_timeout_ms)
    try:
        await client.bootstrap()
    finally:
        await client.close()


def is_away(error: BaseException) -> BaseException | None:
    """What was away, where that is what ended a role's work; None where it is a defect."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, AWAY) else None
