"""Specifications of refunds after which their invoice is due again (vector 26): booked, charged only by somebody who
asks for it, and paid as before where the gateway does not return the money."""

from typing import Any

import pytest

from domain.customers.customer import CUSTOMER
from domain.invoicing.collection import CollectionStatus
from domain.invoicing.credit_note import CreditAlreadyRefunded, GiveBack, IssueCreditNote
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import InvoiceIsPartlyPaid, MarkInvoiceUncollectible, PayInvoiceOutOfBand
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import (
    ALLOWANCES,
    BAD_DEBT,
    CASH,
    CUSTOMER_BALANCE,
    GATEWAY_CLEARING,
    RECEIVABLE,
    REFUNDS_PAYABLE,
)
from domain.kernel.stream import Command
from domain.payments.commands import CollectInvoice, CreatePayment, PayInvoice, RecordPaymentCaptured
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT, PaymentAlreadyExists, PaymentStatus
from domain.payments.refund import RefundFailed, RefundRequested, RefundTreatment
from domain.payments.refund_commands import (
    NothingToReopen,
    RecordRefundFailed,
    RecordRefundSucceeded,
    ReopensMoreThanPaid,
    RequestRefund,
)
from testing.examples.payments import COLLECTION, capture, under_way
from testing.examples.streams import (
    CUSTOMER_ID,
    INVOICE_ID,
    OTHER_PAYMENT_ID,
    PAYMENT_ID,
    REFUND_ID,
    balance_credited,
    balance_drawn,
    credit,
    customer_with_card,
    debit,
    id_of,
    invoice_finalized,
    invoice_paid,
    invoice_recovered,
    invoice_refund_failed,
    invoice_reopened,
    usd,
)
from testing.specification import NOW, Claimed, Given, given

SUCCEED = RecordRefundSucceeded(refund_id=REFUND_ID, payment_id=PAYMENT_ID, gateway_refund_id="gr_1")
FAIL = RecordRefundFailed(refund_id=REFUND_ID, payment_id=PAYMENT_ID, failure_code=DeclineCode.ACCOUNT_CLOSED)
PAY_AGAIN = PayInvoice(invoice_id=INVOICE_ID, payment_id=OTHER_PAYMENT_ID)
PAID_AGAIN = RecordPaymentCaptured(payment_id=OTHER_PAYMENT_ID, attempt=1, gateway_payment_id="gw_2")
BY_WIRE = PayInvoiceOutOfBand(invoice_id=INVOICE_ID)
WRITE_OFF = MarkInvoiceUncollectible(invoice_id=INVOICE_ID)


def paid() -> Given:
    """An invoice of 10.00 that was paid through a gateway."""
    return under_way().and_then(capture())


def reopen(amount: int | None = None, refund_id: str = REFUND_ID, **changes: Any) -> RequestRefund:
    facts: dict[str, Any] = {"treatment": RefundTreatment.REOPEN, **changes}
    money = None if amount is None else usd(amount)
    return RequestRefund(refund_id=refund_id, payment_id=PAYMENT_ID, amount=money, **facts)


def refund(amount: int, refund_id: str = REFUND_ID) -> RequestRefund:
    return RequestRefund(refund_id=refund_id, payment_id=PAYMENT_ID, amount=usd(amount))


def credited(amount: int, n: int = 1, **changes: Any) -> IssueCreditNote:
    return IssueCreditNote(credit_note_id=id_of("cn_", n), invoice_id=INVOICE_ID, amount=usd(amount), **changes)


def requested(amount: int, *, from_balance: int = 0) -> RefundRequested:
    return RefundRequested(
        refund_id=REFUND_ID,
        payment_id=PAYMENT_ID,
        amount=usd(amount),
        from_balance=usd(from_balance),
        reopened=usd(amount - from_balance),
        reason=None,
        requested_at=NOW,
    )


def failed(amount: int, surplus: int | None = None) -> RefundFailed:
    return RefundFailed(
        refund_id=REFUND_ID,
        payment_id=PAYMENT_ID,
        code=DeclineCode.ACCOUNT_CLOSED,
        amount=usd(amount),
        failed_at=NOW,
        evidence=None,
        surplus=None if surplus is None else usd(surplus),
    )


# --- due again ---------------------------------------------------------------------------------------------------


