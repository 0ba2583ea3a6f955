"""A server process that may outlive the Python process that started it, and is found again by its record.

The record (a small JSON file) names the server's pid with its start time, so that a reused pid is never mistaken for
the server, and the owner: the process that is to stop it. A server whose owner died (SIGKILL) is an orphan: the next
start adopts it. A detached server (`tallybook up`) has no owner and stays until it is told to stop.
"""

import contextlib
import errno
import fcntl
import functools
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
SERVER_USER = "nobody"
CLOCK_SLACK_S = 0.05  # psutil derives start times from ticks; two readings may differ in the last digit
KILL_TIMEOUT_S = 10.0
POLL_S = 0.01
DISK_FREE_MIN_BYTES = 512 * 1024 * 1024
LOG_TAIL_LINES = 12
PORTS = range(20_000, 32_000)
PORT_TRIES = 200
PORTS_GIVEN = f"tallybook-ports-{os.geteuid()}.lock"
"""A file of the temporary folder: whoever gives out a port holds the byte of that number until it ends."""


class EmbeddedServerError(Exception):
    """An embedded server cannot be had. The message says what is wrong and what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is written down of a running server. Start times are seconds since the epoch."""

    pid: int
    started_at: float
    owner_pid: int
    owner_started_at: float
    detached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a server runs as: a user's and a group's id."""

    uid: int
    gid: int


def unprivileged() -> Identity | None:
    """Return whom to run servers as when we are root (PostgreSQL refuses to run as root), else None: as ourselves."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(SERVER_USER)
    return Identity(uid=entry.pw_uid, gid=entry.pw_gid)


