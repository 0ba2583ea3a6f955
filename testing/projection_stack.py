"""The read side as it runs: a log that grows, the relay, Kafka, workers; for tests that need them all."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg

from domain.catalogue import STREAMS
from infra.database import Connection
from infra.kafka.relay import Relay
from infra.settings import GeneralSettings, KafkaSettings, ProjectionSettings, RelaySettings, Settings
from projections.catalogue import READ_MODELS
from projections.folding.rebuild import differences
from projections.folding.worker import Projections
from testing.histories import History, write_log
from testing.services import FreshDatabase, KafkaServer

WAIT_S = 60.0

CAUGHT_UP = """
SELECT s.position = (SELECT position FROM log.head)
    AND NOT EXISTS (
        SELECT FROM relay.published r WHERE NOT EXISTS (
            SELECT FROM read.checkpoints c JOIN read.projections p ON p.name = c.projection AND p.fold = c.fold
            WHERE c.topic = r.topic AND c.partition = r.partition AND c.position = r.position
                AND c.incarnation = s.incarnation AND p.next_fold IS NULL))
FROM relay.state s
"""


def stack_settings(topic_prefix: str, **projections: int) -> Settings:
    """Settings for one test: its own topics, quick polls, short leases, small batches."""
    chosen = {
        "poll_max_records": 200,
        "poll_timeout_ms": 50,
        "restart_backoff_ms": 100,
    } | projections
    return Settings(
        general=GeneralSettings(),
        kafka=KafkaSettings(topic_prefix=topic_prefix, session_timeout_ms=6_000, metadata_max_age_ms=500),
        relay=RelaySettings(poll_interval_ms=20, restart_backoff_ms=50, lease_ms=2_000),
        projections=ProjectionSettings(**chosen),
    )


async def until(condition: Callable[[], Awaitable[bool]], *, what: str) -> None:
    """Wait for a condition, within a bound that only a defect reaches."""
    end = time.monotonic() + WAIT_S
    while not await condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {WAIT_S} s for {what}")
        await asyncio.sleep(0.02)


@dataclass
class ReadSide:
    """A database, its topics, and what runs on them."""

    database: FreshDatabase
    bootstrap: str
    settings: Settings
    admin: Connection
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def relay(self) -> "asyncio.Task[None]":
        """Start a relay."""
        relay = Relay(self.settings, dsn=self.database.dsn, bootstrap=self.bootstrap, streams=STREAMS)
        return self.start(relay.run())

    def workers(self) -> tuple[Projections, "asyncio.Task[None]"]:
        """Start one process's worth of workers."""
        role = Projections(self.settings, dsn=self.database.dsn, bootstrap=self.bootstrap)
        return role, self.start(role.run())

    def start(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    async def stop(self, task: "asyncio.Task[None]") -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def log(self, history: History, upto: int | None = None) -> None:
        """Append what the log lacks of the history, or of its first events."""
        await write_log(self.admin, history.events[:upto])

    async def caught_up(self) -> None:
        """Wait until everything is published and folded."""

        async def done() -> bool:
            return bool(await self.admin.fetchval(CAUGHT_UP))

        await until(done, what="the read models to catch up")

    async def differences(self) -> dict[str, int]:
        """What differs between the read models and a fold of the log; empty is right."""
        found = await differences(self.settings, READ_MODELS, owner_dsn=self.database.dsn)
        return {name: number for name, number in found.items() if number}

    async def dump(self) -> dict[str, list[str]]:
        """Every row of every live table as text, in the order of its key."""
        rows: dict[str, list[str]] = {}
        versions = {r["name"]: r["table_version"] for r in await self.admin.fetch("SELECT * FROM read.models")}
        for model in READ_MODELS:
            records = await self.admin.fetch(
                f"SELECT t::text AS row FROM read.{model.name}_v{versions[model.name]} t "  # noqa: S608  our names
                f"ORDER BY {', '.join(model.key)}"
            )
            rows[model.name] = [record["row"] for record in records]
        return rows


@contextlib.asynccontextmanager
async def read_side(
    database: FreshDatabase, kafka: KafkaServer, topic_prefix: str, **projections: int
) -> AsyncIterator[ReadSide]:
    """Everything stopped at the end."""
    admin = await asyncpg.connect(database.dsn)
    side = ReadSide(database, kafka.bootstrap, stack_settings(topic_prefix, **projections), admin)
    try:
        yield side
    finally:
        for task in side.tasks:
            task.cancel()
        await asyncio.gather(*side.tasks, return_exceptions=True)
        await admin.close()
