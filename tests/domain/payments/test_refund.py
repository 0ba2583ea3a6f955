"""Specifications of refunds: within what was captured, on their way until the gateway says, posted at each step."""

from dataclasses import replace
from typing import Any

import pytest

from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import ALLOWANCES, CUSTOMER_BALANCE, GATEWAY_CLEARING, REFUNDS_PAYABLE
from domain.kernel.money import Money
from domain.kernel.stream import Command, Finish, Schedule, WorkKind
from domain.payments.commands import CreatePayment, RecordPaymentCaptured, RecordPaymentDeclined
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT, PaymentNotFound
from domain.payments.refund import (
    CLAIM,
    CLAIM_AT_GATEWAY,
    RESOLVE_UNKNOWN_AFTER_MS,
    GatewayRefundTaken,
    RefundAlreadyExists,
    RefundFailed,
    RefundOutcomeUnknown,
    RefundRequested,
    RefundStatus,
    RefundSucceeded,
)
from domain.payments.refund_commands import (
    InvalidEvidence,
    InvalidGatewayRefundId,
    InvalidRefundAmount,
    PaymentNotRefundable,
    RecordRefundFailed,
    RecordRefundOutcomeUnknown,
    RecordRefundSucceeded,
    RefundExceedsPayment,
    RefundIsOver,
    RefundNotFound,
    RequestRefund,
)
from testing.examples.payments import capture, under_way
from testing.examples.streams import (
    CLOCK_ID,
    CUSTOMER_ID,
    EUR,
    INVOICE_ID,
    PAYMENT_ID,
    REFUND_ID,
    attach_card,
    create_customer,
    credit,
    customer_deleted,
    customer_with_card,
    debit,
    frozen_clock,
    id_of,
    usd,
)
from testing.moments import utc
from testing.specification import NOW, Claimed, Given, given

CREATE = CreatePayment(payment_id=PAYMENT_ID, customer_id=CUSTOMER_ID, amount=usd(1_000), confirm=True)
CAPTURE = RecordPaymentCaptured(payment_id=PAYMENT_ID, attempt=1, gateway_payment_id="gw_1")
CALL = WorkKind.REFUND_GATEWAY_CALL
SUBJECT = f"{PAYMENT_ID}/{REFUND_ID}"
CALL_DUE = Schedule(CALL, SUBJECT, after_ms=0)
CALL_DONE = Finish(CALL, SUBJECT)
OTHER_REFUND_ID = id_of("re_", 2)


def captured() -> Given:
    """10.00 captured from a customer's card."""
    return given(*customer_with_card(), CREATE, CAPTURE)


def request(amount: Money | None = None, refund_id: str = REFUND_ID, **changes: Any) -> RequestRefund:
    return RequestRefund(refund_id=refund_id, payment_id=PAYMENT_ID, amount=amount, **changes)


SUCCEED = RecordRefundSucceeded(refund_id=REFUND_ID, payment_id=PAYMENT_ID, gateway_refund_id="gr_1")
FAIL = RecordRefundFailed(refund_id=REFUND_ID, payment_id=PAYMENT_ID, failure_code=DeclineCode.ACCOUNT_CLOSED)
LOSE_SIGHT = RecordRefundOutcomeUnknown(refund_id=REFUND_ID, payment_id=PAYMENT_ID, why="time-out")
ANSWERS: list[Command] = [SUCCEED, FAIL, LOSE_SIGHT]


def requested(amount: int = 1_000, reason: str | None = None) -> RefundRequested:
    return RefundRequested(
        refund_id=REFUND_ID,
        payment_id=PAYMENT_ID,
        amount=usd(amount),
        from_balance=usd(0),
        reason=reason,
        requested_at=NOW,
    )


