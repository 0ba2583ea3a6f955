"""The supervisor starts real processes, starts again what ends, gives up in the end, and stops all that it started."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from host.journal import Journal
from host.patience import Patience
from host.roster import read_roster
from host.supervisor import RoleState, Supervisor, SupervisorError
from infra.settings import SupervisorSettings

# A role: it answers its probes, has a child of its own, and ends as its environment says.
ROLE = """
    import asyncio, os, signal, subprocess, sys
    from infra.telemetry import Health, PartHealth
    from infra.probes import start_probe_server

    async def main():
        print("hello from", sys.argv[1], os.environ.get("WHO", ""), flush=True)
        if os.environ.get("ENDS"):
            sys.exit(3)
        child = subprocess.Popen(["sleep", "1000"])
        async def health():
            waits = os.environ.get("WAITS_FOR", "")
            ok = not waits or os.path.exists(waits)
            return Health(role=sys.argv[1], parts=(PartHealth(name="all", ok=ok, detail="" if ok else "it waits"),))
        server = await start_probe_server(int(os.environ["TALLYBOOK_RELAY_PROBE_PORT"]), health)
        stop = asyncio.Event()
        if os.environ.get("STUBBORN"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        print("child", child.pid, flush=True)
        await stop.wait()
        child.kill(); child.wait()
        await server.stop()
        print("bye", flush=True)

    asyncio.run(main())
"""
LIMIT_S = 90.0
"""Bounds a test that would otherwise hang."""

SETTINGS = SupervisorSettings(
    restart_backoff_ms=10, restart_backoff_max_ms=50, restarts_max=3, restart_window_s=600, ready_timeout_s=LIMIT_S
)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Supervisor]:
    program = tmp_path / "role.py"
    program.write_text(textwrap.dedent(ROLE))

    def build(
        *,
        stop_timeout_s: float = LIMIT_S,
        ready_timeout_s: float = LIMIT_S,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> Supervisor:
        return Supervisor(
            tmp_path / "roles",
            SETTINGS.model_copy(update={"ready_timeout_s": ready_timeout_s}),
            environment={"PYTHONPATH": str(Path(__file__).parents[2]), "WHO": "everybody"},
            stop_timeout_s=stop_timeout_s,
            command=[sys.executable, str(program)],
            tell=tell,
        )

    return build


def is_dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_it_starts_as_many_as_asked_and_stops_them_gracefully(make: Callable[..., Supervisor]) -> None:
    async with make() as supervisor:
        started = await supervisor.start("relay", instances=2, environment={"WHO": "relays"})
        await supervisor.wait_ready()
        pids = [process.pid for process in started if process.pid]
        assert [process.name for process in started] == ["relay-0", "relay-1"]
        assert len(set(pids)) == 2
        assert started[0].port != started[1].port
        roster = read_roster(supervisor.folder)
        assert roster is not None
        assert [role.pid for role in roster.roles] == pids
        assert await supervisor.stop("relay-1")
        await supervisor.wait_ready()  # for the other one
        assert await supervisor.stop_all()
    assert all(is_dead(pid) for pid in pids)
    assert "hello from relay relays" in started[0].log_file.read_text()
    assert started[0].log_file.read_text().endswith("bye\n")
    assert read_roster(supervisor.folder) is None


async def test_a_killed_process_comes_back_on_its_port(make: Callable[..., Supervisor]) -> None:
    async with make() as supervisor:
        (process,) = await supervisor.start("relay")
        await supervisor.wait_ready()
        first, port = process.pid, process.port
        await supervisor.kill("relay-0")
        await until(lambda: process.pid not in (None, first))
        await supervisor.wait_ready()
        assert process.port == port
        assert process.restarts == 1


async def test_one_that_waits_keeps_no_other_from_being_ready(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    """Each has its own time: what the first takes is not taken from the second."""
    async with make() as supervisor:
        (first,) = await supervisor.start("relay", environment={"WAITS_FOR": str(tmp_path / "go")})
        (second,) = await supervisor.start("relay")
        waiting = asyncio.create_task(supervisor.wait_ready())
        await until(lambda: second.state is RoleState.RUNNING)
        assert not waiting.done()
        (tmp_path / "go").touch()
        await waiting
        assert first.state is RoleState.RUNNING


async def test_one_that_is_not_ready_in_its_time_is_told_with_the_reason(
    make: Callable[..., Supervisor], tmp_path: Path
) -> None:
    async with make(ready_timeout_s=0.6) as supervisor:
        (process,) = await supervisor.start("relay", environment={"WAITS_FOR": str(tmp_path / "never")})
        with pytest.raises(SupervisorError):
            await supervisor.wait_ready()
        await until(lambda: "child" in process.log_file.read_text())
        with pytest.raises(SupervisorError, match=r"relay-0 was not ready within 1 s .*: is not ready: all: it waits"):
            await supervisor.wait_ready()


def test_patience_ends_where_nothing_new_is_seen() -> None:
    looks = [(9.0, "a"), (18.0, "b"), (27.0, "c"), (30.0, "a"), (36.0, "b"), (38.0, "a")]
    now = [0.0]
    patience = Patience(10.0, lambda: now[0])
    over: list[bool] = []
    for now[0], sight in looks:
        over.append(patience.is_over(sight))
    assert over == [False, False, False, False, False, True]  # "c" was the last that was new, at 27


async def test_a_kill_takes_the_children_along(make: Callable[..., Supervisor]) -> None:
    async with make() as supervisor:
        (process,) = await supervisor.start("relay")
        await supervisor.wait_ready()
        await until(lambda: "child" in process.log_file.read_text())
        child = int(process.log_file.read_text().split()[-1])
        await supervisor.kill("relay-0")
        await until(lambda: is_dead(child))


async def test_a_process_that_keeps_ending_is_given_up_with_its_log(make: Callable[..., Supervisor]) -> None:
    async with make() as supervisor:
        (process,) = await supervisor.start("relay", environment={"ENDS": "yes"})
        async with asyncio.timeout(LIMIT_S):
            told = await supervisor.wait_failed()
        assert "relay-0 ended 4 times" in told
        assert "exit code 3" in told
        assert "hello from relay" in told
        assert process.state is RoleState.FAILED
        with pytest.raises(SupervisorError, match="relay-0 failed"):
            await supervisor.wait_ready()


async def test_a_paused_process_is_silent_until_it_goes_on_and_can_be_stopped(make: Callable[..., Supervisor]) -> None:
    async with make() as supervisor:
        (process,) = await supervisor.start("relay")
        await supervisor.wait_ready()
        assert process.pid is not None
        running = psutil.Process(process.pid)
        supervisor.pause("relay-0")
        await until(lambda: running.status() == psutil.STATUS_STOPPED)
        supervisor.resume("relay-0")
        await until(lambda: running.status() != psutil.STATUS_STOPPED)
        supervisor.pause("relay-0")
        assert await supervisor.stop("relay-0")


async def test_every_restart_is_one_line_told_and_one_written_down(make: Callable[..., Supervisor]) -> None:
    told: list[str] = []
    async with make(tell=told.append) as supervisor:
        (process,) = await supervisor.start("relay")
        await supervisor.wait_ready()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: bool(told))
        assert told == [f"relay-0 ended (SIGKILL); started again, pid {process.pid}"]
        lines = [json.loads(line) for line in supervisor.journal.file.read_text().splitlines()]
    assert [(line["event"], line["process"]) for line in lines] == [
        ("role_started", "relay-0"),
        ("role_restarted", "relay-0"),
    ]
    assert lines[1]["restarts"] == 1


async def test_a_process_that_is_given_up_is_told(make: Callable[..., Supervisor]) -> None:
    told: list[str] = []
    async with make(tell=told.append) as supervisor:
        await supervisor.start("relay", environment={"ENDS": "yes"})
        async with asyncio.timeout(LIMIT_S):
            await supervisor.wait_failed()
    assert told[-1] == "relay-0 ended (exit code 3) and is given up"
    assert [line.startswith("relay-0 ended (exit code 3); started again") for line in told[:-1]] == [True] * 3


async def test_a_process_that_cannot_be_started_for_now_is_started_once_it_can_be(
    make: Callable[..., Supervisor], tmp_path: Path
) -> None:
    """As on a full disk: no log can be opened, and nothing can be written down."""
    told: list[str] = []
    async with make(tell=told.append) as supervisor:
        await supervisor.start("relay")
        await supervisor.wait_ready()
        logs, aside = tmp_path / "roles" / "logs", tmp_path / "aside"
        logs.rename(aside)
        logs.write_text("in the way")
        await supervisor.kill("relay-0")
        await until(lambda: any("could not be started" in each for each in told))
        assert supervisor.role("relay-0").state is RoleState.WAITING
        logs.unlink()
        aside.rename(logs)
        await supervisor.wait_ready()
        assert read_roster(tmp_path / "roles") is not None


async def test_a_process_that_cannot_be_started_can_be_stopped(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    told: list[str] = []
    async with make(tell=told.append) as supervisor:
        await supervisor.start("relay")
        await supervisor.wait_ready()
        logs = tmp_path / "roles" / "logs"
        logs.rename(tmp_path / "aside")
        logs.write_text("in the way")
        await supervisor.kill("relay-0")
        await until(lambda: any("could not be started" in each for each in told))
        assert await supervisor.stop("relay-0")


def test_the_journal_is_rolled_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "supervisor.log", 200, lambda _text: None)
    for number in range(20):
        journal.note("role_restarted", "relay-0", f"number {number}")
    assert journal.file.stat().st_size < 400
    assert journal.file.with_suffix(".log.1").exists()
    assert "number 19" in journal.file.read_text()


async def test_a_process_that_does_not_stop_is_killed(make: Callable[..., Supervisor]) -> None:
    async with make(stop_timeout_s=0.2) as supervisor:
        (process,) = await supervisor.start("relay", environment={"STUBBORN": "yes"})
        await supervisor.wait_ready()
        pid = process.pid
        assert pid is not None
        assert not await supervisor.stop("relay-0")
        assert is_dead(pid)


async def test_a_second_supervisor_on_the_folder_is_refused(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "1000"])
    try:
        async with make() as supervisor:
            roster = (supervisor.folder / "roster.json").read_text()
        started_at = psutil.Process(other.pid).create_time()
        mine = psutil.Process().create_time()
        altered = roster.replace(f'"supervisor_pid": {os.getpid()}', f'"supervisor_pid": {other.pid}')
        (supervisor.folder / "roster.json").write_text(altered.replace(str(mine), str(started_at)))
        with pytest.raises(SupervisorError, match=f"pid {other.pid}"):
            async with make():
                pass
    finally:
        other.kill()
        other.wait()


async def test_what_a_killed_supervisor_left_is_ended(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    folder = tmp_path / "roles"
    program = f"""
        import asyncio, sys
        from pathlib import Path
        from infra.settings import SupervisorSettings
        from host.supervisor import Supervisor

        async def main():
            command = [sys.executable, {str(tmp_path / "role.py")!r}]
            async with Supervisor(Path({str(folder)!r}), SupervisorSettings(), command=command) as supervisor:
                await supervisor.start("relay")
                await supervisor.wait_ready()
                print("ready", flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert other.stdout is not None
    assert await asyncio.to_thread(other.stdout.readline) == b"ready\n"
    other.send_signal(signal.SIGKILL)
    other.communicate()
    roster = read_roster(folder)
    assert roster is not None
    assert not roster.is_alive
    left = roster.roles[0].pid
    assert not is_dead(left)
    async with make():
        assert is_dead(left)
