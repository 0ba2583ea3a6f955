"""The tax of what gives back a line: it bears what that line bore, which nobody knows while the line's invoice is a
draft. It is looked up when the credit is finalized, behind the invoice that it rests on.
"""

from collections.abc import Iterable

from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.remote_taxation import charged_rate
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.frozen import replace
from domain.kernel.stream import Streams
from domain.tax.computation import TaxRate, TaxTreatment
from domain.tax.settings import tax_settings


def tax_as_billed(
    line: InvoiceLine, invoice: Invoice, streams: Streams
) -> tuple[TaxTreatment | None, tuple[TaxRate, ...]]:
    """With what tax a line was billed; of a draft nobody knows yet."""
    if invoice.status is InvoiceStatus.DRAFT:
        return None, ()
    if line.tax is None:
        return TaxTreatment.NOT_REGISTERED, ()
    known = {rate.rate_id: rate.rate for rate in tax_settings(streams).rates}
    rates = (known.get(share.rate_id) or charged_rate(invoice, share.rate_id) for share in line.tax.shares)
    return line.tax.treatment, tuple(rates)


def untold(lines: Iterable[InvoiceLine], invoice_id: str) -> tuple[str, ...]:
    """The other invoices of which these lines give something back and do not know with what tax it was billed."""
    found = (line.gives_back for line in lines)
    return tuple(
        dict.fromkeys(
            of.invoice_id
            for of in found
            if of is not None and of.treatment is None and of.invoice_id is not None and of.invoice_id != invoice_id
        )
    )


def behind_usage(lines: Iterable[InvoiceLine], invoice_id: str, streams: Streams) -> bool:
    """Whether these lines give back one of a draft whose usage is not counted yet: what discounts leave of it, and with
    what tax, is known only then.
    """
    return any(INVOICE.of(streams, each).lacks_usage for each in untold(lines, invoice_id))


def told_by_now(lines: tuple[InvoiceLine, ...], invoice_id: str, streams: Streams) -> tuple[InvoiceLine, ...]:
    """The lines, of which credits say the tax of what they give back, where that is known by now."""
    invoices = {each: INVOICE.of(streams, each) for each in untold(lines, invoice_id)}
    if not invoices:
        return lines
    told: list[InvoiceLine] = []
    for line in lines:
        of = line.gives_back
        billed_by = None if of is None or of.treatment is not None else invoices.get(of.invoice_id or "")
        if of is not None and billed_by is not None:
            billed = next(each for each in billed_by.lines if each.line_id == of.line_id)
            treatment, rates = tax_as_billed(billed, billed_by, streams)
            line = replace(line, gives_back=replace(of, treatment=treatment, rates=rates))
        told.append(line)
    return tuple(told)
