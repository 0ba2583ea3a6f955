"""Start the roles as real processes, start again what ends, and stop exactly what was started.

Each process runs in its own session with its own process group, so that a Ctrl-C in the terminal reaches the
supervisor alone and a stop reaches whatever a role started. Its lines go to a file of its own. What runs is written
down; processes whose supervisor was SIGKILLed are ended by the next one, for they hold ports, leases and partitions.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import aiohttp
import psutil

from host.embedded.process import find_process, free_port, log_tail
from host.journal import Journal, how_it_ended, roll_over
from host.launch import Launch, Launched, launch_process
from host.patience import Patience
from host.readiness import Endpoint, Readiness
from host.roster import Roster, RunningRole, forget_roster, read_roster, write_roster
from infra.settings import SupervisorSettings

READY_POLL_S = 0.05
PROBE_TIMEOUT_S = 5.0

# The variable that tells a role's process on which port it answers /health/ready.
PORT_VARIABLES: Mapping[str, str] = {
    "api": "TALLYBOOK_API_PORT",
    "ingest": "TALLYBOOK_USAGE_INGEST_PORT",
    "relay": "TALLYBOOK_RELAY_PROBE_PORT",
    "projections": "TALLYBOOK_PROJECTIONS_PROBE_PORT",
    "processors": "TALLYBOOK_PROCESSORS_PROBE_PORT",
    "metering": "TALLYBOOK_METERING_PROBE_PORT",
    "gateway": "TALLYBOOK_GATEWAY_PORT",
}


# The variable that names the certificate with which a role's process answers there by HTTPS, where it is set.
CERTIFICATE_VARIABLES: Mapping[str, str] = dict.fromkeys(("api", "ingest"), "TALLYBOOK_API_TLS_CERTIFICATE_FILE")

# The variable that gives a role's process the name under which its heartbeats go on when it is started again.
INSTANCE_VARIABLE = "TALLYBOOK_INSTANCE"


class SupervisorError(Exception):
    """Roles cannot be run; the message says why and what to do."""


class RoleState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting to start again"
    STOPPED = "stopped"
    FAILED = "failed"


class RoleProcess:
    """One process of one role; it keeps its port and its log file through restarts."""

    def __init__(self, role: str, instance: int, command: Sequence[str], environment: dict[str, str]) -> None:
        self.role = role
        self.instance = instance
        self.name = f"{role}-{instance}"
        self.command = tuple(command)
        self.environment = environment
        self.port = int(environment.get(PORT_VARIABLES.get(role, ""), "0"))
        self.endpoint = Endpoint(self.port, _certificate_file(role, environment))
        self.state = RoleState.STARTING
        self.restarts = 0
        self.kill_is_meant = False
        self.process: Launched | None = None
        self.started_at = 0.0
        self.log_file = Path()
        self.watcher: asyncio.Task[None] | None = None

    def has_started(self) -> None:
        """It answers that it is ready: at its first start, or after it was started again."""
        if self.state is RoleState.STARTING:
            self.state = RoleState.RUNNING

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started; nothing happens if it is gone."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)


class Supervisor:
    """Runs role processes from one event loop.

    `folder` holds the log files and the roster. `environment` is added to this process's own for every role;
    `command` and `launch` (for tests) replace `tallybook run` and how it becomes a process. What happens to a role is a
    line in logs/supervisor.log, and is told to `tell`, such as a console. Use as an async context manager: leaving it
    stops every role.
    """

    def __init__(
        self,
        folder: Path,
        settings: SupervisorSettings,
        *,
        environment: Mapping[str, str] | None = None,
        stop_timeout_s: float = 20.0,
        command: Sequence[str] | None = None,
        tell: Callable[[str], None] = lambda _text: None,
        launch: Launch = launch_process,
    ) -> None:
        self.folder = folder
        self.journal = Journal(folder / "logs" / "supervisor.log", settings.log_max_bytes, tell)
        self._settings = settings
        self._environment = dict(environment or {})
        self._stop_timeout_s = stop_timeout_s
        self._launch = launch
        self._command = tuple(command or (sys.executable, "-m", "cli.main", "run"))
        self._roles: dict[str, RoleProcess] = {}
        self._failure: asyncio.Future[str] | None = None
        self._stopping = False

    async def __aenter__(self) -> "Supervisor":
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await end_leftovers(self.folder, patience_s=self._stop_timeout_s)
        self._failure = asyncio.get_running_loop().create_future()
        self._write_roster()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_all()

    @property
    def roles(self) -> tuple[RoleProcess, ...]:
        return tuple(self._roles.values())

    def role(self, name: str) -> RoleProcess:
        """Return a process by its name, such as `relay-0`."""
        return self._roles[name]

    async def start(
        self, role: str, *, instances: int = 1, environment: Mapping[str, str] | None = None
    ) -> list[RoleProcess]:
        """Start processes of a role and return them at once; `wait_ready` waits for them. Call again for more."""
        first = sum(1 for each in self._roles.values() if each.role == role)
        started = []
        for instance in range(first, first + instances):
            variables = {**self._environment, **(environment or {})}
            variable = PORT_VARIABLES.get(role)
            # Two processes of a role cannot share a port: a given one belongs to the first.
            if variable and (instance > 0 or variables.get(variable, "0") == "0"):
                variables[variable] = str(free_port())
            variables[INSTANCE_VARIABLE] = f"{role}-{instance}"
            process = RoleProcess(role, instance, [*self._command, role], variables)
            self._roles[process.name] = process
            await self._spawn(process)
            self.journal.note("role_started", process.name, f"started, pid {process.pid}", aloud=False)
            process.watcher = asyncio.create_task(self._watch(process), name=f"watch {process.name}")
            started.append(process)
        return started

    async def wait_ready(self, *names: str) -> None:
        """Wait until these processes (if none is named, all but those that were stopped) answer /health/ready with 200.

        All are asked side by side, and each has a time of its own: to answer, and as long again to become ready once
        it does. Raises SupervisorError, with the end of the log, if one ends for good or takes too long.
        """
        running = [each for each in self._roles.values() if each.state is not RoleState.STOPPED]
        wanted = [self._roles[name] for name in names] if names else running
        waiting = {each: Patience(self._settings.ready_timeout_s) for each in wanted}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)) as session:
            while waiting:
                told = await asyncio.gather(*(_readiness(session, each) for each in waiting))
                for process, readiness in zip(list(waiting), told, strict=True):
                    if readiness.state == "ready":
                        process.has_started()
                        del waiting[process]
                    else:
                        self._go_on_waiting(process, readiness, waiting[process])
                if waiting:
                    await asyncio.sleep(READY_POLL_S)

    def _go_on_waiting(self, process: RoleProcess, readiness: Readiness, patience: Patience) -> None:
        """Raise SupervisorError where there is nothing to wait for any more."""
        if process.state in (RoleState.FAILED, RoleState.STOPPED):
            raise SupervisorError(f"{process.name} {process.state}.\n{log_tail(process.log_file)}")
        if patience.is_over(readiness.state):
            raise SupervisorError(
                f"{process.name} was not ready within {self._settings.ready_timeout_s:.0f} s "
                f"(TALLYBOOK_SUPERVISOR_READY_TIMEOUT_S): {readiness.failure}. The end of {process.log_file}:\n"
                f"{log_tail(process.log_file)}"
            )

    async def wait_failed(self) -> str:
        """Wait until a role is given up; return what to tell the user. Never returns while all goes well."""
        if self._failure is None:
            raise SupervisorError("The supervisor has not been entered.")
        return await asyncio.shield(self._failure)

    async def kill(self, name: str) -> None:
        """SIGKILL a process and all that it started; it is started again at once. For fault tests."""
        process = self._roles[name]
        process.kill_is_meant = True
        ending = process.process
        process.send(signal.SIGKILL)
        if ending is not None:
            await ending.wait()

    def pause(self, name: str) -> None:
        """SIGSTOP: the process stands still and keeps its connections, as in a long pause of its machine."""
        self._roles[name].send(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT: a paused process goes on."""
        self._roles[name].send(signal.SIGCONT)

    async def stop(self, name: str) -> bool:
        """Stop a process for good; True if it went by itself within the time-out, False if it had to be killed."""
        process = self._roles[name]
        process.state = RoleState.STOPPED
        graceful = await self._end(process)
        if process.watcher is not None:
            process.watcher.cancel()
            await asyncio.gather(process.watcher, return_exceptions=True)
        self._write_roster()
        return graceful

    async def stop_all(self) -> bool:
        """Stop every process, side by side; True if all went by themselves."""
        self._stopping = True
        graceful = await asyncio.gather(*(self.stop(name) for name in self._roles))
        forget_roster(self.folder)
        return all(graceful)

    async def _spawn(self, process: RoleProcess) -> None:
        logs = self.folder / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        process.log_file = logs / f"{process.name}.log"
        roll_over(process.log_file, self._settings.log_max_bytes)
        environment = {**os.environ, **process.environment}
        process.process = await self._launch(process.command, environment, process.log_file)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.started_at = psutil.Process(process.process.pid).create_time()
        process.state = RoleState.STARTING
        try:
            self._write_roster()
        except OSError as error:  # it runs all the same; the next roster names it
            self.journal.note("roster_not_written", process.name, f"runs, but the roster does not say so: {error}")

    async def _spawn_again(self, process: RoleProcess) -> None:
        """Start it as soon as that is possible: with a full disk it may not be, and that passes."""
        pause_ms = self._settings.restart_backoff_ms
        while True:
            try:
                await self._spawn(process)
                return
            except OSError as error:
                process.state = RoleState.WAITING
                self.journal.note("role_not_started", process.name, f"could not be started: {error}")
            await asyncio.sleep(pause_ms / 1000)
            pause_ms = min(2 * pause_ms, self._settings.restart_backoff_max_ms)

    async def _watch(self, process: RoleProcess) -> None:
        settings = self._settings
        ends: deque[float] = deque()
        while process.process is not None:
            code = await process.process.wait()
            if self._stopping or process.state is RoleState.STOPPED:
                return
            if process.kill_is_meant:
                process.kill_is_meant = False
            else:
                now = time.monotonic()
                ends.append(now)
                while ends[0] < now - settings.restart_window_s:
                    ends.popleft()
                if len(ends) > settings.restarts_max:
                    process.state = RoleState.FAILED
                    self.journal.note("role_given_up", process.name, f"ended ({how_it_ended(code)}) and is given up")
                    self._give_up(process, code)
                    return
                process.state = RoleState.WAITING
                pause_ms = min(settings.restart_backoff_ms * 2 ** (len(ends) - 1), settings.restart_backoff_max_ms)
                await asyncio.sleep(pause_ms / 1000)
            process.restarts += 1
            await self._spawn_again(process)
            self.journal.note(
                "role_restarted",
                process.name,
                f"ended ({how_it_ended(code)}); started again, pid {process.pid}",
                restarts=process.restarts,
            )

    def _give_up(self, process: RoleProcess, code: int) -> None:
        settings = self._settings
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(
                f"{process.name} ended {settings.restarts_max + 1} times within {settings.restart_window_s:.0f} s "
                f"(last exit code {code}) and is given up. The end of {process.log_file}:\n{log_tail(process.log_file)}"
            )

    async def _end(self, process: RoleProcess) -> bool:
        ending = process.process
        if ending is None or ending.returncode is not None:
            return True
        process.send(signal.SIGTERM)
        process.send(signal.SIGCONT)  # one that was paused must run to see the other
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await ending.wait()
        except TimeoutError:
            process.send(signal.SIGKILL)
            await ending.wait()
            return False
        return True

    def _write_roster(self) -> None:
        roster = Roster(
            supervisor_pid=os.getpid(),
            supervisor_started_at=psutil.Process().create_time(),
            roles=tuple(
                RunningRole(
                    name=each.name,
                    pid=each.pid,
                    started_at=each.started_at,
                    port=each.port,
                    log_file=str(each.log_file),
                    certificate_file=each.endpoint.certificate_file,
                )
                for each in self._roles.values()
                if each.pid is not None
            ),
        )
        write_roster(self.folder, roster)


