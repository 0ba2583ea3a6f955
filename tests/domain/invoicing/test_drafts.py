"""Specifications of drafts: what may change on them, when they are finalized, and what waits for the next invoice."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.customers.customer import CUSTOMER, CustomerIsDeleted, NotCustomersCurrency
from domain.customers.test_clock import DeleteTestClock
from domain.customers.waiting_items import (
    MAX_WAITING_ITEMS,
    CustomerItemRemoved,
    CustomerItemsBilled,
    TooManyWaitingItems,
    WaitingItemNotFound,
)
from domain.invoicing.billing_settings import ChangeBillingSettings, InvalidInvoiceTerms
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import (
    AddInvoiceItem,
    ChangeDraft,
    DraftTerms,
    InvoiceDraftChanged,
    InvoiceItemAdded,
    InvoiceItemIsSubscriptions,
    InvoiceItemNotFound,
    InvoiceItemRemoved,
    InvoiceNotDraft,
    RemoveInvoiceItem,
)
from domain.invoicing.finalization import InvoiceCannotBeVoided, VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_discount import Discountable
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL, InvalidInvoiceLines, InvalidLinePeriod, InvoiceLine
from domain.invoicing.issuing import MAX_TOTAL_WITH_WAITING_ITEMS
from domain.invoicing.number_series import SERIES_AT_FIRST, NumberSeries, UnknownNumberSeries
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.waiting_item_commands import AddWaitingItem, RemoveWaitingItem
from domain.kernel.accounts import DEFERRED_REVENUE, RECEIVABLE, REVENUE
from domain.kernel.money import Money
from domain.kernel.rounding import STANDARD_ROUNDING
from domain.kernel.stream import Command, Finish, Schedule, WorkKind
from domain.subscriptions.cancel_commands import EndWithTestClock
from domain.subscriptions.preview_commands import RehearseNextInvoice
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.tax.computation import TaxRate
from domain.tax.settings import ChangeTaxSettings, CreateTaxRate, CreateTaxRegistration
from testing.examples.streams import (
    CLOCK_ID,
    CUSTOMER_ID,
    EUR,
    IN_ARREARS,
    INVOICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    credit,
    customer_deleted,
    debit,
    draft,
    flat,
    frozen_clock,
    id_of,
    invoice_drafted,
    line,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import FEBRUARY, invoice_line, period_invoice, renew
from testing.specification import NOW, Given, given

HOUR = timedelta(hours=1)
FINALIZE = FinalizeInvoice(invoice_id=INVOICE_ID)
RENEWED = period_invoice(1)
"""The invoice of February."""
ENDS_AT = FEBRUARY + HOUR
TIMER = FinalizeInvoice(invoice_id=RENEWED, due_at=ENDS_AT)
ITEM_ID = id_of("il_", 77)


def item(amount: int = 300, nth: int = 77, **changes: Any) -> InvoiceLine:
    facts = {"timing": IN_ARREARS, "period_start": None, "period_end": None, "line_id": id_of("il_", nth)}
    return line(amount, **facts | changes)


def add(amount: int = 300, invoice_id: str = INVOICE_ID, nth: int = 77, **changes: Any) -> AddInvoiceItem:
    return AddInvoiceItem(invoice_id=invoice_id, line=item(amount, nth, **changes))


def wait(amount: int = 300, nth: int = 77, **changes: Any) -> AddWaitingItem:
    return AddWaitingItem(customer_id=CUSTOMER_ID, line=item(amount, nth, **changes))


def graced(seconds: int = 3600, **changes: Any) -> ChangeBillingSettings:
    return ChangeBillingSettings(grace_s=seconds, **changes)


def subscribed(*facts: Command) -> Given:
    """Its first invoice is finalized at once; what is set then holds for the next."""
    return given(create_customer(), *plan_on_sale(in_advance=flat(), in_arrears=flat(300)), subscribe(), *facts)


def renewed(*facts: Command) -> Given:
    """With the draft of February, an hour before it is finalized."""
    return subscribed(graced(), *facts).and_then(renew(), at=FEBRUARY)


def invoice_of(story: Given, invoice_id: str = RENEWED) -> Invoice:
    invoice: Invoice = story.books.states[INVOICE.name, invoice_id]
    return invoice


# --- items -------------------------------------------------------------------------------------------------------


def test_items_are_added_to_a_draft_and_taken_off_and_post_nothing() -> None:
    (
        given(create_customer(), draft(line(700)))
        .when(add(300))
        .then(InvoiceItemAdded(invoice_id=INVOICE_ID, line=item(300)))
        .then_posts()
        .then_shows(INVOICE, INVOICE_ID, total=usd(1_000), amount_due=usd(1_000))
        .when(RemoveInvoiceItem(invoice_id=INVOICE_ID, line_id=ITEM_ID))
        .then(InvoiceItemRemoved(invoice_id=INVOICE_ID, line_id=ITEM_ID))
        .then_shows(INVOICE, INVOICE_ID, lines=(line(700),), total=usd(700))
        .when(FINALIZE)
        .then_posts(debit(RECEIVABLE, usd(700)), credit(DEFERRED_REVENUE, usd(700)))
    )


def test_a_draft_keeps_making_an_invoice() -> None:
    story = given(create_customer(), draft(line(700)))
    story.when(add(-701)).then_refused(InvalidInvoiceLines, total=-1)
    story.when(add(MAX_INVOICE_TOTAL)).then_refused(InvalidInvoiceLines)
    story.when(RemoveInvoiceItem(invoice_id=INVOICE_ID, line_id=line().line_id)).then_refused(
        InvalidInvoiceLines, lines=0
    )
    story.when(RemoveInvoiceItem(invoice_id=INVOICE_ID, line_id=ITEM_ID)).then_refused(InvoiceItemNotFound)


def test_what_is_wrong_with_an_item_is_told_by_its_own_fields() -> None:
    story = given(create_customer(), draft())
    in_euro = add().line
    foreign = replace(in_euro, amount=Money(5, EUR))
    story.when(AddInvoiceItem(invoice_id=INVOICE_ID, line=foreign)).then_refused(NotCustomersCurrency).then_is_about(
        "amount.currency"
    )
    story.when(add(period_start=NOW, period_end=NOW)).then_refused(InvalidLinePeriod).then_is_about("period_end")


def test_what_is_final_takes_no_items() -> None:
    story = given(create_customer(), draft(), FINALIZE)
    for command in (
        add(),
        RemoveInvoiceItem(invoice_id=INVOICE_ID, line_id=line().line_id),
        ChangeDraft(invoice_id=INVOICE_ID),
    ):
        story.when(command).then_refused(InvoiceNotDraft)
    voided = given(create_customer(), draft(), VoidInvoice(invoice_id=INVOICE_ID))
    voided.when(add()).then_refused(InvoiceNotDraft)
    voided.when(FINALIZE).then_refused(InvoiceNotDraft)


def test_a_deleted_customers_draft_gets_no_more_items() -> None:
    given(create_customer(), draft(), customer_deleted()).when(add()).then_refused(CustomerIsDeleted)


# --- terms -------------------------------------------------------------------------------------------------------


def test_a_draft_takes_net_terms_memo_and_series_from_the_settings_unless_it_says_them() -> None:
    european = NumberSeries(name="EU", prefix="EU-")
    settings = ChangeBillingSettings(days_until_due=14, memo="Thank you", number_series=(*SERIES_AT_FIRST, european))
    story = given(create_customer(), settings)
    terms = DraftTerms(finalizes_at=None, days_until_due=14, rounding=STANDARD_ROUNDING)
    story.when(draft()).then(invoice_drafted(terms=terms, memo="Thank you"))
    said = given(create_customer(), settings).when(draft(days_until_due=3, memo="By hand", series="EU"))
    said.then(invoice_drafted(terms=replace(terms, days_until_due=3), memo="By hand", series="EU"))
    said.when(FINALIZE).then_shows(INVOICE, INVOICE_ID, due_at=NOW + timedelta(3), memo="By hand", number="EU-000001")
    for series in ("ASIA", "CN"):
        given(create_customer(), settings).when(draft(series=series)).then_refused(UnknownNumberSeries)
    given(create_customer()).when(draft(days_until_due=366)).then_refused(InvalidInvoiceTerms)
    given(create_customer()).when(draft(memo="x" * 1_001)).then_refused(InvalidInvoiceTerms).then_is_about("memo")


def test_terms_of_a_draft_are_changed_until_it_is_final() -> None:
    (
        given(create_customer(), draft(memo="first"))
        .when(ChangeDraft(invoice_id=INVOICE_ID, memo="second", days_until_due=7))
        .then(InvoiceDraftChanged(invoice_id=INVOICE_ID, memo="second", days_until_due=7))
        .when(ChangeDraft(invoice_id=INVOICE_ID, memo="second"))
        .then()
        .when(ChangeDraft(invoice_id=INVOICE_ID, memo=None))
        .then(InvoiceDraftChanged(invoice_id=INVOICE_ID, memo=None, days_until_due=7))
        .when(FINALIZE)
        .then_shows(INVOICE, INVOICE_ID, due_at=NOW + timedelta(7), memo=None)
    )


@pytest.mark.parametrize(
    "wrong", [{"grace_s": -1}, {"grace_s": 2_592_001}, {"days_until_due": 366}, {"memo": "x" * 1_001}]
)
def test_settings_of_drafts_have_bounds(wrong: dict[str, Any]) -> None:
    given().when(ChangeBillingSettings(**wrong)).then_refused(InvalidInvoiceTerms)


# --- grace -------------------------------------------------------------------------------------------------------


def test_a_renewal_is_drafted_where_drafts_wait_and_finalized_by_its_timer() -> None:
    bills = invoice_line(RENEWED, 1_000, FEBRUARY, datetime.fromisoformat("2026-03-31T10:00:00+00:00"))
    story = subscribed(graced(memo="Thank you")).when(renew(), at=FEBRUARY)
    drafted = story.done.events[1]
    assert drafted == invoice_drafted(
        bills,
        invoice_id=RENEWED,
        subscription_id=SUBSCRIPTION_ID,
        terms=DraftTerms(
            finalizes_at=ENDS_AT,
            days_until_due=30,
            rounding=STANDARD_ROUNDING,
            discountable=Discountable(at=FEBRUARY, of_customer=()),
        ),
        memo="Thank you",
        created_at=FEBRUARY,
    )
    timer = Schedule(WorkKind.INVOICE_FINALIZATION, RENEWED, due_at=ENDS_AT)
    assert timer in story.done.scheduled
    finalized = story.then_posts().when(TIMER, at=ENDS_AT + timedelta(seconds=1)).then_at(ENDS_AT)
    finalized.then_posts(debit(RECEIVABLE, usd(1_000)), credit(DEFERRED_REVENUE, usd(1_000)))
    finalized.then_finishes(Finish(WorkKind.INVOICE_FINALIZATION, RENEWED))
    finalized.then_shows(
        INVOICE, RENEWED, status=InvoiceStatus.OPEN, finalized_at=ENDS_AT, due_at=ENDS_AT + timedelta(30)
    )
    finalized.when(TIMER, at=ENDS_AT).then_refused(InvoiceNotDraft)


def test_without_grace_nothing_is_drafted_and_no_timer_is_set() -> None:
    story = subscribed().when(renew(), at=FEBRUARY)
    assert [type(event).__name__ for event in story.done.events] == [
        "SubscriptionPeriodStarted",
        "InvoiceNumberTaken",
        "InvoiceFinalized",
    ]
    assert {work.kind for work in story.done.scheduled} == {WorkKind.SUBSCRIPTION_RENEWAL}
    assert invoice_of(story).terms is None


def test_a_draft_on_a_test_clock_is_finalized_by_that_clock() -> None:
    on_clock = given(
        frozen_clock(), create_customer(test_clock_id=CLOCK_ID), *plan_on_sale(in_advance=flat()), graced(), subscribe()
    )
    due = on_clock.books.due[WorkKind.INVOICE_FINALIZATION, period_invoice(0)]
    assert (due.due_at, due.clock_id) == (NOW + HOUR, CLOCK_ID)


def test_a_draft_ends_with_its_test_clock() -> None:
    on_clock = given(
        frozen_clock(), create_customer(test_clock_id=CLOCK_ID), *plan_on_sale(in_advance=flat()), graced(), subscribe()
    )
    story = on_clock.and_then(DeleteTestClock(clock_id=CLOCK_ID)).when(VoidInvoice(invoice_id=period_invoice(0)))
    story.then_posts().then_finishes(Finish(WorkKind.INVOICE_FINALIZATION, period_invoice(0)))
    story.when(EndWithTestClock(subscription_id=SUBSCRIPTION_ID)).then_posts()


def test_a_draft_finalized_by_hand_before_its_time_is_issued_then_and_its_timer_goes() -> None:
    at = FEBRUARY + timedelta(minutes=5)
    by_hand = FinalizeInvoice(invoice_id=RENEWED, days_until_due=3)
    story = renewed().when(by_hand, at=at).then_at(at)
    story.then_finishes(Finish(WorkKind.INVOICE_FINALIZATION, RENEWED))
    story.then_shows(INVOICE, RENEWED, finalized_at=at, due_at=at + timedelta(3))


def test_what_a_subscription_bills_is_not_taken_off_its_draft_but_deducted_from_it() -> None:
    story = renewed()
    take_off = RemoveInvoiceItem(invoice_id=RENEWED, line_id=invoice_of(story).lines[0].line_id)
    story.when(take_off, at=FEBRUARY).then_refused(InvoiceItemIsSubscriptions)
    deducted = story.when(add(-1_200, RENEWED), at=FEBRUARY).when(TIMER, at=ENDS_AT)
    deducted.then_shows(INVOICE, RENEWED, total=usd(-200), status=InvoiceStatus.PAID)
    deducted.then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(200))


def test_a_void_draft_posts_nothing_and_its_timer_goes() -> None:
    story = renewed().when(VoidInvoice(invoice_id=RENEWED), at=FEBRUARY).then_posts()
    story.then_finishes(Finish(WorkKind.INVOICE_FINALIZATION, RENEWED))
    story.when(TIMER, at=ENDS_AT).then_refused(InvoiceNotDraft)


def test_a_draft_of_a_customer_who_was_deleted_is_still_owed() -> None:
    story = renewed().and_then(customer_deleted(), at=FEBRUARY)
    story.when(TIMER, at=ENDS_AT).then_shows(INVOICE, RENEWED, status=InvoiceStatus.OPEN, finalized_at=ENDS_AT)


LATE = ENDS_AT + timedelta(days=40)
COMMANDS: tuple[Command, ...] = (
    FinalizeInvoice(invoice_id=RENEWED),
    FinalizeInvoice(invoice_id=RENEWED, days_until_due=2),
    VoidInvoice(invoice_id=RENEWED),
    add(500, RENEWED),
    RemoveInvoiceItem(invoice_id=RENEWED, line_id=ITEM_ID),
    ChangeDraft(invoice_id=RENEWED, memo="late"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("at", [ENDS_AT, LATE])
def test_a_timer_that_runs_late_changes_nothing_whoever_came_first(command: Command, at: datetime) -> None:
    """Whatever is asked for once the draft's time is over finds what the timer makes of it, even before it has run."""

    def story(*order: Command) -> Given:
        told = renewed().and_then(add(300, RENEWED), at=FEBRUARY)
        for each in order:
            told = told.when(each, at=at)
        return told

    timer_first, command_first = story(TIMER, command), story(command, TIMER)
    assert invoice_of(timer_first) == invoice_of(command_first)
    assert timer_first.books.states == command_first.books.states
    assert (WorkKind.INVOICE_FINALIZATION, RENEWED) not in timer_first.books.due
    assert timer_first.books.due == command_first.books.due
    assert invoice_of(timer_first).finalized_at == ENDS_AT


