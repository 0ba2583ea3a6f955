"""Invoices of another system are brought in with what is due on them, against opening balances."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.catalog.price import BillingTiming
from domain.customers.customer import CustomerNotFound, NotCustomersCurrency
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.imported import (
    ImportedNumberTaken,
    ImportInvoice,
    ImportInvoicePayment,
    InvoiceNotImported,
    NotYet,
    PaidAboveDue,
)
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.settlement import InvalidPaymentAmount, PayInvoiceOutOfBand
from domain.invoicing.state import Invoice
from domain.kernel.accounts import BAD_DEBT, CASH, CUSTOMER_BALANCE, OPENING_BALANCES, RECEIVABLE
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal
from processors.invariants.findings import Findings, Invariant
from processors.invariants.invoices import Invoices
from testing.examples.streams import (
    CUSTOMER_ID,
    EUR,
    INVOICE_ID,
    USD,
    balance_credited,
    create_customer,
    credit,
    debit,
    invoice_finalized,
    invoice_imported,
    invoice_paid,
    invoice_partly_paid,
    invoice_payment_imported,
    invoice_uncollectible,
    invoice_voided,
    line,
    usd,
)
from testing.specification import NOW, given


def importing(**changes: Any) -> ImportInvoice:
    facts: dict[str, Any] = {
        "invoice_id": INVOICE_ID,
        "customer_id": CUSTOMER_ID,
        "number": "OLD-1",
        "currency": USD,
        "lines": (line(1_000, BillingTiming.IN_ARREARS),),
        "amount_paid": None,
        "issued_at": NOW,
        "due_at": NOW,
        "paid_at": None,
    }
    return ImportInvoice(**facts | changes)


def paying(amount: int, **changes: Any) -> ImportInvoicePayment:
    facts: dict[str, Any] = {"invoice_id": INVOICE_ID, "amount": usd(amount), "reference": None, "paid_at": NOW}
    return ImportInvoicePayment(**facts | changes)


def in_euros() -> ImportInvoicePayment:
    return ImportInvoicePayment(invoice_id=INVOICE_ID, amount=Money(1, EUR), reference=None, paid_at=NOW)


def test_an_open_invoice_is_owed_against_opening_balances() -> None:
    (
        given(create_customer())
        .when(importing())
        .then(invoice_imported())
        .then_posts(debit(RECEIVABLE, usd(1_000)), credit(OPENING_BALANCES, usd(1_000)))
    )


def test_what_was_paid_there_is_not_owed_here() -> None:
    (
        given(create_customer())
        .when(importing(amount_paid=usd(300)))
        .then(invoice_imported(), invoice_payment_imported(300))
        .then_posts(
            debit(RECEIVABLE, usd(1_000)),
            credit(OPENING_BALANCES, usd(1_000)),
            debit(OPENING_BALANCES, usd(300)),
            credit(RECEIVABLE, usd(300)),
        )
    )


def test_one_that_came_to_nothing_is_paid() -> None:
    free = (line(0, BillingTiming.IN_ARREARS),)
    (
        given(create_customer())
        .when(importing(lines=free))
        .then(invoice_imported(0), invoice_payment_imported(0))
        .then_posts()
    )


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"customer_id": "cus_nobody"}, CustomerNotFound),
        ({"amount_paid": usd(1_001)}, PaidAboveDue),
        ({"amount_paid": Money(1, EUR)}, NotCustomersCurrency),
        ({"issued_at": NOW + timedelta(days=1)}, NotYet),
        ({"amount_paid": usd(1), "paid_at": NOW + timedelta(days=1)}, NotYet),
    ],
)
def test_what_cannot_have_been_is_refused(changes: dict[str, Any], refusal: type[Refusal]) -> None:
    given(create_customer()).when(importing(**changes)).then_refused(refusal)


def test_a_number_is_imported_once() -> None:
    (
        given(create_customer(), invoice_imported())
        .when(importing(invoice_id="in_other"))
        .then_refused(ImportedNumberTaken)
    )


def test_payments_that_came_there_pay_it() -> None:
    (
        given(create_customer(), invoice_imported(), invoice_payment_imported(400, "r1"))
        .when(paying(600, reference="r2"))
        .then(invoice_payment_imported(600, "r2"))
        .then_posts(debit(OPENING_BALANCES, usd(600)), credit(RECEIVABLE, usd(600)))
    )


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (paying(0), InvalidPaymentAmount),
        (paying(1_001), PaidAboveDue),
        (paying(1, paid_at=NOW + timedelta(seconds=1)), NotYet),
        (in_euros(), NotCustomersCurrency),
    ],
)
def test_a_payment_that_cannot_have_come_is_refused(command: ImportInvoicePayment, refusal: type[Refusal]) -> None:
    given(create_customer(), invoice_imported()).when(command).then_refused(refusal)


def test_one_that_is_paid_takes_no_more() -> None:
    (
        given(create_customer(), invoice_imported(), invoice_payment_imported())
        .when(paying(1))
        .then_refused(InvoiceNotOpen)
    )


def test_what_was_billed_here_is_paid_here() -> None:
    given(create_customer(), invoice_finalized()).when(paying(1)).then_refused(InvoiceNotImported)


def test_it_is_paid_here_like_any_other() -> None:
    (
        given(create_customer(), invoice_imported(), invoice_payment_imported(300))
        .when(PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(900)))
        .then(invoice_paid(None, 700, surplus=200), balance_credited(200))
        .then_posts(
            debit(CASH, usd(900)),
            credit(RECEIVABLE, usd(700)),
            credit(CUSTOMER_BALANCE, usd(200)),
        )
    )


def test_void_it_takes_back_what_was_opened_with() -> None:
    (
        given(create_customer(), invoice_imported())
        .when(VoidInvoice(invoice_id=INVOICE_ID))
        .then(invoice_voided())
        .then_posts(debit(OPENING_BALANCES, usd(1_000)), credit(RECEIVABLE, usd(1_000)))
    )


def test_void_after_it_was_written_off_it_is_bad_debt_no_more() -> None:
    (
        given(create_customer(), invoice_imported(), invoice_uncollectible())
        .when(VoidInvoice(invoice_id=INVOICE_ID))
        .then(invoice_voided())
        .then_posts(debit(OPENING_BALANCES, usd(1_000)), credit(BAD_DEBT, usd(1_000)))
    )


ENDS = st.sampled_from(["paid", "written off", "void", "open"])


@for_all(total=st.integers(0, 10**6), there=st.integers(0, 10**6), here=st.integers(0, 10**6), end=ENDS)
def test_the_books_say_of_it_what_it_says(total: int, there: int, here: int, end: str) -> None:
    """I8 on every way that an imported invoice can go."""
    there = min(there, total)
    here = min(here, total - there)
    events: list[Any] = [invoice_imported(total)]
    if there or not total:
        events.append(invoice_payment_imported(there))
    if 0 < here < total - there:
        events.append(invoice_partly_paid(here))
    due = total - there - (here if here < total - there else 0)
    if due and end == "paid":
        events.append(invoice_paid(None, due))
    if due and end == "written off":
        events.append(invoice_uncollectible(due))
    if due == total and due and end == "void":
        events.append(invoice_voided())
    state: Invoice | None = None
    findings = Findings(Invariant.DOCUMENTS)
    books = Invoices(findings)
    for event in events:
        state = INVOICE.evolve(state, event)
        entry = INVOICE.postings(event, state)
        if entry is not None:
            books.post(("acme", INVOICE_ID), entry)
    assert state is not None
    books.settle(("acme", INVOICE_ID), state)
    assert findings.checked().holds, findings.checked()