def test_a_refund_of_all_that_is_left_is_owed_until_the_gateway_has_paid_it() -> None:
    (
        captured()
        .when(request(reason="asked"))
        .then(requested(reason="asked"))
        .then_posts(debit(CUSTOMER_BALANCE, usd(1_000)), credit(REFUNDS_PAYABLE, usd(1_000)))
        .then_claims(Claimed(CLAIM, REFUND_ID, PAYMENT_ID))
        .then_schedules(CALL_DUE)
        .then_shows(PAYMENT, PAYMENT_ID, refundable=usd(0), amount_refunded=usd(0))
        .when(SUCCEED)
        .then(
            RefundSucceeded(
                refund_id=REFUND_ID,
                payment_id=PAYMENT_ID,
                gateway_refund_id="gr_1",
                amount=usd(1_000),
                succeeded_at=NOW,
                evidence=None,
            )
        )
        .then_posts(debit(REFUNDS_PAYABLE, usd(1_000)), credit(GATEWAY_CLEARING, usd(1_000)))
        .then_finishes(CALL_DONE)
        .then_shows(PAYMENT, PAYMENT_ID, refundable=usd(0), amount_refunded=usd(1_000))
    )


def test_a_refund_of_an_invoices_payment_is_an_allowance_the_invoice_stays_paid() -> None:
    (
        under_way()
        .and_then(capture())
        .when(request(usd(300)))
        .then_posts(debit(ALLOWANCES, usd(300)), credit(REFUNDS_PAYABLE, usd(300)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0))
        .when(FAIL)
        .then_posts(debit(REFUNDS_PAYABLE, usd(300)), credit(ALLOWANCES, usd(300)))
    )


def test_a_refund_that_fails_for_good_gives_back_what_it_took() -> None:
    (
        captured()
        .and_then(request(usd(400)))
        .when(FAIL)
        .then(
            RefundFailed(
                refund_id=REFUND_ID,
                payment_id=PAYMENT_ID,
                code=DeclineCode.ACCOUNT_CLOSED,
                amount=usd(400),
                failed_at=NOW,
                evidence=None,
            )
        )
        .then_posts(debit(REFUNDS_PAYABLE, usd(400)), credit(CUSTOMER_BALANCE, usd(400)))
        .then_finishes(CALL_DONE)
        .then_shows(PAYMENT, PAYMENT_ID, refundable=usd(1_000), amount_refunded=usd(0))
        .when(request(refund_id=OTHER_REFUND_ID))
        .then(replace(requested(), refund_id=OTHER_REFUND_ID))
    )


def test_what_an_operator_found_out_is_recorded_with_what_it_rests_on() -> None:
    (
        captured()
        .and_then(request())
        .when(replace(SUCCEED, evidence="statement of 3 March"))
        .then(
            RefundSucceeded(
                refund_id=REFUND_ID,
                payment_id=PAYMENT_ID,
                gateway_refund_id="gr_1",
                amount=usd(1_000),
                succeeded_at=NOW,
                evidence="statement of 3 March",
            )
        )
        .then_finishes(CALL_DONE)
    )


def test_an_unknown_outcome_is_said_once_and_asked_about() -> None:
    unknown = RefundOutcomeUnknown(refund_id=REFUND_ID, payment_id=PAYMENT_ID, why="time-out", noticed_at=NOW)
    known = (
        captured()
        .and_then(request())
        .when(LOSE_SIGHT)
        .then(unknown)
        .then_posts()
        .then_schedules(CALL_DUE._replace(after_ms=RESOLVE_UNKNOWN_AFTER_MS))
        .when(LOSE_SIGHT)
        .then_refused(RefundIsOver, status="outcome_unknown")
        .when(SUCCEED)
    )
    (refund,) = known.books.states["payment", PAYMENT_ID].refunds
    assert (refund.status, refund.outcome_unknown) == (RefundStatus.SUCCEEDED, False)


def test_what_was_refunded_in_full_is_said_to_be_and_no_amount_that_nobody_asked_for() -> None:
    again = request(refund_id=id_of("re_", 3))
    refused = captured().and_then(request(), SUCCEED).when(again).then_refused(RefundExceedsPayment, amount=None)
    refused.then_tells("refunded in full already")


def test_refunds_on_their_way_and_paid_never_exceed_what_was_captured() -> None:
    most = (
        captured()
        .and_then(request(usd(600)), SUCCEED)
        .and_then(request(usd(399), OTHER_REFUND_ID))
        .when(request(usd(2), id_of("re_", 3)))
        .then_refused(RefundExceedsPayment, amount=2, refundable=1)
        .when(request(refund_id=id_of("re_", 3)))
    )
    assert [event.amount for event in most.done.events if isinstance(event, RefundRequested)] == [usd(1)]
    most.when(request(refund_id=id_of("re_", 4))).then_refused(RefundExceedsPayment, refundable=0)


