"""What a round does to the stage: each of its faults at its time, and what has to be set right again afterwards."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka.errors import KafkaError

from cli.faults.disk import Disk
from cli.faults.foreign_records import MARK, foreign_records, send_foreign
from cli.faults.key_window import let_a_day_pass
from cli.faults.schedule import Fault, FaultKind, Round
from cli.relay import start_over
from host.embedded.kafka import EmbeddedKafka
from host.embedded.postgres import EmbeddedPostgres
from host.embedded.process import EmbeddedServerError
from host.stack import Stack
from infra.database import CONNECTION_ERRORS, Pool
from infra.event_store.log import COLUMNS, recorded
from infra.kafka.topics import full_name
from projections.read_model import Projection

TRY_LIMIT_S: Final = 300.0
"""How long something is tried that another fault is in the way of (s)."""

PAUSE_S: Final = 0.2

_MODEL: Final = f"SELECT {COLUMNS} FROM log.events WHERE postings IS NOT NULL ORDER BY position DESC LIMIT 1"  # noqa: S608
_BURIED: Final = """
SELECT DISTINCT topic FROM ops.dead_letters WHERE $1 = ANY(header_names) AND $2::bytea = ANY(header_values)
"""
_DISMISS: Final = """
UPDATE ops.dead_letters SET replayed_at = clock_timestamp() WHERE $1 = ANY(header_names) AND replayed_at IS NULL
"""

Server = EmbeddedKafka | EmbeddedPostgres


class StillBroken(Exception):
    """Something could not be done or set right again within the limit; the message names it."""


class Misfortunes:
    """Does what a round says. `disk` is None where no disk could be mounted: then none is full."""

    def __init__(self, stack: Stack, pool: Pool, disk: Disk | None) -> None:
        self._stack = stack
        self._pool = pool
        self._disk = disk
        self._unburied: dict[str, set[str]] = {}
        """Topics with a record that must be buried, by its mark: those that somebody here reads."""
        self.done: Counter[str] = Counter()

    async def play(self, part: Round) -> None:
        """Let a round's faults happen, each at its time; returns when the last is over. Raises StillBroken."""
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as faults:
                for fault in part.faults:
                    faults.create_task(self._at(started, part, fault))
        except ExceptionGroup as broken:
            raise broken.exceptions[0] from broken

    async def _at(self, started: float, part: Round, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, started + fault.at_s - time.monotonic()))
        self.done[f"{fault.kind.name} {fault.target.partition('-')[0]}"] += await self._do(part, fault)

    async def _do(self, part: Round, fault: Fault) -> int:
        """How many of the kind this was."""
        match fault.kind:
            case FaultKind.KILL if (server := self._server(fault.target)) is not None:
                await self._kill(server, fault.for_s)
            case FaultKind.KILL:
                await self._stack.supervisor.kill(fault.target)
            case FaultKind.FREEZE:
                await self._freeze(fault.target, fault.for_s)
            case FaultKind.FOREIGN:
                return await self._until_done(lambda: self._send_foreign(part.number), "foreign records")
            case FaultKind.LOSS:
                await self._until_done(self._lose_topics, "a loss of topics")
            case FaultKind.FULL:
                return await self._fill(fault.for_s)
            case FaultKind.DAY:
                store = self._stack.settings.general.data_dir / "gateway" / "sandbox.sqlite3"
                return await let_a_day_pass(self._stack.supervisor, self._pool, store)
        return 1

    def _server(self, name: str) -> Server | None:
        servers = self._stack.servers
        found: dict[str, Server | None] = {"kafka": servers.kafka, "postgres": servers.postgres}
        return found.get(name)

    async def _kill(self, server: Server, down_s: float) -> None:
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(down_s)
        await self._start(server)

    async def _start(self, server: Server) -> None:
        """Start a server that does not run, as soon as it can be: not on a full disk."""
        deadline = time.monotonic() + TRY_LIMIT_S
        while not await asyncio.to_thread(lambda: server.is_running):
            starting = asyncio.ensure_future(asyncio.to_thread(server.start))
            try:
                await asyncio.shield(starting)
            except asyncio.CancelledError:
                await asyncio.gather(starting, return_exceptions=True)  # a thread goes on: who stops it must find it
                raise
            except EmbeddedServerError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(PAUSE_S)

    async def _freeze(self, target: str, for_s: float) -> None:
        server, supervisor = self._server(target), self._stack.supervisor
        try:
            if server is None:
                supervisor.pause(target)
            else:
                await asyncio.to_thread(server.pause)
            await asyncio.sleep(for_s)
        finally:
            if server is None:
                supervisor.resume(target)
            else:
                server.resume()

    async def _fill(self, for_s: float) -> int:
        if self._disk is None:
            return 0
        try:
            await self._disk.fill()
            await asyncio.sleep(for_s)
        finally:
            await self._disk.free()
        await self._start_ended()
        return 1

    async def _send_foreign(self, number: int) -> int:
        kafka = self._stack.settings.kafka
        row = await self._pool.fetchrow(_MODEL)
        assert row is not None, "the load has sold something by now"
        model = recorded(row)
        incarnation = await self._pool.fetchval("SELECT incarnation FROM relay.state")
        mark = f"round {number}"
        records = foreign_records(model, incarnation=incarnation, mark=mark)
        partition = random.Random(mark).randrange(kafka.partitions)  # noqa: S311  a schedule, not a secret
        bootstrap = str(kafka.bootstrap)
        topics = {full_name(kafka.topic_prefix, projection.topic) for projection in Projection}
        self._unburied[mark] = topics
        await send_foreign(kafka, bootstrap=bootstrap, partition=partition, records=records)
        return len(records) * len(topics)

    async def _lose_topics(self) -> int:
        kafka = self._stack.servers.kafka
        if kafka is None or not kafka.is_running:
            raise OSError("Kafka is away")  # each try would begin an incarnation
        await start_over(self._stack.settings, drop=True)
        self._unburied.clear()  # they went with their topics, perhaps unread
        return 1

    async def _until_done(self, do: Callable[[], Awaitable[int]], what: str) -> int:
        deadline = time.monotonic() + TRY_LIMIT_S
        while True:
            try:
                return await do()
            except (*CONNECTION_ERRORS, KafkaError) as error:
                if time.monotonic() > deadline:
                    raise StillBroken(f"{what} could not be had within {TRY_LIMIT_S:.0f} s: {error!r}") from error
                await asyncio.sleep(PAUSE_S)

    async def set_right(self) -> None:
        """Everything runs again: nothing stands still, and what ended is started."""
        for role in self._stack.supervisor.roles:
            self._stack.supervisor.resume(role.name)
        for server in (self._stack.servers.kafka, self._stack.servers.postgres):
            if server is not None:
                server.resume()
        await self._start_ended()

    async def _start_ended(self) -> None:
        for server in (self._stack.servers.kafka, self._stack.servers.postgres):
            if server is not None:
                await self._start(server)

    async def unburied(self) -> list[str]:
        """Foreign records that no consumer has buried yet. Letters that were are dismissed: they are no difference."""
        await self._pool.execute(_DISMISS, MARK)
        left: list[str] = []
        for mark, topics in self._unburied.items():
            buried = {row[0] for row in await self._pool.fetch(_BURIED, MARK, mark.encode())}
            left += [f"a foreign record of {mark} on {topic}" for topic in sorted(topics - buried)]
        return left
