"""What is decided about approvals: asked for, granted with what it is about, or ended without."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.approvals.approval import (
    APPROVAL,
    LASTS,
    PERSON,
    Approval,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalIsOver,
    ApprovalNeedsPerson,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalStatus,
    ApprovalWithdrawn,
    ExpireApproval,
    GrantApproval,
    InvalidApprovalRequest,
    NotTheRequester,
    OwnApproval,
    RejectApproval,
    RequestApproval,
    WantedEntry,
    WantedLimits,
    WantedRefund,
    WantedReversal,
    WithdrawApproval,
)
from domain.identity import commands as tenants
from domain.identity.authority import person_behind
from domain.identity.tenant import ChangeApprovalLimits
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.ledger import commands as ledger
from domain.ledger.journal_entry import PostJournalEntry, ReverseJournalEntry
from domain.payments import refund_commands as refunds
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundRequested


def request_approval(command: RequestApproval, streams: Streams, now: datetime) -> Decision:
    """What could not be done now is refused now. Raises the refusals of what is wanted."""
    APPROVAL.check_new(streams, command.approval_id)
    wanted = (command.refund, command.journal_entry, command.reversal, command.limits)
    if sum(each is not None for each in wanted) != 1:
        raise InvalidApprovalRequest
    refund, customer_id = None, None
    if command.refund is not None:
        asked = command.refund
        tried = refunds.request_refund(
            refunds.RequestRefund(
                refund_id=asked.refund_id,
                payment_id=asked.payment_id,
                amount=asked.amount,
                from_balance=asked.from_balance,
                treatment=asked.treatment,
                reason=asked.reason,
                metadata=asked.metadata,
            ),
            streams,
            now,
        )
        event = tried.changes[0].event
        assert isinstance(event, RefundRequested), "that is what a request for a refund comes to"
        refund = WantedRefund(
            refund_id=event.refund_id,
            payment_id=event.payment_id,
            amount=event.amount,
            from_balance=asked.from_balance,
            treatment=asked.treatment,
            reason=event.reason,
            metadata=event.metadata,
        )
        customer_id = PAYMENT.of(streams, asked.payment_id).customer_id
    elif command.limits is not None:
        _of_limits(command.limits, command.by, streams, now)
    else:
        _of_the_ledger(command.journal_entry, command.reversal, streams, now)
    requested = ApprovalRequested(
        approval_id=command.approval_id,
        refund=refund,
        journal_entry=command.journal_entry,
        reversal=command.reversal,
        limits=command.limits,
        customer_id=customer_id,
        note=command.note,
        metadata=command.metadata,
        requested_by=command.by,
        requested_at=now,
        expires_at=now + LASTS,
    )
    return Decision(now, [APPROVAL.change(requested)])


def grant_approval(command: GrantApproval, streams: Streams, now: datetime) -> Decision:
    """By a second person. What it is about is decided as if it were asked for now. Raises that one's refusals, too."""
    approval = _open(streams, command.approval_id, now)
    if not command.by.startswith(PERSON):
        raise ApprovalNeedsPerson
    if _person(streams, command.by) == _person(streams, approval.requested_by):
        raise OwnApproval(approval=command.approval_id)
    event = ApprovalGranted(approval_id=command.approval_id, granted_by=command.by, granted_at=now)
    # In real time, also where the refund's customer lives on a test clock.
    granted = Change(APPROVAL, command.approval_id, event, effective_at=now)
    if approval.limits is not None:
        return Decision(now, [granted, *_of_limits(approval.limits, command.by, streams, now)])
    if approval.refund is None:
        return Decision(now, [granted, *_of_the_ledger(approval.journal_entry, approval.reversal, streams, now)])
    wanted = approval.refund
    refund = refunds.RequestRefund(
        refund_id=wanted.refund_id,
        payment_id=wanted.payment_id,
        amount=wanted.amount,
        from_balance=wanted.from_balance,
        treatment=wanted.treatment,
        reason=wanted.reason,
        metadata=wanted.metadata,
    )
    decided = refunds.request_refund(refund, streams, now)
    return Decision(decided.effective_at, [granted, *decided.changes])


def reject_approval(command: RejectApproval, streams: Streams, now: datetime) -> Decision:
    """By anybody who may approve, and by programs, too: nothing is done by it."""
    approval = _open(streams, command.approval_id, now)
    if _acting(command.by) == _acting(approval.requested_by):
        raise OwnApproval(approval=command.approval_id)
    rejected = ApprovalRejected(
        approval_id=command.approval_id, reason=command.reason, rejected_by=command.by, rejected_at=now
    )
    return Decision(now, [APPROVAL.change(rejected)])


def withdraw_approval(command: WithdrawApproval, streams: Streams, now: datetime) -> Decision:
    approval = _open(streams, command.approval_id, now)
    if _acting(command.by) != _acting(approval.requested_by):
        raise NotTheRequester(approval=command.approval_id)
    return Decision(now, [APPROVAL.change(ApprovalWithdrawn(approval_id=command.approval_id, withdrawn_at=now))])


def expire_approval(command: ExpireApproval, streams: Streams, now: datetime) -> Decision:
    """By the timer, whose clock may be a little ahead of this decision's. Nothing where it was decided before."""
    approval = APPROVAL.of(streams, command.approval_id)
    if approval.status is not ApprovalStatus.REQUESTED:
        return Decision(now, [])
    expired = ApprovalExpired(approval_id=command.approval_id, expired_at=approval.expires_at)
    return Decision(now, [APPROVAL.change(expired)])


def _open(streams: Streams, approval_id: str, now: datetime) -> Approval:
    approval = APPROVAL.of(streams, approval_id)
    if approval.is_over(now):
        raise ApprovalIsOver(approval=approval_id, status=approval.status, expires_at=approval.expires_at)
    return approval


def _acting(actor: str) -> str:
    """Who acts, in whatever tenant they have entered (`user:… for …`)."""
    return actor.split(" ")[0]


def _id_of(actor: str) -> str:
    return _acting(actor).partition(":")[2]


def _person(streams: Streams, actor: str) -> str | None:
    """The user who acts, or who made the API key that acts."""
    return person_behind(streams, _id_of(actor))


def _of_limits(wanted: WantedLimits, actor: str, streams: Streams, now: datetime) -> list[Change]:
    """Whoever approves may change limits themselves, when they do: it is looked at in the log."""
    command = ChangeApprovalLimits(tenant_id=wanted.tenant_id, changes=wanted.changes, by=_id_of(actor))
    return tenants.change_approval_limits(command, streams, now).changes


def _of_the_ledger(
    entry: WantedEntry | None, reversal: WantedReversal | None, streams: Streams, now: datetime
) -> list[Change]:
    if entry is not None:
        posted = PostJournalEntry(
            entry_id=entry.entry_id, postings=entry.postings, memo=entry.memo, metadata=entry.metadata
        )
        return ledger.post_journal_entry(posted, streams, now).changes
    assert reversal is not None, "an approval is of one thing"
    return ledger.reverse_journal_entry(
        ReverseJournalEntry(entry_id=reversal.entry_id, memo=reversal.memo), streams, now
    ).changes


HANDLERS: Final[Mapping[type, Handler]] = {
    RequestApproval: request_approval,
    GrantApproval: grant_approval,
    RejectApproval: reject_approval,
    WithdrawApproval: withdraw_approval,
    ExpireApproval: expire_approval,
}