def test_what_is_refunded_is_due_again_from_the_moment_that_it_is_asked_for() -> None:
    (
        paid()
        .when(reopen(300))
        .then(requested(300), invoice_reopened(300))
        .then_posts(debit(RECEIVABLE, usd(300)), credit(REFUNDS_PAYABLE, usd(300)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.OPEN, amount_due=usd(300), amount_paid=usd(1_000))
        .then_shows(INVOICE, INVOICE_ID, amount_reopened=usd(300), paid_at=None)
        .then_shows(INVOICE, INVOICE_ID, collection_status=CollectionStatus.NOT_APPLICABLE)
        .then_shows(PAYMENT, PAYMENT_ID, allowed=usd(0), refundable=usd(700))
        .when(SUCCEED)
        .then_posts(debit(REFUNDS_PAYABLE, usd(300)), credit(GATEWAY_CLEARING, usd(300)))
        .then_shows(INVOICE, INVOICE_ID, amount_due=usd(300))
    )


def test_its_payment_frees_the_invoice_so_that_it_can_be_paid_again() -> None:
    """Of a captured payment nothing holds the invoice any more; that it is paid keeps others from charging it."""
    (
        paid()
        .and_then(reopen(300), SUCCEED)
        .when(PAY_AGAIN)
        .then_claims(Claimed("invoice.live_payment", INVOICE_ID, OTHER_PAYMENT_ID))
        .then_shows(PAYMENT, OTHER_PAYMENT_ID, amount=usd(300), status=PaymentStatus.PROCESSING)
        .when(PAID_AGAIN)
        .then_posts(debit(GATEWAY_CLEARING, usd(300)), credit(RECEIVABLE, usd(300)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0), amount_paid=usd(1_300))
        .then_shows(INVOICE, INVOICE_ID, paid_by=(PAYMENT_ID, OTHER_PAYMENT_ID))
    )


def test_the_collection_that_its_finalization_promised_is_not_done_again() -> None:
    collect = CollectInvoice(invoice_id=INVOICE_ID, payment_id=COLLECTION)
    on_the_way = RecordPaymentCaptured(payment_id=COLLECTION, attempt=1, gateway_payment_id="gw_1")
    back = RequestRefund(refund_id=REFUND_ID, payment_id=COLLECTION, treatment=RefundTreatment.REOPEN)
    story = given(*customer_with_card(), invoice_finalized(), collect, on_the_way, back)
    story.when(collect).then_refused(PaymentAlreadyExists)


def test_all_of_it_is_due_again_and_what_was_paid_on_is_credited_not_voided() -> None:
    story = paid().and_then(reopen(), SUCCEED)
    story.when(VoidInvoice(invoice_id=INVOICE_ID)).then_refused(InvoiceIsPartlyPaid)
    (
        story.when(credited(1_000))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0), amount_given_back=usd(0))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


def test_what_was_paid_above_goes_back_first_and_is_not_due_again() -> None:
    part = PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(300))
    (
        under_way()
        .and_then(part, capture())
        .when(reopen(400))
        .then(requested(400, from_balance=300), invoice_reopened(100), balance_drawn(300, refund_id=REFUND_ID))
        .then_shows(INVOICE, INVOICE_ID, amount_due=usd(100))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


def test_what_was_written_off_and_recovered_is_written_off_again() -> None:
    (
        under_way()
        .and_then(WRITE_OFF, capture())
        .when(reopen(300))
        .then_posts(debit(BAD_DEBT, usd(300)), credit(REFUNDS_PAYABLE, usd(300)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.UNCOLLECTIBLE, amount_due=usd(300))
        .when(FAIL)
        .then(failed(300), invoice_recovered(300), invoice_refund_failed(300), invoice_paid(payment_id=None, amount=0))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0))
    )


def test_vector_26_with_a_credit_note_of_as_much_it_is_not_due_again() -> None:
    """In whichever order, and whether the credit note gives it back itself."""
    again = id_of("re_", 2)
    for before, last in (
        (reopen(100, again), credited(100)),
        (credited(100), reopen(100, again)),
        (credited(300), reopen(300, again)),
    ):
        story = paid().and_then(reopen(300), before).when(last)
        story.then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.OPEN, amount_due=usd(300))
    (
        paid()
        .when(credited(300, give_back=GiveBack.REFUND))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0))
    )


# --- what the gateway does not return --------------------------------------------------------------------------------


def test_a_refund_that_fails_pays_the_invoice_again() -> None:
    (
        paid()
        .and_then(reopen(300))
        .when(FAIL)
        .then(failed(300), invoice_refund_failed(300), invoice_paid(payment_id=None, amount=0))
        .then_posts(debit(REFUNDS_PAYABLE, usd(300)), credit(RECEIVABLE, usd(300)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0), amount_reopened=usd(0))
        .then_shows(PAYMENT, PAYMENT_ID, refundable=usd(1_000))
    )


