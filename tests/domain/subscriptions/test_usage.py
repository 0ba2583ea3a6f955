"""Specifications of usage that a subscription bills: what is owed at a boundary, and what is counted of it later."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.catalog.price import CreatePrice
from domain.customers.customer import DeleteCustomer
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import InvoiceNotDraft
from domain.invoicing.explanation import explain_billed
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import InvoiceNotOpen
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL, InvalidInvoiceLines, InvoiceLineKind
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.invoicing.state import InvoiceStatus, WaitingFor
from domain.invoicing.usage_line import LineUsage, told_quantity
from domain.invoicing.usage_request import (
    BillUsage,
    CountedUsage,
    InvoiceAwaitsNoUsage,
    InvoiceUsageHurried,
    UsageNotOfInvoice,
)
from domain.kernel.accounts import RECEIVABLE, REVENUE
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, Finish, Schedule, WorkKind
from domain.pricing.models import BoundedPrice, Commitment, PerUnit
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription, UnscheduleChange
from domain.subscriptions.metering import METER_CLAIM, MeterIsBilled, MeterIsBilledThere
from domain.subscriptions.pause_commands import PauseSubscription, ResumeSubscription
from domain.subscriptions.recurring import recurring_revenue
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import MeteredPriceHasNoQuantity, MeterTwice
from domain.subscriptions.transfer_commands import TransferSubscription
from testing.examples.discounts import amount, apply_to_customer, create_coupon, percent, terms
from testing.examples.pricing import graduated_percentage, package, per_unit, volume
from testing.examples.streams import (
    CUSTOMER_ID,
    OTHER_CUSTOMER_ID,
    PLAN_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    credit,
    debit,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import (
    APRIL,
    FEBRUARY,
    LAST_INVOICE,
    MARCH,
    cancel_now,
    period_invoice,
    renew,
    undo_cancel,
)
from testing.examples.taxes import BERLIN, taxed_in_germany
from testing.examples.usage import (
    METER_ID,
    OTHER_USAGE_PRICE_ID,
    TIERS,
    USAGE_PRICE_ID,
    bill,
    create_meter,
    invoice_of,
    invoices_of,
    snapshot,
    usage_lines,
    usage_price,
)
from testing.moments import utc
from testing.specification import NOW, Given, Result, given

USAGE = WorkKind.INVOICE_USAGE
FIRST = period_invoice(1)
"""The invoice that bills the first period, when it is over."""
MID_FEBRUARY = utc("2026-02-14T10:00")
COMMITTED = BoundedPrice(
    model=per_unit(10), commitment=Commitment(amount=usd(500), overage_factor=Decimal("1.5"), prepaid=False)
)
"""10 each for what comes to 5.00 at least, and half as much again beyond that."""
HEIR = id_of("sub_", 2)
TRANSFER = TransferSubscription(
    subscription_id=SUBSCRIPTION_ID, customer_id=OTHER_CUSTOMER_ID, to_subscription_id=HEIR, at_period_end=True
)


def billed_by(told: Given | Result) -> str | None:
    """The subscription that has the customer's meter."""
    return told.books.claims.get((METER_CLAIM, f"{CUSTOMER_ID}:{METER_ID}"))


def on_sale(*prices: Command, in_advance: Any = None) -> tuple[Command, ...]:
    return (create_meter(), *plan_on_sale(in_advance=in_advance), *(prices or (usage_price(),)))


def subscribed(*prices: Command, to: tuple[str, ...] = (USAGE_PRICE_ID,), **facts: Any) -> Given:
    return given(create_customer(), *on_sale(*prices)).and_then(subscribe(*to, **facts))


def over(*prices: Command, to: tuple[str, ...] = (USAGE_PRICE_ID,), **facts: Any) -> Result:
    """The first period is over."""
    return subscribed(*prices, to=to, **facts).when(renew(FEBRUARY), at=FEBRUARY)


def change(*items: str, at: datetime | None = None, **facts: Any) -> ChangeSubscription:
    changed = tuple(ChangedItem(price_id=price_id) for price_id in items)
    return ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=changed, effective_at=at, **facts)