def test_drafts_of_a_machine_that_was_off_are_each_finalized_at_their_own_time() -> None:
    at = FEBRUARY + timedelta(days=70)
    story = subscribed(graced()).when(renew(), at=at)
    waiting = {key: work for key, work in story.books.due.items() if key[0] is WorkKind.INVOICE_FINALIZATION}
    assert len(waiting) == 3
    for (_, invoice_id), work in waiting.items():
        assert work.due_at is not None
        done = story.when(FinalizeInvoice(invoice_id=invoice_id, due_at=work.due_at), at=at).then_at(work.due_at)
        assert invoice_of(done, invoice_id).finalized_at == work.due_at
        assert work.due_at == invoice_of(done, invoice_id).created_at + HOUR


def test_what_is_previewed_is_what_the_draft_becomes() -> None:
    story = subscribed(graced(), wait(250))
    previewed = story.when(RehearseNextInvoice(subscription_id=SUBSCRIPTION_ID)).then_at(ENDS_AT).done
    seen = story.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    assert seen.status is SubscriptionStatus.ACTIVE
    happened = subscribed(graced(), wait(250)).when(renew(), at=FEBRUARY).when(TIMER, at=ENDS_AT)
    assert previewed.events == [
        *subscribed(graced(), wait(250)).when(renew(), at=FEBRUARY).done.events,
        *happened.done.events,
    ]


