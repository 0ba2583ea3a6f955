"""Drafts that are finalized by their timer on a real database: once, whoever dies or comes first, and without a gap."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.catalog.product import CreateProduct
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.number_series import CREDIT_NOTES, NumberSeries
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.stream import Command, WorkKind
from domain.pricing.models import PerUnit
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from infra.ids import new_id
from testing.processors_cell import EUR
from testing.requests import TENANT, request
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, holds, open_scene
from tests.integration.log_filling import domain_writer

TIMER = WorkKind.INVOICE_FINALIZATION
YEARLY = NumberSeries(name="INV", prefix="R", format="{prefix}{year}-{number}", digits=4)
NUMBERS = "SELECT count(*) || ' of ' || max(stream_version) FROM log.events WHERE event_type = 'invoice_number.taken'"


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


async def drafted(scene: Scene, count: int = 1, grace_s: int = 1) -> list[str]:
    """Subscriptions of one customer, whose first invoices are drafts for a second: the ids of those."""
    series = (YEARLY, CREDIT_NOTES)
    await scene.do(ChangeBillingSettings(grace_s=grace_s, number_series=series))
    customer_id = await scene.customer()
    product_id, plan_id, price_id = new_id("prod_"), new_id("plan_"), new_id("price_")
    await scene.do(CreateProduct(product_id=product_id, name="P"))
    terms = PlanTerms(name="Monthly", interval=Interval(IntervalUnit.MONTH))
    await scene.do(CreatePlan(plan_id=plan_id, product_id=product_id, terms=terms))
    price = PerUnit(currency=EUR, unit_amount=Decimal(500))
    await scene.do(CreatePrice(price_id=price_id, plan_id=plan_id, price=price))
    invoice_ids = []
    for _ in range(count):
        subscription_id = new_id("sub_")
        await scene.do(
            CreateSubscription(
                subscription_id=subscription_id,
                customer_id=customer_id,
                plan_id=plan_id,
                items=(RequestedItem(price_id=price_id),),
                collection=CollectionMethod.SEND_INVOICE,
            )
        )
        subscription = await scene.states.read(SUBSCRIPTION, TENANT, subscription_id)
        assert subscription is not None
        assert subscription.latest_invoice_id is not None
        invoice_ids.append(subscription.latest_invoice_id)
    return invoice_ids


async def invoice(scene: Scene, invoice_id: str) -> Invoice:
    found = await scene.states.read(INVOICE, TENANT, invoice_id)
    assert found is not None
    return found


async def test_a_draft_is_finalized_at_its_own_time_by_whoever_lives(scene: Scene) -> None:
    (invoice_id,) = await drafted(scene)
    draft = await invoice(scene, invoice_id)
    assert draft.status is InvoiceStatus.DRAFT
    assert draft.terms is not None
    await scene.run(TIMER, dies=True)
    assert (await invoice(scene, invoice_id)).status is InvoiceStatus.DRAFT
    await scene.make_due(TIMER)
    await scene.pool.execute("UPDATE log.due_work SET lease_until = now() WHERE kind = $1", TIMER.value)
    await scene.run(TIMER)
    finalized = await invoice(scene, invoice_id)
    assert (finalized.status, finalized.finalized_at) == (InvoiceStatus.OPEN, draft.terms.finalizes_at)
    assert (await scene.events(invoice_id)).count("invoice.finalized") == 1
    assert await scene.pool.fetchval("SELECT count(*) FROM log.due_work WHERE kind = $1", TIMER.value) == 0
    await holds(scene)


async def test_whoever_races_the_timer_a_draft_is_issued_once_and_numbers_have_no_gap(
    scene: Scene, database: FreshDatabase
) -> None:
    """By two writers: the timer's, and that of a person who finalizes or voids at the same instant."""
    invoice_ids = await drafted(scene, 12)
    work = await scene.claim(TIMER, "timers")
    while len(work) < len(invoice_ids):
        work += await scene.claim(TIMER, "timers")
    by_hand: list[Command] = [
        VoidInvoice(invoice_id=each) if nth % 3 == 0 else FinalizeInvoice(invoice_id=each)
        for nth, each in enumerate(invoice_ids)
    ]
    async with domain_writer(database.dsn) as other:
        await asyncio.gather(scene.run(TIMER, claimed=work), *(other.submit(request(command)) for command in by_hand))
    for nth, invoice_id in enumerate(invoice_ids):
        found = await invoice(scene, invoice_id)
        assert found.terms is not None
        assert found.finalized_at == found.terms.finalizes_at
        assert found.status is (InvoiceStatus.VOID if nth % 3 == 0 else InvoiceStatus.OPEN)
        assert (await scene.events(invoice_id)).count("invoice.finalized") == 1
    assert await scene.pool.fetchval(NUMBERS) == "12 of 12"
    assert await scene.pool.fetchval("SELECT count(*) FROM log.due_work WHERE kind = $1", TIMER.value) == 0
