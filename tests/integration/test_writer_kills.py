"""Writers and the database are killed at random moments; what was acknowledged is in the log exactly once."""

import asyncio
import contextlib
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

import asyncpg
import pytest

from host.embedded.postgres import EmbeddedPostgres
from infra.database import Connection
from infra.migrations import migrate
from testing.services import FreshDatabase
from tests.lengths import LENGTH

RUN_LIMIT_S = 60 + 20 * LENGTH.kills


class WriterProcess:
    """A running `writer_process`, and what it said it had acknowledged."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.acknowledged: dict[str, int] = {}
        self.grown = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, dsn: str, name: str, *, callers: int = 8, counters: int = 4, **limits: int) -> "WriterProcess":
        arguments = [dsn, name, str(callers), str(counters), *(f"{key}={value}" for key, value in limits.items())]
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.integration.writer_process", *arguments, stdin=PIPE, stdout=PIPE
            )
        )

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.endswith(b"\n"):
                key, position = line.split()
                self.acknowledged[key.decode()] = int(position)
                self.grown.set()

    async def until_acknowledged(self, more: int) -> None:
        """Wait until so many more commands are acknowledged."""
        wanted = len(self.acknowledged) + more
        while len(self.acknowledged) < wanted:
            self.grown.clear()
            await self.grown.wait()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self.reading


async def check_exactly_once(dsn: str, acknowledged: dict[str, int]) -> None:
    """Every acknowledged command has one event, at its position; results and events agree; positions are gapless."""
    connection: Connection = await asyncpg.connect(dsn)
    try:
        events = await connection.fetch("SELECT position, correlation_id, event_type, stream_id FROM log.events")
        results = await connection.fetch("SELECT idempotency_key, position FROM log.command_results WHERE events = 1")
        head = await connection.fetchval("SELECT position FROM log.head")
        versions = await connection.fetch(
            "SELECT s.version, (SELECT array_agg(stream_version ORDER BY position) FROM log.events e "
            "WHERE e.stream_id = s.stream_id) AS history FROM log.streams s"
        )
    finally:
        await connection.close()
    raised = [
        (event["correlation_id"], event["position"]) for event in events if event["event_type"] != "counter.opened"
    ]
    by_key = dict(raised)
    assert len(by_key) == len(raised), "a command is in the log twice"
    assert acknowledged.items() <= by_key.items(), "an acknowledged command is missing or elsewhere"
    assert {tuple(result) for result in results if not result[0].endswith("-open")} == set(raised)
    assert sorted(event["position"] for event in events) == list(range(1, head + 1))
    for version, history in versions:
        assert history == list(range(1, version + 1))


@pytest.fixture
async def started() -> AsyncIterator[list[WriterProcess]]:
    started: list[WriterProcess] = []
    yield started
    for writer in started:
        await writer.kill()


async def test_killed_writers_lose_and_double_nothing(database: FreshDatabase, started: list[WriterProcess]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  a failure is run again from it
    chance = random.Random(seed)
    async with asyncio.timeout(RUN_LIMIT_S):
        alive = [await WriterProcess.start(database.dsn, f"w{n}") for n in range(2)]
        started += alive
        for n in range(2, 2 + LENGTH.kills):
            victim = chance.randrange(2)
            await alive[victim].until_acknowledged(chance.randrange(1, 60))
            await alive[victim].kill()
            alive[victim] = await WriterProcess.start(database.dsn, f"w{n}")
            started.append(alive[victim])
        for writer in alive:
            await writer.until_acknowledged(20)
            await writer.kill()
    acknowledged = {key: position for writer in started for key, position in writer.acknowledged.items()}
    assert len(acknowledged) > 40
    await check_exactly_once(database.dsn, acknowledged)


async def test_a_killed_database_loses_and_doubles_nothing(
    durable_postgres: EmbeddedPostgres, started: list[WriterProcess]
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  a failure is run again from it
    chance = random.Random(seed)
    dsn = durable_postgres.dsn()
    await migrate(dsn)
    async with asyncio.timeout(RUN_LIMIT_S):
        writer = await WriterProcess.start(dsn, "w")
        started.append(writer)
        for n in range(LENGTH.kills):
            await writer.until_acknowledged(chance.randrange(1, 100))
            if n == LENGTH.kills // 2:
                # The whole server, as by a power cut; the writer finds it again by itself.
                await asyncio.to_thread(durable_postgres.kill)
                await asyncio.to_thread(durable_postgres.start)
                continue
            connection = await asyncpg.connect(dsn)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tallybook-writer'"
            )
            await connection.close()
        await writer.until_acknowledged(20)
        await writer.kill()
    await check_exactly_once(dsn, writer.acknowledged)


async def test_a_writer_frozen_in_its_transaction_does_not_stop_the_others(
    database: FreshDatabase, started: list[WriterProcess]
) -> None:
    async with asyncio.timeout(RUN_LIMIT_S):
        frozen = await WriterProcess.start(database.dsn, "f", callers=1, idle_transaction_timeout_ms=500)
        other = await WriterProcess.start(database.dsn, "o", callers=2)
        started += [frozen, other]
        await frozen.until_acknowledged(1)
        await other.until_acknowledged(1)
        assert frozen.process.stdin is not None
        frozen.process.stdin.write(b"freeze\n")
        while "frozen" not in frozen.acknowledged:
            await frozen.until_acknowledged(1)
        # It holds the head's lock now, and will never let go of it by itself.
        await other.until_acknowledged(50)
        frozen.process.send_signal(signal.SIGCONT)
        await frozen.until_acknowledged(5)
        for writer in started:
            await writer.kill()
    del frozen.acknowledged["frozen"]
    await check_exactly_once(database.dsn, frozen.acknowledged | other.acknowledged)


async def test_two_writers_share_one_hot_stream(database: FreshDatabase, started: list[WriterProcess]) -> None:
    async with asyncio.timeout(RUN_LIMIT_S):
        started += [await WriterProcess.start(database.dsn, name, callers=16, counters=1) for name in ("a", "b")]
        for writer in started:
            await writer.until_acknowledged(200)
        for writer in started:
            await writer.kill()
    await check_exactly_once(database.dsn, started[0].acknowledged | started[1].acknowledged)
