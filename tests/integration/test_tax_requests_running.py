"""A tax service by real processors: whatever is killed or fails meanwhile, each invoice is taxed once, and charged."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.customers.test_clock import AdvanceTestClock, CreateTestClock, DeleteTestClock
from domain.kernel.tenant_mode import TenantMode
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.tax.remote import TaxCalculator
from domain.tax.settings import ChangeTaxSettings
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from processors.invariants.findings import Invariant
from testing.examples.taxes import taxed_in_germany
from testing.processors_cell import START, Cell, open_cell, until
from testing.services import KafkaServer

AT_REST = (Invariant.GATEWAY, Invariant.BOOKS, Invariant.LOG, Invariant.SAGAS, Invariant.DOCUMENTS)
UNTAXED = "SELECT count(*) FROM read.invoices WHERE status <> 'draft' AND (tax ->> 'calculation_id') IS NULL"
WAITING = "SELECT count(*) FROM read.invoices WHERE waiting_for = 'tax'"
CALLS = {"seed": 7, "timeout_before_charge": 0.2, "timeout_after_charge": 0.2, "rate_limit": 0.2}


@pytest.fixture(scope="module")
async def cell(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Cell]:
    quick = {"TALLYBOOK_TAX_SERVICE_CALL_TIMEOUT_MS": "500", "TALLYBOOK_TAX_SERVICE_BREAKER_PAUSE_MS": "200"}
    async with open_cell(postgres_server, template_database, kafka_server, services_folder, **quick) as running:
        await running.start("relay")
        await running.start("projections")
        await running.start("processors", instances=2)
        for command in (*taxed_in_germany(), ChangeTaxSettings(calculator=TaxCalculator.REMOTE)):
            await running.do(command)
        yield running


async def test_processors_and_the_service_are_killed_and_each_invoice_is_taxed_and_paid_once(cell: Cell) -> None:
    await cell.gateway_says("PUT", "/faults", CALLS)
    invoices: list[str] = []
    for number in (0, 1):
        customers = [await cell.customer() for _ in range(6)]
        invoices += [await cell.invoice(customer_id) for customer_id in customers]
        asked = await cell.count("invoice.tax_requested")
        finalized = await cell.count("invoice.finalized")

        async def begun(before: int = finalized) -> bool:
            return await cell.count("invoice.finalized") > before

        assert asked == len(invoices)
        await until(begun, "the first answer")
        await cell.supervisor.kill(f"processors-{number}")
    await cell.gateway_says("DELETE", "/faults")
    await cell.supervisor.kill("gateway-0")
    await asyncio.gather(*(cell.reaches(invoice_id, "invoice.paid") for invoice_id in invoices))
    for each in invoices:
        assert (await cell.events(each)).count("invoice.finalized") == 1
    await cell.prove(*AT_REST, Invariant.READ_MODELS)
    assert await cell.pool.fetchval(UNTAXED) == 0
    assert await cell.pool.fetchval(WAITING) == 0


async def test_a_test_clock_stands_still_until_the_tax_of_each_period_is_known(cell: Cell) -> None:
    clock_id = new_id("clock_")
    await cell.do(CreateTestClock(clock_id=clock_id, name="a quarter", frozen_at=START, mode=TenantMode.TEST))
    subscription_id = await cell.subscribe(await cell.customer(clock_id=clock_id))
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=datetime(2026, 3, 2, tzinfo=UTC)))
    await cell.reaches(clock_id, "test_clock.advanced")
    rows = await cell.pool.fetch(
        "SELECT effective_at FROM log.events WHERE event_type = 'invoice.finalized' AND stream_id IN "
        "(SELECT invoice_id FROM read.invoices WHERE subscription_id = $1) ORDER BY effective_at",
        subscription_id,
    )
    months = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
    assert [row["effective_at"] for row in rows] == months


async def test_a_clock_is_deleted_with_what_waits_on_it_though_nobody_answers(cell: Cell) -> None:
    await cell.gateway_says("PUT", "/faults", {"seed": 1, "timeout_before_charge": 1.0})
    clock_id = new_id("clock_")
    await cell.do(CreateTestClock(clock_id=clock_id, name="a day", frozen_at=START, mode=TenantMode.TEST))
    subscription_id = await cell.subscribe(await cell.customer(clock_id=clock_id))
    invoice_id = await cell.pool.fetchval(
        "SELECT stream_id FROM log.events WHERE event_type = 'invoice.tax_requested' ORDER BY position DESC LIMIT 1"
    )
    given_back = await cell.subscribe(await cell.customer(clock_id=clock_id))
    await cell.do(CancelSubscription(subscription_id=given_back, at_period_end=False, gives_back=True))
    of_clock = "SELECT count(*) FROM log.due_work WHERE kind = 'invoice.tax' AND clock_id = $1"
    assert await cell.pool.fetchval(of_clock, clock_id) == 3, "one of them gives back what another one bills"
    await cell.do(DeleteTestClock(clock_id=clock_id))
    await cell.reaches(clock_id, "test_clock.deleted")
    assert (await cell.events(invoice_id))[-1] == "invoice.voided"
    assert "invoice.finalized" not in await cell.events(invoice_id)
    assert (await cell.events(subscription_id))[-1] == "subscription.canceled"
    assert await cell.pool.fetchval(of_clock, clock_id) == 0
    await cell.gateway_says("DELETE", "/faults")
    await cell.prove(*AT_REST)
