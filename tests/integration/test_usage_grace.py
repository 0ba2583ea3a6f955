"""Drafts of usage that have time, by real aggregators and processors: what is accepted until it is over is billed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.catalog.price import CreatePrice
from domain.customers.test_clock import AdvanceTestClock, CreateTestClock, DeleteTestClock
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import Money
from domain.kernel.tenant_mode import TenantMode
from domain.pricing.models import Flat
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.change_commands import ChangeSubscription
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.selling import RequestedItem
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from testing.processors_cell import EUR, until
from testing.services import KafkaServer
from tests.integration.usage_cell import AT_REST, STARTED, Usage, day, usage_cell

LONG_S = 3_600


@pytest.fixture(scope="module")
async def usage(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Usage]:
    async with usage_cell(postgres_server, template_database, kafka_server, services_folder) as opened:
        yield opened


async def has_a_closing(usage: Usage, invoice_id: str) -> bool:
    closings = "SELECT count(*) FROM usage.closings WHERE reference LIKE $1 || ':%'"
    return bool(await usage.cell.pool.fetchval(closings, invoice_id))


async def test_what_is_accepted_until_its_time_is_over_is_billed_by_the_draft(usage: Usage) -> None:
    await usage.cell.do(ChangeBillingSettings(grace_s=4))
    customer_id = await usage.cell.customer(token=None)
    await usage.send(customer_id, [(day(1), 3)])
    subscription_id = await usage.subscribed(customer_id)
    await usage.send(customer_id, [(day(20), 4)])
    first = derived_id(INVOICE, subscription_id, "period/1")
    assert not await has_a_closing(usage, first), "its time is not over"
    (line,) = await usage.lines(first)
    assert (line["amount"]["amount"], line["quantity"]) == (175, "7")
    await usage.cell.prove(*AT_REST)


async def test_whoever_finalizes_it_sooner_has_all_that_was_accepted_by_then(usage: Usage) -> None:
    await usage.cell.do(ChangeBillingSettings(grace_s=LONG_S))
    customers = [await usage.cell.customer(token=None) for _ in range(4)]
    drafts = [derived_id(INVOICE, await usage.subscribed(each), "period/1") for each in customers]
    for nth, (customer_id, draft) in enumerate(zip(customers, drafts, strict=True), start=1):
        await usage.send(customer_id, [(day(number), nth) for number in range(1, 20)])
        await usage.cell.do(FinalizeInvoice(invoice_id=draft))
    for nth, draft in enumerate(drafts, start=1):
        (line,) = await usage.lines(draft)
        assert line["amount"]["amount"] == 25 * 19 * nth
    await usage.cell.prove(*AT_REST)


async def test_what_is_voided_in_its_time_gives_its_usage_up_to_nobody(usage: Usage) -> None:
    do = usage.cell.do
    await do(ChangeBillingSettings(grace_s=LONG_S))
    given_up, late = await usage.unbilled()
    customer_id = await usage.cell.customer(token=None)
    first = await usage.subscribed(customer_id)
    await usage.send(customer_id, [(day(1), 3), (day(20), 4)])
    voided = derived_id(INVOICE, first, "period/1")
    await do(VoidInvoice(invoice_id=voided))

    async def is_closed() -> bool:
        return await has_a_closing(usage, voided)

    await until(is_closed, "the voided period to be closed")
    await do(CancelSubscription(subscription_id=first, at_period_end=False))
    second = await usage.subscribed(customer_id)
    again = derived_id(INVOICE, second, "period/1")
    await do(FinalizeInvoice(invoice_id=again))
    (line,) = await usage.lines(again)
    assert line["amount"]["amount"] == 0
    assert await usage.unbilled() == (given_up + 2, late)
    await usage.cell.prove(*AT_REST)


async def test_what_gives_back_a_line_of_it_ends_the_time_of_both_and_is_finalized_behind(usage: Usage) -> None:
    cell, fee = usage.cell, new_id("price_")
    await cell.do(ChangeBillingSettings(grace_s=LONG_S))
    in_advance = Flat(amount=Money(3_000, EUR))
    await cell.do(CreatePrice(price_id=fee, plan_id=usage.plan_id, name="Fee", price=in_advance))
    customer_id, subscription_id = await cell.customer(token=None), new_id("sub_")
    await cell.do(
        CreateSubscription(
            subscription_id=subscription_id,
            customer_id=customer_id,
            plan_id=usage.plan_id,
            items=(RequestedItem(price_id=usage.price_id), RequestedItem(price_id=fee)),
            collection=CollectionMethod.SEND_INVOICE,
            starts_at=STARTED,
        )
    )
    await usage.send(customer_id, [(day(1), 3)])
    await cell.do(ChangeSubscription(subscription_id=subscription_id, remove=(fee,)))
    first, credit = (derived_id(INVOICE, subscription_id, each) for each in ("period/1", "change/0"))
    await cell.do(FinalizeInvoice(invoice_id=credit))
    (given_back,) = await usage.lines(credit)
    assert given_back["amount"]["amount"] < 0
    assert sorted(line["amount"]["amount"] for line in await usage.lines(first)) == [75, 3_000, 3_000]
    finalized = "SELECT invoice_id FROM read.invoices WHERE subscription_id = $1 ORDER BY number"
    assert [row[0] for row in await cell.pool.fetch(finalized, subscription_id)] == [first, credit]
    await cell.prove(*AT_REST)


async def test_a_clock_passes_the_end_of_the_period_and_that_of_its_draft_and_is_deleted_with_one_that_waits(
    usage: Usage,
) -> None:
    cell, start = usage.cell, STARTED
    await cell.do(ChangeBillingSettings(grace_s=5 * 86_400))
    clocks = [new_id("clock_"), new_id("clock_")]
    subscriptions = []
    for clock_id in clocks:
        await cell.do(CreateTestClock(clock_id=clock_id, name="grace", frozen_at=start, mode=TenantMode.TEST))
        customer_id = await cell.customer(token=None, clock_id=clock_id)
        await usage.send(customer_id, [(day(1), 3)])
        subscriptions.append(await usage.subscribed(customer_id))
    passed, left = (derived_id(INVOICE, each, "period/1") for each in subscriptions)
    await cell.do(AdvanceTestClock(clock_id=clocks[0], to=start + timedelta(days=37)))
    await cell.do(AdvanceTestClock(clock_id=clocks[1], to=start + timedelta(days=32)))
    assert [line["amount"]["amount"] for line in await usage.lines(passed)] == [75]
    await cell.reaches(left, "invoice.drafted")
    for clock_id in clocks:
        await cell.reaches(clock_id, "test_clock.advanced")
        await cell.do(DeleteTestClock(clock_id=clock_id))
    for clock_id in clocks:
        await cell.reaches(clock_id, "test_clock.deleted")
    assert "invoice.voided" in await cell.events(left)

    async def is_closed() -> bool:
        return await has_a_closing(usage, left)

    await until(is_closed, "the period of the draft to be closed")
    await cell.prove(*AT_REST)
