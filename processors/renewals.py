"""The renewal saga's timer: when a period ends, the next one begins, and is invoiced in the same batch.

What follows (the charge, the payment) hangs on the invoice; a renewal that is refused or fails holds up nobody else.
"""

from domain.subscription_commands import RenewSubscription
from infra.event_store.port import Work, Writer
from processors.issue import Cause, issue
from processors.outcome import Done, WorkOutcome

ACTOR = "timer:renewal"


class Renewals:
    """Runs SUBSCRIPTION_RENEWAL."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def renew(self, work: Work) -> WorkOutcome:
        """Start the period due at the timer's instant. Refused: it was moved or ended, and its row with it."""
        command = RenewSubscription(subscription_id=work.subject, due_at=work.due_at)
        cause = Cause(
            tenant_id=work.tenant_id, correlation_id=work.correlation_id, causation_id=work.caused_by_event_id
        )
        key = f"renewal:{work.subject}:{work.due_at.isoformat()}"
        await issue(self._writer, command, key=key, cause=cause, actor=ACTOR)
        return Done()
