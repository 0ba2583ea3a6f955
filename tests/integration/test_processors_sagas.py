"""Sagas by real processors: redelivered, killed half-way, or without Kafka at all, everything happens once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from domain.customers.test_clock import AdvanceTestClock, CreateTestClock
from domain.kernel.tenant_mode import TenantMode
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from infra.kafka.republishing import republish
from infra.kafka.topics import TopicName, full_name
from processors.invariants.findings import Invariant
from testing.processors_cell import START, Cell, open_cell, until
from testing.services import KafkaServer

AT_REST = (
    Invariant.GATEWAY,
    Invariant.BOOKS,
    Invariant.LOG,
    Invariant.KAFKA,
    Invariant.SAGAS,
    Invariant.DOCUMENTS,
)


@pytest.fixture(scope="module")
async def cell(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Cell]:
    async with open_cell(postgres_server, template_database, kafka_server, services_folder) as running:
        await running.start("relay")
        await running.start("processors", instances=2)
        yield running


async def paid(cell: Cell, invoices: list[str]) -> None:
    await asyncio.gather(*(cell.reaches(invoice_id, "invoice.paid") for invoice_id in invoices))


async def test_processors_killed_between_issuing_and_acknowledging_issue_nothing_twice(cell: Cell) -> None:
    before = await cell.count("payment.created")
    invoices: list[str] = []
    for number in (0, 1, 0):
        customers = [await cell.customer() for _ in range(4)]
        charged = await cell.count("payment.created")
        invoices += [await cell.invoice(customer_id) for customer_id in customers]

        async def begun(charged: int = charged) -> bool:
            return await cell.count("payment.created") > charged

        # The first commands are in the log; their records' offsets are committed every half second.
        await until(begun, "the first charge")
        await cell.supervisor.kill(f"processors-{number}")
    await paid(cell, invoices)
    assert await cell.count("payment.created") == before + len(invoices)
    await cell.prove(*AT_REST)


async def test_what_was_handled_is_acknowledged_to_the_last_record(cell: Cell) -> None:
    """Faust is handed a poll's records of a partition as one: the offsets between are acknowledged with the last."""
    await paid(cell, [await cell.invoice(await cell.customer()) for _ in range(30)])
    kafka = cell.settings.kafka
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=f"{kafka.topic_prefix}-processors", enable_auto_commit=False
    )
    await consumer.start()
    try:
        names = [full_name(kafka.topic_prefix, topic) for topic in (TopicName.BILLING, TopicName.PAYMENTS)]
        places = [TopicPartition(name, number) for name in names for number in range(kafka.partitions)]
        consumer.assign(places)

        async def acknowledged() -> bool:
            ends = await consumer.end_offsets(places)
            offsets = {place: await consumer.committed(place) or 0 for place in places}
            assert all(offsets[place] <= ends[place] for place in places)
            return bool(offsets == ends)

        await until(acknowledged, "offsets at the topics' ends")
    finally:
        await consumer.stop()


async def test_everything_delivered_once_more_changes_nothing(cell: Cell) -> None:
    await paid(cell, [await cell.invoice(await cell.customer()) for _ in range(3)])
    await cell.prove(*AT_REST)
    before = await cell.pool.fetchval("SELECT position FROM log.head")
    assert cell.settings.database.url is not None
    await republish(cell.settings.database.url.get_secret_value())
    await cell.prove(*AT_REST)
    # What comes behind all that was sent again is handled, so that was, too.
    await paid(cell, [await cell.invoice(await cell.customer())])
    types = await cell.pool.fetch("SELECT event_type FROM log.events WHERE position > $1 ORDER BY position", before)
    assert [row[0] for row in types].count("payment.created") == 1


async def test_a_year_on_a_test_clock_bills_every_month_once_while_processors_die(cell: Cell) -> None:
    clock_id = new_id("clock_")
    await cell.do(CreateTestClock(clock_id=clock_id, name="year", frozen_at=START, mode=TenantMode.TEST))
    customers = [await cell.customer(clock_id=clock_id) for _ in range(3)]
    subscriptions = [await cell.subscribe(customer_id) for customer_id in customers]
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=datetime(2026, 7, 1, tzinfo=UTC)))

    async def half_way() -> bool:
        return (await cell.events(subscriptions[0])).count("subscription.period_started") >= 3

    await until(half_way, "three periods")
    await cell.supervisor.kill("processors-0")
    await cell.supervisor.kill("processors-1")
    await cell.reaches(clock_id, "test_clock.advanced")
    for subscription_id in subscriptions:
        events = await cell.events(subscription_id)
        assert events.count("subscription.period_started") == 7, "January to July"
    moments = await cell.pool.fetch(
        "SELECT DISTINCT effective_at FROM log.events WHERE stream_id = ANY($1) AND event_type = "
        "'subscription.period_started' ORDER BY 1",
        subscriptions,
    )
    assert [row[0] for row in moments] == [datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 8)]
    await cell.prove(*AT_REST)


async def test_what_is_created_on_a_clock_that_is_advancing_is_not_left_behind(cell: Cell) -> None:
    clock_id = new_id("clock_")
    await cell.do(CreateTestClock(clock_id=clock_id, name="race", frozen_at=START, mode=TenantMode.TEST))
    customers = [await cell.customer(clock_id=clock_id) for _ in range(8)]
    advancing = cell.do(AdvanceTestClock(clock_id=clock_id, to=datetime(2026, 2, 1, tzinfo=UTC)))
    await asyncio.gather(advancing, *(cell.subscribe(customer_id) for customer_id in customers))
    await cell.reaches(clock_id, "test_clock.advanced")
    await cell.prove(Invariant.SAGAS)


async def test_the_sweeper_finishes_a_saga_whose_record_never_arrived(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> None:
    """No relay runs, so nothing reaches Kafka. Fifteen seconds are made to pass by moving the deadline."""
    async with open_cell(postgres_server, template_database, kafka_server, services_folder) as alone:
        await alone.start("processors")
        invoice_id = await alone.invoice(await alone.customer())
        await alone.pool.execute(
            "UPDATE log.due_work SET due_at = now(), ready_at = now() WHERE kind = 'saga.deadline' AND subject = $1",
            f"charge:{invoice_id}",
        )
        await alone.reaches(invoice_id, "invoice.paid")
        assert await alone.pool.fetchval("SELECT position FROM relay.state") == 0
        await alone.prove(Invariant.GATEWAY, Invariant.BOOKS, Invariant.LOG, Invariant.SAGAS)