# --- what waits for the next invoice -----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [ChangeBillingSettings(), graced()])
def test_the_next_renewal_bills_what_waits_once(settings: ChangeBillingSettings) -> None:
    story = subscribed(settings, wait(250), wait(-100, 78)).when(renew(), at=FEBRUARY)
    assert story.done.events[-1] == CustomerItemsBilled(
        customer_id=CUSTOMER_ID, invoice_id=RENEWED, item_ids=(ITEM_ID, id_of("il_", 78))
    )
    assert [each.amount for each in invoice_of(story).lines] == [usd(1_000), usd(250), usd(-100)]
    assert invoice_of(story).lines[1] == item(250)
    story.then_shows(CUSTOMER, CUSTOMER_ID, waiting_items=())
    next_one = story.when(renew(), at=FEBRUARY + timedelta(31))
    assert [each.amount for each in invoice_of(next_one, period_invoice(2)).lines] == [usd(1_000)]


def test_what_waits_is_earned_as_it_says() -> None:
    ahead = wait(250, timing=line().timing, period_start=NOW, period_end=FEBRUARY)
    story = subscribed(ahead, wait(40, 78)).when(renew(), at=FEBRUARY)
    story.then_posts(debit(RECEIVABLE, usd(1_290)), credit(DEFERRED_REVENUE, usd(1_250)), credit(REVENUE, usd(40)))


