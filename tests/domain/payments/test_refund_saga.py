"""Specifications of the refund saga: a capture that nobody needs any more goes back, once, in full."""

from domain.invoicing.finalization import VoidInvoice
from domain.kernel.accounts import CUSTOMER_BALANCE, GATEWAY_CLEARING, REFUNDS_PAYABLE
from domain.kernel.identifiers import REFUND, derived_id
from domain.kernel.stream import Finish, Schedule, WorkKind
from domain.payments import refund_saga
from domain.payments.commands import PayInvoice, RecordPaymentCaptured
from domain.payments.decline import DeclineCode
from domain.payments.refund_commands import (
    RecordRefundFailed,
    RecordRefundSucceeded,
    RefundExceedsPayment,
    RequestRefund,
)
from testing.examples.streams import (
    CUSTOMER_ID,
    INVOICE_ID,
    PAYMENT_ID,
    REFUND_ID,
    credit,
    customer_with_card,
    debit,
    id_of,
    invoice_finalized,
    payment_captured,
    usd,
)
from testing.specification import Given, given

EVENT_ID = id_of("evt_")
DEADLINE = Schedule(WorkKind.SAGA_DEADLINE, f"refund:{PAYMENT_ID}", after_ms=refund_saga.DEADLINE_MS)
DEADLINE_MET = Finish(WorkKind.SAGA_DEADLINE, f"refund:{PAYMENT_ID}")
RETRY = Schedule(WorkKind.REFUND_RETRY, PAYMENT_ID, after_ms=0)
CALL = Schedule(WorkKind.REFUND_GATEWAY_CALL, f"{PAYMENT_ID}/{REFUND_ID}", after_ms=0)


def refund(amount: int | None = None, refund_id: str = REFUND_ID) -> RequestRefund:
    return RequestRefund(refund_id=refund_id, payment_id=PAYMENT_ID, amount=None if amount is None else usd(amount))


def captured_too_late() -> Given:
    """An invoice was voided while its payment was under way, which then captured all the same."""
    return given(
        *customer_with_card(),
        invoice_finalized(),
        PayInvoice(invoice_id=INVOICE_ID, payment_id=PAYMENT_ID),
        VoidInvoice(invoice_id=INVOICE_ID),
        RecordPaymentCaptured(payment_id=PAYMENT_ID, attempt=1, gateway_payment_id="gw_1"),
    )


def test_an_unneeded_capture_is_refunded_under_an_id_that_its_event_names() -> None:
    wanted = RequestRefund(
        refund_id=derived_id(REFUND, EVENT_ID, "refund"),
        payment_id=PAYMENT_ID,
        reason="invoice_settled_otherwise",
    )
    assert refund_saga.react(EVENT_ID, payment_captured(unneeded=True)) == [("refund", wanted)]


def test_nothing_else_is_refunded() -> None:
    assert refund_saga.react(EVENT_ID, payment_captured()) == []


def test_the_refund_of_all_of_it_ends_the_deadline() -> None:
    captured_too_late().when(refund()).then_schedules(CALL).then_finishes(DEADLINE_MET)


def test_a_part_refunded_by_hand_leaves_the_rest_to_the_saga() -> None:
    (
        captured_too_late()
        .when(refund(400, id_of("re_", 2)))
        .then_finishes()
        .when(refund())
        .then_schedules(CALL)
        .then_finishes(DEADLINE_MET)
    )


def test_what_was_refunded_by_hand_is_not_refunded_again() -> None:
    captured_too_late().and_then(refund(refund_id=id_of("re_", 2))).when(refund()).then_refused(RefundExceedsPayment)


def test_a_failed_refund_of_an_unneeded_capture_is_asked_for_again() -> None:
    """Nobody but us knows of it. One that somebody asked for is theirs to repeat."""
    failed = RecordRefundFailed(refund_id=REFUND_ID, payment_id=PAYMENT_ID, failure_code=DeclineCode.ACCOUNT_CLOSED)
    again = id_of("re_", 2)
    (
        captured_too_late()
        .and_then(refund())
        .when(failed)
        .then_schedules(RETRY)
        .then_finishes(Finish(WorkKind.REFUND_GATEWAY_CALL, f"{PAYMENT_ID}/{REFUND_ID}"))
        .when(refund(refund_id=again))
        .then_schedules(CALL._replace(subject=f"{PAYMENT_ID}/{again}"))
        .then_finishes(Finish(WorkKind.REFUND_RETRY, PAYMENT_ID))
    )


def test_when_all_is_done_nobody_owes_anything() -> None:
    outcome = (
        captured_too_late()
        .and_then(refund())
        .when(RecordRefundSucceeded(refund_id=REFUND_ID, payment_id=PAYMENT_ID, gateway_refund_id="gr_1"))
        .then_posts(debit(REFUNDS_PAYABLE, usd(1_000)), credit(GATEWAY_CLEARING, usd(1_000)))
    )
    balances: dict[str, int] = {}
    for entry in outcome.books.entries:
        for posting in entry.postings:
            signed = posting.amount.amount if posting.side == "debit" else -posting.amount.amount
            balances[posting.account] = balances.get(posting.account, 0) + signed
    assert not any(balances.values())
    assert outcome.books.due == {}
    assert {posting.customer_id for entry in outcome.books.entries for posting in entry.postings} == {CUSTOMER_ID}
    assert credit(CUSTOMER_BALANCE, usd(1_000)) in outcome.books.entries[-3].postings
