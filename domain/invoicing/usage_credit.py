"""What is given back of a line that billed usage, where its period comes to less than was billed."""

from decimal import Decimal
from fractions import Fraction

from domain.invoicing.crediting import left_of
from domain.invoicing.given_back_tax import tax_as_billed
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.invoicing.issuing import foreseen_lines
from domain.invoicing.late_usage import Part
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.unused_credit import GivesBack
from domain.kernel.frozen import replace
from domain.kernel.money import times
from domain.kernel.stream import Streams

_UNPAID = frozenset({InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE})
"""What nobody pays any more has nothing to be given back."""


def usage_credit(of: InvoiceLine, part: Part, line_id: str, streams: Streams) -> InvoiceLine | None:
    """A line, otherwise like `of`, that gives back a part of what is less: as far as discounts had left it to be paid,
    with the tax that this bore, and no more than is left of the line that billed it; its `gross` is what is so given
    back of the part. None where nothing is.
    """
    invoice = INVOICE.of(streams, part.invoice_id)
    if invoice.status in _UNPAID:
        return None
    if invoice.status is InvoiceStatus.DRAFT:
        invoice = replace(invoice, lines=foreseen_lines(streams, invoice))
    billed = next(each for each in invoice.lines if each.line_id == part.line_id)
    assert billed.pricing is not None, "a price billed it"
    paid_part = Fraction(billed.discounted.amount, billed.amount.amount)
    left = left_of(invoice)[billed.line_id]
    most = left.left if billed.tax_inclusive else left.left_net
    rounding = billed.pricing.rounding
    paid = times(part.amount, paid_part, rounding)
    amount = min(paid, most)
    if amount.amount <= 0:
        return None
    is_cut = amount != paid and _is_noted(billed, invoice)
    treatment, rates = tax_as_billed(billed, invoice, streams)
    return replace(
        of,
        line_id=line_id,
        amount=-amount,
        quantity=Decimal(0),
        kind=InvoiceLineKind.CREDIT,
        pricing=None,
        tax_inclusive=billed.tax_inclusive,
        gives_back=GivesBack(
            invoice_id=part.invoice_id,
            line_id=part.line_id,
            paid_part=paid_part,
            treatment=treatment,
            rates=rates,
            gross=times(amount, Fraction(1, paid_part), rounding) if is_cut else part.amount,
        ),
        discounts=(),
        tax=None,
        usage=None,
    )


def _is_noted(line: InvoiceLine, invoice: Invoice) -> bool:
    """Whether a credit note gives back something of a line: else what is left of it falls short by rounding alone."""
    noted = (credit for note in invoice.credit_notes if note.is_in_force for credit in note.credited.lines)
    return any(credit.line_id == line.line_id for credit in noted)
