"""Credit notes: what they credit, where that goes, and when they can be taken back."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.approvals.approval import GrantApproval, RefundAskedFor, RequestApproval
from domain.catalog.price import BillingTiming
from domain.customers.customer import CUSTOMER
from domain.customers.tax_location import TaxLocation
from domain.invoicing.credit_amounts import CreditExceedsLine, NothingToCredit
from domain.invoicing.credit_note import (
    MAX_CREDIT_NOTES,
    CreditAlreadyRefunded,
    CreditExceedsInvoice,
    CreditNoteAlreadyExists,
    CreditNoteNotFound,
    CreditNoteNotVoidable,
    GiveBack,
    GivenBackStatus,
    InvalidCredit,
    InvoiceLineNotFound,
    InvoiceNotCreditable,
    IssueCreditNote,
    NothingToRefund,
    TooManyCreditNotes,
    VoidCreditNote,
    WantedCredit,
    named,
)
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import LineTax, TaxFacts, TaxTotal
from domain.invoicing.settlement import InvoiceIsCredited, MarkInvoiceUncollectible, PayInvoiceOutOfBand
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import (
    BAD_DEBT,
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    RECEIVABLE,
    REFUNDS_PAYABLE,
    REVENUE,
    TAX_PAYABLE,
)
from domain.kernel.accounts import credit as credit_of
from domain.kernel.accounts import debit as debit_of
from domain.kernel.identifiers import REFUND, derived_id
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundStatus
from domain.payments.refund_commands import (
    BalanceTooLow,
    NotPaidOutByThis,
    RecordRefundFailed,
    RecordRefundSucceeded,
    RefundExceedsPayment,
    RequestRefund,
)
from domain.tax.computation import TaxShare, TaxTreatment
from testing.examples.approvals import ADA, APPROVAL_ID, BOB
from testing.examples.payments import capture
from testing.examples.streams import (
    BY_HAND,
    CUSTOMER_ID,
    INVOICE_ID,
    PAYMENT_ID,
    REFUND_ID,
    attempt_requested,
    balance_drawn,
    credit,
    customer_with_card,
    debit,
    id_of,
    invoice_finalized,
    invoice_payment_started,
    line,
    payment_captured,
    payment_created,
    usd,
)
from testing.specification import NOW, Claimed, Given, given

NOTE_ID, OTHER_NOTE_ID = id_of("cn_"), id_of("cn_", 2)
LINE_ID, OTHER_LINE_ID = id_of("il_", 7), id_of("il_", 8)
RATE_ID = id_of("txr_")
NOTE_REFUND_ID = derived_id(REFUND, NOTE_ID, "refund")


def billed(amount: int, line_id: str = LINE_ID, **changes: Any) -> InvoiceLine:
    return replace(line(), line_id=line_id, amount=usd(amount), **changes)


def issue(credit_note_id: str = NOTE_ID, **changes: Any) -> IssueCreditNote:
    return IssueCreditNote(credit_note_id=credit_note_id, invoice_id=INVOICE_ID, **changes)


def void(credit_note_id: str = NOTE_ID) -> VoidCreditNote:
    return VoidCreditNote(credit_note_id=credit_note_id, invoice_id=INVOICE_ID)


def open_invoice(*lines: InvoiceLine, **changes: Any) -> Given:
    return given(*customer_with_card(), invoice_finalized(*lines, collection=BY_HAND, **changes))


def paid_by_hand(*lines: InvoiceLine, **changes: Any) -> Given:
    return open_invoice(*lines, **changes).and_then(PayInvoiceOutOfBand(invoice_id=INVOICE_ID))


def paid_by_card() -> Given:
    return given(
        *customer_with_card(),
        invoice_finalized(collection=BY_HAND),
        payment_created(),
        attempt_requested(),
        invoice_payment_started(),
        capture(),
    )


def taxed(amounts: tuple[int, ...] = (6_833, 6_833), taxes: tuple[int, ...] = (1_367, 1_366)) -> dict[str, Any]:
    """Vector 25's invoice: two lines at 20 %."""
    lines = tuple(
        billed(
            amount,
            line_id,
            tax_inclusive=False,
            tax=LineTax(
                treatment=TaxTreatment.TAXED,
                net=usd(amount),
                total=usd(amount + tax),
                shares=(TaxShare(RATE_ID, usd(tax)),),
            ),
        )
        for amount, tax, line_id in zip(amounts, taxes, (LINE_ID, OTHER_LINE_ID), strict=True)
    )
    total = TaxTotal(
        jurisdiction="DE",
        treatment=TaxTreatment.TAXED,
        rate_id=RATE_ID,
        kind="vat",
        category=None,
        percent=Decimal(20),
        taxable=usd(sum(amounts)),
        tax=usd(sum(taxes)),
    )
    return {"lines": lines, "total": usd(sum(amounts) + sum(taxes)), "tax": facts(total)}