# --- what is sold ------------------------------------------------------------------------------------------------


def test_nobody_says_how_much_of_it_and_nothing_is_billed_before_its_period_is_over() -> None:
    made = given(create_customer(), *on_sale()).when(subscribe(USAGE_PRICE_ID))
    (item,) = made.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].terms.items
    assert (item.quantity, item.meter_id) == (None, METER_ID)
    assert invoices_of(made) == []
    assert billed_by(made) == SUBSCRIPTION_ID


def test_its_quantity_is_the_meters_to_say() -> None:
    one = RequestedItem(price_id=USAGE_PRICE_ID, quantity=Decimal(1))
    (
        given(create_customer(), *on_sale())
        .when(replace(subscribe(USAGE_PRICE_ID), items=(one,)))
        .then_refused(MeteredPriceHasNoQuantity, price=USAGE_PRICE_ID, meter=METER_ID)
        .then_is_about("items.0.quantity")
    )
    wanted = ChangedItem(price_id=USAGE_PRICE_ID, quantity=Decimal(2))
    (
        subscribed()
        .when(ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(wanted,)))
        .then_refused(MeteredPriceHasNoQuantity, price=USAGE_PRICE_ID, meter=METER_ID)
        .then_is_about("items.0.quantity")
    )


def test_two_prices_of_one_meter_are_not_billed_side_by_side() -> None:
    (
        given(create_customer(), *on_sale(usage_price(), usage_price(OTHER_USAGE_PRICE_ID)))
        .when(subscribe(USAGE_PRICE_ID, OTHER_USAGE_PRICE_ID))
        .then_refused(MeterTwice, price=OTHER_USAGE_PRICE_ID, meter=METER_ID)
        .then_is_about("items.1.price")
    )


def test_one_subscription_of_a_customer_bills_a_meter_and_the_refusal_says_which() -> None:
    second = subscribe(USAGE_PRICE_ID, subscription_id=id_of("sub_", 2))
    told = subscribed().when(second)
    told.then_refused(MeterIsBilled, meter=METER_ID, customer=CUSTOMER_ID, subscription=SUBSCRIPTION_ID)
    told = subscribed().and_then(cancel_now(), at=MID_FEBRUARY).when(second, at=MID_FEBRUARY)
    assert billed_by(told) == second.subscription_id


def test_another_customer_has_a_meter_of_their_own() -> None:
    other = id_of("cus_", 2)
    second = subscribe(USAGE_PRICE_ID, subscription_id=id_of("sub_", 2), customer_id=other)
    assert subscribed().and_then(create_customer(customer_id=other)).when(second).done


def test_a_meter_is_free_once_its_price_is_taken_away_and_taken_by_a_change_that_is_to_come() -> None:
    second = subscribe(USAGE_PRICE_ID, subscription_id=id_of("sub_", 2))
    swapped = replace(change(PRICE_ID), remove=(USAGE_PRICE_ID,))
    assert billed_by(subscribed().when(swapped, at=MID_FEBRUARY)) is None
    later = change(USAGE_PRICE_ID, at=MID_FEBRUARY)
    told = given(create_customer(), *on_sale()).and_then(subscribe(PRICE_ID)).when(later)
    assert billed_by(told) == SUBSCRIPTION_ID
    again = told.when(second)
    again.then_refused(MeterIsBilled, meter=METER_ID, customer=CUSTOMER_ID, subscription=SUBSCRIPTION_ID)
    assert billed_by(told.when(UnscheduleChange(subscription_id=SUBSCRIPTION_ID))) is None


def test_a_pause_keeps_the_meter_so_that_nothing_refuses_its_end() -> None:
    told = subscribed().and_then(PauseSubscription(subscription_id=SUBSCRIPTION_ID), at=MID_FEBRUARY)
    second = subscribe(USAGE_PRICE_ID, subscription_id=id_of("sub_", 2))
    refused = told.when(second, at=MID_FEBRUARY)
    refused.then_refused(MeterIsBilled, subscription=SUBSCRIPTION_ID)
    assert refused.when(ResumeSubscription(subscription_id=SUBSCRIPTION_ID), at=MARCH).done


