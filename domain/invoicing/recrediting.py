"""The amount of what gives back a line of a draft that waited for usage: it was foreseen without that.

The usage takes its part of a discount, and more of the line is paid than was foreseen. A credit is what it would have
been, had the draft been final when it was given.
"""

from datetime import datetime
from fractions import Fraction

from domain.invoicing.crediting import left_of
from domain.invoicing.giving_back import unused_credited
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import InvoiceStatus
from domain.kernel.frozen import replace
from domain.kernel.money import Money, times
from domain.kernel.stream import Change, Streams
from domain.pricing.amount import exact_amount_of


def recredited(
    lines: tuple[InvoiceLine, ...], invoice_id: str, streams: Streams, at: datetime
) -> tuple[tuple[InvoiceLine, ...], list[Change]]:
    """The lines, of which credits come to what discounts left of the lines that they give back, where those are final
    by now and were not before; and what that says of their invoices.
    """
    by_now = tuple([_by_now(line, invoice_id, streams) for line in lines])
    more = [
        replace(after, amount=after.amount - before.amount)
        for before, after in zip(lines, by_now, strict=True)
        if after.amount != before.amount
    ]
    return by_now, unused_credited(more, invoice_id, at)


def _by_now(credit: InvoiceLine, invoice_id: str, streams: Streams) -> InvoiceLine:
    of = credit.gives_back
    if of is None or of.treatment is not None or of.invoice_id in {None, invoice_id}:
        return credit
    invoice = INVOICE.of(streams, str(of.invoice_id))
    if not invoice.bills_usage or (invoice.status is InvoiceStatus.DRAFT and invoice.awaited_tax is None):
        return credit
    billed = next(each for each in invoice.lines if each.line_id == of.line_id)
    paid_part = Fraction(billed.discounted.amount, billed.amount.amount) if billed.amount.amount else Fraction(1)
    if paid_part == of.paid_part:
        return credit
    left = left_of(invoice)[billed.line_id]
    most = (left.left if billed.tax_inclusive else left.left_net) - credit.amount
    amount = min(_paid(credit, billed, paid_part), most)
    return replace(credit, amount=-amount, gives_back=replace(of, paid_part=paid_part))


def _paid(credit: InvoiceLine, billed: InvoiceLine, paid_part: Fraction) -> Money:
    """What of the credited part of a line was paid: of unused time by its price and share, of usage by amount."""
    assert billed.pricing is not None, "a price billed it"
    rounding = billed.pricing.rounding
    gross = None if credit.gives_back is None else credit.gives_back.gross
    if gross is not None:
        return times(gross, paid_part, rounding)
    assert credit.pricing is not None, "it is a part of a price"
    price = exact_amount_of(credit.pricing.price, credit.quantity, rounding)
    return times(price, credit.pricing.share * paid_part, rounding)
