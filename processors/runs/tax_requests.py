"""The tax of an invoice that waits for it: a calculator outside is asked, and its answer finalizes the invoice.

Asking changes nothing anywhere, and the answer comes in by a command that one invoice takes once: a worker that dies
between the two, or two that ask at once, tax it once. What stands in the way is recorded, so that whoever looks at the
invoice sees why it waits; a failure that passes is tried again for as long as it takes, an answer that cannot be taken
several times, and then a person has to act. They finalize it again (it is asked for anew, by what then holds), or by
the table, or void it.
"""

import hashlib
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from domain.invoicing.given_back_tax import untold
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvalidInvoiceLines
from domain.invoicing.remote_taxation import question_of
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.tax_request import FinalizeWithTax, RecordTaxUnanswered, TaxRequest
from domain.kernel.stream import Command
from domain.tax.remote import TaxAnswer, TaxAnswerUnfit
from gateway_adapters.tax.port import Calculated, NoAnswer, NoAnswerWhy, TaxService
from infra.event_store.port import Outcome, Work, Writer
from infra.settings import TaxServiceSettings
from processors.issue import Cause, issue
from processors.outcome import AskAgain, Hold, Settled, Unwanted, WorkOutcome
from processors.states import StateReader

log = structlog.get_logger(__name__)

CALLS = Counter("tallybook_tax_service_calls_total", "What came of questions to the tax service", ["result"])
CALL_SECONDS = Histogram("tallybook_tax_service_call_seconds", "Time the tax service took to answer")

ACTOR: Final = "tax-requests"
NOT_CONFIGURED: Final = "not_configured"
"""Why there is no answer where no tax service is configured."""
GIVES_BACK_DRAFT: Final = "gives_back_draft"
"""Why nobody is asked yet: it bears the tax of lines of another invoice, which waits for its own."""

_ANSWERED: Final = frozenset(
    {NoAnswerWhy.SERVICE_ERROR, NoAnswerWhy.REFUSED, NoAnswerWhy.UNREADABLE, TaxAnswerUnfit.code}
)
"""What a service may have kept for a key, and would answer again for as long as it keeps keys."""


class TaxRequests:
    """Runs INVOICE_TAX."""

    def __init__(
        self, writer: Writer, states: StateReader, service: TaxService | None, settings: TaxServiceSettings
    ) -> None:
        self._writer = writer
        self._states = states
        self._service = service
        self._settings = settings

    async def ask(self, work: Work) -> WorkOutcome:
        """Bring an invoice that waits for its tax to its finalization, or say why it goes on waiting."""
        invoice = await self._states.read(INVOICE, work.tenant_id, work.subject)
        asked = None if invoice is None else invoice.awaited_tax
        if invoice is None or asked is None:
            return Unwanted()
        if await self._gives_back_a_draft(work, invoice):
            await self._unanswered(work, asked, GIVES_BACK_DRAFT)
            return AskAgain(None, GIVES_BACK_DRAFT)
        if self._service is None:
            await self._unanswered(work, asked, NOT_CONFIGURED)
            return Hold("no tax service is configured: set TALLYBOOK_TAX_SERVICE_URL, or finalize it by the table")
        with CALL_SECONDS.time():
            result = await self._service.calculate(question_of(invoice), key=_key(work, asked))
        CALLS.labels(result.why if isinstance(result, NoAnswer) else "calculated").inc()
        if isinstance(result, Calculated):
            return await self._finalize(work, asked, result.answer)
        log.warning("tax_service_gave_no_answer", invoice=work.subject, why=result.why, attempts=work.attempts)
        await self._unanswered(work, asked, result.why)
        if result.is_passing:
            return AskAgain(result.after_ms, result.why)
        return self._not_taken(work, result.why)

    async def _gives_back_a_draft(self, work: Work, invoice: Invoice) -> bool:
        """Whether it gives back a line of which nobody knows the tax yet, as that waits itself."""
        for invoice_id in untold(invoice.lines, invoice.invoice_id):
            billed_by = await self._states.read(INVOICE, work.tenant_id, invoice_id)
            if billed_by is not None and billed_by.status is InvoiceStatus.DRAFT:
                return True
        return False

    async def _finalize(self, work: Work, asked: TaxRequest, answer: TaxAnswer) -> WorkOutcome:
        """The key names the answer: the same one is taken once, and what was refused stands in no other's way."""
        command = FinalizeWithTax(invoice_id=work.subject, attempt=asked.attempt, answer=answer)
        said = hashlib.sha256(repr(answer).encode()).hexdigest()[:32]
        outcome = await self._issue(work, command, f"{asked.attempt}:{said}")
        match outcome.refusal_code:
            case None:
                return Unwanted() if outcome.replayed else Settled()
            case TaxAnswerUnfit.code:
                CALLS.labels("unfit").inc()
                log.warning("tax_answer_unfit", invoice=work.subject, attempts=work.attempts)
                await self._unanswered(work, asked, TaxAnswerUnfit.code)
                return self._not_taken(work, TaxAnswerUnfit.code)
            case InvalidInvoiceLines.code:
                await self._unanswered(work, asked, InvalidInvoiceLines.code)
                return Hold("with its tax the invoice is more than one holds: void it, bill its lines on several")
            case _:
                return Unwanted()

    def _not_taken(self, work: Work, why: str) -> WorkOutcome:
        """What the next try will hardly change."""
        if work.failures + 1 >= self._settings.unfit_answers_max:
            return Hold(f"{why}: look at the tax service; then finalize the invoice again, or by the table")
        return AskAgain(None, why, failed=True)

    async def _unanswered(self, work: Work, asked: TaxRequest, why: str) -> None:
        """Record why it waits, unless the invoice says so already."""
        if asked.unanswered != why:
            command = RecordTaxUnanswered(invoice_id=work.subject, attempt=asked.attempt, reason=why)
            await self._issue(work, command, f"{asked.attempt}:unanswered:{work.attempts}:{why}")

    async def _issue(self, work: Work, command: Command, step: str) -> Outcome:
        cause = Cause(
            tenant_id=work.tenant_id, correlation_id=work.correlation_id, causation_id=work.caused_by_event_id
        )
        return await issue(self._writer, command, key=f"tax:{work.subject}:{step}", cause=cause, actor=ACTOR)


def _key(work: Work, asked: TaxRequest) -> str:
    """The question's own, so that an answer that was lost comes again; one more behind an answer that was of no use."""
    key = f"{work.subject}:{asked.attempt}"
    return f"{key}:{work.attempts}" if asked.unanswered in _ANSWERED else key
