"""Watches what a supervisor does not start: the embedded servers, and whether every part answers.

A server that ended is started again on its port, for everything else only waits for it. One that does not answer is
named and left alone: it may only be slow, and to end it could make a short pause a long one.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

import aiohttp
import asyncpg

from host.embedded.process import EmbeddedServerError
from host.embedded.server import EmbeddedServer
from host.embedded.servers import Servers
from host.supervisor import RoleProcess, RoleState, Supervisor, SupervisorError
from infra.kafka.probe import KafkaProbe, KafkaSilent
from infra.settings import SupervisorSettings

WATCHED = frozenset({RoleState.STARTING, RoleState.RUNNING})


class Watch:
    """`run` watches until it is cancelled; raises SupervisorError where a server cannot be kept running."""

    def __init__(self, servers: Servers, supervisor: Supervisor, settings: SupervisorSettings) -> None:
        self._supervisor = supervisor
        self._journal = supervisor.journal
        self._settings = settings
        self._pause_s = settings.watch_interval_ms / 1000
        self._silent: set[str] = set()
        self._servers: dict[str, tuple[EmbeddedServer, Callable[[], Awaitable[str]]]] = {}
        if servers.postgres is not None:
            self._servers["PostgreSQL"] = servers.postgres, lambda: self._postgresql(servers)
        if servers.kafka is not None:
            probe = KafkaProbe(servers.kafka.bootstrap, [], timeout_ms=settings.watch_timeout_ms)
            self._servers["Kafka"] = servers.kafka, lambda: _kafka(probe)

    async def run(self) -> None:
        """Watch servers and roles side by side, and the supervisor, which may give up a role."""
        watched = [
            asyncio.create_task(self._roles(), name="watch roles"),
            asyncio.create_task(self._given_up(), name="watch the supervisor"),
            *(
                asyncio.create_task(self._server(name, server, ask), name=f"watch {name}")
                for name, (server, ask) in self._servers.items()
            ),
        ]
        try:
            ended, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # none of them ends but by its exception
        finally:
            for task in watched:
                task.cancel()
            await asyncio.gather(*watched, return_exceptions=True)

    async def _given_up(self) -> None:
        raise SupervisorError(await self._supervisor.wait_failed())

    async def _server(self, name: str, server: EmbeddedServer, ask: Callable[[], Awaitable[str]]) -> None:
        ends: deque[float] = deque()
        while True:
            # Asking also takes leave of a child that ended, which would else stay a zombie.
            if server.is_running:
                self._note(name, await ask())
                await asyncio.sleep(self._pause_s)
                continue
            now = time.monotonic()
            ends.append(now)
            while ends[0] < now - self._settings.restart_window_s:
                ends.popleft()
            if len(ends) > self._settings.restarts_max:
                raise SupervisorError(f"{name} ended {len(ends)} times within {self._settings.restart_window_s:.0f} s.")
            self._journal.note("server_ended", name, "ended; it is started again")
            try:
                await _started(server)
            except EmbeddedServerError as error:
                self._journal.note("server_not_started", name, f"could not be started: {error}")
                await asyncio.sleep(min(2 ** len(ends) * self._pause_s, self._settings.restart_backoff_max_ms / 1000))
                continue
            self._silent.discard(name)
            self._journal.note("server_restarted", name, f"runs again, pid {server.pid}")

    async def _roles(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._settings.watch_timeout_ms / 1000)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                for process in self._supervisor.roles:
                    if process.state in WATCHED and process.pid is not None and process.port:
                        self._told(process, (await process.endpoint.readiness(session)).failure)
                await asyncio.sleep(self._pause_s)

    def _told(self, process: RoleProcess, why: str) -> None:
        """One that starts has its time to become ready, at its first start and at every later one."""
        if not why and process.state is RoleState.STARTING:
            process.has_started()
            self._journal.note("role_ready", process.name, "is ready again", aloud=False)
        starts = process.state is RoleState.STARTING
        if starts and time.time() - process.started_at < self._settings.ready_timeout_s:
            return
        self._note(process.name, why)

    def _note(self, name: str, why: str) -> None:
        """Say once that a part fails, and once that it works again."""
        if why and name not in self._silent:
            self._silent.add(name)
            self._journal.note("part_fails", name, why)
        elif not why and name in self._silent:
            self._silent.discard(name)
            self._journal.note("part_works", name, "works again")

    async def _postgresql(self, servers: Servers) -> str:
        assert servers.postgres is not None, "it is the one that is watched"
        timeout_s = self._settings.watch_timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s):
                connection = await asyncpg.connect(servers.postgres.dsn(), timeout=timeout_s)
                connection.terminate()
        except TimeoutError:
            return f"does not answer within {timeout_s:g} s"
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return f"does not answer: {error}"
        return ""


async def _started(server: EmbeddedServer) -> None:
    """Start it. A thread cannot be cancelled, so a server that is just starting is waited for: who stops the rest must
    find it.
    """
    starting = asyncio.ensure_future(asyncio.to_thread(server.start))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.gather(starting, return_exceptions=True)
        raise


async def _kafka(probe: KafkaProbe) -> str:
    try:
        await probe.check()
    except KafkaSilent as error:
        return f"does not answer: {error}"
    return ""