def facts(total: TaxTotal) -> TaxFacts:
    return TaxFacts(
        seller_country="DE",
        registration_id=None,
        seller_number=None,
        place=TaxLocation(country="DE"),
        is_assumed=False,
        is_exempt=False,
        vat_id_country=None,
        buyer_reference=None,
        totals=(total,),
    )


# --- what is due falls first -------------------------------------------------------------------------------------


def test_a_credit_note_lowers_what_is_due_and_takes_back_the_revenue() -> None:
    (
        open_invoice(billed(1_000))
        .when(issue(lines=(WantedCredit(line_id=LINE_ID, amount=usd(300)),), reason="Too much"))
        .then_posts(debit(DEFERRED_REVENUE, usd(300)), credit(RECEIVABLE, usd(300)))
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.OPEN,
            amount_due=usd(700),
            amount_credited=usd(300),
            amount_given_back=usd(0),
        )
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
        .then_claims(Claimed("invoice.credit_note", NOTE_ID, INVOICE_ID))
    )


def test_an_invoice_of_which_all_that_is_due_is_credited_is_paid() -> None:
    (
        open_invoice(billed(1_000))
        .and_then(PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(400)))
        .when(issue(amount=usd(600)))
        .then_posts(debit(DEFERRED_REVENUE, usd(600)), credit(RECEIVABLE, usd(600)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0), amount_paid=usd(400))
    )


def test_what_was_paid_is_given_back_to_the_balance_and_what_was_not_falls() -> None:
    (
        open_invoice(billed(1_000))
        .and_then(PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(400)))
        .when(issue())
        .then_posts(
            debit(DEFERRED_REVENUE, usd(1_000)), credit(RECEIVABLE, usd(600)), credit(CUSTOMER_BALANCE, usd(400))
        )
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0), amount_given_back=usd(400))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(400))
    )


def test_of_an_invoice_that_was_written_off_a_credit_takes_the_loss_back() -> None:
    """So the tax of it is not owed any more: writing off alone does not do that."""
    (
        open_invoice(billed(1_000))
        .and_then(MarkInvoiceUncollectible(invoice_id=INVOICE_ID))
        .when(issue(amount=usd(250)))
        .then_posts(debit(DEFERRED_REVENUE, usd(250)), credit(BAD_DEBT, usd(250)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.UNCOLLECTIBLE, amount_due=usd(750))
    )


# --- vectors -----------------------------------------------------------------------------------------------------


def test_vector_25_each_line_is_credited_with_its_own_share_of_the_tax() -> None:
    invoice = taxed()
    (
        open_invoice(*invoice["lines"], total=invoice["total"], tax=invoice["tax"])
        .when(issue(lines=(WantedCredit(line_id=LINE_ID),)))
        .then_posts(
            debit(DEFERRED_REVENUE, usd(6_833)),
            debit_of(TAX_PAYABLE, usd(1_367), CUSTOMER_ID, "DE"),
            credit(RECEIVABLE, usd(8_200)),
        )
    )
    (
        open_invoice(*invoice["lines"], total=invoice["total"], tax=invoice["tax"])
        .and_then(issue(lines=(WantedCredit(line_id=LINE_ID),)))
        .when(issue(OTHER_NOTE_ID, lines=(WantedCredit(line_id=OTHER_LINE_ID),)))
        .then_posts(
            debit(DEFERRED_REVENUE, usd(6_833)),
            debit_of(TAX_PAYABLE, usd(1_366), CUSTOMER_ID, "DE"),
            credit(RECEIVABLE, usd(8_199)),
        )
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_credited=usd(16_399))
    )


