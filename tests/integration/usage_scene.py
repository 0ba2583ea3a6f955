"""Usage on a real Kafka and PostgreSQL: records that are sent, aggregators as processes, and what they have written."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import BillingTiming, CreatePrice
from domain.catalog.product import CreateProduct
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.metering.aggregation import Aggregation, PartialAggregate
from domain.metering.meter import CreateMeter, MeterTerms
from domain.pricing.models import PerUnit
from infra.database import Connection
from infra.ids import new_id
from infra.settings import DatabaseSettings, KafkaSettings, Settings, UsageSettings
from testing.api_client import Api, running_api
from testing.processors_cell import EUR, Cell, until
from testing.services import FreshDatabase, KafkaServer
from testing.usage import Sent
from testing.usage_topic import usage_topic
from usage.partials import FIRST_BUCKET, LAST_BUCKET, Buckets, MeteredSeries, partials, series_of_customer
from usage.recount import Recounted, recount
from usage.topic import COMPRESSION
from usage.wire import encode, headers_of, topic_of

PARTITIONS: Final = 3


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

    async def start(self, aggregators: int = 1) -> None:
        """Start further aggregators."""
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
        return await recounted(self.settings)


async def recounted(settings: Settings) -> list[Recounted]:
    """The recount of every partition of the servers that are named."""
    assert settings.database.url is not None
    assert settings.kafka.bootstrap is not None
    async with connected(settings.database.url.get_secret_value()) as connection:
        found = [
            await recount(settings, connection, bootstrap=settings.kafka.bootstrap, partition=partition)
            for partition in range(settings.usage.partitions)
        ]
    return [each for each in found if each is not None]


class MeteredPlan(NamedTuple):
    """A monthly plan with a price of what a meter sums."""

    meter_id: str
    plan_id: str
    price_id: str


async def metered_plan(cell: Cell, *, unit_amount: int) -> MeteredPlan:
    """Make one, of gigabytes at so many cents each."""
    made = MeteredPlan(new_id("mtr_"), new_id("plan_"), new_id("price_"))
    product_id, terms = new_id("prod_"), MeterTerms(value_property="gigabytes")
    await cell.do(
        CreateMeter(meter_id=made.meter_id, code="traffic", name="Traffic", aggregation=Aggregation.SUM, terms=terms)
    )
    await cell.do(CreateProduct(product_id=product_id, name="Network"))
    monthly = PlanTerms(name="Network", interval=Interval(IntervalUnit.MONTH))
    await cell.do(CreatePlan(plan_id=made.plan_id, product_id=product_id, terms=monthly))
    price = PerUnit(currency=EUR, unit_amount=Decimal(unit_amount))
    arrears = BillingTiming.IN_ARREARS
    await cell.do(
        CreatePrice(price_id=made.price_id, plan_id=made.plan_id, price=price, timing=arrears, meter_id=made.meter_id)
    )
    return made


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
    await usage_topic(settings.kafka, settings.usage)
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
    database: FreshDatabase,
    kafka_server: KafkaServer,
    prefix: str,
    folder: Path,
    *,
    partitions: int,
    further: Sequence[str] = (),
) -> AsyncIterator[Api]:
    """An API that takes usage, and a role `metering` that counts it; with processes of further roles."""
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
        started = []
        for role in ("metering", *further):
            with (folder / f"{role}.log").open("wb") as log:
                started.append(
                    await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "cli.main", "run", role, env=environment, stdout=log, stderr=log
                    )
                )
        try:
            yield api
        finally:
            for process in started:
                process.kill()
                await process.wait()
