"""Specifications of what is put right on an invoice: a mistaken payment is reversed, a balance is applied."""

import pytest

from domain.customers.customer import CUSTOMER, NotCustomersCurrency
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_note import IssueCreditNote
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.settlement import (
    ApplyCustomerBalance,
    InvalidPaymentAmount,
    InvoiceIsCredited,
    MarkInvoiceUncollectible,
    NothingToApply,
    NotPaidOutOfBand,
    PayInvoiceOutOfBand,
    ReversePaymentOutOfBand,
    SurplusIsSpent,
)
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import BAD_DEBT, CASH, CUSTOMER_BALANCE, RECEIVABLE
from domain.kernel.money import Money
from domain.kernel.stream import Command, Event
from domain.payments.commands import CollectInvoice
from domain.payments.payment import PAYMENT
from testing.examples.streams import (
    BY_CHARGE,
    CUSTOMER_ID,
    EUR,
    INVOICE_ID,
    PAYMENT_ID,
    balance_credited,
    balance_drawn,
    create_customer,
    credit,
    customer_with_card,
    debit,
    draft,
    id_of,
    invoice_balance_applied,
    invoice_finalized,
    invoice_paid,
    invoice_payment_reversed,
    invoice_recovered,
    number_taken,
    usd,
)
from testing.specification import Given, given

PAY_ALL = PayInvoiceOutOfBand(invoice_id=INVOICE_ID)
REVERSE = ReversePaymentOutOfBand(invoice_id=INVOICE_ID)
APPLY = ApplyCustomerBalance(invoice_id=INVOICE_ID)
GIVE_UP = MarkInvoiceUncollectible(invoice_id=INVOICE_ID)
VOID = VoidInvoice(invoice_id=INVOICE_ID)
NEXT_INVOICE = id_of("in_", 2)


def pay(amount: int) -> PayInvoiceOutOfBand:
    return PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(amount))


def reverse(amount: int) -> ReversePaymentOutOfBand:
    return ReversePaymentOutOfBand(invoice_id=INVOICE_ID, amount=usd(amount))


def opened(*facts: Event | Command) -> Given:
    """An open invoice of 10.00 of a customer."""
    return given(create_customer(), number_taken(), invoice_finalized(), *facts)


# --- reversed ----------------------------------------------------------------------------------------------------


def test_a_payment_that_was_recorded_by_mistake_is_due_again_and_its_surplus_is_no_balance() -> None:
    (
        opened(pay(10_000))
        .when(REVERSE)
        .then(invoice_payment_reversed(1_000, surplus=9_000), balance_drawn(9_000))
        .then_posts(debit(RECEIVABLE, usd(1_000)), debit(CUSTOMER_BALANCE, usd(9_000)), credit(CASH, usd(10_000)))
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.OPEN,
            amount_paid=usd(0),
            amount_overpaid=usd(0),
            amount_due=usd(1_000),
            paid_at=None,
        )
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


def test_what_came_above_what_was_due_is_reversed_first() -> None:
    (
        opened(pay(10_000))
        .when(reverse(9_000))
        .then(invoice_payment_reversed(0, surplus=9_000), balance_drawn(9_000))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_paid=usd(1_000), amount_overpaid=usd(0))
    )


def test_a_part_is_reversed_and_the_invoice_may_be_paid_or_voided_again() -> None:
    opened(pay(300), pay(200)).when(reverse(200)).then(invoice_payment_reversed(200))
    opened(PAY_ALL, reverse(400)).when(PAY_ALL).then(invoice_paid(payment_id=None, amount=400))
    opened(pay(300), REVERSE).when(VOID).then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.VOID)