def to_be_transferred() -> Given:
    """One customer bills the meter, and is to hand that over to another one with the period."""
    other = create_customer(customer_id=OTHER_CUSTOMER_ID)
    return given(create_customer(), other, *on_sale()).and_then(subscribe(USAGE_PRICE_ID))


def test_a_transfer_with_the_period_is_refused_at_once_where_the_other_customer_is_billed_the_meter_already() -> None:
    theirs = subscribe(USAGE_PRICE_ID, subscription_id=id_of("sub_", 3), customer_id=OTHER_CUSTOMER_ID)
    told = to_be_transferred().and_then(theirs)
    for at_period_end in (True, False):
        told.when(replace(TRANSFER, at_period_end=at_period_end)).then_refused(
            MeterIsBilledThere,
            meter=METER_ID,
            customer=OTHER_CUSTOMER_ID,
            subscription=theirs.subscription_id,
        )


def test_nobody_takes_the_meter_before_a_transfer_that_is_scheduled_and_the_boundary_is_passed() -> None:
    theirs = subscribe(USAGE_PRICE_ID, subscription_id=id_of("sub_", 3), customer_id=OTHER_CUSTOMER_ID)
    told = to_be_transferred().and_then(TRANSFER)
    refused = told.when(theirs)
    refused.then_refused(MeterIsBilled, meter=METER_ID, customer=OTHER_CUSTOMER_ID, subscription=HEIR)
    (
        refused.when(renew(FEBRUARY), at=FEBRUARY)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, transferred_to=HEIR)
        .then_shows(SUBSCRIPTION, HEIR, customer_id=OTHER_CUSTOMER_ID)
        .when(theirs, at=FEBRUARY)
        .then_refused(MeterIsBilled, subscription=HEIR)
    )


@pytest.mark.parametrize("taken_back", [undo_cancel(), cancel_now()])
def test_a_transfer_that_is_taken_back_leaves_the_meter(taken_back: Command) -> None:
    told = to_be_transferred().and_then(TRANSFER).when(taken_back)
    assert told.books.claims.get((METER_CLAIM, f"{OTHER_CUSTOMER_ID}:{METER_ID}")) is None


def test_a_transfer_to_a_customer_who_is_gone_by_then_leaves_the_meter() -> None:
    told = to_be_transferred().and_then(TRANSFER, DeleteCustomer(customer_id=OTHER_CUSTOMER_ID))
    over_ = told.when(renew(FEBRUARY), at=FEBRUARY)
    over_.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, transferred_to=None, canceled_at=FEBRUARY)
    assert [kind for kind, _ in over_.books.claims if kind == METER_CLAIM] == []


def test_what_a_scheduled_change_is_to_bill_is_transferred_with_it() -> None:
    meter, price = id_of("mtr_", 2), id_of("price_", 73)
    sold = usage_price(price, meter_id=meter), create_meter(meter, "calls")
    told = to_be_transferred().and_then(*reversed(sold), change(price, at=MID_FEBRUARY), TRANSFER)
    theirs = subscribe(price, subscription_id=id_of("sub_", 3), customer_id=OTHER_CUSTOMER_ID)
    told.when(theirs).then_refused(MeterIsBilled, meter=meter, customer=OTHER_CUSTOMER_ID, subscription=HEIR)
    told.and_then(renew(MID_FEBRUARY), at=MID_FEBRUARY)
    told.when(renew(FEBRUARY), at=FEBRUARY).then_shows(SUBSCRIPTION, HEIR, customer_id=OTHER_CUSTOMER_ID)


def test_usage_is_no_recurring_revenue() -> None:
    floor = usage_price(price=BoundedPrice(model=TIERS, minimum=usd(900)))
    told = subscribed(floor, to=(USAGE_PRICE_ID, PRICE_ID))
    assert recurring_revenue(told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]) == usd(1_000)


# --- the invoice waits -------------------------------------------------------------------------------------------