def test_a_one_off_invoice_bills_what_waits_where_it_is_asked_to() -> None:
    left_out = given(create_customer(), wait(250)).when(draft(line(700)))
    left_out.then_shows(INVOICE, INVOICE_ID, total=usd(700))
    story = given(create_customer(), wait(250)).when(draft(line(700), with_waiting_items=True))
    story.then_shows(INVOICE, INVOICE_ID, total=usd(950))
    story.then_shows(CUSTOMER, CUSTOMER_ID, waiting_items=())
    alone = given(create_customer(), wait(250)).when(replace(draft(with_waiting_items=True), lines=()))
    alone.then_shows(INVOICE, INVOICE_ID, total=usd(250))


def test_what_waits_is_taken_away_once() -> None:
    taken = RemoveWaitingItem(customer_id=CUSTOMER_ID, item_id=ITEM_ID)
    story = given(create_customer(), wait()).when(taken)
    story.then(CustomerItemRemoved(customer_id=CUSTOMER_ID, item_id=ITEM_ID))
    story.when(taken).then_refused(WaitingItemNotFound)
    subscribed(wait()).and_then(renew(), at=FEBRUARY).when(taken).then_refused(WaitingItemNotFound)


def test_what_may_wait_has_bounds() -> None:
    many = [wait(1, 100 + nth) for nth in range(MAX_WAITING_ITEMS)]
    given(create_customer(), *many).when(wait()).then_refused(TooManyWaitingItems)
    too_much = given(create_customer()).when(wait(MAX_TOTAL_WITH_WAITING_ITEMS + 1))
    too_much.then_refused(InvalidInvoiceLines).then_is_about("amount.amount")
    given(create_customer(), customer_deleted()).when(wait()).then_refused(CustomerIsDeleted)


