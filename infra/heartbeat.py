"""A process's health: it looks at its parts every few seconds, says so in the database, and answers probes with it.

One connection serves all of that. The beat is also how a process learns how far its clock is from the database's.
What fails, and what works again, is one line in the log.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from time import monotonic, perf_counter
from typing import Final

import asyncpg
import structlog

from infra.clock import Clock, clock_apart_ms, system_clock
from infra.database import Connection, Role, server_settings
from infra.probes import ProbeServer, start_probe_server
from infra.settings import Settings
from infra.telemetry import Health, PartHealth

log = structlog.get_logger(__name__)

BEAT: Final = "SELECT ops.beat($1, $2, $3, $4, $5)"
LEAVE: Final = "SELECT ops.leave($1, $2)"
DATABASE: Final = "postgresql"
CLOCK: Final = "clock"

PartsCheck = Callable[["Connection | None"], Awaitable[Iterable[PartHealth]]]
"""A role's own parts. The connection is None while the database cannot be reached."""


class Stall:
    """Tells since when something that has work has not moved on."""

    def __init__(self, stalled_ms: int, *, now: Callable[[], float] = monotonic) -> None:
        self._stalled_s = stalled_ms / 1000
        self._now = now
        self._place: int | None = None
        self._since = 0.0

    def why(self, place: int, behind: int) -> str:
        """What is wrong at this place with so much left to do; empty while nothing is."""
        now = self._now()
        if place != self._place or behind <= 0:
            self._place, self._since = place, now
            return ""
        still_s = now - self._since
        return "" if still_s < self._stalled_s else f"stands at {place} for {still_s:.0f} s while {behind} events wait"


class PartLog:
    """Logs a part's failure and its recovery, once each."""

    def __init__(self) -> None:
        self._failing: dict[str, str] = {}

    def note(self, parts: Iterable[PartHealth]) -> None:
        """Compare with what was seen before."""
        seen = {part.name: part for part in parts}
        for name in [name for name in self._failing if name not in seen or seen[name].ok]:
            del self._failing[name]
            log.info("part_works", part=name)
        for name, part in seen.items():
            if not part.ok and name not in self._failing:
                log.warning("part_fails", part=name, why=part.detail)
                self._failing[name] = part.detail


class Heartbeat:
    """The health of one process. `run` beats until it is cancelled; `health` may be asked at any time."""

    def __init__(
        self,
        settings: Settings,
        *,
        dsn: str,
        role: str,
        database_role: Role,
        parts: PartsCheck | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.role = role
        self.instance = settings.general.instance or f"{socket.gethostname()}:{os.getpid()}"
        self._settings = settings
        self._telemetry = settings.telemetry
        self._dsn = dsn
        self._database_role = database_role
        self._parts = parts
        self._clock = clock
        self._timeout_s = self._telemetry.health_timeout_ms / 1000
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._last: Health | None = None
        self._last_at = 0.0
        self._part_log = PartLog()

    async def run(self) -> None:
        """Beat until cancelled, and then take leave: who stops in order is not missed."""
        try:
            while True:
                await self.health()
                await asyncio.sleep(self._telemetry.heartbeat_interval_ms / 1000)
        finally:
            await self._leave()

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat beside whatever the block does."""
        task = asyncio.create_task(self.run(), name="heartbeat")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def health(self) -> Health:
        """The parts now, or a moment ago: probes that come close together share one look."""
        async with self._lock:
            fresh_s = self._telemetry.health_fresh_ms / 1000
            if self._last is None or monotonic() - self._last_at > fresh_s:
                self._last = await self._look()
                self._last_at = monotonic()
                self._part_log.note(self._last.parts)
            return self._last

    async def serve(self, port: int) -> ProbeServer:
        """The probe server of a role that has no API of its own."""
        # A look takes at most the role's parts, then the database: each has its own limit inside.
        patience_ms = 4 * self._telemetry.health_timeout_ms
        return await start_probe_server(port, self.health, host=self._telemetry.probe_host, timeout_ms=patience_ms)

    async def _look(self) -> Health:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connected()
        except Exception as error:
            failed = _failed(DATABASE, error, self._timeout_s)
            return Health(role=self.role, parts=(failed, *await self._own_parts()))
        own = await self._own_parts()
        try:
            async with asyncio.timeout(self._timeout_s):
                database, clock = await self._beat(await self._connected(), own)
        except Exception as error:
            self._drop()
            return Health(role=self.role, parts=(_failed(DATABASE, error, self._timeout_s), *own))
        return Health(role=self.role, parts=(database, clock, *own))

    async def _own_parts(self) -> tuple[PartHealth, ...]:
        if self._parts is None:
            return ()
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                return tuple(await self._parts(self._connection))
        except Exception as error:
            self._drop()  # what it was asked last may still be under way
            return (_failed(self.role, error, 2 * self._timeout_s),)

    async def _connected(self) -> Connection:
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await asyncpg.connect(
                self._dsn,
                timeout=self._timeout_s,
                command_timeout=self._timeout_s,
                server_settings=server_settings(self._database_role, self._settings.database),
            )
        return connection

    async def _beat(self, connection: Connection, own: tuple[PartHealth, ...]) -> tuple[PartHealth, PartHealth]:
        # What this beat tells of the clock goes with the next one.
        clock = [part for part in self._last.parts if part.name == CLOCK] if self._last else []
        said = Health(role=self.role, parts=(*clock, *own))
        forget = timedelta(seconds=self._telemetry.heartbeat_forget_s)
        start, before = perf_counter(), self._clock()
        theirs: datetime = await connection.fetchval(
            BEAT, self.role, self.instance, said.ok, json.dumps(said.as_json()["parts"]), forget
        )
        after = self._clock()
        latency_ms = round((perf_counter() - start) * 1000, 3)
        return PartHealth(name=DATABASE, ok=True, latency_ms=latency_ms), self._clock_part(before, theirs, after)

    def _clock_part(self, before: datetime, theirs: datetime, after: datetime) -> PartHealth:
        apart_ms = clock_apart_ms(before, theirs, after)
        max_ms = self._settings.writer.clock_apart_max_ms
        if abs(apart_ms) <= max_ms:
            return PartHealth(name=CLOCK, ok=True)
        side = "ahead of" if apart_ms > 0 else "behind"
        return PartHealth(
            name=CLOCK,
            ok=False,
            detail=f"{abs(apart_ms) / 1000:.1f} s {side} the database's, more than {max_ms} ms: nothing is written",
        )

    async def _leave(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._timeout_s):
                if self._connection is not None:
                    await self._connection.execute(LEAVE, self.role, self.instance)
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _failed(name: str, error: BaseException, timeout_s: float) -> PartHealth:
    why = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
    return PartHealth(name=name, ok=False, detail=why)
