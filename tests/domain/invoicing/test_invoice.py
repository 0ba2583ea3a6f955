"""Specifications of invoices: drafted, finalized with the next number and its postings, paid by hand, voided."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
from domain.invoicing.collection import CollectionStatus, InvoiceCollectionFailed
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import InvoiceNotDraft
from domain.invoicing.finalization import InvoiceCannotBeVoided, VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceAlreadyExists, InvoiceNotFound, InvoiceNotOpen
from domain.invoicing.invoice_line import (
    MAX_INVOICE_LINES,
    MAX_INVOICE_TOTAL,
    InvalidInvoiceLines,
    InvalidLinePeriod,
    InvoiceLine,
)
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import CASH, DEFERRED_REVENUE, RECEIVABLE, REVENUE, Posting
from domain.kernel.money import Money
from domain.kernel.stream import Command, Finish, Schedule, WorkKind
from domain.payments import charge_saga
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.collection import SubscriptionPastDue, SubscriptionRecovered
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    BY_CHARGE,
    BY_HAND,
    CLOCK_ID,
    CUSTOMER_ID,
    EUR,
    IN_ADVANCE,
    IN_ARREARS,
    INVOICE_ID,
    MONTH_LATER,
    SUBSCRIPTION_ID,
    create_customer,
    credit,
    customer_deleted,
    debit,
    draft,
    frozen_clock,
    id_of,
    invoice_drafted,
    invoice_finalized,
    invoice_paid,
    invoice_voided,
    line,
    number_taken,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.moments import utc
from testing.specification import NOW, Given, given

FINALIZE = FinalizeInvoice(invoice_id=INVOICE_ID)
VOID = VoidInvoice(invoice_id=INVOICE_ID)
PAY_OUT_OF_BAND = PayInvoiceOutOfBand(invoice_id=INVOICE_ID)
DEADLINE = Schedule(WorkKind.SAGA_DEADLINE, f"charge:{INVOICE_ID}", after_ms=charge_saga.DEADLINE_MS)
DEADLINE_MET = Finish(WorkKind.SAGA_DEADLINE, f"charge:{INVOICE_ID}")
IN_30_DAYS = NOW + timedelta(days=30)


def by_hand(*lines: InvoiceLine, **changes: Any) -> Any:
    return invoice_finalized(*lines, **{"collection": BY_HAND, "due_at": IN_30_DAYS} | changes)


def opened(*lines: InvoiceLine, **changes: Any) -> Given:
    """An open invoice of a customer."""
    return given(create_customer(), draft(*lines, **changes), FINALIZE)


# --- drafts ------------------------------------------------------------------------------------------------------


def test_a_draft_posts_nothing() -> None:
    (
        given(create_customer())
        .when(draft(line(700), line(-200)))
        .then(invoice_drafted(line(700), line(-200)))
        .then_posts()
        .then_claims()
        .then_schedules()
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.DRAFT, total=usd(500), number=None, amount_due=usd(500))
    )


def test_a_draft_is_made_once_for_a_known_and_living_customer() -> None:
    given(create_customer(), draft()).when(draft()).then_refused(InvoiceAlreadyExists, invoice=INVOICE_ID)
    given().when(draft()).then_refused(CustomerNotFound, customer=CUSTOMER_ID)
    given(create_customer(), customer_deleted()).when(draft()).then_refused(CustomerIsDeleted)


@pytest.mark.parametrize(
    ("lines", "details"),
    [
        pytest.param((line(),) * (MAX_INVOICE_LINES + 1), {"lines": 251}, id="too many"),
        pytest.param(
            (line(), replace(line(), amount=Money(1, EUR))),
            {"currency": "EUR", "invoice_currency": "USD"},
            id="another currency",
        ),
        pytest.param((line(5), line(-6)), {"total": -1}, id="less than nothing"),
        pytest.param((line(MAX_INVOICE_TOTAL), line(1)), {"total": 10**12}, id="more than an invoice holds"),
    ],
)
def test_lines_that_make_no_invoice_are_refused(lines: tuple[InvoiceLine, ...], details: dict[str, Any]) -> None:
    given(create_customer()).when(draft(*lines)).then_refused(InvalidInvoiceLines, **details)


def test_an_invoice_without_lines_is_refused() -> None:
    given(create_customer()).when(replace(draft(), lines=())).then_refused(InvalidInvoiceLines, lines=0)


@pytest.mark.parametrize(
    "period",
    [
        {"period_start": None},
        {"period_end": None},
        {"period_end": NOW},
        {"period_end": NOW - timedelta(seconds=1)},
    ],
)
def test_a_line_whose_service_period_has_no_length_is_refused(period: dict[str, Any]) -> None:
    wrong = "period_start" if period == {"period_start": None} else "period_end"
    refused = given(create_customer()).when(draft(line(), line(**period)))
    refused.then_refused(InvalidLinePeriod).then_is_about(f"lines.1.{wrong}")


# --- finalize ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "postings"),
    [
        pytest.param(
            (line(1_000, IN_ADVANCE),),
            (debit(RECEIVABLE, usd(1_000)), credit(DEFERRED_REVENUE, usd(1_000))),
            id="in advance",
        ),
        pytest.param(
            (line(1_000, IN_ARREARS),),
            (debit(RECEIVABLE, usd(1_000)), credit(REVENUE, usd(1_000))),
            id="in arrears",
        ),
        pytest.param(
            (line(1_000, IN_ADVANCE), line(300, IN_ARREARS), line(50, IN_ADVANCE)),
            (debit(RECEIVABLE, usd(1_350)), credit(DEFERRED_REVENUE, usd(1_050)), credit(REVENUE, usd(300))),
            id="mixed",
        ),
        pytest.param(
            (line(1_000, IN_ADVANCE), line(-300, IN_ARREARS)),
            (debit(RECEIVABLE, usd(700)), credit(DEFERRED_REVENUE, usd(1_000)), debit(REVENUE, usd(300))),
            id="with a deduction from what was earned",
        ),
        pytest.param(
            (line(-1_000, IN_ADVANCE), line(1_000, IN_ARREARS)),
            (debit(DEFERRED_REVENUE, usd(1_000)), credit(REVENUE, usd(1_000))),
            id="of nothing, between two accounts",
        ),
        pytest.param(
            (line(1_000, IN_ADVANCE, period_start=None, period_end=None), line(200, IN_ADVANCE)),
            (debit(RECEIVABLE, usd(1_200)), credit(DEFERRED_REVENUE, usd(200)), credit(REVENUE, usd(1_000))),
            id="in advance, one of them for no time",
        ),
        pytest.param((line(0),), (), id="of nothing"),
    ],
)
def test_what_finalizing_posts_is_undone_by_voiding(
    lines: tuple[InvoiceLine, ...], postings: tuple[Posting, ...]
) -> None:
    finalized = given(create_customer(), draft(*lines)).when(FINALIZE).then_posts(*postings)
    if finalized.books.states["invoice", INVOICE_ID].status is InvoiceStatus.OPEN:
        swapped = [
            (credit if posting.side == "debit" else debit)(
                {account.code: account for account in (RECEIVABLE, DEFERRED_REVENUE, REVENUE)}[posting.account],
                posting.amount,
            )
            for posting in postings
        ]
        finalized.when(VOID).then(invoice_voided()).then_posts(*swapped)


def test_what_is_billed_for_an_empty_time_is_earned_at_once() -> None:
    assert line(period_end=MONTH_LATER).is_deferred
    assert not line(period_end=NOW).is_deferred


def test_finalizing_an_invoice_paid_by_hand_gives_it_a_number_and_net_terms() -> None:
    (
        given(create_customer(), draft())
        .when(FINALIZE)
        .then(number_taken(), by_hand())
        .then_schedules()
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.OPEN,
            amount_due=usd(1_000),
            collection_status=CollectionStatus.NOT_APPLICABLE,
        )
    )
    in_a_week = FinalizeInvoice(invoice_id=INVOICE_ID, days_until_due=7)
    given(create_customer(), draft()).when(in_a_week).then(number_taken(), by_hand(due_at=NOW + timedelta(days=7)))


def test_finalizing_an_automatic_invoice_sets_a_deadline_for_its_collection() -> None:
    (
        given(create_customer(), draft(collection=BY_CHARGE))
        .when(FINALIZE)
        .then(number_taken(), invoice_finalized())
        .then_schedules(DEADLINE)
        .then_shows(INVOICE, INVOICE_ID, collection_status=CollectionStatus.PENDING)
    )


def test_a_test_clock_waits_for_a_collection_and_dates_the_invoice() -> None:
    frozen_at = utc("2031-02-03")
    (
        given(frozen_clock(frozen_at), create_customer(test_clock_id=CLOCK_ID), draft(collection=BY_CHARGE))
        .when(FINALIZE)
        .then(number_taken(), invoice_finalized(test_clock_id=CLOCK_ID, finalized_at=frozen_at, due_at=frozen_at))
        .then_schedules(DEADLINE._replace(clock_id=CLOCK_ID))
    )


def test_an_invoice_of_nothing_is_paid_at_once_and_not_collected() -> None:
    (
        given(create_customer(), draft(line(0), collection=BY_CHARGE))
        .when(FINALIZE)
        .then(number_taken(), invoice_finalized(line(0)), invoice_paid(payment_id=None, amount=0))
        .then_posts()
        .then_schedules()
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, collection_status=CollectionStatus.NOT_APPLICABLE)
    )


def test_numbers_are_gapless_and_never_given_again() -> None:
    first, second, third = (id_of("in_", n) for n in (1, 2, 3))
    (
        given(create_customer(), *(draft(invoice_id=each) for each in (first, second, third)))
        .when(FinalizeInvoice(invoice_id=second))
        .then(number_taken(1, second), by_hand(invoice_id=second, number="INV-000001"))
        .and_then(VoidInvoice(invoice_id=second))
        .when(FinalizeInvoice(invoice_id=third))
        .then(number_taken(2, third), by_hand(invoice_id=third, number="INV-000002"))
        .when(FinalizeInvoice(invoice_id=third))
        .then_refused(InvoiceNotDraft)
        .when(FinalizeInvoice(invoice_id=first))
        .then(number_taken(3, first), by_hand(invoice_id=first, number="INV-000003"))
    )


@pytest.mark.parametrize("fact", [FINALIZE, VOID])
def test_only_a_draft_is_finalized(fact: FinalizeInvoice | VoidInvoice) -> None:
    given(create_customer(), draft(), fact).when(FINALIZE).then_refused(InvoiceNotDraft, invoice=INVOICE_ID)


def test_a_deleted_customers_draft_is_not_finalized_and_may_be_voided() -> None:
    of_deleted = given(create_customer(), draft(), customer_deleted())
    of_deleted.when(FINALIZE).then_refused(CustomerIsDeleted, customer=CUSTOMER_ID)
    of_deleted.when(VOID).then(invoice_voided())


def test_what_was_finalized_before_says_so_whoever_is_deleted() -> None:
    given(create_customer(), draft(), FINALIZE, customer_deleted()).when(FINALIZE).then_refused(InvoiceNotDraft)


# --- void and payment by hand ------------------------------------------------------------------------------------


def test_voiding_a_draft_posts_nothing() -> None:
    (
        given(create_customer(), draft())
        .when(VOID)
        .then(invoice_voided())
        .then_posts()
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.VOID, number=None)
    )


def test_voiding_ends_the_collection() -> None:
    (
        opened(collection=BY_CHARGE)
        .when(VOID)
        .then(invoice_voided())
        .then_finishes(DEADLINE_MET)
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.VOID,
            amount_due=usd(0),
            number="INV-000001",
            collection_status=CollectionStatus.NOT_APPLICABLE,
        )
    )


def test_money_that_came_another_way_pays_in_full() -> None:
    (
        opened(collection=BY_CHARGE)
        .when(PAY_OUT_OF_BAND)
        .then(invoice_paid(payment_id=None))
        .then_posts(debit(CASH, usd(1_000)), credit(RECEIVABLE, usd(1_000)))
        .then_finishes(DEADLINE_MET)
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.PAID,
            amount_paid=usd(1_000),
            amount_due=usd(0),
            collection_status=CollectionStatus.NOT_APPLICABLE,
        )
    )


def test_an_invoice_whose_money_came_another_way_has_no_failed_collection() -> None:
    failed = InvoiceCollectionFailed(invoice_id=INVOICE_ID, payment_id=None, reason="no_payment_method", failed_at=NOW)
    (
        given(create_customer(), number_taken(), invoice_finalized(), failed)
        .when(PAY_OUT_OF_BAND)
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.PAID,
            collection_status=CollectionStatus.NOT_APPLICABLE,
            collection_failure=None,
        )
    )


@pytest.mark.parametrize("settled", [VOID, PAY_OUT_OF_BAND])
def test_a_settled_invoice_is_neither_paid_nor_voided_again(settled: VoidInvoice | PayInvoiceOutOfBand) -> None:
    opened().and_then(settled).when(PAY_OUT_OF_BAND).then_refused(InvoiceNotOpen, invoice=INVOICE_ID)
    opened().and_then(settled).when(VOID).then_refused(InvoiceCannotBeVoided, invoice=INVOICE_ID)


def test_a_draft_is_not_paid() -> None:
    given(create_customer(), draft()).when(PAY_OUT_OF_BAND).then_refused(InvoiceNotOpen, status="draft")
    assert "draft: finalize it first" in InvoiceNotOpen(invoice=INVOICE_ID, status=InvoiceStatus.DRAFT).describe()


@pytest.mark.parametrize("command", [FINALIZE, VOID, PAY_OUT_OF_BAND])
def test_an_unknown_invoice_is_not_found(command: Command) -> None:
    given(create_customer()).when(command).then_refused(InvoiceNotFound, invoice=INVOICE_ID)


# --- the subscription behind it ----------------------------------------------------------------------------------


def past_due(invoice_id: str = INVOICE_ID) -> SubscriptionPastDue:
    return SubscriptionPastDue(subscription_id=SUBSCRIPTION_ID, invoice_id=invoice_id)


def recovered() -> SubscriptionRecovered:
    return SubscriptionRecovered(subscription_id=SUBSCRIPTION_ID, invoice_id=INVOICE_ID)


SUBSCRIBED = (
    create_customer(),
    *plan_on_sale(),
    subscribe(trial_days=30),
    invoice_finalized(subscription_id=SUBSCRIPTION_ID),
)


def test_settling_the_invoice_that_made_it_past_due_recovers_the_subscription() -> None:
    for settle, event in ((VOID, invoice_voided()), (PAY_OUT_OF_BAND, invoice_paid(payment_id=None))):
        (
            given(*SUBSCRIBED, past_due())
            .when(settle)
            .then(event, recovered())
            .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, past_due_invoice_ids=())
        )


def test_a_subscription_stays_past_due_while_another_invoice_is() -> None:
    other = id_of("in_", 2)
    (
        given(*SUBSCRIBED, past_due(), past_due(other))
        .when(PAY_OUT_OF_BAND)
        .then(invoice_paid(payment_id=None), recovered())
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.PAST_DUE, past_due_invoice_ids=(other,))
    )


def test_settling_an_invoice_that_was_not_past_due_leaves_the_subscription_alone() -> None:
    given(*SUBSCRIBED).when(VOID).then(invoice_voided())


def test_a_cancelled_subscription_stays_cancelled_when_its_debt_is_paid() -> None:
    cancel = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False)
    (
        given(*SUBSCRIBED, past_due(), cancel)
        .when(PAY_OUT_OF_BAND)
        .then(invoice_paid(payment_id=None), recovered())
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.CANCELED, past_due_invoice_ids=())
    )
