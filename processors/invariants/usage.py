"""I9: usage is billed as it was closed: a closing's rows are those that its hash is of and give the figure that its
line says, and no closing is left that no invoice bills, waits for, or was voided with. What it tells of an earlier
period, for which something came late, stands in the invoice of that, so each event is billed once.

What is counted and not closed yet is open, and what came since for a closed period is late: the next closing's.
"""

from fractions import Fraction
from typing import Final

from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_line import UsageSnapshot
from domain.pricing.amount import amount_of
from infra.database import Pool
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from schemas.codec import Codec
from usage.closings import Closing, LateWindow, Wanted, closed, rows_hash
from usage.invoiced import SEPARATOR
from usage.partials import Connection

_CLOSINGS: Final = """
SELECT tenant_id, customer_id, meter_id, seq, reference, partition, since, until, first_bucket, bucket, covers, sha256
FROM usage.closings ORDER BY tenant_id, customer_id, meter_id, seq
"""
_EVENTS: Final = """
SELECT payload FROM log.events WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 ORDER BY stream_version
"""


async def check_usage(pool: Pool, codec: Codec, *, progress: Progress = silent) -> Checked:
    """Compare every closing with the invoice that it was made for. The pool's role is the owner's."""
    findings = Findings(Invariant.USAGE)
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch(_CLOSINGS)
        for done, row in enumerate(rows, start=1):
            tenant_id, customer_id, closing = row[0], row[1], Closing(*row[2:])
            findings.count("closings")
            wanted = Wanted(
                tenant_id=tenant_id,
                customer_id=customer_id,
                meter_id=closing.meter_id,
                since=closing.since,
                until=closing.until,
                reference=closing.reference,
            )
            await _check_closing(connection, codec, wanted, closing, findings)
            progress(done, len(rows))
    return findings.checked()


async def _check_closing(
    connection: Connection, codec: Codec, wanted: Wanted, closing: Closing, findings: Findings
) -> None:
    if await rows_hash(connection, wanted, closing) != closing.sha256:
        findings.differ("closing", closing.reference, "its rows are not those that it was made of")
    invoice_id, _, line_id = closing.reference.partition(SEPARATOR)
    invoice = await _invoice(connection, codec, wanted.tenant_id, invoice_id)
    line = None if invoice is None else _line(invoice, line_id)
    if invoice is None or line is None or line.usage is None:
        findings.differ("closing", closing.reference, "no invoice has a line of it")
        return
    snapshot = line.usage.snapshot
    if snapshot is None:
        if invoice.status is not InvoiceStatus.VOID and not invoice.lacks_usage:
            findings.differ("line", closing.reference, "it was never counted")
        return
    findings.count("lines of usage")
    says = (snapshot.closing, snapshot.partition, snapshot.covers, snapshot.sha256)
    if says != (closing.seq, closing.partition, closing.covers, closing.sha256.hex()):
        findings.differ("line", closing.reference, f"it says {says}, and its closing is {closing}")
    if not _is_recounted(invoice, line):
        figure = await closed(connection, wanted, closing)
        if (snapshot.quantity, snapshot.events) != (Fraction(figure.quantity), figure.events):
            detail = f"it bills {snapshot.quantity} of {snapshot.events} events, and {figure.quantity} were counted"
            findings.differ("line", closing.reference, detail)
        for each in figure.late if invoice.status is not InvoiceStatus.VOID else ():
            await _check_late(connection, codec, wanted.tenant_id, invoice, each, findings)


async def _check_late(
    connection: Connection, codec: Codec, tenant_id: str, by: Invoice, late: LateWindow, findings: Findings
) -> None:
    """The invoice of a period for which something came late says what this one billed of it; it need not where nothing
    more was owed, and nothing could be given back.
    """
    invoice_id, _, line_id = late.reference.partition(SEPARATOR)
    if invoice_id == by.invoice_id:
        return
    invoice = await _invoice(connection, codec, tenant_id, invoice_id)
    line = None if invoice is None else _line(invoice, line_id)
    if invoice is None or line is None or line.usage is None or line.usage.snapshot is None:
        return  # its own closing says so, where it is wrong
    if invoice.status is InvoiceStatus.VOID:
        return
    findings.count("periods with late usage")
    told = [each for each in invoice.rerated if each.line_id == line_id]
    own = next((each for each in told if each.by_invoice_id == by.invoice_id), None)
    if own is not None:
        if (own.quantity, own.events) != (Fraction(late.quantity), late.events):
            detail = f"{own.quantity} of {own.events} events are billed by {by.invoice_id}, and {late.quantity} counted"
            findings.differ("late usage", late.reference, detail)
    elif _is_owed(line, Fraction(late.quantity), [line.usage.snapshot.quantity, *(each.quantity for each in told)]):
        findings.differ("late usage", late.reference, f"{late.quantity} are counted, and {by.invoice_id} bills no more")


def _is_owed(line: InvoiceLine, quantity: Fraction, billed: list[Fraction]) -> bool:
    """Whether a period comes to more units than ever were billed of it, and to no less money."""
    by = line.pricing
    most = max(Fraction(0), *billed)
    if by is None or quantity <= most:
        return False
    owed, before = (amount_of(by.price, each, by.rounding, by.share) for each in (quantity, most))
    return owed >= before


def _is_recounted(invoice: Invoice, line: InvoiceLine) -> bool:
    """Whether a further period of the meter is on the same invoice: with its closing, this one is counted once more."""
    assert line.usage is not None, "it bills usage"
    meter_id = line.usage.meter_id
    return any(
        each.usage is not None
        and each.usage.late is None
        and each.usage.meter_id == meter_id
        and _number(each.usage.snapshot) > _number(line.usage.snapshot)
        for each in invoice.lines
    )


def _number(snapshot: UsageSnapshot | None) -> int:
    return 0 if snapshot is None else snapshot.closing


async def _invoice(connection: Connection, codec: Codec, tenant_id: str, invoice_id: str) -> Invoice | None:
    invoice: Invoice | None = None
    for row in await connection.fetch(_EVENTS, tenant_id, INVOICE.name, invoice_id):
        invoice = INVOICE.evolve(invoice, codec.decode_event(row[0]))
    return invoice


def _line(invoice: Invoice, line_id: str) -> InvoiceLine | None:
    return next((line for line in invoice.lines if line.line_id == line_id), None)
