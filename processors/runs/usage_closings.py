"""An invoice that bills usage: the periods of its lines are closed, and what the meters counted is billed.

Closing changes the counters alone, and gives the same answer for the same line however often it is asked for; what it
came to comes in by a command that one invoice takes once. So a worker that dies between the two, or two that close at
once, bill it once. Nothing is closed before what the aggregator was given by then is counted, unless a person took what
there is; one subscription's periods of a meter are closed in the order in which their time is over. What was voided
before is closed as it is, so that nothing else bills it.
"""

from typing import Final, Protocol

from domain.invoicing.given_back_tax import untold
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvalidInvoiceLines, InvoiceLine
from domain.invoicing.state import Invoice
from domain.invoicing.usage_request import BillUsage, CountedUsage
from infra.event_store.port import Work, Writer
from processors.issue import issue_for_work
from processors.outcome import AskAgain, Unwanted, WorkOutcome
from processors.states import StateReader
from usage.closings import Closed, NotYet, Wanted
from usage.invoiced import awaited, counted, wanted_of

ACTOR: Final = "usage-closings"
ASK_AGAIN_MS: Final = 250
"""After how long it is looked again whether the aggregator has come far enough."""

_HOLDS: Final = {InvalidInvoiceLines.code: "with its usage it is more than an invoice holds: void it, bill it by hand"}


class Closings(Protocol):
    """Closes periods of usage (`usage.closings`)."""

    async def close(self, wanted: Wanted, *, waits: bool = True) -> Closed | NotYet:
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
        if invoice is not None and invoice.gives_up_usage:
            return await self._give_up(work, invoice)
        if invoice is None or not invoice.lacks_usage:
            return Unwanted()
        behind = None if invoice.usage_hurried else await self._behind(work, invoice)
        if behind is not None:
            return AskAgain(
                ASK_AGAIN_MS, f"the usage on {behind}, which it gives back, is billed first", untouched=True
            )
        figures: list[CountedUsage] = []
        for line in awaited(invoice):
            before = await self._not_closed_before(work, invoice, line)
            if before is not None:
                return AskAgain(ASK_AGAIN_MS, f"the usage on {before} is closed first", untouched=True)
            wanted = wanted_of(work.tenant_id, invoice.customer_id, invoice.invoice_id, line)
            closed = await self._closings.close(wanted, waits=not invoice.usage_hurried)
            match closed:
                case NotYet(counted=reached, wanted=end):
                    return AskAgain(ASK_AGAIN_MS, f"usage is counted up to {reached} of {end}", untouched=True)
                case Closed():
                    figure = counted(line, closed)
                    before = await self._not_counted_of(work, figure)
                    if before is not None:
                        return AskAgain(ASK_AGAIN_MS, f"the usage on {before} is billed first", untouched=True)
                    figures.append(figure)
        command = BillUsage(invoice_id=invoice.invoice_id, counted=tuple(figures))
        key = f"usage:{invoice.invoice_id}"
        return await issue_for_work(self._writer, command, work, key=key, actor=ACTOR, holds=_HOLDS)

    async def _give_up(self, work: Work, invoice: Invoice) -> WorkOutcome:
        """Close the periods that a void invoice was to bill; what of them is counted later is late for it, and given up
        with the rest.
        """
        for line in awaited(invoice):
            if line.bills_so_far:
                continue
            wanted = wanted_of(work.tenant_id, invoice.customer_id, invoice.invoice_id, line)
            if isinstance(await self._closings.close(wanted, waits=False), NotYet):
                return AskAgain(None, "nothing of its partition is counted yet", untouched=True)
        return Unwanted()

    async def _behind(self, work: Work, invoice: Invoice) -> str | None:
        """A draft of which it gives back a line, and whose usage is not counted yet."""
        for invoice_id in untold(invoice.lines, invoice.invoice_id):
            billed_by = await self._states.read(INVOICE, work.tenant_id, invoice_id)
            if billed_by is not None and billed_by.lacks_usage:
                return invoice_id
        return None

    async def _not_counted_of(self, work: Work, figure: CountedUsage) -> str | None:
        """An earlier invoice that something is late for and that is closed, and not billed yet: what it bills is known
        only then.
        """
        for invoice_id in dict.fromkeys(each.invoice_id for each in figure.late):
            if invoice_id == work.subject:
                continue
            earlier = await self._states.read(INVOICE, work.tenant_id, invoice_id)
            if earlier is not None and earlier.lacks_usage:
                return invoice_id
        return None

    async def _not_closed_before(self, work: Work, invoice: Invoice, line: InvoiceLine) -> str | None:
        """The invoice that bills the meter's usage before, if it waits for that itself, and its time is not to last
        longer.
        """
        assert line.usage is not None, "it bills usage"
        before = line.usage.after_invoice_id
        if before is None:
            return None
        earlier = await self._states.read(INVOICE, work.tenant_id, before)
        return before if earlier is not None and invoice.closes_usage_behind(earlier) else None