def test_what_was_recovered_is_written_off_again() -> None:
    (
        opened(GIVE_UP, PAY_ALL)
        .when(REVERSE)
        .then(invoice_payment_reversed(1_000))
        .then_posts(debit(BAD_DEBT, usd(1_000)), credit(CASH, usd(1_000)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.UNCOLLECTIBLE, amount_due=usd(1_000))
    )


def test_no_more_is_reversed_than_came_out_of_band() -> None:
    opened().when(REVERSE).then_refused(NotPaidOutOfBand, recorded=0)
    opened().when(REVERSE).then_tells("refunded")
    opened(pay(300)).when(reverse(301)).then_refused(NotPaidOutOfBand, wanted=301, recorded=300)
    opened(pay(300), REVERSE).when(REVERSE).then_refused(NotPaidOutOfBand, recorded=0)
    opened(invoice_paid()).when(REVERSE).then_refused(NotPaidOutOfBand, recorded=0)


@pytest.mark.parametrize(
    ("amount", "refusal"),
    [(usd(0), InvalidPaymentAmount), (usd(-1), InvalidPaymentAmount), (Money(300, EUR), NotCustomersCurrency)],
)
def test_what_is_reversed_is_more_than_nothing_and_in_the_invoices_currency(
    amount: Money, refusal: type[InvalidPaymentAmount | NotCustomersCurrency]
) -> None:
    command = ReversePaymentOutOfBand(invoice_id=INVOICE_ID, amount=amount)
    opened(pay(300)).when(command).then_refused(refusal)


def test_a_surplus_that_was_spent_is_not_reversed() -> None:
    spent = opened(pay(1_500), draft(invoice_id=NEXT_INVOICE), FinalizeInvoice(invoice_id=NEXT_INVOICE))
    spent.when(REVERSE).then_refused(SurplusIsSpent, surplus=500, balance=0)
    other = draft(invoice_id=NEXT_INVOICE), FinalizeInvoice(invoice_id=NEXT_INVOICE)
    opened(pay(1_500), *other, VoidInvoice(invoice_id=NEXT_INVOICE)).when(REVERSE).then(
        invoice_payment_reversed(1_000, surplus=500), balance_drawn(500)
    )


def test_what_a_credit_note_gave_back_is_not_reversed_as_well() -> None:
    credited = IssueCreditNote(credit_note_id=id_of("cn_"), invoice_id=INVOICE_ID, amount=usd(400))
    opened(PAY_ALL, credited).when(REVERSE).then_refused(InvoiceIsCredited, credited=400)


# --- applied -----------------------------------------------------------------------------------------------------


def test_the_balance_pays_of_an_open_invoice_what_it_can() -> None:
    (
        opened(balance_credited(300))
        .when(APPLY)
        .then(invoice_balance_applied(300), balance_drawn(300))
        .then_posts(debit(CUSTOMER_BALANCE, usd(300)), credit(RECEIVABLE, usd(300)))
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.OPEN,
            amount_applied=usd(300),
            amount_paid=usd(0),
            amount_due=usd(700),
        )
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


def test_an_open_invoice_that_the_balance_pays_is_paid_and_gives_it_back_to_no_one() -> None:
    (
        opened(balance_credited(1_200))
        .when(APPLY)
        .then(invoice_balance_applied(1_000), invoice_paid(payment_id=None, amount=0), balance_drawn(1_000))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(200))
    )
    opened(balance_credited(1_200), APPLY).when(REVERSE).then_refused(NotPaidOutOfBand)


def test_a_void_invoice_gives_back_what_was_applied_to_it() -> None:
    opened(balance_credited(300), APPLY).when(VOID).then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(300))


def test_what_was_written_off_is_recovered_by_the_balance() -> None:
    (
        opened(GIVE_UP, balance_credited(300))
        .when(APPLY)
        .then(invoice_recovered(300), invoice_balance_applied(300), balance_drawn(300))
        .then_posts(
            debit(RECEIVABLE, usd(300)),
            credit(BAD_DEBT, usd(300)),
            debit(CUSTOMER_BALANCE, usd(300)),
            credit(RECEIVABLE, usd(300)),
        )
    )


def test_the_balance_is_applied_only_where_there_is_one_and_something_is_due() -> None:
    opened().when(APPLY).then_refused(NothingToApply, invoice=INVOICE_ID)
    opened(pay(1_100)).when(APPLY).then_refused(InvoiceNotOpen, status="paid")
    given(create_customer(), draft()).when(APPLY).then_refused(InvoiceNotOpen, status="draft")


def test_the_balance_pays_before_we_charge_anything() -> None:
    collect = CollectInvoice(invoice_id=INVOICE_ID, payment_id=PAYMENT_ID)
    to_collect = *customer_with_card(), draft(collection=BY_CHARGE), FinalizeInvoice(invoice_id=INVOICE_ID)
    given(*to_collect, balance_credited(300)).when(collect).then_shows(PAYMENT, PAYMENT_ID, amount=usd(700))
    (
        given(*to_collect, balance_credited(1_000))
        .when(collect)
        .then(invoice_balance_applied(1_000), invoice_paid(payment_id=None, amount=0), balance_drawn(1_000))
    )
