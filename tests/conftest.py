"""Fixtures that every test may use: one PostgreSQL and one Kafka per process, started by the first test that asks.

`database` is a fresh, migrated database for one test; `topic_prefix` keeps one test's topics apart from another's.
Tests of durability and of kills take servers of their own: `durable_postgres`, `own_kafka`. How long the randomized
tests run is said in `lengths.py`, which is loaded here before any test is; how a run is spread over processes, in
`workers.py`.
"""

import gc
import os
import sys
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import psutil
import pytest

from host.embedded.databases import PostgresServer
from host.embedded.kafka import EmbeddedKafka
from host.embedded.postgres import EmbeddedPostgres
from projections.folding import tables
from testing.services import (
    ContainerKafka,
    ContainerPostgres,
    FreshDatabase,
    KafkaServer,
    embedded_kafka,
    embedded_postgres,
    end_leftovers,
    fresh_database,
    session_folder,
    start_with_classes,
)
from tests.lengths import LENGTH
from tests.workers import how_many, long_files_first

TEMPLATE = "tallybook_template"

# A run starts some two hundred processes: what they import is compiled by the first, whatever this one was told; and to
# make the tests' own files anew, with what their assertions tell, is half of the work of collecting them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--services",
        choices=("embedded", "containers"),
        default="embedded",
        help="where PostgreSQL and Kafka come from: embedded (default), or containers (needs a Docker engine)",
    )


def pytest_report_header() -> str:
    """Show how long the randomized tests of this run are."""
    return f"length: {LENGTH.name} ({LENGTH.examples:,} examples a property, {LENGTH.oracle_cases:,} cases an oracle)"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Say how many processes `-n auto` is."""
    return how_many(config.args, cores=os.cpu_count() or 1, memory_bytes=psutil.virtual_memory().total)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected is no garbage: looking through it again and again would take a third of the work."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take long first."""
    items[:] = long_files_first(items)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """End the servers of a worker that had to be killed: Ctrl-C gives it ten seconds to end them itself."""
    end_leftovers()


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """A folder that the embedded servers' user can reach, removed at the end."""
    with session_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """The PostgreSQL of this process. It does not sync to disk: no test of durability may use it."""
    server: EmbeddedPostgres | ContainerPostgres
    if request.config.getoption("--services") == "containers":
        server = ContainerPostgres()
    else:
        folder: Path = request.getfixturevalue("services_folder")
        server = embedded_postgres(folder / "postgres", durable=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
async def template_database(postgres_server: PostgresServer) -> str:
    """The name of a database with every migration applied, which fresh ones are copied from."""
    await postgres_server.ensure_database(TEMPLATE)
    await migrate(postgres_server.dsn(database=TEMPLATE))
    return TEMPLATE


@pytest.fixture
async def database(postgres_server: PostgresServer, template_database: str) -> AsyncIterator[FreshDatabase]:
    """A database for one test alone, migrated."""
    async with fresh_database(postgres_server, template_database) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def shared_database(postgres_server: PostgresServer, template_database: str) -> AsyncIterator[FreshDatabase]:
    """A database for the tests of one file, migrated: they only read it, or leave nothing that another one sees."""
    async with fresh_database(postgres_server, template_database) as fresh:
        yield fresh


@pytest.fixture
def durable_postgres(services_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL for one test alone, synced to disk, that the test may kill. Always embedded; nothing is migrated."""
    server = embedded_postgres(services_folder / f"postgres-{uuid.uuid4().hex[:8]}", durable=True)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def kafka_server(request: pytest.FixtureRequest) -> Iterator[KafkaServer]:
    """The Kafka of this process. Topics are told apart by `topic_prefix`; nobody may stop it."""
    server: EmbeddedKafka | ContainerKafka
    if request.config.getoption("--services") == "containers":
        server = ContainerKafka()
        server.start()
    else:
        folder: Path = request.getfixturevalue("services_folder")
        server = embedded_kafka(folder / "kafka")
        start_with_classes(server)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def own_kafka(services_folder: Path) -> Iterator[EmbeddedKafka]:
    """A Kafka for one test alone, that the test may kill. Always embedded."""
    server = embedded_kafka(services_folder / f"kafka-{uuid.uuid4().hex[:8]}")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for the topics and consumer groups of one test."""
    return f"t{uuid.uuid4().hex[:10]}."


async def migrate(dsn: str) -> None:
    """Apply every migration to the database, and make the read models' tables."""
    await tables.migrate(dsn)
