"""What an invoice's lines want closed, and what a closing says of them."""

from fractions import Fraction

from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice
from domain.invoicing.usage_line import UsageSnapshot
from domain.invoicing.usage_request import CountedUsage, RecountedUsage
from usage.closing import SEPARATOR
from usage.closings import Closed, LateWindow, Wanted


def awaited(invoice: Invoice) -> list[InvoiceLine]:
    """The lines that wait for usage, in the order in which their periods are closed."""
    return sorted((line for line in invoice.lines if line.lacks_usage), key=_place)


def _place(line: InvoiceLine) -> tuple[object, ...]:
    return line.period_end, line.period_start, line.line_id


def wanted_of(tenant_id: str, customer_id: str, invoice_id: str, line: InvoiceLine) -> Wanted:
    """The closing of a line's period."""
    assert line.usage is not None, "it bills usage"
    assert line.period_start is not None, "usage is of a period"
    assert line.period_end is not None, "usage is of a period"
    reference, progress = _reference(invoice_id, line.line_id), line.usage.progress
    first = None if progress is None or not progress.before else progress.before[0]
    charge = reference if first is None else _reference(first.invoice_id, first.line_id)
    return Wanted(
        tenant_id=tenant_id,
        customer_id=customer_id,
        meter_id=line.usage.meter_id,
        since=line.period_start,
        until=line.period_end,
        reference=reference,
        charge=None if progress is None else charge,
        is_last=not line.bills_so_far,
    )


def _reference(invoice_id: str, line_id: str) -> str:
    return f"{invoice_id}{SEPARATOR}{line_id}"


def counted(line: InvoiceLine, closed: Closed) -> CountedUsage:
    """What a closing says of the line, and of lines that earlier invoices billed."""
    snapshot = UsageSnapshot(
        closing=closed.seq,
        partition=closed.partition,
        covers=closed.covers,
        sha256=closed.sha256.hex(),
        quantity=Fraction(closed.quantity),
        events=closed.events,
    )
    late = tuple(_recounted(each) for each in closed.late)
    return CountedUsage(line_id=line.line_id, snapshot=snapshot, amounts=closed.amounts, late=late)


def _recounted(late: LateWindow) -> RecountedUsage:
    invoice_id, _, line_id = late.reference.partition(SEPARATOR)
    return RecountedUsage(
        invoice_id=invoice_id,
        line_id=line_id,
        quantity=Fraction(late.quantity),
        events=late.events,
        amounts=late.amounts,
    )