def test_vector_26_a_refund_with_a_credit_note_changes_nothing_of_what_is_due() -> None:
    (
        paid_by_card()
        .when(issue(amount=usd(100), give_back=GiveBack.REFUND))
        .then_posts(
            debit(DEFERRED_REVENUE, usd(100)),
            credit(CUSTOMER_BALANCE, usd(100)),
            debit(CUSTOMER_BALANCE, usd(100)),
            credit(REFUNDS_PAYABLE, usd(100)),
        )
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


# --- parts -------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_line_sum_to_it_and_the_last_takes_the_remainder() -> None:
    """100.00 with 19.99 of tax, in three thirds of its quantity of 3."""
    invoice = taxed((10_000, 1), (1_999, 0))
    lines = (replace(invoice["lines"][0], quantity=Decimal(3)), invoice["lines"][1])
    story = open_invoice(*lines, total=invoice["total"], tax=invoice["tax"])
    third = (WantedCredit(line_id=LINE_ID, quantity=Decimal(1)),)
    for nth, credited in ((1, 3_333 + 666), (2, 6_667 + 1_333), (3, 10_000 + 1_999)):
        asked = issue(id_of("cn_", nth), lines=third)
        story = story.when(asked).then_shows(INVOICE, INVOICE_ID, amount_credited=usd(credited))
    story.when(issue(id_of("cn_", 9), lines=third)).then_refused(CreditExceedsLine).then_is_about("lines.0.quantity")


def test_a_part_of_the_whole_credits_each_line_in_proportion_deductions_too() -> None:
    lines = (billed(1_000), billed(-400, OTHER_LINE_ID))
    result = open_invoice(*lines).when(issue(amount=usd(300)))
    result.then_posts(debit(DEFERRED_REVENUE, usd(300)), credit(RECEIVABLE, usd(300)))
    (note,) = result.books.states[INVOICE.name, INVOICE_ID].credit_notes
    assert [each.net for each in note.credited.lines] == [usd(500), usd(-200)]


def test_no_more_is_credited_than_the_whole_comes_to_even_where_a_line_has_more() -> None:
    lines = (billed(1_000), billed(-400, OTHER_LINE_ID))
    (
        open_invoice(*lines)
        .when(issue(lines=(WantedCredit(line_id=LINE_ID),)))
        .then_refused(CreditExceedsInvoice, invoice=INVOICE_ID, wanted=1_000, left=600)
    )


@pytest.mark.parametrize(
    ("changes", "refusal", "path"),
    [
        ({"lines": (WantedCredit(line_id=LINE_ID, amount=usd(1_001)),)}, CreditExceedsLine, "lines.0.amount"),
        ({"lines": (WantedCredit(line_id=LINE_ID, amount=usd(-1)),)}, CreditExceedsLine, "lines.0.amount"),
        ({"lines": (WantedCredit(line_id=LINE_ID, quantity=Decimal(2)),)}, CreditExceedsLine, "lines.0.quantity"),
        ({"lines": (WantedCredit(line_id=LINE_ID, amount=usd(0)),)}, NothingToCredit, "amount"),
        ({"lines": (WantedCredit(line_id=id_of("il_", 99)),)}, InvoiceLineNotFound, "lines.0.line"),
        (
            {"lines": (WantedCredit(line_id=LINE_ID, amount=usd(1), quantity=Decimal(1)),)},
            InvalidCredit,
            "lines.0.amount",
        ),
        ({"lines": (WantedCredit(line_id=LINE_ID, amount=usd(1)),) * 2}, InvalidCredit, "lines.1.line"),
        ({"lines": (WantedCredit(line_id=LINE_ID),), "amount": usd(5)}, InvalidCredit, "amount"),
        ({"amount": usd(1_001)}, CreditExceedsInvoice, "amount"),
        ({"amount": usd(0)}, InvalidCredit, "amount"),
    ],
)
def test_what_cannot_be_credited_is_refused_by_the_field_that_is_wrong(
    changes: dict[str, Any], refusal: Any, path: str
) -> None:
    open_invoice(billed(1_000)).when(issue(**changes)).then_refused(refusal).then_is_about(path)


def test_nothing_is_left_once_all_is_credited() -> None:
    story = open_invoice(billed(1_000)).and_then(issue())
    story.when(issue(OTHER_NOTE_ID)).then_refused(NothingToCredit)
    story.when(issue(OTHER_NOTE_ID, amount=usd(1))).then_refused(CreditExceedsInvoice).then_tells("Nothing is left")
    story.when(issue()).then_refused(CreditNoteAlreadyExists)


def test_a_void_invoice_is_not_credited() -> None:
    (
        open_invoice(billed(1_000))
        .and_then(VoidInvoice(invoice_id=INVOICE_ID))
        .when(issue())
        .then_refused(InvoiceNotCreditable, invoice=INVOICE_ID, status="void")
    )


def test_an_invoice_has_no_more_credit_notes_than_its_state_may_hold() -> None:
    story = open_invoice(billed(1_000))
    for nth in range(MAX_CREDIT_NOTES):
        story = story.and_then(issue(id_of("cn_", 100 + nth), amount=usd(1)))
    story.when(issue(amount=usd(1))).then_refused(TooManyCreditNotes, invoice=INVOICE_ID)


# --- the refund --------------------------------------------------------------------------------------------------


def refunded() -> Given:
    return paid_by_card().and_then(issue(amount=usd(400), give_back=GiveBack.REFUND))


def status_of(story: Given) -> tuple[GivenBackStatus | None, int, int]:
    note = named(story.books.states[INVOICE.name, INVOICE_ID].credit_notes, NOTE_ID)
    return note.refund_status, note.refunded.amount, note.to_balance.amount


def test_a_refund_that_succeeds_is_shown_by_its_credit_note() -> None:
    succeeded = RecordRefundSucceeded(refund_id=NOTE_REFUND_ID, payment_id=PAYMENT_ID, gateway_refund_id="gw_re")
    result = refunded().when(succeeded).then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    assert status_of(result) == (GivenBackStatus.SUCCEEDED, 400, 0)


def test_a_refund_that_fails_leaves_the_money_as_the_customers_balance_and_can_be_asked_for_again() -> None:
    failed = RecordRefundFailed(
        refund_id=NOTE_REFUND_ID, payment_id=PAYMENT_ID, failure_code=DeclineCode.ACCOUNT_CLOSED
    )
    result = refunded().when(failed)
    result.then_posts(debit(REFUNDS_PAYABLE, usd(400)), credit(CUSTOMER_BALANCE, usd(400)))
    result.then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(400))
    assert status_of(result) == (GivenBackStatus.FAILED, 0, 400)
    again = RequestRefund(refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=usd(400))
    (
        refunded()
        .and_then(failed)
        .when(again)
        .then_posts(debit(CUSTOMER_BALANCE, usd(400)), credit(REFUNDS_PAYABLE, usd(400)))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


def test_what_was_credited_to_the_balance_is_refunded_from_there_not_as_an_allowance() -> None:
    (
        paid_by_card()
        .and_then(issue(amount=usd(400)))
        .when(RequestRefund(refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=usd(400)))
        .then_posts(debit(CUSTOMER_BALANCE, usd(400)), credit(REFUNDS_PAYABLE, usd(400)))
    )


def test_what_was_refunded_without_a_credit_note_is_not_given_back_again() -> None:
    story = paid_by_card().and_then(RequestRefund(refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=usd(700)))
    story.when(issue()).then_refused(CreditAlreadyRefunded, invoice=INVOICE_ID, wanted=1_000, left=300)
    story.when(issue(amount=usd(300), give_back=GiveBack.REFUND)).then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))


