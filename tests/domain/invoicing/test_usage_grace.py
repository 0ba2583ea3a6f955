"""Specifications of the time of drafts that bill usage: until it is over, what comes late is still billed on them."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.customers.customer import DeleteCustomer
from domain.customers.test_clock import AdvanceTestClock, MoveTestClock
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import AddInvoiceItem, InvoiceNotDraft
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.invoicing.rehearsal_commands import RehearseDraft
from domain.invoicing.state import InvoiceStatus, WaitingFor
from domain.invoicing.usage_request import (
    BillUsage,
    CountedUsage,
    InvoiceGraceShortened,
    InvoiceUsageHurried,
    RecountedUsage,
)
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.stream import Command, Finish, Schedule, WorkKind
from domain.subscriptions.change_commands import ChangeSubscription
from domain.subscriptions.preview_commands import RehearseNextInvoice
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import BillUsageSoFar
from testing.examples.streams import (
    CLOCK_ID,
    CUSTOMER_ID,
    INVOICE_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    draft,
    frozen_clock,
    id_of,
    line,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import FEBRUARY, LAST_INVOICE, MARCH, cancel_now, period_invoice, renew
from testing.examples.usage import USAGE_PRICE_ID, bill, create_meter, invoice_of, snapshot, usage_price
from testing.specification import NOW, Given, Result, given

USAGE, FINALIZATION = WorkKind.INVOICE_USAGE, WorkKind.INVOICE_FINALIZATION
FIRST, SECOND = period_invoice(1), period_invoice(2)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GRACE = 3 * DAY
ENDS_AT = FEBRUARY + GRACE


def grace(time: timedelta = GRACE) -> ChangeBillingSettings:
    return ChangeBillingSettings(grace_s=int(time.total_seconds()))


def subscribed(*before: Command, to: tuple[str, ...] = (USAGE_PRICE_ID,), **customer: Any) -> Given:
    told = given(*before, create_customer(**customer), create_meter(), *plan_on_sale(), usage_price(), grace())
    return told.and_then(subscribe(*to, usage_threshold=UsageThreshold(amount=usd(100))))


def over(*before: Command, **facts: Any) -> Given:
    """The first period is over, and its draft has its time."""
    return subscribed(*before, **facts).and_then(renew(FEBRUARY), at=FEBRUARY)


def over_on_clock() -> Result:
    """The same on a test clock, which has come so far."""
    told = subscribed(frozen_clock(), test_clock_id=CLOCK_ID).and_then(
        AdvanceTestClock(clock_id=CLOCK_ID, to=FEBRUARY), MoveTestClock(clock_id=CLOCK_ID, advance=1, to=FEBRUARY)
    )
    return told.when(renew(FEBRUARY))


def so_far(told: Given | Result) -> BillUsageSoFar:
    seen = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    return BillUsageSoFar(
        subscription_id=SUBSCRIPTION_ID,
        price_ids=(USAGE_PRICE_ID,),
        period_index=seen.period_index,
        changes=seen.changes,
        billings_so_far=seen.billings_so_far,
    )


def test_its_usage_is_closed_when_its_time_is_over_and_it_is_finalized_of_that_instant() -> None:
    drafted = subscribed().when(renew(FEBRUARY), at=FEBRUARY)
    usage = [each for each in drafted.done.scheduled if each.kind is not WorkKind.SUBSCRIPTION_RENEWAL]
    assert usage == [Schedule(USAGE, FIRST, due_at=ENDS_AT)], "and no timer beside it"
    assert invoice_of(drafted, FIRST).waiting_for is WaitingFor.USAGE
    for at in (ENDS_AT, ENDS_AT + DAY):
        counted = over()
        billed = counted.when(bill(counted, FIRST, 7), at=at)
        assert (invoice_of(billed, FIRST).total, invoice_of(billed, FIRST).finalized_at) == (usd(210), ENDS_AT)
        assert not [key for key in billed.books.due if key[1] == FIRST and key[0] in {USAGE, FINALIZATION}]


def test_of_a_test_clock_it_waits_for_the_clock() -> None:
    assert Schedule(USAGE, FIRST, due_at=ENDS_AT, clock_id=CLOCK_ID) in over_on_clock().done.scheduled


def test_without_time_it_is_closed_at_once() -> None:
    told = subscribed().and_then(grace(timedelta(0))).when(renew(FEBRUARY), at=FEBRUARY)
    assert Schedule(USAGE, FIRST, after_ms=0) in told.done.scheduled


def test_until_then_items_are_added_and_it_is_billed_with_them() -> None:
    item = AddInvoiceItem(invoice_id=FIRST, line=line(90, line_id=id_of("il_", 9)))
    told = over().and_then(item, at=ENDS_AT - HOUR)
    told.when(item, at=ENDS_AT).then_refused(InvoiceNotDraft, invoice=FIRST, status="draft")
    assert invoice_of(told.when(bill(told, FIRST, 7), at=ENDS_AT), FIRST).total == usd(210 + 90)


def test_whoever_finalizes_it_ends_its_time_and_only_then_need_not_wait_for_what_is_under_way() -> None:
    at = FEBRUARY + HOUR
    told = over()
    ended = told.when(FinalizeInvoice(invoice_id=FIRST, days_until_due=3), at=at)
    ended.then(InvoiceGraceShortened(invoice_id=FIRST, days_until_due=3, finalizes_at=at, shortened_at=at))
    ended.then_schedules(Schedule(USAGE, FIRST, after_ms=0))
    billed = invoice_of(ended.when(bill(ended, FIRST, 7), at=at + HOUR), FIRST)
    assert (billed.finalized_at, billed.due_at) == (at, at + 3 * DAY)
    told = over().and_then(FinalizeInvoice(invoice_id=FIRST, days_until_due=3), at=at)
    again = told.when(FinalizeInvoice(invoice_id=FIRST), at=at)
    again.then(InvoiceUsageHurried(invoice_id=FIRST, days_until_due=3, finalizes_at=at, hurried_at=at))
    again.then_schedules(Schedule(USAGE, FIRST, after_ms=0))


def test_once_its_time_is_over_whoever_finalizes_it_takes_what_is_counted() -> None:
    hurried = over().when(FinalizeInvoice(invoice_id=FIRST), at=ENDS_AT + HOUR)
    event = InvoiceUsageHurried(invoice_id=FIRST, days_until_due=30, finalizes_at=ENDS_AT, hurried_at=ENDS_AT + HOUR)
    hurried.then(event).then_schedules(Schedule(USAGE, FIRST, after_ms=0))


def test_what_is_voided_in_it_gives_its_usage_up_and_waits_for_no_clock() -> None:
    told = over_on_clock().when(VoidInvoice(invoice_id=FIRST))
    told.then_schedules(Schedule(USAGE, FIRST, after_ms=0))
    assert invoice_of(told, FIRST).gives_up_usage
    counted = over()
    counted = counted.and_then(bill(counted, FIRST, 7), at=ENDS_AT)
    voided = counted.when(VoidInvoice(invoice_id=FIRST), at=ENDS_AT)
    assert not voided.done.scheduled, "its periods are closed"
    assert not invoice_of(voided, FIRST).gives_up_usage


def test_neither_the_end_of_the_subscription_nor_the_customers_ends_it() -> None:
    ended = over().and_then(cancel_now(), at=FEBRUARY + DAY)
    assert [ended.books.due[USAGE, each].due_at for each in (FIRST, LAST_INVOICE)] == [ENDS_AT, FEBRUARY + DAY + GRACE]
    deleted = over().and_then(DeleteCustomer(customer_id=CUSTOMER_ID), at=FEBRUARY + DAY)
    assert deleted.books.due[USAGE, FIRST].due_at == ENDS_AT
    assert invoice_of(deleted.when(bill(deleted, FIRST, 7), at=ENDS_AT), FIRST).status is InvoiceStatus.OPEN


def test_usage_so_far_is_closed_at_once_as_the_next_line_of_its_period_has_what_comes_late() -> None:
    told = over()
    at = FEBRUARY + DAY
    billed = told.when(so_far(told), at=at)
    invoice_id = derived_id(INVOICE, SUBSCRIPTION_ID, "usage/0")
    assert Schedule(USAGE, invoice_id, after_ms=0) in billed.done.scheduled
    slice_, before = invoice_of(billed, invoice_id), invoice_of(billed, FIRST)
    assert not slice_.closes_usage_behind(before), "the period before has its time"
    counted = billed.when(bill(billed, invoice_id, 4), at=at)
    counted.then_schedules(Schedule(FINALIZATION, invoice_id, due_at=at + GRACE))
    again = counted.when(so_far(counted), at=at + HOUR)
    following = invoice_of(again, derived_id(INVOICE, SUBSCRIPTION_ID, "usage/1"))
    assert following.closes_usage_behind(slice_), "what is not counted yet of its own period comes first"


def test_periods_are_closed_in_the_order_in_which_their_time_is_over() -> None:
    told = over().and_then(renew(MARCH), at=MARCH)
    first, second = invoice_of(told, FIRST), invoice_of(told, SECOND)
    assert second.closes_usage_behind(first)
    at = FEBRUARY + DAY
    ended = over().and_then(cancel_now(), at=at).and_then(FinalizeInvoice(invoice_id=LAST_INVOICE), at=at)
    assert not invoice_of(ended, LAST_INVOICE).closes_usage_behind(invoice_of(ended, FIRST)), "that has time"


# --- what gives back a line of it --------------------------------------------------------------------------------

NO_MORE_IN_ADVANCE = ChangeSubscription(subscription_id=SUBSCRIPTION_ID, remove=(PRICE_ID,))
GIVEN_BACK_AT = FEBRUARY + DAY
CREDIT = derived_id(INVOICE, SUBSCRIPTION_ID, "change/0")


def given_back(time: timedelta = GRACE) -> Given:
    """What the draft bills in advance is taken away, by an invoice that has so much time."""
    told = over(to=(USAGE_PRICE_ID, PRICE_ID))
    return told.and_then(grace(time)).and_then(NO_MORE_IN_ADVANCE, at=GIVEN_BACK_AT)


def time_of(told: Given, invoice_id: str) -> datetime | None:
    terms = invoice_of(told, invoice_id).terms
    return None if terms is None else terms.finalizes_at


def test_it_waits_behind_the_draft_with_a_time_of_its_own() -> None:
    told = given_back()
    assert invoice_of(told, CREDIT).waiting_for is WaitingFor.USAGE
    assert told.books.due[USAGE, FIRST].due_at == ENDS_AT
    assert told.books.due[USAGE, CREDIT].due_at == GIVEN_BACK_AT + GRACE


@pytest.mark.parametrize("time", [timedelta(0), HOUR])
def test_what_is_to_be_final_sooner_ends_the_time_of_the_draft(time: timedelta) -> None:
    told = given_back(time)
    ends_at = GIVEN_BACK_AT + time
    assert [time_of(told, each) for each in (FIRST, CREDIT)] == [ends_at, ends_at]
    works = [told.books.due[USAGE, each] for each in (FIRST, CREDIT)]
    at_once = not time
    assert [(each.due_at, each.after_ms) for each in works] == [(None, 0) if at_once else (ends_at, None)] * 2


def test_whoever_finalizes_it_ends_the_time_figures() -> None:
    at = GIVEN_BACK_AT + HOUR
    told = given_back().when(FinalizeInvoice(invoice_id=CREDIT), at=at)
    told.then_schedules(Schedule(USAGE, CREDIT, after_ms=0), Schedule(USAGE, FIRST, after_ms=0))
    told = told.when(bill(told, FIRST, 7), at=at).when(BillUsage(invoice_id=CREDIT, counted=()), at=at)
    assert [invoice_of(told, each).finalized_at for each in (FIRST, CREDIT)] == [at, at]


def test_voided_it_waits_for_nothing() -> None:
    voided = given_back().when(VoidInvoice(invoice_id=CREDIT), at=GIVEN_BACK_AT)
    voided.then_finishes(Finish(USAGE, CREDIT))


# --- what it becomes ---------------------------------------------------------------------------------------------


def figures(told: Given | Result, invoice_id: str, quantity: int, *late: RecountedUsage) -> tuple[CountedUsage, ...]:
    (line,) = (line for line in invoice_of(told, invoice_id).lines if line.lacks_usage)
    return (CountedUsage(line_id=line.line_id, snapshot=snapshot(quantity, 2), late=late),)


def test_a_rehearsal_with_what_is_counted_so_far_is_what_it_becomes() -> None:
    told = over()
    rehearsed = told.when(RehearseDraft(invoice_id=FIRST, usage=figures(told, FIRST, 7)), at=FEBRUARY)
    foreseen = invoice_of(rehearsed.then_at(ENDS_AT), FIRST)
    told = over()
    told = told.and_then(BillUsage(invoice_id=FIRST, counted=figures(told, FIRST, 7)), at=ENDS_AT)
    assert foreseen == invoice_of(told, FIRST)
    told.when(RehearseDraft(invoice_id=FIRST), at=ENDS_AT).then_refused(InvoiceNotDraft, invoice=FIRST, status="open")


def test_what_is_late_for_an_earlier_period_is_foreseen_on_the_draft_that_is_closed_first() -> None:
    def billed() -> Given:
        told = over()
        return told.and_then(bill(told, FIRST, 7), at=ENDS_AT).and_then(renew(MARCH), at=MARCH)

    told = billed()
    of = usage_line_of(told, FIRST)
    late = RecountedUsage(invoice_id=FIRST, line_id=of, quantity=snapshot(9).quantity, events=3)
    waiting = told.when(RehearseDraft(invoice_id=SECOND, usage=figures(told, SECOND, 3, late)), at=MARCH)
    assert [line.kind for line in invoice_of(waiting, SECOND).lines] == [InvoiceLineKind.USAGE] * 2
    told = billed()
    ahead = told.when(RehearseNextInvoice(subscription_id=SUBSCRIPTION_ID), at=MARCH)
    third = period_invoice(3)
    usage = figures(ahead, third, 1, late)
    told = billed()
    next_one = told.when(RehearseNextInvoice(subscription_id=SUBSCRIPTION_ID, usage=usage), at=MARCH)
    assert len(invoice_of(next_one, third).lines) == 1


def usage_line_of(told: Given | Result, invoice_id: str) -> str:
    (line,) = (line for line in invoice_of(told, invoice_id).lines if line.usage is not None)
    return line.line_id


def test_one_that_nobody_finalizes_by_itself_is_rehearsed_now() -> None:
    at = NOW + DAY
    told = given(create_customer(), grace(), draft()).when(RehearseDraft(invoice_id=INVOICE_ID), at=at)
    assert invoice_of(told.then_at(at), INVOICE_ID).finalized_at == at