@pytest.mark.parametrize("amount", [usd(0), usd(-1), Money(1, EUR)])
def test_an_amount_that_is_no_refund_is_refused(amount: Money) -> None:
    captured().when(request(amount)).then_refused(InvalidRefundAmount, amount=amount.amount)


def test_only_a_payment_that_succeeded_is_refunded() -> None:
    decline = RecordPaymentDeclined(payment_id=PAYMENT_ID, attempt=1, decline_code=DeclineCode.FRAUD, retryable=False)
    given(*customer_with_card(), CREATE).when(request()).then_refused(PaymentNotRefundable, status="processing")
    given(*customer_with_card(), CREATE, decline).when(request()).then_refused(PaymentNotRefundable)
    given(*customer_with_card()).when(request()).then_refused(PaymentNotFound, payment=PAYMENT_ID)


def test_a_refund_is_requested_once() -> None:
    captured().and_then(request(usd(1))).when(request(usd(1))).then_refused(RefundAlreadyExists, refund=REFUND_ID)


def test_a_deleted_customer_is_still_refunded() -> None:
    captured().and_then(customer_deleted()).when(request()).then(requested())


@pytest.mark.parametrize("over", [SUCCEED, FAIL])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_refund_has_one_outcome(answer: Command, over: Command) -> None:
    captured().and_then(request(), over).when(answer).then_refused(RefundIsOver, refund=REFUND_ID)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_unknown_refund_is_not_found(answer: Command) -> None:
    captured().when(answer).then_refused(RefundNotFound, refund=REFUND_ID)


def test_a_refund_on_a_test_clock_is_dated_by_it_and_waited_for() -> None:
    frozen_at = utc("2031-02-03")
    on_clock = (frozen_clock(frozen_at), create_customer(test_clock_id=CLOCK_ID), attach_card(make_default=True))
    (
        given(*on_clock, CREATE, CAPTURE)
        .when(request())
        .then_at(frozen_at)
        .then_schedules(CALL_DUE._replace(clock_id=CLOCK_ID))
    )


def said(gateway_refund_id: str, evidence: str = "a statement", payment_id: str = PAYMENT_ID) -> RecordRefundSucceeded:
    """An operator's word."""
    return RecordRefundSucceeded(
        refund_id=REFUND_ID, payment_id=payment_id, gateway_refund_id=gateway_refund_id, evidence=evidence
    )


def test_one_refund_at_a_gateway_ends_one_refund_whoever_says_so() -> None:
    other = replace(SUCCEED, refund_id=OTHER_REFUND_ID)
    two = (request(usd(100)), request(usd(100), OTHER_REFUND_ID))
    (
        captured()
        .and_then(*two)
        .when(SUCCEED)
        .then_claims(Claimed(CLAIM_AT_GATEWAY, "sandbox/gr_1", REFUND_ID))
        .when(other)
        .then_refused(GatewayRefundTaken, gateway_refund_id="gr_1")
    )
    captured().and_then(*two, other).when(said("gr_1")).then_refused(GatewayRefundTaken)
    captured().and_then(*two, other).when(said("gr_2")).then_finishes(CALL_DONE)


@pytest.mark.parametrize("named", ["", " ", "gr 1", "gr_1\n", "gr_\x00", "gr_\udcff", "g" * 256])
def test_an_operator_names_a_refund_as_a_gateway_may_have_named_it(named: str) -> None:
    captured().and_then(request()).when(said(named)).then_refused(InvalidGatewayRefundId)
    captured().and_then(request()).when(said("g" * 255)).then_finishes(CALL_DONE)


@pytest.mark.parametrize("evidence", ["", "  ", "a\nb", "a\x1b[2J", "\udcff", "e" * 501])
def test_what_an_operator_says_it_rests_on_is_a_line_of_text(evidence: str) -> None:
    captured().and_then(request()).when(said("gr_1", evidence)).then_refused(InvalidEvidence)
    captured().and_then(request()).when(replace(FAIL, evidence=evidence)).then_refused(InvalidEvidence)
    captured().and_then(request()).when(said("gr_1", "é\u00a0" * 250)).then_finishes(CALL_DONE)
