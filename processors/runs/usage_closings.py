"""An invoice that bills usage: the periods of its lines are closed, and what the meters counted is billed.

Closing changes the counters alone, and gives the same answer for the same line however often it is asked for; what it
came to comes in by a command that one invoice takes once. So a worker that dies between the two, or two that close at
once, bill it once. Nothing is closed before what the aggregator was given by then is counted, unless a person took what
there is; periods of one meter are closed in their order.
"""

from typing import Final, Protocol

import structlog

from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvalidInvoiceLines, InvoiceLine
from domain.invoicing.usage_request import BillUsage, CountedUsage
from infra.event_store.port import Work, Writer
from processors.issue import issue_for_work
from processors.outcome import AskAgain, Hold, Unwanted, WorkOutcome
from processors.states import StateReader
from usage.closings import Closed, NotYet, OutOfOrder, Wanted
from usage.invoiced import awaited, counted, wanted_of

log = structlog.get_logger(__name__)

ACTOR: Final = "usage-closings"
ASK_AGAIN_MS: Final = 250
"""After how long it is looked again whether the aggregator has come far enough."""

_HOLDS: Final = {InvalidInvoiceLines.code: "with its usage it is more than an invoice holds: void it, bill it by hand"}


class Closings(Protocol):
    """Closes periods of usage (`usage.closings`)."""

    async def close(self, wanted: Wanted, *, waits: bool = True) -> Closed | NotYet | OutOfOrder:
        """What a period comes to; the same for the same reference."""
        ...


class UsageClosings:
    """Runs INVOICE_USAGE."""

    def __init__(self, writer: Writer, states: StateReader, closings: Closings) -> None:
        self._writer = writer
        self._states = states
        self._closings = closings

    async def close(self, work: Work) -> WorkOutcome:
        """Close the periods of an invoice's lines and bill them, or say what is waited for."""
        invoice = await self._states.read(INVOICE, work.tenant_id, work.subject)
        if invoice is None or not invoice.lacks_usage:
            return Unwanted()
        figures: list[CountedUsage] = []
        for line in awaited(invoice):
            before = await self._not_closed_before(work, line)
            if before is not None:
                return AskAgain(ASK_AGAIN_MS, f"the usage on {before} is closed first", untouched=True)
            wanted = wanted_of(work.tenant_id, invoice, line)
            closed = await self._closings.close(wanted, waits=not invoice.usage_hurried)
            match closed:
                case NotYet(counted=reached, wanted=end):
                    return AskAgain(ASK_AGAIN_MS, f"usage is counted up to {reached} of {end}", untouched=True)
                case OutOfOrder(until=until):
                    log.error("usage_closed_beyond", invoice=invoice.invoice_id, line=line.line_id, until=until)
                    return Hold(f"the meter of {line.line_id} is closed until {until.isoformat()}: void the invoice")
                case Closed():
                    figures.append(counted(line, closed))
        command = BillUsage(invoice_id=invoice.invoice_id, counted=tuple(figures))
        key = f"usage:{invoice.invoice_id}"
        return await issue_for_work(self._writer, command, work, key=key, actor=ACTOR, holds=_HOLDS)

    async def _not_closed_before(self, work: Work, line: InvoiceLine) -> str | None:
        """The invoice that bills the meter's usage before, if it waits for that itself."""
        assert line.usage is not None, "it bills usage"
        before = line.usage.after_invoice_id
        if before is None:
            return None
        earlier = await self._states.read(INVOICE, work.tenant_id, before)
        return before if earlier is not None and earlier.lacks_usage else None
