"""A credit note as machines read it: an EN 16931 document of type 381 that names its invoice. Pure.

As an invoice's file (`electronic_invoice.py`), it says what was issued: where the money went then, not what became of
it since.
"""

from decimal import Decimal
from typing import Final

from documents.electronic_invoice import Issued, Item, written
from documents.invoice_document import InvoiceFacts
from domain.invoicing.credit_note import CreditNote
from domain.kernel.money import Money

_CREDIT_NOTE: Final = "381"
_ONE: Final = Decimal(1)


def electronic_credit_note(note: CreditNote, facts: InvoiceFacts) -> str | None:
    """The file; `facts` are those of the invoice. None for a void credit note, and where its invoice has none."""
    invoice = facts.invoice
    if not note.is_in_force or facts.is_erased or invoice.tax is None:
        return None
    assert invoice.finalized_at is not None, "what is credited was finalized"
    treatment = {line.line_id: line.tax.treatment for line in invoice.lines if line.tax is not None}
    items = tuple(
        Item(
            name=line.description,
            quantity=line.quantity or _ONE,
            net=line.net,
            treatment=treatment[line.line_id],
            rate_ids=tuple(share.rate_id for share in line.taxes),
        )
        for line in note.credited.lines
    )
    issued = Issued(
        type_code=_CREDIT_NOTE,
        number=note.number,
        at=note.created_at,
        items=items,
        totals=note.credited.tax,
        total=note.credited.total,
        applied=Money.zero(invoice.currency),
        terms=_where_it_goes(note),
        credits=(invoice.number or "", invoice.finalized_at),
    )
    return written(issued, facts)


def _where_it_goes(note: CreditNote) -> str:
    """Off what was due, and back to the customer: as it was decided when it was issued."""
    went = (
        ("Taken off the amount due", note.credited.reduces_due),
        ("Given back", note.credited.given_back),
    )
    return "; ".join(f"{label}: {amount.format()}" for label, amount in went if not amount.is_zero)