@pytest.mark.parametrize(
    ("meanwhile", "surplus"),
    [([BY_WIRE], 300), ([PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(200))], 200), ([credited(300)], 300)],
)
def test_what_of_it_is_not_due_any_more_by_then_is_the_customers_balance(
    meanwhile: list[Command], surplus: int
) -> None:
    story = paid().and_then(reopen(300), *meanwhile).when(FAIL)
    (
        story.then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(surplus))
        .then_shows(PAYMENT, PAYMENT_ID, surplus=usd(surplus))
    )
    again = RequestRefund(refund_id=id_of("re_", 2), payment_id=PAYMENT_ID, amount=usd(surplus))
    (
        story.when(again)
        .then_posts(debit(CUSTOMER_BALANCE, usd(surplus)), credit(REFUNDS_PAYABLE, usd(surplus)))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


def test_a_payment_that_is_under_way_for_what_was_due_is_given_up() -> None:
    story = paid().and_then(reopen(300), PAY_AGAIN).when(FAIL)
    story.then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID)
    given_up = story.books.states["payment", OTHER_PAYMENT_ID].cancellation
    assert given_up is not None
    assert given_up.ends_payment


def test_paid_by_wire_meanwhile_it_posts_to_cash_and_then_to_the_balance() -> None:
    (
        paid()
        .and_then(reopen(300))
        .when(BY_WIRE)
        .then_posts(debit(CASH, usd(300)), credit(RECEIVABLE, usd(300)))
        .when(FAIL)
        .then(failed(300, 300), invoice_refund_failed(0, surplus=300), balance_credited(300, refund_id=REFUND_ID))
        .then_posts(debit(REFUNDS_PAYABLE, usd(300)), credit(CUSTOMER_BALANCE, usd(300)))
    )


# --- refused -----------------------------------------------------------------------------------------------------


def test_only_what_pays_an_invoice_makes_one_due_again() -> None:
    alone = CreatePayment(payment_id=PAYMENT_ID, customer_id=CUSTOMER_ID, amount=usd(1_000), confirm=True)
    given(*customer_with_card(), alone, capture()).when(reopen(300)).then_refused(NothingToReopen, payment=PAYMENT_ID)
    paid().and_then(credited(300)).when(reopen(300, from_balance=True)).then_refused(NothingToReopen)


def test_what_was_given_back_otherwise_is_not_due_again_as_well() -> None:
    spent = balance_drawn(400)
    story = paid().and_then(credited(400), spent)
    story.when(reopen(700)).then_refused(ReopensMoreThanPaid, wanted=700, paid=600)
    story.when(reopen(600)).then_shows(INVOICE, INVOICE_ID, amount_due=usd(600))
    (
        paid()
        .and_then(refund(400))
        .when(reopen(600, id_of("re_", 2)))
        .then_shows(INVOICE, INVOICE_ID, amount_due=usd(600))
        .then_shows(PAYMENT, PAYMENT_ID, allowed=usd(400))
    )


def test_what_is_due_again_is_not_given_back_by_a_credit_note() -> None:
    """It lowers what is due first; of what allowances returned nothing is given back a second time."""
    (
        paid()
        .and_then(reopen(400))
        .when(credited(700))
        .then_shows(INVOICE, INVOICE_ID, amount_due=usd(0), amount_given_back=usd(300))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(300))
    )
    story = paid().and_then(reopen(400), refund(500, id_of("re_", 2)))
    story.when(credited(1_000)).then_refused(CreditAlreadyRefunded, wanted=600, left=100)


def test_a_credit_note_is_refunded_by_the_payment_that_can_return_most() -> None:
    story = paid().and_then(reopen(300), SUCCEED, PAY_AGAIN, PAID_AGAIN)
    (
        story.when(credited(800, give_back=GiveBack.REFUND))
        .then_shows(PAYMENT, PAYMENT_ID, refundable=usd(0))
        .then_shows(PAYMENT, OTHER_PAYMENT_ID, refundable=usd(300))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(100))
    )


def test_an_allowance_stays_one_beside_it() -> None:
    (
        paid()
        .and_then(reopen(300))
        .when(refund(200, id_of("re_", 2)))
        .then_posts(debit(ALLOWANCES, usd(200)), credit(REFUNDS_PAYABLE, usd(200)))
        .then_shows(INVOICE, INVOICE_ID, amount_due=usd(300))
    )
