"""The PostgreSQL and the Kafka of the tests: embedded by default, containers where there is a Docker engine."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from host.embedded.databases import ADMIN, PostgresServer
from host.embedded.kafka import EmbeddedKafka
from host.embedded.postgres import EmbeddedPostgres
from host.embedded.process import ServerProcess, start_lock
from infra.settings import GeneralSettings, Settings, cache_dir

POSTGRES_IMAGE = "postgres:18"
KAFKA_IMAGE = "apache/kafka:4.3.1"
FOLDER_PREFIX = "tallybook-tests-"
MEMORY = Path("/dev/shm")  # noqa: S108  a folder of random name is made in it
MEMORY_MIN_BYTES = 8 * 2**30
"""Room in memory without which the servers' files are better on a disk."""


class KafkaServer(Protocol):
    """A Kafka that tests may make topics on."""

    @property
    def bootstrap(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshDatabase:
    """A database of one test alone, with every migration applied."""

    name: str
    server: PostgresServer

    @property
    def dsn(self) -> str:
        """The URL as the administrator."""
        return self.server.dsn(ADMIN, self.name)

    def dsn_as(self, role: str) -> str:
        """Return the URL as another role (it must have been granted a login)."""
        return self.server.dsn(role, self.name)


@contextlib.asynccontextmanager
async def fresh_database(server: PostgresServer, template: str) -> AsyncIterator[FreshDatabase]:
    """Yield a copy of the template, dropped at the end."""
    fresh = FreshDatabase(name=f"test_{uuid.uuid4().hex[:12]}", server=server)
    await server.copy_database(fresh.name, template=template)
    try:
        yield fresh
    finally:
        await server.drop_database(fresh.name)


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """Yield a folder for the servers of this process; first end the servers that a killed one left behind."""
    end_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.geteuid()}-{os.getpid()}-", dir=_place()))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_leftovers() -> None:
    """End the servers of processes that are dead and could not end them, and remove their folders."""
    name = f"{FOLDER_PREFIX}{os.geteuid()}-*"
    for folder in (*Path(tempfile.gettempdir()).glob(name), *MEMORY.glob(name)):
        owner = folder.name.split("-")[3]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            # Several processes of a run may find it; one is enough.
            with contextlib.suppress(FileNotFoundError), start_lock(folder):
                _end_servers_in(folder)


def _place() -> Path:
    """Where the servers' files lie: in memory if that has room and nobody said otherwise by TMPDIR.

    A fresh database is eight hundred files, and there are hundreds of them: on a disk the kernel is busy with little
    else. Kafka runs programs from its folder, which not every such place allows.
    """
    given = Path(tempfile.gettempdir())
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & getattr(os, "ST_NOEXEC", 0):
        return given
    room = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    return MEMORY if room >= MEMORY_MIN_BYTES and os.access(MEMORY, os.W_OK | os.X_OK) else given


def embedded_postgres(folder: Path, *, durable: bool) -> EmbeddedPostgres:
    """Return a PostgreSQL that is not started yet."""
    return EmbeddedPostgres(folder, cache=_cache(), durable=durable)


def embedded_kafka(folder: Path) -> EmbeddedKafka:
    """Return a Kafka that is not started yet."""
    return EmbeddedKafka(folder, cache=_cache())


def start_with_classes(kafka: EmbeddedKafka) -> None:
    """Start a broker; on a machine that has no archive of Kafka's classes, first make it, once for all processes."""
    with start_lock(_cache()):
        kafka.start()
        if kafka.records_classes:
            kafka.restart()


def _cache() -> Path:
    return cache_dir(Settings(general=GeneralSettings()))


def _end_servers_in(folder: Path) -> None:
    for part in filter(Path.is_dir, folder.iterdir()):
        for marker in (part / "data", part / "server.properties"):
            server = ServerProcess(record_file=part / "process.json", marker=str(marker))
            if server.attach(detached=False):
                server.kill()
    shutil.rmtree(folder, ignore_errors=True)


class ContainerPostgres(PostgresServer):
    """The stock image in a container."""

    def __init__(self) -> None:
        from testcontainers.postgres import PostgresContainer

        self._container = PostgresContainer(POSTGRES_IMAGE, username=ADMIN, password="tallybook", dbname=ADMIN)

    @property
    def password(self) -> str:
        return "tallybook"

    def start(self) -> None:
        self._container.start()

    def stop(self) -> None:
        self._container.stop()

    def dsn(self, role: str = ADMIN, database: str = ADMIN) -> str:
        host, port = self._container.get_container_host_ip(), self._container.get_exposed_port(5432)
        return f"postgresql://{role}:{self.password}@{host}:{port}/{database}"


class ContainerKafka:
    """The stock image in a container."""

    def __init__(self) -> None:
        from testcontainers.kafka import KafkaContainer

        self._container = KafkaContainer(KAFKA_IMAGE).with_kraft()

    @property
    def bootstrap(self) -> str:
        return str(self._container.get_bootstrap_server())

    def start(self) -> None:
        self._container.start()

    def stop(self) -> None:
        self._container.stop()
