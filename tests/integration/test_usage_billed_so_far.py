"""Usage that reaches a threshold is invoiced while its period runs, by real aggregators and processors."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from domain.discounts.commands import ApplyCouponToCustomer
from domain.discounts.computation import CouponDuration, PercentOff
from domain.discounts.coupon import CouponTerms, CreateCoupon
from domain.invoicing.finalization import VoidInvoice
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import Money
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.pause_commands import PauseSubscription, ResumeSubscription
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import SetUsageThreshold
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from processors.invariants.findings import Invariant
from testing.processors_cell import EUR, until
from testing.services import KafkaServer
from tests.integration.usage_cell import AT_REST, Usage, usage_cell

THRESHOLD = UsageThreshold(amount=Money(500, EUR))
"""Of 20 gigabytes."""
NOW = datetime.now(UTC).replace(microsecond=0)
STARTED = (NOW - timedelta(days=10)).replace(minute=0, second=0)


@pytest.fixture(scope="module")
async def usage(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Usage]:
    quick = {"TALLYBOOK_PROCESSORS_USAGE_LOOK_INTERVAL_S": "0.1", "TALLYBOOK_PROCESSORS_USAGE_LOOK_INTERVAL_MS": "50"}
    async with usage_cell(postgres_server, template_database, kafka_server, services_folder, **quick) as opened:
        yield opened


def so_far(subscription_id: str, nth: int) -> str:
    return derived_id(INVOICE, subscription_id, f"usage/{nth}")


def end_of(subscription_id: str) -> str:
    return derived_id(INVOICE, subscription_id, "end")


async def ended(usage: Usage, subscription_id: str) -> int:
    """What the last invoice comes to."""
    await usage.cell.do(CancelSubscription(subscription_id=subscription_id, at_period_end=False))
    return sum(line["amount"]["amount"] for line in await usage.lines(end_of(subscription_id)))


def hour(number: int) -> datetime:
    return STARTED + timedelta(hours=number)


async def test_each_time_that_so_much_more_was_used_an_invoice_bills_it_and_the_end_the_rest(usage: Usage) -> None:
    customer_id = await usage.cell.customer(token=None)
    await usage.send(customer_id, [(hour(1), 19)])
    subscription_id = await usage.subscribed(customer_id, STARTED, threshold=THRESHOLD)
    await usage.send(customer_id, [(hour(2), 3)])
    (first,) = await usage.lines(so_far(subscription_id, 0))
    assert (first["amount"]["amount"], first["quantity"]) == (550, "22")
    assert first["usage"]["snapshot"]["closing"] == 1
    await usage.send(customer_id, [(hour(0), 1), (hour(3), 20)])
    (second,) = await usage.lines(so_far(subscription_id, 1))
    assert (second["amount"]["amount"], second["quantity"]) == (525, "43"), "with what came late for the first"
    await usage.send(customer_id, [(hour(4), 2)])
    assert await ended(usage, subscription_id) == 50
    await usage.cell.prove(*AT_REST)


async def test_a_coupon_is_used_once_by_the_end_of_what_it_was_taken_off_though_nothing_is_left(usage: Usage) -> None:
    cell, customer_id = usage.cell, await usage.cell.customer(token=None)
    coupon_id, discount_id = new_id("coup_"), new_id("disc_")
    half = CouponTerms(name="Half", off=PercentOff(percent=Decimal(50)), duration=CouponDuration.ONCE)
    await cell.do(CreateCoupon(coupon_id=coupon_id, terms=half))
    await cell.do(ApplyCouponToCustomer(discount_id=discount_id, coupon_id=coupon_id, customer_id=customer_id))
    subscription_id = await usage.subscribed(customer_id, STARTED, threshold=THRESHOLD)
    await usage.send(customer_id, [(hour(1), 22)])
    (first,) = await usage.lines(so_far(subscription_id, 0))
    assert [each["amount"]["amount"] for each in first["discounts"]] == [275]
    assert await ended(usage, subscription_id) == 0
    await cell.reaches(discount_id, "discount.ended")
    await cell.prove(*AT_REST)


async def test_once_a_period_where_it_does_not_recur(usage: Usage) -> None:
    customer_id = await usage.cell.customer(token=None)
    subscription_id = await usage.subscribed(customer_id, STARTED)
    once = UsageThreshold(amount=Money(500, EUR), recurring=False)
    await usage.send(customer_id, [(hour(1), 30)])
    await usage.cell.do(SetUsageThreshold(subscription_id=subscription_id, threshold=once))
    await usage.lines(so_far(subscription_id, 0))
    await usage.send(customer_id, [(hour(2), 30)])
    assert await ended(usage, subscription_id) == 750
    assert await usage.cell.events(so_far(subscription_id, 1)) == []


async def test_of_what_was_voided_nothing_is_lost_and_the_threshold_is_not_reached_again(usage: Usage) -> None:
    customer_id = await usage.cell.customer(token=None)
    subscription_id = await usage.subscribed(customer_id, STARTED, threshold=THRESHOLD)
    await usage.send(customer_id, [(hour(1), 30)])
    await usage.lines(so_far(subscription_id, 0))
    await usage.cell.do(VoidInvoice(invoice_id=so_far(subscription_id, 0)))
    await usage.send(customer_id, [(hour(2), 10)])
    await _looked_at(usage, customer_id, events=2)
    assert await usage.cell.events(so_far(subscription_id, 1)) == []
    await usage.cell.prove(*AT_REST)
    unfinished = (await usage.cell.check(Invariant.SAGAS))[Invariant.SAGAS]
    assert [each for each in unfinished.named if each.kind == "look"] == []
    assert await ended(usage, subscription_id) == 1_000
    await usage.cell.prove(*AT_REST)


async def test_processors_and_aggregators_are_killed_and_every_event_is_billed_once(usage: Usage) -> None:
    cell = usage.cell
    customers = [await cell.customer(token=None) for _ in range(8)]
    subscriptions = [await usage.subscribed(each, STARTED, threshold=THRESHOLD) for each in customers]
    billed = await cell.count("invoice.usage_counted")

    async def sent() -> None:
        for round_ in range(6):
            for nth, customer_id in enumerate(customers):
                await usage.send(customer_id, [(hour(10 + round_), 5 + nth), (hour(round_), 7)])
            await asyncio.sleep(0.2)

    async def begun() -> bool:
        return await cell.count("invoice.usage_counted") > billed

    sending = asyncio.create_task(sent())
    await until(begun, "the first of them to be counted")
    for name in ("processors-0", "metering-0", "processors-1"):
        await cell.supervisor.kill(name)
    await sending
    for subscription_id in subscriptions:
        await cell.do(CancelSubscription(subscription_id=subscription_id, at_period_end=False))
    for nth, subscription_id in enumerate(subscriptions):
        await usage.lines(end_of(subscription_id))
        assert await _invoiced(usage, subscription_id) == 25 * 6 * (12 + nth)
    await cell.prove(*AT_REST)


async def _looked_at(usage: Usage, customer_id: str, *, events: int) -> None:
    """So many events are counted, and it was looked whether the threshold is reached."""
    pool = usage.cell.pool
    counted = "SELECT sum(n) FROM usage.aggregates JOIN usage.series USING (series) WHERE customer_id = $1"
    looks = "SELECT (SELECT count(*) FROM usage.looks WHERE customer_id = $1) + (SELECT count(*) FROM usage.touched)"

    async def are_looked_at() -> bool:
        is_counted = await pool.fetchval(counted, customer_id) == events
        return bool(is_counted and await pool.fetchval(looks, customer_id) == 0)

    await until(are_looked_at, "the events to be counted and looked at")


async def _invoiced(usage: Usage, subscription_id: str) -> int:
    billed = "SELECT sum(total) FROM read.invoices WHERE subscription_id = $1"
    return int(await usage.cell.pool.fetchval(billed, subscription_id))


@pytest.mark.parametrize("is_counted", [True, False])
async def test_what_is_taken_back_of_a_period_whose_last_invoice_is_voided_is_given_back_of_those_before(
    usage: Usage, is_counted: bool
) -> None:
    cell = usage.cell
    customer_id = await cell.customer(token=None)
    subscription_id = await usage.subscribed(customer_id, STARTED, threshold=THRESHOLD)
    await usage.send(customer_id, [(hour(1), 20), (hour(2), 4)])
    await usage.lines(so_far(subscription_id, 0))
    await cell.do(SetUsageThreshold(subscription_id=subscription_id, threshold=None))
    await usage.send(customer_id, [(hour(3), 7)])
    last = derived_id(INVOICE, subscription_id, "pause/0")
    if not is_counted:
        await cell.supervisor.kill("metering-0")
    await cell.do(PauseSubscription(subscription_id=subscription_id))
    if is_counted:
        await usage.lines(last)
    await cell.do(VoidInvoice(invoice_id=last))
    await cell.supervisor.wait_ready("metering-0")
    await cell.do(ResumeSubscription(subscription_id=subscription_id))
    await usage.send(customer_id, [(hour(2), 4), (hour(3), 7)], kind="void")
    await cell.do(CancelSubscription(subscription_id=subscription_id, at_period_end=False))
    back = [line for line in await usage.lines(end_of(subscription_id)) if line["amount"]["amount"]]
    assert [line["amount"]["amount"] for line in back] == [-100], "the four gigabytes that were billed, and no more"
    assert back[0]["gives_back"]["invoice_id"] == so_far(subscription_id, 0)
    await cell.prove(*AT_REST)


async def test_late_usage_of_a_period_that_was_cut_short_and_that_nobody_bills_is_named(usage: Usage) -> None:
    """The last test here: it leaves the cell as it must not be."""
    cell = usage.cell
    customer_id = await cell.customer(token=None)
    subscription_id = await usage.subscribed(customer_id, STARTED, threshold=THRESHOLD)
    await usage.send(customer_id, [(hour(1), 20)])
    await usage.lines(so_far(subscription_id, 0))
    await cell.do(SetUsageThreshold(subscription_id=subscription_id, threshold=None))
    await usage.send(customer_id, [(hour(3), 7)])
    await cell.do(PauseSubscription(subscription_id=subscription_id))
    last = derived_id(INVOICE, subscription_id, "pause/0")
    await cell.reaches(last, "invoice.finalized")
    await usage.send(customer_id, [(hour(2), 4)])
    await cell.do(ResumeSubscription(subscription_id=subscription_id))
    await cell.do(VoidInvoice(invoice_id=last))
    await cell.prove(Invariant.USAGE)
    await cell.pool.execute("DELETE FROM log.claims WHERE owner = $1 AND kind = 'invoice.usage_voided'", last)
    await cell.do(CancelSubscription(subscription_id=subscription_id, at_period_end=False))
    assert len(await usage.lines(end_of(subscription_id))) == 1, "nobody told it of what is late"
    found = (await cell.check(Invariant.USAGE))[Invariant.USAGE]
    assert [each.kind for each in found.named] == ["late usage"]
