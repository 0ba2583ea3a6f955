"""The renewal saga's timer: when a period ends, the next one begins, and is invoiced in the same batch.

What follows (the charge, the payment) hangs on the invoice; a renewal that is refused or fails holds up nobody else.
"""

from domain.subscriptions.commands import RenewSubscription
from infra.event_store.port import Work, Writer
from processors.issue import issue_for_work
from processors.outcome import WorkOutcome

ACTOR = "timer:renewal"


class Renewals:
    """Runs SUBSCRIPTION_RENEWAL."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def renew(self, work: Work) -> WorkOutcome:
        """Start the period due at the timer's instant. Refused: it was moved or ended, and its row with it."""
        command = RenewSubscription(subscription_id=work.subject, due_at=work.due_at)
        key = f"renewal:{work.subject}:{work.due_at.isoformat()}"
        return await issue_for_work(self._writer, command, work, key=key, actor=ACTOR)