def find_process(pid: int, started_at: float) -> psutil.Process | None:
    """Return the live process with this pid and start time, or None; a zombie does not count as alive."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started_at) > CLOCK_SLACK_S or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.Error:
        return None
    return process


class ServerProcess:
    """One server. `marker` is an argument of its command line that no other process has (its own file or folder)."""

    def __init__(self, *, record_file: Path, marker: str) -> None:
        self._record_file = record_file
        self._marker = marker
        self._process: psutil.Process | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.owned = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        if self._process is None:
            return False
        if self._child is not None and self._child.poll() is not None:
            return False
        return find_process(self._process.pid, self._process.create_time()) is not None

    def attach(self, *, detached: bool) -> bool:
        """Find a running server again; True if there is one. An orphan becomes ours."""
        record = self._read_record()
        process = find_process(record.pid, record.started_at) if record else None
        if process is None:
            record, process = None, self._search()
        if process is None:
            self._record_file.unlink(missing_ok=True)
            self._process, self._child, self.owned = None, None, False
            return False
        if self._child is None or self._child.pid != process.pid:
            self._child = None
        self._process = process
        orphan = record is None or (
            not record.detached and find_process(record.owner_pid, record.owner_started_at) is None
        )
        mine = record is not None and record.owner_pid == os.getpid() and not record.detached
        if orphan or (detached and not mine):
            self._write_record(process, detached=detached)
        self.owned = orphan or mine
        return True

    def spawn(
        self,
        arguments: Sequence[str],
        *,
        log_file: Path,
        folder: Path,
        environment: Mapping[str, str],
        identity: Identity | None,
        detached: bool,
    ) -> None:
        """Start the server in its own session, so that a Ctrl-C in the terminal reaches its owner and not it."""
        with log_file.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - the arguments are ours, and there is no shell
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
                user=identity.uid if identity else None,
                group=identity.gid if identity else None,
                extra_groups=[] if identity else None,
            )
        self._process = psutil.Process(self._child.pid)
        self._write_record(self._process, detached=detached)
        self.owned = True

    def stop(self, first: signal.Signals, *, timeout_s: float) -> bool:
        """Ask the server to stop, wait, and kill what is left; True if it went by itself."""
        if self._process is None or not self.is_running:
            self._forget()
            return True
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.send_signal(first)
        self.resume()  # one that was paused must run to see it
        went = self._wait(timeout_s)
        if not went:
            self.kill()
        self._forget()
        return went

    def pause(self) -> None:
        """SIGSTOP the server and its children: it stands still and keeps its connections. For fault tests."""
        self._send_to_family(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: a paused server goes on."""
        self._send_to_family(signal.SIGCONT)

    def _send_to_family(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            # The parent first: once it stands still it starts no more children, and all of them are found.
            self._process.send_signal(number)
            for member in self._process.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the server and its children at once, and wait until none is left."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [self._process, *self._process.children(recursive=True)]
            # The parent first: it must not notice dying children and write that down.
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            _wait_until_dead(family[1:], KILL_TIMEOUT_S)
        self._wait(KILL_TIMEOUT_S)
        self._forget()

    def _wait(self, timeout_s: float) -> bool:
        if self._child is None:
            return self._process is None or _wait_until_dead([self._process], timeout_s)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _forget(self) -> None:
        self._record_file.unlink(missing_ok=True)
        self._process, self._child, self.owned = None, None, False

    def _search(self) -> psutil.Process | None:
        # Covers the moment between a start and its record, and a record that was deleted by hand.
        found: list[psutil.Process] = [
            process
            for process in psutil.process_iter(["cmdline", "status"])
            if self._marker in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
        ]
        pids = {process.pid for process in found}
        for process in found:
            with contextlib.suppress(psutil.Error):
                if process.ppid() not in pids:
                    return process
        return None

    def _read_record(self) -> Record | None:
        try:
            return Record(**json.loads(self._record_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _write_record(self, process: psutil.Process, *, detached: bool) -> None:
        record = Record(
            pid=process.pid,
            started_at=process.create_time(),
            owner_pid=os.getpid(),
            owner_started_at=psutil.Process().create_time(),
            detached=detached,
        )
        draft = self._record_file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(record)), encoding="utf-8")
        draft.replace(self._record_file)


def _wait_until_dead(processes: Sequence[psutil.Process], timeout_s: float) -> bool:
    # Not psutil's own wait: it waits for the zombies of others' children too, which only pid 1 reaps, in its own time.
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not any(find_process(process.pid, process.create_time()) for process in processes):
            return True
        time.sleep(POLL_S)
    return False


@contextlib.contextmanager
def start_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server of this folder."""
    with (folder / "start.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def reachable_by_others(path: Path) -> bool:
    """Say whether a user who owns nothing can enter this folder: every folder above it must let others through."""
    folders = [path.absolute(), *path.absolute().parents]
    return all(not folder.exists() or folder.stat().st_mode & 0o001 for folder in folders)


def claim_port(wanted: int, remembered: int, *, variable: str) -> int:
    """Return a port that is free now: the wanted one, else the one used before, else any.

    Raises EmbeddedServerError if a wanted port is taken.
    """
    if wanted:
        if _is_free(wanted):
            return wanted
        raise EmbeddedServerError(
            f"Port {wanted} on {LOOPBACK} is taken{_who_listens(wanted)}. Stop that program, or set {variable} to "
            "another port (0 takes a free one)."
        )
    if remembered and _is_free(remembered):
        return remembered
    return free_port()


def free_port() -> int:
    """Return a port on loopback that nobody listens on, and that was given to nobody who may be about to.

    A server takes a second to listen on its port, and one that was killed is to find it again: no process is given a
    port twice, nor one that another process of the same user was given and that still runs.
    It lies below the ports that the system hands to clients. From among those, a client that keeps trying to reach a
    killed server may be handed the server's own port as its source, connect to itself, and keep the server from
    coming back.
    """
    for _ in range(PORT_TRIES):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if port not in _ports_given and _is_free(port) and _hold(port):
            _ports_given.add(port)
            return port
    raise EmbeddedServerError(f"No free port was found between {PORTS.start} and {PORTS.stop} in {PORT_TRIES} tries.")


_ports_given: set[int] = set()


@functools.cache
def _ports_file() -> int | None:
    with contextlib.suppress(OSError):  # without it there is chance alone, and many ports
        return os.open(Path(tempfile.gettempdir()) / PORTS_GIVEN, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    return None


def _hold(port: int) -> bool:
    """Hold a port's byte until this process ends, however it ends; False if another process holds it."""
    file = _ports_file()
    if file is None:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do it: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def _who_listens(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def require_disk(folder: Path, bytes_min: int = DISK_FREE_MIN_BYTES) -> None:
    """Raise EmbeddedServerError if the disk under this folder is (nearly) full."""
    free = shutil.disk_usage(folder).free
    if free < bytes_min:
        raise EmbeddedServerError(
            f"The disk of {folder} has {free // 2**20} MiB free; at least {bytes_min // 2**20} MiB are needed. "
            "Free some space, or set TALLYBOOK_DATA_DIR (and TALLYBOOK_CACHE_DIR) to folders on another disk."
        )


def log_tail(log_file: Path) -> str:
    """Return the last lines of a server's log, for an error message."""
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(f"    {line}" for line in lines[-LOG_TAIL_LINES:])


def explain_failed_start(server: str, log_file: Path) -> EmbeddedServerError:
    """Turn the log of a server that did not start into an error that says what to do."""
    tail = log_tail(log_file)
    if "No space left on device" in tail:
        return EmbeddedServerError(f"{server} did not start: the disk is full. Free some space and start again.")
    return EmbeddedServerError(f"{server} did not start. The end of {log_file}:\n{tail}")