def test_what_an_invoice_does_not_hold_waits_for_the_one_after() -> None:
    """A renewal is never refused for what waits."""
    much = [wait(MAX_TOTAL_WITH_WAITING_ITEMS - 500, 80), wait(MAX_TOTAL_WITH_WAITING_ITEMS, 81), wait(5, 82)]
    story = subscribed(*much).when(renew(), at=FEBRUARY)
    assert [each.amount for each in invoice_of(story).lines] == [usd(1_000)]
    assert len(story.books.states[CUSTOMER.name, CUSTOMER_ID].waiting_items) == 3


# --- tax on top --------------------------------------------------------------------------------------------------


def taxed(percent: int = 19) -> list[Command]:
    rate = TaxRate(rate_id="txr_1", percent=Decimal(percent), country="DE", valid_from=NOW.date())
    number = CreateTaxRegistration(registration_id="txreg_1", country="DE", number="DE1", valid_from=NOW.date())
    return [ChangeTaxSettings(seller_country="DE"), CreateTaxRate(rate=rate), number]


def test_an_invoice_is_not_more_than_it_holds_with_its_tax() -> None:
    story = given(create_customer(), *taxed(), draft(line(MAX_INVOICE_TOTAL)))
    refused = story.when(FINALIZE).then_refused(InvalidInvoiceLines, most=MAX_INVOICE_TOTAL)
    refused.then_tells("divide them among several")
    most = int(Decimal(MAX_INVOICE_TOTAL) / Decimal("1.19"))
    given(create_customer(), *taxed(), draft(line(most))).when(FINALIZE).then_shows(
        INVOICE, INVOICE_ID, status=InvoiceStatus.OPEN
    )


def test_a_draft_that_its_tax_makes_too_much_can_still_be_voided_once_its_time_is_over() -> None:
    much = add(MAX_INVOICE_TOTAL - 1_000, RENEWED)
    story = renewed(*taxed()).and_then(much, at=FEBRUARY)
    story.when(TIMER, at=ENDS_AT).then_refused(InvalidInvoiceLines)
    story.when(VoidInvoice(invoice_id=RENEWED), at=LATE).then_shows(INVOICE, RENEWED, status=InvoiceStatus.VOID)
    story.when(VoidInvoice(invoice_id=RENEWED), at=LATE).then_refused(InvoiceCannotBeVoided)