def test_where_no_gateway_took_money_there_is_nothing_to_refund() -> None:
    paid_by_hand(billed(1_000)).when(issue(give_back=GiveBack.REFUND)).then_refused(NothingToRefund, invoice=INVOICE_ID)


def test_what_came_past_the_gateway_goes_to_the_balance_and_the_payments_own_part_is_refunded() -> None:
    """3.00 came out of band while the charge of 10.00 ran: 7.00 of it pay the invoice, 3.00 are the balance."""
    story = given(
        *customer_with_card(),
        invoice_finalized(collection=BY_HAND),
        payment_created(),
        attempt_requested(),
        invoice_payment_started(),
        PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(300)),
        capture(),
    )
    result = story.when(issue(give_back=GiveBack.REFUND)).then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(600))
    assert status_of(result) == (GivenBackStatus.PENDING, 700, 300)
    (refund,) = result.books.states[PAYMENT.name, PAYMENT_ID].refunds
    assert (refund.amount, refund.from_balance, refund.status) == (usd(700), usd(700), RefundStatus.PENDING)


# --- paying the balance out --------------------------------------------------------------------------------------


def with_a_balance(amount: int) -> Given:
    """Of another invoice, which somebody overpaid by hand."""
    other = id_of("in_", 2)
    billed_too = invoice_finalized(invoice_id=other, number="INV-000002", collection=BY_HAND)
    return paid_by_card().and_then(billed_too, PayInvoiceOutOfBand(invoice_id=other, amount=usd(1_000 + amount)))


def pay_out(amount: int | None = None) -> RequestRefund:
    wanted = None if amount is None else usd(amount)
    return RequestRefund(refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=wanted, from_balance=True)


def test_a_balance_is_paid_out_through_a_payment_and_what_that_paid_stays_paid() -> None:
    (
        with_a_balance(300)
        .when(pay_out())
        .then_posts(debit(CUSTOMER_BALANCE, usd(300)), credit(REFUNDS_PAYABLE, usd(300)))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID)
        .then_shows(PAYMENT, PAYMENT_ID, refundable=usd(700), allowed=usd(0))
    )


