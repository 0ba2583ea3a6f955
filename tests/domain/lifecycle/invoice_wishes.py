"""What is wished of invoices: drafts, payments out of band, write-offs, credit notes."""

from decimal import Decimal
from typing import Final

from domain.customers.customer import CUSTOMER
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_note import GiveBack, IssueCreditNote, VoidCreditNote, WantedCredit
from domain.invoicing.draft import AddInvoiceItem, ChangeDraft, RemoveInvoiceItem
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import (
    ApplyCustomerBalance,
    MarkInvoiceUncollectible,
    PayInvoiceOutOfBand,
    ReversePaymentOutOfBand,
)
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.stream import Command, WorkKind
from testing.examples.streams import (
    BY_CHARGE,
    BY_HAND,
    IN_ADVANCE,
    IN_ARREARS,
    draft,
    line,
    usd,
)
from tests.domain.lifecycle.tenant import Tenant
from tests.domain.lifecycle.wish import Granting, Wish, apt, pick, somebody, up_to

# --- invoices --------------------------------------------------------------------------------------------------------


def _invoice(tenant: Tenant, wish: Wish, *statuses: InvoiceStatus) -> Invoice | None:
    return apt(tenant, INVOICE, wish.a, where=lambda each: each.status in statuses)


def _draft(tenant: Tenant, wish: Wish) -> Command:
    return draft(
        line(up_to(wish.b, 2_000) - 100, IN_ADVANCE, line_id=tenant.new("il_")),
        line(up_to(wish.c, 900) - 50, IN_ARREARS, line_id=tenant.new("il_")),
        invoice_id=tenant.new("in_"),
        customer_id=somebody(tenant, wish).customer_id,
        collection=BY_CHARGE if wish.b % 2 else BY_HAND,
        with_waiting_items=wish.c % 2 == 0,
    )


def _draft_changed(tenant: Tenant, wish: Wish) -> Command | None:
    invoice = _invoice(tenant, wish, InvoiceStatus.DRAFT)
    if invoice is None:
        return None
    match wish.b % 4:
        case 0:
            return ChangeDraft(invoice_id=invoice.invoice_id, days_until_due=wish.c % 60)
        case 1:
            return RemoveInvoiceItem(
                invoice_id=invoice.invoice_id, line_id=invoice.lines[wish.c % len(invoice.lines)].line_id
            )
        case _:
            item = line(up_to(wish.c, 3_000) - 900, line_id=tenant.new("il_"))
            return AddInvoiceItem(invoice_id=invoice.invoice_id, line=item)


def _finalize(tenant: Tenant, wish: Wish) -> Command | None:
    """By hand, or as its timer does."""
    invoice = _invoice(tenant, wish, InvoiceStatus.DRAFT)
    if invoice is None:
        return None
    timer = tenant.books.due.get((WorkKind.INVOICE_FINALIZATION, invoice.invoice_id))
    is_due = timer is not None and timer.due_at is not None and timer.due_at <= tenant.time_of(invoice.customer_id)
    return FinalizeInvoice(invoice_id=invoice.invoice_id, due_at=timer.due_at if timer is not None and is_due else None)


def _void(tenant: Tenant, wish: Wish) -> Command | None:
    invoice = _invoice(tenant, wish, InvoiceStatus.OPEN, InvoiceStatus.DRAFT, InvoiceStatus.UNCOLLECTIBLE)
    return invoice and VoidInvoice(invoice_id=invoice.invoice_id)


def _pay_by_hand(tenant: Tenant, wish: Wish) -> Command | None:
    """All that is due, a part of it, or more; or, of what was written off, something after all."""
    invoice = _invoice(tenant, wish, InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)
    if invoice is None:
        return None
    amount = invoice.amount_due.amount * (wish.b % 7) // 4
    return PayInvoiceOutOfBand(invoice_id=invoice.invoice_id, amount=usd(amount) if wish.c % 3 else None)


def _reverse(tenant: Tenant, wish: Wish) -> Command | None:
    invoice = apt(
        tenant,
        INVOICE,
        wish.a,
        where=lambda each: not (each.paid_out_of_band + each.overpaid_out_of_band).is_zero,
    )
    amount = None if wish.b % 2 else usd(up_to(wish.c, 4_000))
    return invoice and ReversePaymentOutOfBand(invoice_id=invoice.invoice_id, amount=amount)


def _apply_balance(tenant: Tenant, wish: Wish) -> Command | None:
    invoice = apt(
        tenant,
        INVOICE,
        wish.a,
        where=lambda each: each.is_payable and not CUSTOMER.of(tenant.books, each.customer_id).balance.is_zero,
    )
    return invoice and ApplyCustomerBalance(invoice_id=invoice.invoice_id)


def _write_off(tenant: Tenant, wish: Wish) -> Command | None:
    invoice = _invoice(tenant, wish, InvoiceStatus.OPEN)
    return invoice and MarkInvoiceUncollectible(invoice_id=invoice.invoice_id)


def _credit(tenant: Tenant, wish: Wish) -> Command | None:
    """All that is left, a part of it, some lines whole, or so much of one."""
    invoice = _invoice(tenant, wish, InvoiceStatus.PAID, InvoiceStatus.OPEN)
    if invoice is None:
        return None
    some = invoice.lines[wish.c % len(invoice.lines)]
    wanted: tuple[WantedCredit, ...] = ()
    match wish.b % 4:
        case 1:
            wanted = (WantedCredit(line_id=some.line_id),)
        case 2:
            amount = usd(some.net.amount * (wish.c % 5) // 3)
            wanted = (WantedCredit(line_id=some.line_id, amount=amount),)
        case 3:
            wanted = (WantedCredit(line_id=some.line_id, quantity=Decimal(1)),)
    return IssueCreditNote(
        credit_note_id=tenant.new("cn_"),
        invoice_id=invoice.invoice_id,
        lines=wanted,
        amount=usd(invoice.total.amount * (wish.c % 5) // 4) if wish.b % 8 == 0 else None,
        give_back=GiveBack.REFUND if wish.c % 2 else GiveBack.CUSTOMER_BALANCE,
    )


def _void_credit(tenant: Tenant, wish: Wish) -> Command | None:
    notes = [note for invoice in tenant.all(INVOICE) for note in invoice.credit_notes]
    note = pick(notes, wish.a)
    return note and VoidCreditNote(credit_note_id=note.credit_note_id, invoice_id=note.invoice_id)


OF_INVOICES: Final[Granting] = {
    "draft": _draft,
    "draft changed": _draft_changed,
    "finalize": _finalize,
    "void": _void,
    "pay by hand": _pay_by_hand,
    "reverse": _reverse,
    "apply the balance": _apply_balance,
    "write off": _write_off,
    "credit": _credit,
    "void a credit": _void_credit,
}
