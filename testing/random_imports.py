"""Commands about an invoice of another system, for random histories."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.imported import ImportInvoice, ImportInvoicePayment
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.settlement import MarkInvoiceUncollectible, PayInvoiceOutOfBand
from domain.kernel.money import Money
from domain.kernel.stream import Command


def imported(now: datetime, customer_id: str, line: InvoiceLine, invoice_id: str) -> Iterator[Command]:
    """An invoice of another system, a part of it paid there; in the end it is paid, void, or neither."""
    yield ImportInvoice(
        invoice_id=invoice_id,
        customer_id=customer_id,
        number=f"OLD-{invoice_id[-6:]}",
        currency=line.amount.currency,
        lines=(line,),
        amount_paid=Money(line.amount.amount // 3, line.amount.currency),
        issued_at=now - timedelta(days=40),
        due_at=now - timedelta(days=10),
        paid_at=None,
    )
    ends = line.amount.amount % 4
    if ends:
        part = Money(1 + line.amount.amount // 3, line.amount.currency)
        yield ImportInvoicePayment(
            invoice_id=invoice_id, amount=part, reference="there", paid_at=now - timedelta(days=1)
        )
    if ends == 1:
        yield PayInvoiceOutOfBand(invoice_id=invoice_id)
    if ends == 2:
        yield MarkInvoiceUncollectible(invoice_id=invoice_id)
    yield VoidInvoice(invoice_id=invoice_id)
