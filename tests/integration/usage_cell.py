"""A cell in which usage is metered and billed by real processes, and a producer of its events."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from domain.invoicing.collection import CollectionMethod
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.terms import UsageThreshold
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from processors.invariants.findings import Invariant
from testing.processors_cell import Cell, open_cell, until
from testing.requests import TENANT
from testing.services import KafkaServer
from tests.integration.usage_scene import PARTITIONS, metered_plan
from usage.topic import COMPRESSION
from usage.wire import WireEvent, encode, headers_of, partition_of_customer, topic_of

AT_REST = (Invariant.BOOKS, Invariant.LOG, Invariant.DOCUMENTS, Invariant.READ_MODELS, Invariant.USAGE)
STARTED = (datetime.now(UTC) - timedelta(days=40)).replace(hour=0, minute=0, second=0, microsecond=0)


async def sent_twice(
    producer: AIOKafkaProducer, cell: Cell, customer_id: str, events: Sequence[WireEvent], *, partitions: int
) -> None:
    """Each under its id, as whoever did not hear an answer sends again."""
    for _ in range(2):
        await producer.send_and_wait(
            topic_of(cell.settings.kafka.topic_prefix),
            encode(events),
            partition=partition_of_customer(TENANT, customer_id, partitions),
            headers=headers_of(TENANT),
        )


@dataclass
class Usage:
    """A cell with a meter of gigabytes, at 0.25 each, and a producer of its events."""

    cell: Cell
    producer: AIOKafkaProducer
    meter_id: str
    plan_id: str
    price_id: str

    async def subscribed(
        self, customer_id: str, starts_at: datetime = STARTED, *, threshold: UsageThreshold | None = None
    ) -> str:
        subscription_id = new_id("sub_")
        await self.cell.do(
            CreateSubscription(
                subscription_id=subscription_id,
                customer_id=customer_id,
                plan_id=self.plan_id,
                items=(RequestedItem(price_id=self.price_id),),
                collection=CollectionMethod.SEND_INVOICE,
                starts_at=starts_at,
                usage_threshold=threshold,
            )
        )
        return subscription_id

    async def send(self, customer_id: str, used: Iterable[tuple[datetime, int]], *, kind: str = "event") -> None:
        """Events of so many gigabytes, each sent twice under its id."""
        events = [self._event(customer_id, at, gigabytes, kind) for at, gigabytes in used]
        await sent_twice(self.producer, self.cell, customer_id, events, partitions=PARTITIONS)

    def _event(self, customer_id: str, at: datetime, gigabytes: int, kind: str) -> WireEvent:
        return WireEvent(
            id=f"{at.isoformat()}/{gigabytes}",
            kind=kind,
            customer=customer_id,
            meter=self.meter_id,
            timestamp_us=int(at.timestamp() * 1_000_000),
            value=gigabytes * 10**9,
            properties={"gigabytes": str(gigabytes)},
        )

    async def unbilled(self) -> tuple[int, int]:
        """How many events are given up, and late, by the audit."""
        found = (await self.cell.check(Invariant.USAGE))[Invariant.USAGE]
        assert found.holds, found.named
        return found.counts["events given up"], found.counts["events late"]

    async def lines(self, invoice_id: str) -> Sequence[dict[str, Any]]:
        """The lines of an invoice once it is finalized, as the read model has them."""
        await self.cell.reaches(invoice_id, "invoice.finalized")
        found = "SELECT lines FROM read.invoices WHERE invoice_id = $1 AND status <> 'draft'"

        async def folded() -> bool:
            return await self.cell.pool.fetchval(found, invoice_id) is not None

        await until(folded, "the invoice's row")
        lines: list[dict[str, Any]] = json.loads(await self.cell.pool.fetchval(found, invoice_id))
        return lines


@contextlib.asynccontextmanager
async def usage_cell(
    postgres_server: PostgresServer,
    template_database: str,
    kafka_server: KafkaServer,
    services_folder: Path,
    processors: int = 2,
    /,
    **more: str,
) -> AsyncIterator[Usage]:
    """The cell with all its processes, and so many processors."""
    facts = {"TALLYBOOK_USAGE_PARTITIONS": str(PARTITIONS), **more}
    async with open_cell(postgres_server, template_database, kafka_server, services_folder, **facts) as cell:
        await cell.start("relay")
        await cell.start("projections")
        await cell.start("metering")
        if processors:
            await cell.start("processors", instances=processors)
        plan = await metered_plan(cell, unit_amount=25)
        producer = AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap, compression_type=COMPRESSION)
        await producer.start()
        try:
            yield Usage(cell, producer, *plan)
        finally:
            await producer.stop()


def day(number: int, hour: int = 12) -> datetime:
    """A time of that day since the subscription began."""
    return STARTED + timedelta(days=number, hours=hour)
