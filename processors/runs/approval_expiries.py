"""Approvals that nobody has given or refused in their time end, so that what waits for one never waits for ever."""

from domain.approvals.approval import ExpireApproval
from infra.event_store.port import Work, Writer
from processors.issue import issue_for_work
from processors.outcome import WorkOutcome

ACTOR = "timer:approval"


class ApprovalExpiries:
    """Runs APPROVAL_EXPIRY."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def expire(self, work: Work) -> WorkOutcome:
        """End it. It was decided meanwhile: its row is gone with that."""
        command = ExpireApproval(approval_id=work.subject)
        return await issue_for_work(self._writer, command, work, key=f"approval-expiry:{work.subject}", actor=ACTOR)
