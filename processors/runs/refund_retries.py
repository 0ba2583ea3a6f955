"""Refunds that nobody asked for and that failed are asked for again, with backoff, then held for a person.

The money of a capture that its invoice did not need belongs to the customer. A refund of it that fails for good leaves
it with us, and no client of ours has asked for it, so none would ask again.
"""

from datetime import UTC, datetime, timedelta

from domain.kernel.identifiers import REFUND, derived_id
from domain.payments import refund_saga
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundStatus
from domain.payments.refund_commands import RequestRefund
from infra.event_store.port import Work, Writer
from infra.settings import ProcessorSettings
from processors.issue import issue_for_work
from processors.outcome import AskAgain, Hold, Unwanted, WorkOutcome
from processors.states import StateReader

ACTOR = "refund-retries"
PAUSES = "pauses after a refund that failed"
"""What stands on the work while it waits by plan: the audit knows a pause by it."""


class RefundRetries:
    """Runs REFUND_RETRY."""

    def __init__(self, writer: Writer, states: StateReader, settings: ProcessorSettings) -> None:
        self._writer = writer
        self._states = states
        self._settings = settings

    async def retry(self, work: Work) -> WorkOutcome:
        """Ask for what is left of an unneeded capture, once the pause after the last failure is over."""
        payment = await self._states.read(PAYMENT, work.tenant_id, work.subject)
        if payment is None or payment.refundable.is_zero:
            return Unwanted()
        failed = [refund for refund in payment.refunds if refund.status is RefundStatus.FAILED]
        # A row that was held before has been released by a person, who wants one more try.
        if len(failed) >= self._settings.refund_failures_max and work.last_error is None:
            owed, code = payment.refundable.format(), failed[-1].failure_code
            return Hold(f"{owed} is the customer's: {len(failed)} refunds failed, the last with {code}")
        wait = work.due_at + self._pause_after(len(failed)) - datetime.now(UTC)
        if wait > timedelta(0):
            return AskAgain(int(wait / timedelta(milliseconds=1)) + 1, PAUSES)
        cause = work.caused_by_event_id
        command = RequestRefund(
            refund_id=derived_id(REFUND, cause, "refund"), payment_id=payment.payment_id, reason=refund_saga.REASON
        )
        return await issue_for_work(self._writer, command, work, key=f"refund-retry:{cause}", actor=ACTOR)

    def _pause_after(self, failures: int) -> timedelta:
        settings = self._settings
        grown = settings.refund_retry_backoff_ms * 2 ** max(0, failures - 1)
        return timedelta(milliseconds=min(grown, settings.refund_retry_backoff_max_ms))
