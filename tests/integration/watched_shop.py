"""A shop whose thresholds are watched: usage is counted by a real aggregator, and looked at whenever a test says so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from domain.customers.test_clock import CompleteTestClockAdvance
from infra.database import Pool, Role, open_pool
from infra.kafka.records import Delivered
from processors.consumers import Consumer, ConsumerParts
from processors.journeys import Journeys
from processors.usage_alerts.changes import consumers_of
from processors.usage_alerts.watch import UsageAlertWatch
from schemas.codec import default_codec
from testing.api_client import project
from testing.requests import request
from testing.services import FreshDatabase, KafkaServer
from testing.usage_thresholds import usage_thresholds
from tests.integration.usage_scene import counting_api
from tests.integration.usage_shop import PARTITIONS, UsageShop
from usage.looks import Look
from usage.partials import Connection
from usage.taken_back import TakenBack


@dataclass
class Clock:
    """What time the watches take it to be; None: what it is."""

    stands_at: datetime | None = None

    def __call__(self) -> datetime:
        return self.stands_at or datetime.now(UTC)


@dataclass
class Watched(UsageShop):
    """A shop whose thresholds are watched by two processes, whenever a test says so."""

    pool: "Pool | None" = None
    watches: tuple[UsageAlertWatch, ...] = ()
    consumer: "Consumer | None" = None
    clock: Clock = field(default_factory=Clock)
    heard: int = 0

    async def look(self) -> None:
        """Both look at once at whatever was counted or asked for."""
        await project(self.api.database, self.api.parts.settings)
        while any(await asyncio.gather(*(watch.look() for watch in self.watches))):
            pass
        await project(self.api.database, self.api.parts.settings)

    async def hear(self) -> None:
        """Have the consumer handle what the log got since it last did, as the topic brings it."""
        assert self.consumer is not None
        async with self.connected() as connection:
            rows = await connection.fetch("SELECT * FROM log.events WHERE position > $1 ORDER BY position", self.heard)
        for row in rows:
            self.heard = row["position"]
            if row["event_type"] in self.consumer.event_types:
                await self.consumer.handle(_delivered(row))

    async def look_again(self, at: datetime | None = None) -> None:
        """Look at what was put off, too: at a time that the watches take it to be from now on."""
        self.clock.stands_at = at
        async with self.connected() as connection:
            await connection.execute("UPDATE usage.looks SET look_at = clock_timestamp()")
        await self.look()

    async def put_off(self) -> Sequence[tuple[Look, float]]:
        """The looks that there are, and in how many seconds each is due."""
        asked = """
            SELECT tenant_id, customer_id, meter_id, first_bucket, touches,
                extract(epoch FROM look_at - clock_timestamp())::float AS due_s FROM usage.looks ORDER BY 1, 2, 3
        """
        async with self.connected() as connection:
            return [(Look(*row[:5]), row["due_s"]) for row in await connection.fetch(asked)]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """A connection in the writer's role."""
        assert self.pool is not None
        async with self.pool.acquire() as connection:
            yield connection

    async def alert(self, **facts: Any) -> str:
        return str((await self.client.made("/v1/usage/alerts", {"name": "Much", **facts}))["id"])

    async def told(self, query: str = "") -> list[dict[str, Any]]:
        listed = await self.found(f"/v1/usage/triggered-alerts?limit=100{query}")
        data: list[dict[str, Any]] = listed["data"]
        return data

    async def reached(self, query: str = "") -> list[tuple[str, str]]:
        """Thresholds with what was used, the latest period first."""
        return [(each["threshold"], each["used"]) for told in await self.told(query) for each in told["reached"]]

    async def events(self, kind: str) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = (await self.found(f"/v1/events?type={kind}&limit=100"))["data"]
        return data

    async def customer_on_clock(self, frozen_at: datetime) -> tuple[str, str]:
        """A customer and their test clock."""
        clock = await self.client.made("/v1/test-clocks", {"name": "C", "frozen_time": frozen_at.isoformat()})
        person = {"currency": "EUR", "test_clock": clock["id"]}
        return str((await self.client.made("/v1/customers", person))["id"]), str(clock["id"])

    async def advance(self, clock: str, nth: int, to: datetime) -> None:
        """Move a test clock, of whose customers nothing is due until then, for the nth time."""
        answer = await self.client.post(f"/v1/test-clocks/{clock}/advance", {"frozen_time": to.isoformat()})
        assert answer.status_code == 200, answer.text
        completed = CompleteTestClockAdvance(clock_id=clock, advance=nth)
        await self.api.parts.writer.submit(request(completed, tenant_id="acme"))
        await project(self.api.database, self.api.parts.settings)


def _delivered(row: Any) -> Delivered:
    """An event of the log as a consumer is given it."""
    return Delivered(
        topic="",
        partition=0,
        offset=row["position"],
        incarnation=1,
        position=row["position"],
        previous_position=row["position"] - 1,
        event_id=row["event_id"],
        event_type=row["event_type"],
        tenant_id=row["tenant_id"],
        stream_type=row["stream_type"],
        stream_id=row["stream_id"],
        stream_version=row["stream_version"],
        effective_at=row["effective_at"],
        recorded_at=row["recorded_at"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        key=row["partition_key"].encode(),
        value=row["payload"],
    )


@asynccontextmanager
async def watched_shop(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, folder: Path
) -> AsyncIterator[Watched]:
    """A shop of its own database."""
    async with (
        counting_api(database, kafka_server, topic_prefix, folder, partitions=PARTITIONS) as api,
        AsyncExitStack() as stack,
    ):
        settings = api.parts.settings
        pools = {role: await open_pool(database.dsn, role, settings.database) for role in (Role.WRITER, Role.READER)}
        for pool in pools.values():
            stack.push_async_callback(pool.close)
        clock, writer, pool = Clock(), api.parts.writer, pools[Role.WRITER]
        opened = usage_thresholds(database.dsn, settings, writer, pool, bootstrap=kafka_server.bootstrap)
        thresholds = await stack.enter_async_context(opened)
        watches = tuple(
            UsageAlertWatch(
                writer,
                pool,
                pools[Role.READER],
                thresholds,
                TakenBack(pool, settings.kafka, settings.usage),
                settings.processors,
                topic_prefix=settings.kafka.topic_prefix,
                clock=clock,
            )
            for _ in range(2)
        )
        journeys = Journeys(settings.processors)
        parts = ConsumerParts(writer, journeys, default_codec(), pool, settings.kafka.topic_prefix)
        (consumer,) = consumers_of(parts)
        yield Watched(api, await api.tenant("acme"), pool=pool, watches=watches, consumer=consumer, clock=clock)