def test_at_the_boundary_it_is_owed_by_whom_for_when_and_at_which_price_and_nothing_is_posted() -> None:
    told = over()
    told.then_posts().then_schedules(
        Schedule(WorkKind.SUBSCRIPTION_RENEWAL, SUBSCRIPTION_ID, due_at=MARCH), Schedule(USAGE, FIRST, after_ms=0)
    )
    waiting = invoice_of(told, FIRST)
    (line,) = waiting.lines
    assert (waiting.status, waiting.waiting_for) == (InvoiceStatus.DRAFT, WaitingFor.USAGE)
    assert (line.kind, line.usage) == (InvoiceLineKind.USAGE, LineUsage(meter_id=METER_ID))
    assert (line.period_start, line.period_end, line.amount, line.quantity) == (NOW, FEBRUARY, usd(0), Decimal(0))
    assert line.pricing is not None
    assert (line.pricing.price, line.pricing.share) == (TIERS, Fraction(1))


def test_what_was_counted_is_billed_of_the_boundarys_instant_however_late() -> None:
    told = over()
    told = told.when(bill(told, FIRST, 7), at=FEBRUARY + timedelta(days=9))
    told.then_at(FEBRUARY).then_finishes(Finish(USAGE, FIRST))
    told.then_posts(debit(RECEIVABLE, usd(210)), credit(REVENUE, usd(210)))
    billed = invoice_of(told, FIRST)
    assert (billed.status, billed.finalized_at, billed.waiting_for) == (InvoiceStatus.OPEN, FEBRUARY, None)
    (line,) = billed.lines
    assert (line.amount, line.quantity) == (usd(210), Decimal(7))
    assert line.usage == LineUsage(meter_id=METER_ID, snapshot=snapshot(7))


def test_the_explanation_is_of_what_was_counted_exactly() -> None:
    third = Fraction(22, 3)
    told = over()
    billed = invoice_of(told.when(bill(told, FIRST, third), at=FEBRUARY), FIRST)
    assert billed.lines[0].quantity == Decimal("7.333333333")
    (line,) = explain_billed(billed.lines, USD).children
    portions = [each for each in line.children[0].children if each.portion is not None]
    assert [each.quantity for each in portions if each.rate == 5] == [third - 5]
    assert sum(each.amount for each in line.children[0].children) == 212 == billed.total.amount


def test_it_is_counted_once() -> None:
    told = over()
    command = bill(told, FIRST, 7)
    told.when(command, at=FEBRUARY).when(command, at=FEBRUARY).then_refused(
        InvoiceAwaitsNoUsage, invoice=FIRST, status="open"
    )
    told = over()
    command = bill(told, FIRST, 7)
    told.when(VoidInvoice(invoice_id=FIRST)).when(command).then_refused(InvoiceAwaitsNoUsage, status="void")


def test_all_that_it_waits_for_is_counted_at_once_and_nothing_else() -> None:
    told = over()
    right = bill(told, FIRST, 7)
    other = CountedUsage(line_id=id_of("il_", 99), snapshot=snapshot(1))
    for counted in ((), (*right.counted, other), (*right.counted, *right.counted), (other,)):
        told.when(replace(right, counted=counted)).then_refused(
            UsageNotOfInvoice, invoice=FIRST, lines=1, counted=len(counted)
        )


def test_corrections_that_outweigh_all_events_come_to_what_nothing_comes_to() -> None:
    told = over(usage_price(price=per_unit(25)))
    billed = invoice_of(told.when(bill(told, FIRST, -3), at=FEBRUARY), FIRST)
    assert (billed.total, billed.status) == (usd(0), InvoiceStatus.PAID)
    assert billed.lines[0].usage is not None
    assert billed.lines[0].usage.snapshot == snapshot(-3)


def test_more_than_an_invoice_holds_waits_for_a_person() -> None:
    told = over(usage_price(price=per_unit(1)))
    refused = told.when(bill(told, FIRST, MAX_INVOICE_TOTAL + 1), at=FEBRUARY)
    refused.then_refused(InvalidInvoiceLines, total=MAX_INVOICE_TOTAL + 1, most=MAX_INVOICE_TOTAL)
    refused.when(VoidInvoice(invoice_id=FIRST)).then_schedules(Schedule(USAGE, FIRST, after_ms=0)).then_posts()