async def end_leftovers(folder: Path, *, patience_s: float) -> None:
    """End the role processes whose supervisor is dead. SupervisorError if another supervisor is alive."""
    roster = read_roster(folder)
    if roster is None:
        return
    if roster.is_alive and roster.supervisor_pid != os.getpid():
        raise SupervisorError(
            f"Another tallybook (pid {roster.supervisor_pid}) already runs roles on this data folder. Stop it "
            "(Ctrl-C where it runs, or `tallybook down`), or set TALLYBOOK_DATA_DIR to another folder."
        )
    left = [found for each in roster.roles if (found := find_process(each.pid, each.started_at))]
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, PROBE_TIMEOUT_S)):
        for found in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(found.pid, number)
                os.killpg(found.pid, signal.SIGCONT)
        deadline = time.monotonic() + wait_s
        while left and time.monotonic() < deadline:
            left = [found for found in left if find_process(found.pid, found.create_time())]
            await asyncio.sleep(READY_POLL_S)
    forget_roster(folder)


async def _readiness(session: aiohttp.ClientSession, process: RoleProcess) -> Readiness:
    if process.pid is None:
        return Readiness("does not answer", "it does not run")
    return await process.endpoint.readiness(session) if process.port else Readiness("ready")


def _certificate_file(role: str, environment: Mapping[str, str]) -> str:
    """What its own environment tells a process, else the supervisor's; found from wherever a roster is read."""
    variable = CERTIFICATE_VARIABLES.get(role, "")
    file = environment.get(variable, os.environ.get(variable, ""))
    return str(Path(file).absolute()) if file else ""
