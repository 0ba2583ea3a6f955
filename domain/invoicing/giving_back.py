"""That credits on one invoice give back lines of others, told to those."""

from collections.abc import Iterable
from datetime import datetime

from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.unused_credit import InvoiceUnusedCredited, UnusedCredit
from domain.kernel.money import Money
from domain.kernel.stream import Change


def unused_credited(
    lines: Iterable[InvoiceLine], invoice_id: str | None, at: datetime, *, sign: int = 1
) -> list[Change]:
    """That these credits give back lines of other invoices than theirs; with `sign` -1, that they do no more."""
    given: dict[str, list[UnusedCredit]] = {}
    for line in lines:
        of = line.gives_back
        if of is not None and of.invoice_id not in {None, invoice_id}:
            amount = Money(-sign * line.amount.amount, line.amount.currency)
            given.setdefault(str(of.invoice_id), []).append(UnusedCredit(line_id=of.line_id, amount=amount))
    return [
        INVOICE.change(InvoiceUnusedCredited(invoice_id=credited, lines=tuple(parts), credited_at=at))
        for credited, parts in given.items()
    ]