def test_while_it_waits_it_is_neither_paid_nor_finalized_by_a_timer() -> None:
    told = over()
    pay = PayInvoiceOutOfBand(invoice_id=FIRST)
    told.when(pay).then_refused(InvoiceNotOpen, invoice=FIRST, status="draft", waiting_for="usage")
    told.when(FinalizeInvoice(invoice_id=FIRST, due_at=FEBRUARY)).then_refused(
        InvoiceNotDraft, invoice=FIRST, status="draft", waiting_for="usage"
    )


def test_a_person_need_not_wait() -> None:
    told = over()
    at = FEBRUARY + timedelta(hours=2)
    hurried = told.when(FinalizeInvoice(invoice_id=FIRST, days_until_due=3), at=at)
    event = InvoiceUsageHurried(invoice_id=FIRST, days_until_due=3, finalizes_at=FEBRUARY, hurried_at=at)
    hurried.then(event).then_schedules(Schedule(USAGE, FIRST, after_ms=0))
    assert invoice_of(hurried, FIRST).usage_hurried
    billed = invoice_of(hurried.when(bill(hurried, FIRST, 7), at=at), FIRST)
    assert (billed.finalized_at, billed.due_at) == (FEBRUARY, FEBRUARY + timedelta(days=3))


@pytest.mark.parametrize(
    ("price", "quantity", "amount"),
    [
        (TIERS, 0, 100),
        (volume((5, 10, 0), (None, 5, 0)), 6, 30),
        (package(100, 10), "10.5", 200),
        (BoundedPrice(model=per_unit(10), minimum=usd(500)), 7, 500),
        (BoundedPrice(model=per_unit(10), maximum=usd(50)), 7, 50),
        (PerUnit(currency=USD, unit_amount=Decimal("0.25"), free_units=Decimal(2)), 8, 2),
        (graduated_percentage((10_000, "2.5", 0), (None, 1, 0)), 25_050, 401),
        (COMMITTED, 7, 500),
        (COMMITTED, 70, 800),
    ],
)
def test_every_model_prices_what_was_counted(price: Any, quantity: int | str, amount: int) -> None:
    told = over(usage_price(price=price))
    assert invoice_of(told.when(bill(told, FIRST, quantity), at=FEBRUARY), FIRST).total == usd(amount)


def test_it_stands_beside_what_is_billed_in_advance_and_a_coupon_takes_its_part_of_both() -> None:
    coupon = create_coupon(terms(percent(10)))
    told = subscribed(to=(USAGE_PRICE_ID, PRICE_ID)).and_then(coupon, apply_to_customer(), at=MID_FEBRUARY)
    told = told.when(renew(FEBRUARY), at=FEBRUARY)
    billed = invoice_of(told.when(bill(told, FIRST, 7), at=FEBRUARY), FIRST)
    assert [line.amount.amount for line in billed.lines] == [1_000, 210]
    assert (billed.subtotal, billed.total_discount, billed.total) == (usd(1_210), usd(121), usd(1_089))


# --- changes, pauses, the end ------------------------------------------------------------------------------------


def test_a_price_that_is_taken_away_bills_its_usage_until_then_and_its_bounds_shrink() -> None:
    floor = usage_price(price=BoundedPrice(model=per_unit(10), minimum=usd(2_800)))
    told = subscribed(floor, to=(USAGE_PRICE_ID, PRICE_ID))
    told = told.when(ChangeSubscription(subscription_id=SUBSCRIPTION_ID, remove=(USAGE_PRICE_ID,)), at=MID_FEBRUARY)
    waiting = invoices_of(told)[-1]
    (line,) = usage_lines(waiting)
    assert (line.period_start, line.period_end) == (NOW, MID_FEBRUARY)
    billed = invoice_of(told.when(bill(told, waiting.invoice_id, 7), at=MID_FEBRUARY), waiting.invoice_id)
    assert billed.total == usd(1_400), "half of the period's minimum, and all seven units within it"


