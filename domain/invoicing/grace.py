"""The time of a draft that bills usage, which may be over sooner than it was to be."""

from collections.abc import Iterable
from datetime import datetime

from domain.invoicing.given_back_tax import untold
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice
from domain.invoicing.usage_request import InvoiceGraceShortened
from domain.kernel.consequences import After
from domain.kernel.stream import Change, Streams


def shortened(
    draft: Invoice, streams: Streams, *, to: datetime, at: datetime, days_until_due: int | None = None
) -> list[Change]:
    """The changes by which a draft's time is over `to` then, if it was to last longer, and with it that of the drafts
    of which it gives something back.
    """
    closes_at = draft.usage_closes_at if draft.lacks_usage else None
    if closes_at is None or closes_at <= to:
        return []
    assert draft.terms is not None, "it is a draft"
    event = InvoiceGraceShortened(
        invoice_id=draft.invoice_id,
        days_until_due=draft.terms.days_until_due if days_until_due is None else days_until_due,
        finalizes_at=to,
        shortened_at=at,
    )
    return [INVOICE.change(event), *shortened_behind(draft.lines, draft.invoice_id, streams, to=to, at=at)]


def shortened_behind(
    lines: Iterable[InvoiceLine], invoice_id: str, streams: Streams, *, to: datetime, at: datetime
) -> list[Change]:
    """The same of the drafts alone of which these lines give something back: their invoice is finalized `to` then, and
    those are before it.
    """
    changes: list[Change] = []
    for each in untold(lines, invoice_id):
        known = After(streams, changes)
        changes += shortened(INVOICE.of(known, each), known, to=to, at=at)
    return changes
