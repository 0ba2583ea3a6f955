"""What paid the running period of an item: the lines of invoices, as they were billed, and what is left of them."""

from dataclasses import dataclass

from domain.catalog.price import BillingTiming
from domain.invoicing.crediting import left_of
from domain.invoicing.given_back_tax import tax_as_billed
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.issuing import foreseen_lines
from domain.invoicing.state import InvoiceStatus
from domain.invoicing.unused_credit import GivesBack
from domain.kernel.frozen import replace
from domain.kernel.money import Money, sum_money
from domain.kernel.stream import Streams
from domain.pricing.amount import exact_amount_of
from domain.subscriptions.paid_charge import PaidCharge
from domain.subscriptions.periods import line_id, period_invoice_id
from domain.subscriptions.running import LineRef
from domain.subscriptions.state import Subscription
from domain.subscriptions.terms import SubscriptionItem
from domain.tax.computation import TaxRate, TaxTreatment


@dataclass(frozen=True, slots=True)
class Charge:
    """A line that charged an item, what of it may be given back, and what a credit for it says."""

    ref: LineRef
    line: InvoiceLine
    paid: PaidCharge
    gives_back: GivesBack


def charges_of(subscription: Subscription, item: SubscriptionItem, streams: Streams) -> tuple[Charge, ...]:
    """What paid the item's running period in advance. An invoice that nobody pays any more has paid for nothing."""
    found: list[Charge] = []
    for ref in _paid_by(subscription, item):
        if ref.invoice_id is None:
            waiting = _line(subscription.pending, ref.line_id)
            if waiting is not None:
                found.append(_charge(ref, waiting, _given_back(subscription.pending, waiting)))
            continue
        invoice = INVOICE.of(streams, ref.invoice_id)
        if invoice.status is InvoiceStatus.DRAFT:
            invoice = replace(invoice, lines=foreseen_lines(streams, invoice))
        billed = _line(invoice.lines, ref.line_id)
        if billed is None or invoice.status in {InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE}:
            continue
        left = left_of(invoice)[ref.line_id]
        gone = billed.discounted - (left.left if billed.tax_inclusive else left.left_net)
        treatment, rates = tax_as_billed(billed, invoice, streams)
        found.append(_charge(ref, billed, gone, treatment, rates))
    return tuple(found)


def _paid_by(subscription: Subscription, item: SubscriptionItem) -> tuple[LineRef, ...]:
    for each in subscription.paid:
        if each.price_id == item.price_id:
            return each.lines
    for begun in subscription.begun:
        if begun.interval == item.interval and begun.invoice_id is not None:
            billed_by = period_invoice_id(subscription, begun.index)
            found = line_id(billed_by, BillingTiming.IN_ADVANCE, item.price_id)
            return (LineRef(invoice_id=begun.invoice_id, line_id=found),)
    return ()


def _charge(
    ref: LineRef,
    line: InvoiceLine,
    given_back: Money,
    treatment: TaxTreatment | None = None,
    rates: tuple[TaxRate, ...] = (),
) -> Charge:
    assert line.pricing is not None, "a price billed it"
    paid = PaidCharge(
        line_id=line.line_id,
        price=exact_amount_of(line.pricing.price, line.quantity, line.pricing.rounding),
        billed=line.amount,
        discounted=line.discounted,
        given_back=given_back,
        tax_rates=rates,
        tax_inclusive=line.tax_inclusive is True,
    )
    gives_back = GivesBack(
        invoice_id=ref.invoice_id,
        line_id=line.line_id,
        paid_part=paid.paid_part,
        treatment=treatment,
        rates=rates,
    )
    return Charge(ref, line, paid, gives_back)


def _given_back(pending: tuple[InvoiceLine, ...], waiting: InvoiceLine) -> Money:
    """What credits that wait beside it give back of it."""
    return -sum_money((line.amount for line in pending if _gives_back(line, waiting)), waiting.amount.currency)


def _gives_back(line: InvoiceLine, waiting: InvoiceLine) -> bool:
    credited = line.gives_back
    return credited is not None and credited.invoice_id is None and credited.line_id == waiting.line_id


def _line(lines: tuple[InvoiceLine, ...], line_id: str) -> InvoiceLine | None:
    return next((line for line in lines if line.line_id == line_id), None)