def test_a_commitment_shrinks_with_its_period_and_its_usage_does_not() -> None:
    told = subscribed(usage_price(price=COMMITTED), to=(USAGE_PRICE_ID, PRICE_ID))
    told = told.when(ChangeSubscription(subscription_id=SUBSCRIPTION_ID, remove=(USAGE_PRICE_ID,)), at=MID_FEBRUARY)
    waiting = invoices_of(told)[-1].invoice_id
    billed = invoice_of(told.when(bill(told, waiting, 35), at=MID_FEBRUARY), waiting)
    assert billed.total == usd(400), "2.50 of half a period, and 1.00 beyond it at half as much again"


@pytest.mark.parametrize("proration", [Proration.INVOICE_NOW, Proration.NEXT_INVOICE, Proration.NONE])
def test_another_price_of_the_meter_bills_from_the_change_on_and_the_old_one_until_then(proration: Proration) -> None:
    told = subscribed(usage_price(), usage_price(OTHER_USAGE_PRICE_ID, per_unit(1)))
    swap = replace(change(OTHER_USAGE_PRICE_ID, proration=proration), remove=(USAGE_PRICE_ID,))
    told = told.when(swap, at=MID_FEBRUARY).when(renew(FEBRUARY), at=FEBRUARY)
    lines = sorted(
        (line for each in invoices_of(told) for line in usage_lines(each)), key=lambda line: str(line.period_end)
    )
    assert [(line.price_id, line.period_start, line.period_end) for line in lines] == [
        (USAGE_PRICE_ID, NOW, MID_FEBRUARY),
        (OTHER_USAGE_PRICE_ID, MID_FEBRUARY, FEBRUARY),
    ]
    assert len(invoices_of(told)) == (2 if proration is Proration.INVOICE_NOW else 1)


def test_each_price_goes_through_its_tiers_with_what_was_used_while_it_held() -> None:
    """One bill of 14 comes to 245; 7 by the old price and 7 by the new one, of the same tiers, to 210 each."""
    told = subscribed(usage_price(), usage_price(OTHER_USAGE_PRICE_ID))
    swap = replace(change(OTHER_USAGE_PRICE_ID), remove=(USAGE_PRICE_ID,))
    told = told.when(swap, at=MID_FEBRUARY)
    first = invoices_of(told)[-1].invoice_id
    told = told.when(bill(told, first, 7), at=MID_FEBRUARY).when(renew(FEBRUARY), at=FEBRUARY)
    told = told.when(bill(told, FIRST, 7), at=FEBRUARY)
    assert [invoice_of(told, each).total for each in (first, FIRST)] == [usd(210), usd(210)]


def test_a_change_of_something_else_leaves_the_metered_period_whole() -> None:
    more = ChangedItem(price_id=PRICE_ID, quantity=Decimal(3))
    changed = ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(more,))
    told = subscribed(to=(USAGE_PRICE_ID, PRICE_ID)).when(changed, at=MID_FEBRUARY).when(renew(FEBRUARY), at=FEBRUARY)
    (line,) = (line for each in invoices_of(told) for line in usage_lines(each))
    assert (line.period_start, line.period_end) == (NOW, FEBRUARY)


def test_a_change_that_gives_back_what_a_waiting_invoice_bills_does_not_finalize_it_without_its_usage() -> None:
    told = over(to=(USAGE_PRICE_ID, PRICE_ID))
    dearer = CreatePrice(price_id=id_of("price_", 9), plan_id=PLAN_ID, price=flat(2_000))
    swap = ChangedItem(price_id=dearer.price_id)
    changed = ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(swap,), remove=(PRICE_ID,))
    told = told.and_then(dearer).when(changed, at=FEBRUARY + timedelta(hours=30))
    assert invoice_of(told, FIRST).waiting_for is WaitingFor.USAGE
    billed = invoice_of(told.when(bill(told, FIRST, 7), at=MARCH), FIRST)
    assert billed.total == usd(1_210)


