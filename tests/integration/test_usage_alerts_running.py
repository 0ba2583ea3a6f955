"""Thresholds by real roles: what is counted is told of on the topic exactly once, whatever is killed in between."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from domain.catalog.feature import Feature, LimitKind
from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import BillingTiming, CreatePrice
from domain.catalog.product import CreateProduct
from domain.entitlements.triggered_alert import UsageAlertTriggered
from domain.entitlements.usage_alert import AlertTerms, CreateUsageAlert, Threshold
from domain.invoicing.collection import CollectionMethod
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.metering.aggregation import Aggregation
from domain.metering.meter import CreateMeter, MeterTerms
from domain.pricing.models import PerUnit
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.selling import RequestedItem
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from infra.kafka.topics import TopicName, full_name
from processors.invariants.findings import Invariant
from schemas.codec import decode_event
from testing.processors_cell import EUR, Cell, open_cell, until
from testing.requests import TENANT
from testing.services import KafkaServer
from tests.integration.usage_cell import sent_twice
from usage.topic import COMPRESSION
from usage.wire import WireEvent

PARTITIONS = 3
STARTED = (datetime.now(UTC) - timedelta(days=10)).replace(hour=0, minute=0, second=0, microsecond=0)
LIMIT = 40
EVERY = 10


@dataclass
class Watched:
    """A cell whose customers are limited to so many gigabytes, with an alert of each ten of all of them."""

    cell: Cell
    producer: AIOKafkaProducer
    meter_id: str
    plan_id: str
    price_id: str
    sent: int = 0

    async def subscribed(self) -> str:
        customer_id = await self.cell.customer(token=None)
        await self.cell.do(
            CreateSubscription(
                subscription_id=new_id("sub_"),
                customer_id=customer_id,
                plan_id=self.plan_id,
                items=(RequestedItem(price_id=self.price_id),),
                collection=CollectionMethod.SEND_INVOICE,
                starts_at=STARTED,
            )
        )
        return customer_id

    async def alert(self, terms: AlertTerms, customer_id: str | None = None) -> str:
        alert_id = new_id("alrt_")
        await self.cell.do(
            CreateUsageAlert(usage_alert_id=alert_id, meter_id=self.meter_id, customer_id=customer_id, terms=terms)
        )
        return alert_id

    async def use(self, customer_id: str, gigabytes: Iterable[int]) -> None:
        """An event each, sent twice."""
        events = []
        for each in gigabytes:
            self.sent += 1
            at = STARTED + timedelta(days=1, seconds=self.sent)
            stamp = int(at.timestamp() * 1_000_000)
            facts = {"gigabytes": str(each)}
            name = f"e{self.sent}"
            events.append(WireEvent(name, "event", customer_id, self.meter_id, stamp, each * 10**9, facts))
        await sent_twice(self.producer, self.cell, customer_id, events, partitions=PARTITIONS)

    async def told(self, alert_id: str) -> dict[str, list[Decimal]]:
        """The thresholds that the log tells of, in its order, by customer."""
        rows = await self.cell.pool.fetch(
            "SELECT payload FROM log.events WHERE event_type = 'usage_alert.triggered' ORDER BY position"
        )
        found: dict[str, list[Decimal]] = {}
        for row in rows:
            event = decode_event(row["payload"])
            assert isinstance(event, UsageAlertTriggered)
            if event.usage_alert_id == alert_id:
                found.setdefault(event.customer_id, []).append(event.threshold)
        return found

    async def has_told(self, alert_id: str, wanted: dict[str, Decimal]) -> bool:
        told = await self.told(alert_id)
        return all(told.get(customer_id, [Decimal(0)])[-1] == last for customer_id, last in wanted.items())

    async def published(self, kinds: set[str], count: int) -> list[tuple[str, str]]:
        """What the topic of billing has of these types: event ids with their keys."""
        kafka = self.cell.settings.kafka
        consumer = AIOKafkaConsumer(
            full_name(kafka.topic_prefix, TopicName.BILLING),
            bootstrap_servers=kafka.bootstrap,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        found: list[tuple[str, str]] = []
        try:

            async def read() -> bool:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        headers = dict(record.headers)
                        if headers["ce_type"].decode() in kinds:
                            found.append((headers["ce_id"].decode(), record.key.decode()))
                return len(found) >= count

            await until(read, f"{count} records of {kinds}")
        finally:
            await consumer.stop()
        return found


@pytest.fixture(scope="module")
async def watched(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Watched]:
    facts = {"TALLYBOOK_USAGE_PARTITIONS": str(PARTITIONS), "TALLYBOOK_PROCESSORS_USAGE_LOOK_INTERVAL_MS": "50"}
    async with open_cell(postgres_server, template_database, kafka_server, services_folder, **facts) as cell:
        for role, instances in (("relay", 1), ("projections", 1), ("metering", 1), ("processors", 2)):
            await cell.start(role, instances=instances)
        meter_id, product_id, plan_id, price_id = new_id("mtr_"), new_id("prod_"), new_id("plan_"), new_id("price_")
        terms = MeterTerms(value_property="gigabytes")
        made = CreateMeter(meter_id=meter_id, code="traffic", name="Traffic", aggregation=Aggregation.SUM, terms=terms)
        await cell.do(made)
        await cell.do(CreateProduct(product_id=product_id, name="Network"))
        limited = Feature(key="traffic", limit=LIMIT, meter_id=meter_id, limit_kind=LimitKind.SOFT)
        monthly = PlanTerms(name="Network", interval=Interval(IntervalUnit.MONTH), features=(limited,))
        await cell.do(CreatePlan(plan_id=plan_id, product_id=product_id, terms=monthly))
        price = PerUnit(currency=EUR, unit_amount=Decimal(25))
        arrears = BillingTiming.IN_ARREARS
        await cell.do(CreatePrice(price_id=price_id, plan_id=plan_id, price=price, timing=arrears, meter_id=meter_id))
        producer = AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap, compression_type=COMPRESSION)
        await producer.start()
        try:
            yield Watched(cell, producer, meter_id, plan_id, price_id)
        finally:
            await producer.stop()


async def test_what_is_counted_reaches_thresholds_and_limits_on_the_topic(watched: Watched) -> None:
    customer_id = await watched.subscribed()
    terms = AlertTerms(name="Much", thresholds=(Threshold(quantity=Decimal(5)), Threshold(quantity=Decimal(30))))
    alert_id = await watched.alert(terms, customer_id)
    await watched.use(customer_id, (3, 3))
    await until(lambda: watched.has_told(alert_id, {customer_id: Decimal(5)}), "the first threshold")
    await watched.use(customer_id, (LIMIT,))
    await until(lambda: watched.has_told(alert_id, {customer_id: Decimal(30)}), "the second one")

    async def limit_told() -> bool:
        return await watched.cell.count("entitlement.limit_reached") == 1

    await until(limit_told, "the limit to be told of, without an alert")
    records = await watched.published({"usage_alert.triggered", "entitlement.limit_reached"}, 3)
    assert len({event_id for event_id, _ in records}) == 3
    assert {key for _, key in records} == {f"{TENANT}:{customer_id}"}


async def test_an_alert_that_is_made_later_tells_what_is_used_already(watched: Watched) -> None:
    customers = [await watched.subscribed() for _ in range(3)]
    for customer_id in customers:
        await watched.use(customer_id, (7,))

    async def nothing_to_look_at() -> bool:
        asked = "SELECT (SELECT count(*) FROM usage.looks) + (SELECT count(*) FROM usage.touched)"
        counted = "SELECT count(*) FROM usage.series WHERE customer_id = ANY($1)"
        is_counted = await watched.cell.pool.fetchval(counted, customers) == len(customers)
        return bool(is_counted and await watched.cell.pool.fetchval(asked) == 0)

    await until(nothing_to_look_at, "all that was counted to be looked at")
    alert_id = await watched.alert(AlertTerms(name="Some", thresholds=(Threshold(quantity=Decimal(6)),)))
    await until(lambda: watched.has_told(alert_id, dict.fromkeys(customers, Decimal(6))), "what was used before")


async def test_whatever_is_killed_each_threshold_is_told_once_and_none_is_missed(watched: Watched) -> None:
    draw = random.Random(7)
    customers = [await watched.subscribed() for _ in range(6)]
    alert_id = await watched.alert(AlertTerms(name="Each ten", thresholds=(), every=Decimal(EVERY)))
    used = dict.fromkeys(customers, 0)
    for _ in range(8):
        for customer_id in draw.sample(customers, 4):
            gigabytes = [draw.randrange(1, 9) for _ in range(draw.randrange(1, 4))]
            used[customer_id] += sum(gigabytes)
            await watched.use(customer_id, gigabytes)
        name = draw.choice(("processors-0", "processors-1", "metering-0"))
        await asyncio.sleep(draw.random() / 4)  # a kill comes at any moment
        await watched.cell.supervisor.kill(name)
        await watched.cell.supervisor.wait_ready(name)
    last = {customer_id: Decimal(total // EVERY * EVERY) for customer_id, total in used.items()}
    await until(lambda: watched.has_told(alert_id, last), f"every threshold of {last}")
    for customer_id, thresholds in (await watched.told(alert_id)).items():
        if customer_id in last:
            assert thresholds == sorted(set(thresholds)), "each once, the least first"
    limited = {customer_id for customer_id, total in used.items() if total >= LIMIT}
    assert limited, "somebody reaches their limit"

    async def each_limit_told() -> bool:
        rows = await watched.cell.pool.fetch(
            "SELECT partition_key, count(*) AS times FROM log.events WHERE event_type = 'entitlement.limit_reached' "
            "GROUP BY 1"
        )
        times = {row["partition_key"].removeprefix(f"{TENANT}:"): row["times"] for row in rows}
        assert set(times.values()) <= {1}
        return limited <= times.keys()

    await until(each_limit_told, "the limits")
    await watched.cell.prove(Invariant.LOG, Invariant.READ_MODELS)
