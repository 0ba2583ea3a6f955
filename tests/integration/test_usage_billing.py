"""Usage from the topic to the invoice, by real aggregators and processors: every event is billed once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.catalog.price import CreatePrice
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import Money
from domain.pricing.models import Flat
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.change_commands import ChangeSubscription
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.pause_commands import PauseSubscription, ResumeSubscription
from domain.subscriptions.selling import RequestedItem
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from processors.invariants.findings import Invariant
from testing.processors_cell import EUR, until
from testing.services import KafkaServer
from tests.integration.usage_cell import AT_REST, STARTED, Usage, day, usage_cell


@pytest.fixture(scope="module")
async def usage(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Usage]:
    async with usage_cell(postgres_server, template_database, kafka_server, services_folder) as opened:
        yield opened


async def test_what_was_used_in_a_period_is_billed_when_it_is_over_and_resent_events_once(usage: Usage) -> None:
    customer_id = await usage.cell.customer(token=None)
    await usage.send(customer_id, [(day(1), 3), (day(20), 4), (day(39), 100)])
    subscription_id = await usage.subscribed(customer_id)
    (line,) = await usage.lines(derived_id(INVOICE, subscription_id, "period/1"))
    assert (line["amount"]["amount"], line["quantity"], line["kind"]) == (175, "7", "usage")
    snapshot = line["usage"]["snapshot"]
    assert (snapshot["closing"], snapshot["events"]) == (1, 2)
    closing = await usage.cell.pool.fetchrow(
        "SELECT covers, sha256, partition FROM usage.closings WHERE reference ~ $1", line["line_id"]
    )
    assert closing is not None
    assert (closing["covers"], closing["sha256"].hex(), closing["partition"]) == (
        snapshot["covers"], snapshot["sha256"], snapshot["partition"],
    )  # fmt: skip


async def test_the_end_bills_the_rest_and_what_was_closed_before_is_not_billed_again(usage: Usage) -> None:
    customer_id = await usage.cell.customer(token=None)
    await usage.send(customer_id, [(day(1), 3), (day(39), 100)])
    subscription_id = await usage.subscribed(customer_id)
    await usage.lines(derived_id(INVOICE, subscription_id, "period/1"))
    await usage.cell.do(CancelSubscription(subscription_id=subscription_id, at_period_end=False))
    (line,) = await usage.lines(derived_id(INVOICE, subscription_id, "end"))
    assert line["amount"]["amount"] == 2_500


async def test_an_invoice_waits_while_nothing_counts_and_a_person_need_not(usage: Usage) -> None:
    waits, hurried = await usage.cell.customer(token=None), await usage.cell.customer(token=None)
    await usage.cell.supervisor.kill("metering-0")
    for customer_id in (waits, hurried):
        await usage.send(customer_id, [(day(1), 3)])
    first = derived_id(INVOICE, await usage.subscribed(waits), "period/1")
    second = derived_id(INVOICE, await usage.subscribed(hurried), "period/1")
    await usage.cell.do(FinalizeInvoice(invoice_id=second))
    lines = await usage.lines(second)
    assert lines[0]["amount"]["amount"] in {0, 75}, "what was counted by then"
    await usage.cell.supervisor.wait_ready("metering-0")
    lines = await usage.lines(first)
    assert lines[0]["amount"]["amount"] == 75


async def test_what_gives_back_a_line_of_an_invoice_that_waits_is_finalized_behind_it(usage: Usage) -> None:
    cell, fee = usage.cell, new_id("price_")
    in_advance = Flat(amount=Money(3_000, EUR))
    await cell.do(CreatePrice(price_id=fee, plan_id=usage.plan_id, name="Fee", price=in_advance))
    customer_id, subscription_id = await cell.customer(token=None), new_id("sub_")
    await cell.supervisor.kill("metering-0")
    await usage.send(customer_id, [(day(1), 3)])
    items = (RequestedItem(price_id=usage.price_id), RequestedItem(price_id=fee))
    await cell.do(
        CreateSubscription(
            subscription_id=subscription_id,
            customer_id=customer_id,
            plan_id=usage.plan_id,
            items=items,
            collection=CollectionMethod.SEND_INVOICE,
            starts_at=STARTED,
        )
    )
    await cell.do(ChangeSubscription(subscription_id=subscription_id, remove=(fee,)))
    (credit,) = await usage.lines(derived_id(INVOICE, subscription_id, "change/0"))
    assert credit["amount"]["amount"] < 0
    first = await usage.lines(derived_id(INVOICE, subscription_id, "period/1"))
    assert sorted(line["amount"]["amount"] for line in first) == [75, 3_000, 3_000]
    finalized = "SELECT invoice_id FROM read.invoices WHERE subscription_id = $1 ORDER BY number"
    found = [row[0] for row in await cell.pool.fetch(finalized, subscription_id)]
    assert found == [derived_id(INVOICE, subscription_id, each) for each in ("period/1", "change/0")]


async def test_processors_and_aggregators_are_killed_and_each_invoice_bills_its_usage_once(usage: Usage) -> None:
    cell = usage.cell
    customers = [await cell.customer(token=None) for _ in range(8)]
    finalized = await cell.count("invoice.finalized")
    for nth, customer_id in enumerate(customers):
        await usage.send(customer_id, [(day(2 + nth), nth), (day(10), 1)])
    invoices = [derived_id(INVOICE, await usage.subscribed(each), "period/1") for each in customers]

    async def begun() -> bool:
        return await cell.count("invoice.finalized") > finalized

    await until(begun, "the first closing")
    for name in ("processors-0", "metering-0", "processors-1"):
        await cell.supervisor.kill(name)
    billed = await asyncio.gather(*(usage.lines(invoice_id) for invoice_id in invoices))
    assert [lines[0]["amount"]["amount"] for lines in billed] == [25 * (nth + 1) for nth in range(len(customers))]
    for invoice_id in invoices:
        events = await cell.events(invoice_id)
        assert (events.count("invoice.usage_counted"), events.count("invoice.finalized")) == (1, 1)
    closings = "SELECT count(*) FROM usage.closings WHERE customer_id = ANY($1)"
    assert await cell.pool.fetchval(closings, customers) == len(customers)
    await cell.prove(*AT_REST)


async def test_what_comes_late_is_billed_by_the_next_invoice_and_what_is_voided_given_back(usage: Usage) -> None:
    more, less = await usage.cell.customer(token=None), await usage.cell.customer(token=None)
    for customer_id in (more, less):
        await usage.send(customer_id, [(day(1), 3), (day(2), 4)])
    subscriptions = [await usage.subscribed(more), await usage.subscribed(less)]
    for each in subscriptions:
        await usage.lines(derived_id(INVOICE, each, "period/1"))
    await usage.send(more, [(day(3), 5)])
    await usage.send(less, [(day(2), 4)], kind="void")
    for each in subscriptions:
        await usage.cell.do(CancelSubscription(subscription_id=each, at_period_end=False))
    for each, amount, reason in zip(subscriptions, (125, -100), ("late", "voided"), strict=True):
        lines = await usage.lines(derived_id(INVOICE, each, "end"))
        (late,) = (line for line in lines if line["usage"]["late"] is not None)
        assert (late["amount"]["amount"], late["usage"]["late"]["reason"]) == (amount, reason)
    await usage.cell.prove(*AT_REST)


async def test_what_was_late_for_an_invoice_that_is_voided_is_billed_by_the_next_and_its_own_usage_given_up(
    usage: Usage,
) -> None:
    customer_id, do = await usage.cell.customer(token=None), usage.cell.do
    given_up, late = await usage.unbilled()
    await usage.send(customer_id, [(day(1), 3)])
    subscription_id = await usage.subscribed(customer_id)
    await usage.lines(derived_id(INVOICE, subscription_id, "period/1"))
    await usage.send(customer_id, [(day(3), 5), (day(35), 2)])
    await do(PauseSubscription(subscription_id=subscription_id))
    voided = derived_id(INVOICE, subscription_id, "pause/0")
    assert sorted(line["amount"]["amount"] for line in await usage.lines(voided)) == [50, 125]
    await do(VoidInvoice(invoice_id=voided))
    assert await usage.unbilled() == (given_up + 1, late + 1)
    await do(ResumeSubscription(subscription_id=subscription_id))
    await do(CancelSubscription(subscription_id=subscription_id, at_period_end=False))
    lines = await usage.lines(derived_id(INVOICE, subscription_id, "end"))
    assert sorted(line["amount"]["amount"] for line in lines) == [0, 125]
    assert await usage.unbilled() == (given_up + 1, late)
    await usage.cell.prove(*AT_REST)


async def test_a_subscription_that_begins_before_the_last_one_was_closed_is_billed_what_that_one_was_not(
    usage: Usage,
) -> None:
    customer_id = await usage.cell.customer(token=None)
    await usage.send(customer_id, [(day(1), 3), (day(20), 4)])
    first = await usage.subscribed(customer_id, day(15, 0))
    await usage.cell.do(CancelSubscription(subscription_id=first, at_period_end=False))
    assert [line["amount"]["amount"] for line in await usage.lines(derived_id(INVOICE, first, "end"))] == [100]
    second = await usage.subscribed(customer_id)
    (line,) = await usage.lines(derived_id(INVOICE, second, "period/1"))
    assert line["amount"]["amount"] == 75, "what was used before the first one began, and nothing twice"
    await usage.cell.prove(*AT_REST)


async def test_what_comes_after_the_last_invoice_is_late_until_another_subscription_bills_the_meter(
    usage: Usage,
) -> None:
    customer_id, do = await usage.cell.customer(token=None), usage.cell.do
    given_up, late = await usage.unbilled()
    await usage.send(customer_id, [(day(1), 3), (day(2), 4)])
    first = await usage.subscribed(customer_id)
    await do(CancelSubscription(subscription_id=first, at_period_end=False))
    await usage.lines(derived_id(INVOICE, first, "end"))
    await usage.send(customer_id, [(day(3), 5), (day(4), 1)])
    await usage.send(customer_id, [(day(2), 4)], kind="void")

    async def are_counted() -> bool:
        return await usage.unbilled() == (given_up, late + 1)  # two more, and one less

    await until(are_counted, "the late events to be counted")
    second = await usage.subscribed(customer_id, datetime.now(UTC))
    await do(CancelSubscription(subscription_id=second, at_period_end=False))
    (line,) = [each for each in await usage.lines(derived_id(INVOICE, second, "end")) if each["usage"]["late"]]
    assert (line["amount"]["amount"], line["usage"]["late"]["invoice_id"]) == (
        50, derived_id(INVOICE, first, "period/1"),
    )  # fmt: skip
    await usage.cell.prove(*AT_REST)


async def test_a_row_of_a_closing_that_changes_is_named(usage: Usage) -> None:
    """The last test here: it leaves the cell as it must not be."""
    changed = """UPDATE usage.aggregates SET total = total + 1000000000 WHERE (series, bucket) = (
        SELECT series, bucket FROM usage.aggregates WHERE late = 0 AND bucket < $1 LIMIT 1) AND late = 0"""
    await usage.cell.pool.execute(changed, int(day(9).timestamp()) // 900)
    found = (await usage.cell.check(Invariant.USAGE))[Invariant.USAGE]
    assert {each.kind for each in found.named} >= {"closing", "line"}
    await usage.cell.pool.execute("UPDATE usage.aggregates SET total = total + 1000000000 WHERE late > 0")
    found = (await usage.cell.check(Invariant.USAGE))[Invariant.USAGE]
    assert found.counts["periods with late usage"] > 0
    assert {each.kind for each in found.named} >= {"closing", "line", "late usage"}