def test_a_pause_bills_what_was_used_before_it_and_nothing_bills_what_was_used_in_it() -> None:
    pause, resume = (
        PauseSubscription(subscription_id=SUBSCRIPTION_ID),
        ResumeSubscription(subscription_id=SUBSCRIPTION_ID),
    )
    told = subscribed().when(pause, at=MID_FEBRUARY).when(resume, at=utc("2026-02-20T10:00"))
    told = told.when(renew(FEBRUARY), at=FEBRUARY)
    windows = [(line.period_start, line.period_end) for each in invoices_of(told) for line in usage_lines(each)]
    assert windows == [(NOW, MID_FEBRUARY), (utc("2026-02-20T10:00"), FEBRUARY)]


def test_the_end_bills_what_was_used_until_then_and_frees_the_meter() -> None:
    told = subscribed().when(cancel_now(), at=MID_FEBRUARY)
    assert billed_by(told) is None
    (line,) = usage_lines(invoice_of(told, LAST_INVOICE))
    assert (line.period_start, line.period_end) == (NOW, MID_FEBRUARY)


def test_each_invoice_says_which_one_bills_the_usage_before_it() -> None:
    told = over().when(renew(MARCH), at=MARCH).when(renew(APRIL), at=APRIL)
    before = [line.usage.after_invoice_id for each in invoices_of(told) for line in usage_lines(each) if line.usage]
    assert before == [None, period_invoice(1), period_invoice(2)]


OPERATIONS = ("pause", "resume", "swap", "swap_later", "reset", "cancel", "hold_on")


@examples(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(1, 900)), max_size=12))
def test_whatever_becomes_of_it_no_moment_is_billed_twice_and_none_that_ran_is_left_out(
    steps: list[tuple[str, int]],
) -> None:
    told: Any = subscribed(usage_price(), usage_price(OTHER_USAGE_PRICE_ID, per_unit(1)), to=(USAGE_PRICE_ID, PRICE_ID))
    at = NOW
    ran_from: datetime | None = NOW
    ran: list[tuple[datetime, datetime]] = []
    for operation, hours in steps:
        at += timedelta(hours=hours)
        try:
            told = told.when(_command(operation, told), at=at)
            assert told.done
        except Refusal:
            continue
        if operation in {"pause", "cancel"} and ran_from is not None:
            ran.append((ran_from, at))
            ran_from = None
        elif operation == "resume":
            ran_from = at
        if operation == "cancel":
            break
    if ran_from is not None:
        assert told.when(cancel_now(), at=at + timedelta(hours=1)).done
        ran.append((ran_from, at + timedelta(hours=1)))
    windows = sorted(
        (line.period_start, line.period_end)
        for each in invoices_of(told)
        for line in usage_lines(each)
        if line.period_start is not None and line.period_end is not None
    )
    assert _joined(windows) == _joined(ran), steps
    assert sum((end_ - start for start, end_ in windows), timedelta()) == sum((b - a for a, b in ran), timedelta())


def _command(operation: str, told: Given | Result) -> Command:
    items = {item.price_id for item in told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].terms.items}
    old, new = (
        (USAGE_PRICE_ID, OTHER_USAGE_PRICE_ID) if USAGE_PRICE_ID in items else (OTHER_USAGE_PRICE_ID, USAGE_PRICE_ID)
    )
    match operation:
        case "pause":
            return PauseSubscription(subscription_id=SUBSCRIPTION_ID)
        case "resume":
            return ResumeSubscription(subscription_id=SUBSCRIPTION_ID)
        case "swap":
            return replace(change(new), remove=(old,))
        case "swap_later":
            return replace(change(new, proration=Proration.NEXT_INVOICE), remove=(old,))
        case "reset":
            both = ChangedItem(price_id=PRICE_ID, quantity=Decimal(2)), ChangedItem(price_id=new)
            return replace(change(), items=both, remove=(old,), resets_anchor=True)
        case "cancel":
            return cancel_now()
        case _:
            return renew()


def _joined(windows: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """The windows with those that touch made one."""
    joined: list[tuple[Any, Any]] = []
    for start, until in windows:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], until)
        elif start != until:
            joined.append((start, until))
    return joined


