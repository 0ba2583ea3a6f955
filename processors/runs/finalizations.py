"""The timer of a draft: when its time is over, it is finalized, numbered and posted in one batch."""

from collections.abc import Mapping
from typing import Final

from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.invoice_line import InvalidInvoiceLines
from infra.event_store.port import Work, Writer
from processors.issue import issue_for_work
from processors.outcome import WorkOutcome

ACTOR: Final = "timer:finalization"

HOLDS: Final[Mapping[str, str]] = {
    InvalidInvoiceLines.code: "with its tax the draft is more than an invoice holds: void it, bill its lines on several"
}


class Finalizations:
    """Runs INVOICE_FINALIZATION."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def finalize(self, work: Work) -> WorkOutcome:
        """Finalize the draft at the timer's instant. Refused: somebody did, or it is void, and its row is gone."""
        command = FinalizeInvoice(invoice_id=work.subject, due_at=work.due_at)
        key = f"finalization:{work.subject}:{work.due_at.isoformat()}"
        return await issue_for_work(self._writer, command, work, key=key, actor=ACTOR, holds=HOLDS)