def test_no_more_is_paid_out_than_the_balance_holds_and_the_payment_can_return() -> None:
    with_a_balance(300).when(pay_out(301)).then_refused(BalanceTooLow, wanted=301, balance=300)
    with_a_balance(5_000).when(pay_out()).then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(4_000))
    with_a_balance(5_000).when(pay_out(1_001)).then_refused(RefundExceedsPayment)
    paid_by_card().when(pay_out()).then_refused(BalanceTooLow).then_tells("holds nothing")
    alone = given(
        *customer_with_card(), payment_created(invoice_id=None), attempt_requested(), payment_captured(unneeded=False)
    )
    alone.when(pay_out()).then_refused(NotPaidOutByThis, payment=PAYMENT_ID)


def test_a_payout_that_a_second_person_approved_comes_from_the_balance() -> None:
    asked = RefundAskedFor(
        refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=None, from_balance=True, reason=None, metadata=()
    )
    (
        with_a_balance(300)
        .and_then(RequestApproval(approval_id=APPROVAL_ID, refund=asked, note=None, by=ADA))
        .when(GrantApproval(approval_id=APPROVAL_ID, by=BOB))
        .then_posts(debit(CUSTOMER_BALANCE, usd(300)), credit(REFUNDS_PAYABLE, usd(300)))
    )


# --- void --------------------------------------------------------------------------------------------------------


def test_a_void_credit_note_leaves_what_was_due_before_and_its_number_taken() -> None:
    (
        open_invoice(billed(1_000))
        .and_then(issue(amount=usd(300)))
        .when(void(), at=NOW + timedelta(hours=1))
        .then_posts(credit(DEFERRED_REVENUE, usd(300)), debit(RECEIVABLE, usd(300)))
        .then_shows(INVOICE, INVOICE_ID, amount_due=usd(1_000), amount_credited=usd(0))
    )
    story = open_invoice(billed(1_000)).and_then(issue(amount=usd(300)), void())
    result = story.when(issue(OTHER_NOTE_ID))
    notes = result.books.states[INVOICE.name, INVOICE_ID].credit_notes
    assert [note.number for note in notes] == ["CN-000001", "CN-000002"]
    story.when(void()).then_refused(CreditNoteNotVoidable).then_tells("void already")
    story.when(void(id_of("cn_", 3))).then_refused(CreditNoteNotFound)


def test_a_void_credit_note_takes_from_the_balance_what_it_gave_it() -> None:
    (
        paid_by_hand(billed(1_000))
        .and_then(issue(amount=usd(300)))
        .when(void())
        .then_posts(credit(DEFERRED_REVENUE, usd(300)), debit(CUSTOMER_BALANCE, usd(300)))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0), amount_given_back=usd(0))
    )


def test_a_credit_note_on_which_something_rests_is_not_void() -> None:
    settled_by_it = open_invoice(billed(1_000)).and_then(issue())
    settled_by_it.when(void()).then_refused(CreditNoteNotVoidable).then_tells("an invoice that is paid now")
    refunded().when(void()).then_refused(CreditNoteNotVoidable).then_tells("was refunded")
    spent = invoice_finalized(invoice_id=id_of("in_", 2), number="INV-000009", applied=usd(250))
    drawn = paid_by_hand(billed(1_000)).and_then(issue(amount=usd(300)), spent, balance_drawn(250))
    drawn.when(void()).then_refused(CreditNoteNotVoidable).then_tells("no longer holds")


def test_an_invoice_with_a_credit_note_is_not_void() -> None:
    story = open_invoice(billed(1_000)).and_then(issue(amount=usd(300)))
    story.when(VoidInvoice(invoice_id=INVOICE_ID)).then_refused(InvoiceIsCredited, invoice=INVOICE_ID, credited=300)
    story.and_then(void()).when(VoidInvoice(invoice_id=INVOICE_ID)).then_shows(
        INVOICE, INVOICE_ID, status=InvoiceStatus.VOID
    )


def test_revenue_that_was_earned_at_once_is_taken_back_from_revenue() -> None:
    (
        open_invoice(billed(1_000, timing=BillingTiming.IN_ARREARS))
        .when(issue(amount=usd(300)))
        .then_posts(debit(REVENUE, usd(300)), credit_of(RECEIVABLE, usd(300), CUSTOMER_ID))
    )
