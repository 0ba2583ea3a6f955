"""Usage on a real Kafka and PostgreSQL: records that are sent, aggregators as processes, and what they have written."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from domain.metering.aggregation import PartialAggregate
from infra.database import Connection
from infra.settings import DatabaseSettings, KafkaSettings, Settings, UsageSettings
from testing.api_client import Api, running_api
from testing.processors_cell import until
from testing.services import FreshDatabase, KafkaServer
from testing.usage import Sent
from usage.partials import FIRST_BUCKET, LAST_BUCKET, Buckets, MeteredSeries, partials, series_of_customer
from usage.recount import Recounted, recount
from usage.topic import COMPRESSION, ensure_usage_topic
from usage.wire import encode, headers_of, topic_of

PARTITIONS: Final = 3
SKEW_VARIABLE: Final = "CLOCK_SKEW_S"


@dataclass
class Scene:
    """A topic of usage, its aggregators, and everything that was sent, by partition."""

    dsn: str
    settings: Settings
    folder: Path
    producer: AIOKafkaProducer
    sent: list[Sent] = field(default_factory=list)
    running: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        assert self.settings.kafka.bootstrap is not None
        return self.settings.kafka.bootstrap

    async def start(self, aggregators: int = 1, *, skew_s: int = 0) -> None:
        """Start further aggregators, whose clocks are so far ahead."""
        environment = {
            **os.environ,
            "TALLYBOOK_DATABASE_URL": self.dsn,
            "TALLYBOOK_KAFKA_BOOTSTRAP": self.bootstrap,
            "TALLYBOOK_KAFKA_TOPIC_PREFIX": self.settings.kafka.topic_prefix,
            "TALLYBOOK_KAFKA_SESSION_TIMEOUT_MS": "6000",
            "TALLYBOOK_USAGE_PARTITIONS": str(PARTITIONS),
            "TALLYBOOK_METERING_POLL_MAX_RECORDS": "7",
            "TALLYBOOK_METERING_POLL_MAX_BYTES": "4000",
            "TALLYBOOK_METERING_RESTART_BACKOFF_MS": "50",
            SKEW_VARIABLE: str(skew_s),
        }
        for _ in range(aggregators):
            with (self.folder / f"metering-{len(self.running)}.log").open("wb") as log:
                self.running.append(
                    await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-m",
                        "tests.integration.metering_process",
                        env=environment,
                        stdout=log,
                        stderr=log,
                    )
                )

    async def kill(self, nth: int = 0, number: signal.Signals = signal.SIGKILL) -> None:
        """End one of those that run."""
        process = self.running.pop(nth)
        process.send_signal(number)
        await process.wait()

    async def send(self, records: Iterable[Sent]) -> None:
        """Send records, one after the other in each partition."""
        for each in records:
            await self.producer.send_and_wait(
                topic_of(self.settings.kafka.topic_prefix),
                encode(each.events),
                partition=each.partition,
                headers=headers_of(each.tenant_id),
            )
            self.sent.append(each)

    async def counted(self) -> int:
        """Records that are counted."""
        async with connected(self.dsn) as connection:
            return int(await connection.fetchval("SELECT coalesce(sum(next_offset), 0) FROM usage.checkpoints"))

    async def caught_up(self) -> None:
        """All that was sent is counted."""

        async def reached() -> bool:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return await self.counted() >= len(self.sent)
            return False

        await until(reached, "everything to be counted")

    async def written(self) -> dict[Any, PartialAggregate]:
        """What is kept of each bucket of each series, as the domain has it."""
        found: dict[Any, PartialAggregate] = {}
        async with connected(self.dsn) as connection:
            rows = await connection.fetch("SELECT DISTINCT tenant_id, customer_id FROM usage.series")
            for tenant_id, customer_id in rows:
                series = await all_series(connection, tenant_id, customer_id)
                places = {each.series: each for each in series}
                whole = await partials(connection, series, Buckets(FIRST_BUCKET, LAST_BUCKET))
                for (name, bucket), partial in whole.items():
                    each = places[name]
                    if partial.count or partial.total or partial.tallies:
                        place = tenant_id, customer_id, each.version.meter_id, each.version.version, each.groups, bucket
                        found[place] = partial
        return found

    async def recounted(self) -> list[Recounted]:
        """Every partition's recount."""
        found = []
        async with connected(self.dsn) as connection:
            for partition in range(PARTITIONS):
                one = await recount(self.settings, connection, bootstrap=self.bootstrap, partition=partition)
                if one is not None:
                    found.append(one)
        return found


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """A connection as the administrator."""
    connection: Connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def all_series(connection: Connection, tenant_id: str, customer_id: str) -> list[MeteredSeries]:
    """Everything that is summed of a customer."""
    rows = await connection.fetch("SELECT DISTINCT meter_id FROM usage.series WHERE customer_id = $1", customer_id)
    return await series_of_customer(connection, tenant_id, customer_id, [row[0] for row in rows])


@contextlib.asynccontextmanager
async def open_scene(dsn: str, bootstrap: str, prefix: str, folder: Path) -> AsyncIterator[Scene]:
    """A topic of usage; no aggregator runs yet."""
    settings = Settings(
        database=DatabaseSettings(url=SecretStr(dsn)),
        kafka=KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix),
        usage=UsageSettings(partitions=PARTITIONS),
    )
    await ensure_usage_topic(
        bootstrap,
        prefix=prefix,
        partitions=PARTITIONS,
        replication_factor=1,
        retention_days=settings.usage.retention_days,
        request_timeout_ms=settings.kafka.request_timeout_ms,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, compression_type=COMPRESSION
    )
    await producer.start()
    scene = Scene(dsn, settings, folder, producer)
    try:
        yield scene
    finally:
        for process in scene.running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await producer.stop()


@contextlib.asynccontextmanager
async def counting_api(
    database: FreshDatabase, kafka_server: KafkaServer, prefix: str, folder: Path, *, partitions: int
) -> AsyncIterator[Api]:
    """An API that takes usage, and a role `metering` that counts it."""
    kafka = KafkaSettings(bootstrap=kafka_server.bootstrap, topic_prefix=prefix)
    environment = {
        **os.environ,
        "TALLYBOOK_DATABASE_URL": database.dsn,
        "TALLYBOOK_KAFKA_BOOTSTRAP": kafka_server.bootstrap,
        "TALLYBOOK_KAFKA_TOPIC_PREFIX": prefix,
        "TALLYBOOK_KAFKA_SESSION_TIMEOUT_MS": "6000",
        "TALLYBOOK_USAGE_PARTITIONS": str(partitions),
        "TALLYBOOK_METERING_RESTART_BACKOFF_MS": "50",
        "TALLYBOOK_DATA_DIR": str(folder),
    }
    async with running_api(database, kafka=kafka, usage=UsageSettings(partitions=partitions)) as api:
        with (folder / "metering.log").open("wb") as log:
            metering = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "run", "metering", env=environment, stdout=log, stderr=log
            )
        try:
            yield api
        finally:
            metering.kill()
            await metering.wait()
