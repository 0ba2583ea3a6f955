"""An approval: what one person wants done with money, above what a tenant lets one person do alone.

Nothing of it is done until a second person approves: no money is held back, nothing is posted, no gateway is called.
What is approved is decided then, by the rules and the state of that moment, in the same batch. It ends by itself after
14 days; whether the timer or a person comes first makes no difference, since it is looked at by its time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from domain.identity.tenant import LimitChange
from domain.kernel.accounts import Posting
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import DueWork, Finish, Schedule, Stream, Topic, WorkKind
from domain.payments.refund import RefundTreatment

LASTS: Final = timedelta(days=14)
PERSON: Final = "user:"
"""What the actor of a person begins with; a program's begins otherwise."""


class ApprovalStatus(StrEnum):
    REQUESTED = "requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRefund:
    """The refund as it will be: its amount is settled when it is asked for. `from_balance`: it pays the balance out.
    `treatment` is of what the balance does not bear."""

    refund_id: str
    payment_id: str
    amount: Money
    from_balance: bool = False
    treatment: RefundTreatment = RefundTreatment.ALLOWANCE
    reason: str | None
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEntry:
    """The journal entry as it will be posted."""

    entry_id: str
    postings: tuple[Posting, ...]
    memo: str
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedReversal:
    """Of a journal entry that is posted."""

    entry_id: str
    memo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLimits:
    """What is to change of the tenant's own limits, by which one person is held back."""

    tenant_id: str
    changes: tuple[LimitChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestApproval:
    """One of the four is wanted; a refund without an amount is of all that is left. `by` is an actor as events name
    it, such as `user:user_…`.
    """

    approval_id: str
    refund: "RefundAskedFor | None" = None
    journal_entry: WantedEntry | None = None
    reversal: WantedReversal | None = None
    limits: WantedLimits | None = None
    note: str | None
    by: str
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAskedFor:
    refund_id: str
    payment_id: str
    amount: Money | None
    from_balance: bool = False
    treatment: RefundTreatment = RefundTreatment.ALLOWANCE
    reason: str | None
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantApproval:
    approval_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectApproval:
    approval_id: str
    reason: str | None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawApproval:
    approval_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireApproval:
    """Its time has come."""

    approval_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested:
    approval_id: str
    refund: WantedRefund | None
    journal_entry: WantedEntry | None
    reversal: WantedReversal | None
    limits: WantedLimits | None = None
    customer_id: str | None
    note: str | None
    metadata: Metadata = ()
    requested_by: str
    requested_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGranted:
    """What it is about is decided in the same batch."""

    approval_id: str
    granted_by: str
    granted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRejected:
    approval_id: str
    reason: str | None
    rejected_by: str
    rejected_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWithdrawn:
    approval_id: str
    withdrawn_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalExpired:
    approval_id: str
    expired_at: datetime


ApprovalEvent = ApprovalRequested | ApprovalGranted | ApprovalRejected | ApprovalWithdrawn | ApprovalExpired


class ApprovalRequired(Refusal):
    """Above the tenant's limit a second person approves: ask for it by POST /v1/approvals, with the same request."""

    code = "approval_required"


class ApprovalNotFound(Refusal):
    """There is no such approval."""

    code = "approval_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "approval"


class ApprovalAlreadyExists(Refusal):
    """An approval of this id exists already."""

    code = "approval_already_exists"


class ApprovalIsOver(Refusal):
    """The approval was decided already, or has expired: ask for another one."""

    code = "approval_over"


class OwnApproval(Refusal):
    """Whoever asks does not approve, nor whoever made the API key that asks: a second person does."""

    code = "own_approval"


class ApprovalNeedsPerson(Refusal):
    """A person approves, signed in as a user; an API key cannot."""

    code = "approval_needs_person"


class NotTheRequester(Refusal):
    """Whoever asked for it withdraws it; others reject it."""

    code = "not_the_requester"


class InvalidApprovalRequest(Refusal):
    """An approval is of one thing: a refund, a journal entry, a journal entry's reversal, or limits."""

    code = "invalid_approval_request"
    kind = RefusalKind.INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """`decided_by` is whoever approved or rejected it; `decided_at` is when it ended, by whatever."""

    approval_id: str
    status: ApprovalStatus
    refund: WantedRefund | None
    journal_entry: WantedEntry | None
    reversal: WantedReversal | None
    limits: WantedLimits | None
    customer_id: str | None
    note: str | None
    metadata: Metadata
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    reason: str | None
    decided_at: datetime | None

    def is_over(self, now: datetime) -> bool:
        """Whether nothing can be decided any more."""
        return self.status is not ApprovalStatus.REQUESTED or now >= self.expires_at


def evolve(approval: Approval | None, event: ApprovalEvent) -> Approval:
    if isinstance(event, ApprovalRequested):
        return Approval(
            approval_id=event.approval_id,
            status=ApprovalStatus.REQUESTED,
            refund=event.refund,
            journal_entry=event.journal_entry,
            reversal=event.reversal,
            limits=event.limits,
            customer_id=event.customer_id,
            note=event.note,
            metadata=event.metadata,
            requested_by=event.requested_by,
            requested_at=event.requested_at,
            expires_at=event.expires_at,
            decided_by=None,
            reason=None,
            decided_at=None,
        )
    assert approval is not None, "the first event of an approval is approval.requested"
    match event:
        case ApprovalGranted():
            return replace(
                approval, status=ApprovalStatus.APPROVED, decided_by=event.granted_by, decided_at=event.granted_at
            )
        case ApprovalRejected():
            return replace(
                approval,
                status=ApprovalStatus.REJECTED,
                decided_by=event.rejected_by,
                reason=event.reason,
                decided_at=event.rejected_at,
            )
        case ApprovalWithdrawn():
            return replace(approval, status=ApprovalStatus.WITHDRAWN, decided_at=event.withdrawn_at)
        case ApprovalExpired():
            return replace(approval, status=ApprovalStatus.EXPIRED, decided_at=event.expired_at)


def due_work(event: ApprovalEvent, approval: Approval) -> tuple[DueWork, ...]:
    kind = WorkKind.APPROVAL_EXPIRY
    if isinstance(event, ApprovalRequested):
        return (Schedule(kind, event.approval_id, due_at=event.expires_at),)
    return (Finish(kind, event.approval_id),)


EVENTS: dict[str, type] = {
    "approval.requested": ApprovalRequested,
    "approval.granted": ApprovalGranted,
    "approval.rejected": ApprovalRejected,
    "approval.withdrawn": ApprovalWithdrawn,
    "approval.expired": ApprovalExpired,
}

APPROVAL: Stream[Approval] = Stream(
    name="approval",
    id_field="approval_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda approval: approval.customer_id,
    not_found=ApprovalNotFound,
    already_exists=ApprovalAlreadyExists,
    due_work=due_work,
)