# --- what gives back a line of a draft that waits ----------------------------------------------------------------


def discounted_and_over(*before: Command) -> Given:
    """A period of usage and of 10.00 in advance is over, and a coupon takes 5.00 off its invoice."""
    told = given(*before, create_customer(tax_location=BERLIN), *on_sale(usage_price(price=per_unit(100))))
    told = told.and_then(subscribe(USAGE_PRICE_ID, PRICE_ID))
    told = told.and_then(create_coupon(terms(amount(500))), apply_to_customer(), at=MID_FEBRUARY)
    return told.and_then(renew(FEBRUARY), at=FEBRUARY)


NO_MORE_IN_ADVANCE = ChangeSubscription(subscription_id=SUBSCRIPTION_ID, remove=(PRICE_ID,))
NOW_GIVES_BACK = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False, gives_back=True)
PAUSE_GIVES_BACK = PauseSubscription(subscription_id=SUBSCRIPTION_ID, gives_back=True)


@pytest.mark.parametrize("command", [NO_MORE_IN_ADVANCE, NOW_GIVES_BACK, PAUSE_GIVES_BACK])
def test_what_gives_back_a_line_is_the_same_before_its_usage_is_counted_and_after(command: Command) -> None:
    """The usage takes its part of the discount, so more of what was billed in advance is paid than was foreseen."""
    ends_at = utc("2026-03-14T10:00")
    counted = discounted_and_over(*taxed_in_germany())
    counted = counted.and_then(bill(counted, FIRST, 10), at=FEBRUARY).and_then(command, at=ends_at)
    last = invoices_of(counted)[-1].invoice_id
    if invoice_of(counted, last).lacks_usage:
        counted = counted.and_then(bill(counted, last, 3), at=ends_at)

    waiting = discounted_and_over(*taxed_in_germany()).and_then(command, at=ends_at)
    behind = invoice_of(waiting, last)
    assert (behind.status, behind.waiting_for) == (InvoiceStatus.DRAFT, WaitingFor.USAGE)
    at = ends_at + timedelta(hours=1)
    waiting = waiting.and_then(bill(waiting, FIRST, 10), at=at)
    own = [3 for line in behind.lines if line.lacks_usage]
    waiting = waiting.and_then(bill(waiting, last, *own), at=at)

    one, other = invoice_of(counted, last), invoice_of(waiting, last)
    assert (one.total, one.lines) == (other.total, other.lines)
    assert (one.finalized_at, other.finalized_at) == (ends_at, ends_at)
    (credit_,) = (line for line in other.lines if line.gives_back is not None)
    assert credit_.amount == usd(-411), "17 of 31 days of 7.50, which the discount left of 10.00 beside 10.00 of usage"
    assert invoice_of(counted, FIRST).unused_credits == invoice_of(waiting, FIRST).unused_credits
    assert counted.books.states["customer", CUSTOMER_ID] == waiting.books.states["customer", CUSTOMER_ID]


def test_a_person_need_not_wait_for_what_is_given_back_either() -> None:
    told = discounted_and_over(*taxed_in_germany()).and_then(NO_MORE_IN_ADVANCE, at=utc("2026-03-14T10:00"))
    last = invoices_of(told)[-1].invoice_id
    told = told.and_then(FinalizeInvoice(invoice_id=last), at=utc("2026-03-14T11:00"))
    assert invoice_of(told, last).usage_hurried
    told = told.and_then(BillUsage(invoice_id=last, counted=()), at=utc("2026-03-14T11:00"))
    assert invoice_of(told, last).status is not InvoiceStatus.DRAFT


@examples(st.fractions(min_value=0, max_value=10**9))
def test_a_quantity_is_told_to_nine_decimals(quantity: Fraction) -> None:
    told = Fraction(told_quantity(quantity))
    assert abs(told - quantity) * 2 <= Fraction(1, 10**9)
    if quantity.limit_denominator(10**9) == quantity and 10**9 % quantity.denominator == 0:
        assert told == quantity
