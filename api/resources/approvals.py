"""Approvals: what is above a tenant's limit waits for a second person."""

from datetime import datetime
from typing import Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.facts import PostingResource, posting_resource
from api.http.fields import Body, JournalEntryId, LongText, MoneyResource, New, NoBody, money
from api.http.listing import CreatedParameters
from api.http.operations import Intention
from api.http.problems import PASSWORD_CONFIRMATION_REQUIRED
from api.http.resource import Resource
from api.resources.approval_limits import CurrencyLimits, limit_changes
from api.resources.journal_entries import NewJournalEntry, Reversal, check_customers
from api.resources.refunds import NOT_REFUNDED, NewRefund
from domain.approvals.approval import (
    APPROVAL,
    Approval,
    ApprovalIsOver,
    ApprovalNeedsPerson,
    ApprovalStatus,
    GrantApproval,
    InvalidApprovalRequest,
    NotTheRequester,
    OwnApproval,
    RefundAskedFor,
    RejectApproval,
    RequestApproval,
    WantedEntry,
    WantedLimits,
    WantedRefund,
    WantedReversal,
    WithdrawApproval,
)
from domain.customers.customer import CustomerNotFound
from domain.identity.authority import NotAllowed
from domain.identity.permissions import Permission
from domain.identity.tenant import InvalidApprovalLimits
from domain.kernel import identifiers
from domain.kernel.accounts import UnbalancedEntry, UnknownAccount
from domain.ledger.journal_entry import IsControlAccount, JournalEntryIsReversed, JournalEntryNotFound
from domain.payments.refund import RefundTreatment
from infra.ids import new_id
from projections.models import approvals as read

_ID: Final = "apr_01m7ywe9z7e398x54gfbrtqnk7"
_USER: Final = "user:user_01m7ywe9z7e398x54gfbrtqnk7"


class NewReversal(Reversal):
    """A journal entry to be undone, and why."""

    entry: JournalEntryId


class NewApproval(New):
    """What is to be done: a refund, journal entry, reversal or limits, as it would be asked for without approval."""

    refund: NewRefund | None = None
    journal_entry: NewJournalEntry | None = None
    reversal: NewReversal | None = None
    limits: CurrencyLimits | None = None
    note: LongText | None = Field(default=None, description="For whoever decides")


class Rejection(Body):
    """Why it is not done."""

    reason: LongText | None = None


class ApprovalFilters(CreatedParameters):
    """Which approvals."""

    status: ApprovalStatus | None = None


class WantedRefundResource(TypedDict):
    """The refund that is asked for; there is one of this id once it is approved."""

    id: str
    payment: str
    amount: MoneyResource
    from_balance: bool
    treatment: RefundTreatment
    reason: str | None
    metadata: dict[str, str]


class WantedEntryResource(TypedDict):
    """The journal entry that is asked for; there is one of this id once it is approved."""

    id: str
    postings: list[PostingResource]
    memo: str
    metadata: dict[str, str]


class WantedReversalResource(TypedDict):
    """The journal entry that is to be undone."""

    entry: str
    memo: str


class WantedLimitResource(TypedDict):
    """A currency's limit as it is to be, in minor units; null: none."""

    currency: str
    amount: int | None


class ApprovalResource(TypedDict):
    """An approval. Actors are as events name them; `decided_by` is whoever approved or rejected it."""

    id: str
    object: Literal["approval"]
    status: ApprovalStatus
    refund: WantedRefundResource | None
    journal_entry: WantedEntryResource | None
    reversal: WantedReversalResource | None
    limits: list[WantedLimitResource] | None
    customer: str | None
    note: str | None
    requested_by: str
    expires_at: datetime
    decided_by: str | None
    reason: str | None
    decided_at: datetime | None
    metadata: dict[str, str]
    created: datetime


def approval_resource(approval: Approval) -> ApprovalResource:
    """An approval as it is answered."""
    refund, entry, reversal, limits = approval.refund, approval.journal_entry, approval.reversal, approval.limits
    return {
        "id": approval.approval_id,
        "object": "approval",
        "status": approval.status,
        "refund": None if refund is None else _refund_resource(refund),
        "journal_entry": None if entry is None else _entry_resource(entry),
        "reversal": None if reversal is None else {"entry": reversal.entry_id, "memo": reversal.memo},
        "limits": None
        if limits is None
        else [{"currency": each.currency, "amount": each.amount} for each in limits.changes],
        "customer": approval.customer_id,
        "note": approval.note,
        "requested_by": approval.requested_by,
        "expires_at": approval.expires_at,
        "decided_by": approval.decided_by,
        "reason": approval.reason,
        "decided_at": approval.decided_at,
        "metadata": dict(approval.metadata),
        "created": approval.requested_at,
    }


def _refund_resource(refund: WantedRefund) -> WantedRefundResource:
    return {
        "id": refund.refund_id,
        "payment": refund.payment_id,
        "amount": money(refund.amount),
        "from_balance": refund.from_balance,
        "treatment": refund.treatment,
        "reason": refund.reason,
        "metadata": dict(refund.metadata),
    }


def _entry_resource(entry: WantedEntry) -> WantedEntryResource:
    return {
        "id": entry.entry_id,
        "postings": [posting_resource(posting) for posting in entry.postings],
        "memo": entry.memo,
        "metadata": dict(entry.metadata),
    }


_ASKED: Final[dict[str, object]] = {
    "refund": {
        "payment": "pay_01m7ywe9z7e398x54gfbrtqnk7",
        "amount": {"amount": 80000, "currency": "EUR"},
        "reason": "Delivered late",
    },
    "note": "They called twice",
}
EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "approval",
    "status": "requested",
    "refund": {
        "id": "re_01m7ywe9z7e398x54gfbrtqnk7",
        "payment": "pay_01m7ywe9z7e398x54gfbrtqnk7",
        "amount": {"amount": 80000, "currency": "EUR"},
        "from_balance": False,
        "treatment": "allowance",
        "reason": "Delivered late",
        "metadata": {},
    },
    "journal_entry": None,
    "reversal": None,
    "limits": None,
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "note": "They called twice",
    "requested_by": _USER,
    "expires_at": "2026-01-16T00:00:00Z",
    "decided_by": None,
    "reason": None,
    "decided_at": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-02T00:00:00Z",
}
_DECIDED: Final[dict[str, object]] = {"decided_by": _USER, "decided_at": "2026-01-02T08:00:00Z"}

APPROVALS: Final = Resource(
    tag="approvals",
    about="What one person may not do alone waits for a second one: refunds and journal entries above the limit.",
    stream=APPROVAL,
    table=read.TABLE,
    path="/v1/approvals",
    prefix=identifiers.APPROVAL,
    seen_with=Permission.APPROVALS_READ,
    changed_with=Permission.APPROVALS_WRITE,
    shows=ApprovalResource,
    render=approval_resource,
    example=EXAMPLE,
    filters=ApprovalFilters,
)
_OF_ENTRIES: Final = (
    UnbalancedEntry,
    UnknownAccount,
    IsControlAccount,
    CustomerNotFound,
    JournalEntryNotFound,
    JournalEntryIsReversed,
)


_OF_LIMITS: Final = (InvalidApprovalLimits, NotAllowed)


@APPROVALS.creates(
    body=NewApproval,
    body_example=_ASKED,
    refusals=(InvalidApprovalRequest, *NOT_REFUNDED, *_OF_ENTRIES, *_OF_LIMITS),
    problems=(PASSWORD_CONFIRMATION_REQUIRED,),
)
async def request_approval(call: Call, body: NewApproval) -> Intention:
    """Ask a second person to approve a refund, a journal entry, a journal entry's reversal, or higher limits.

    Nothing is done until it is approved: nothing is held back for it, posted, or sent to a gateway. What is not decided
    within 14 days expires. It needs the permission of what is asked for, too, and the password where that one does.
    """
    refund, entry, reversal, limits = body.refund, body.journal_entry, body.reversal, body.limits
    if refund is not None:
        call.need(Permission.REFUNDS_WRITE, param="refund")
    if limits is not None:
        call.need(Permission.APPROVAL_LIMITS_WRITE, param="limits")
    if entry is not None:
        call.need(Permission.LEDGER_WRITE, param="journal_entry")
        await check_customers(call, {each.customer for each in entry.postings if each.customer is not None})
    if reversal is not None:
        call.need(Permission.LEDGER_WRITE, param="reversal")
    approval_id = new_id(identifiers.APPROVAL)
    command = RequestApproval(
        approval_id=approval_id,
        refund=None if refund is None else _refund(refund),
        journal_entry=None if entry is None else _entry(entry),
        reversal=None if reversal is None else WantedReversal(entry_id=reversal.entry, memo=reversal.memo),
        limits=None if limits is None else WantedLimits(tenant_id=call.tenant_id, changes=limit_changes(limits)),
        note=body.note,
        by=call.actor,
        metadata=body.kept,
    )
    return APPROVALS.created(approval_id, command)


def _refund(asked: NewRefund) -> RefundAskedFor:
    return RefundAskedFor(
        refund_id=new_id(identifiers.REFUND),
        payment_id=asked.payment,
        amount=None if asked.amount is None else asked.amount.value,
        from_balance=asked.from_balance,
        treatment=asked.treatment,
        reason=asked.reason,
        metadata=asked.kept,
    )


def _entry(asked: NewJournalEntry) -> WantedEntry:
    return WantedEntry(
        entry_id=new_id(identifiers.JOURNAL_ENTRY),
        postings=tuple(each.value for each in asked.postings),
        memo=asked.memo,
        metadata=asked.kept,
    )


async def _check_may(call: Call, approval_id: str) -> None:
    """Whoever decides may do themselves what they decide on."""
    async with call.reading() as connection:
        approval: Approval = (await APPROVALS.row(call, connection, approval_id)).state
    if approval.limits is not None:
        call.need(Permission.APPROVAL_LIMITS_WRITE, param="approval")
    else:
        wanted = Permission.LEDGER_WRITE if approval.refund is None else Permission.REFUNDS_WRITE
        call.need(wanted, param="approval")


@APPROVALS.changes(
    "POST",
    "approve",
    body=NoBody,
    example={**_DECIDED, "status": "approved"},
    refusals=(ApprovalIsOver, OwnApproval, ApprovalNeedsPerson, *NOT_REFUNDED, *_OF_ENTRIES, *_OF_LIMITS),
    problems=(PASSWORD_CONFIRMATION_REQUIRED,),
)
async def approve_approval(call: Call, _body: NoBody) -> Intention:
    """Approve, as a second person: it is done at once.

    Whoever asked for it does not approve it, and an API key approves nothing. What has become impossible meanwhile is
    refused with its own reason, and the approval stays open.
    """
    approval_id = APPROVALS.id_of(call)
    await _check_may(call, approval_id)
    return APPROVALS.changed(approval_id, GrantApproval(approval_id=approval_id, by=call.actor))


@APPROVALS.changes(
    "POST",
    "reject",
    body=Rejection,
    body_example={"reason": "Not our fault"},
    example={**_DECIDED, "status": "rejected", "reason": "Not our fault"},
    refusals=(ApprovalIsOver, OwnApproval),
    problems=(PASSWORD_CONFIRMATION_REQUIRED,),
)
async def reject_approval(call: Call, body: Rejection) -> Intention:
    """Reject, as a second person: it is not done."""
    approval_id = APPROVALS.id_of(call)
    await _check_may(call, approval_id)
    return APPROVALS.changed(approval_id, RejectApproval(approval_id=approval_id, reason=body.reason, by=call.actor))


@APPROVALS.changes(
    "POST",
    "withdraw",
    body=NoBody,
    example={"status": "withdrawn", "decided_at": "2026-01-02T08:00:00Z"},
    refusals=(ApprovalIsOver, NotTheRequester),
)
async def withdraw_approval(call: Call, _body: NoBody) -> Intention:
    """Withdraw what you have asked for."""
    approval_id = APPROVALS.id_of(call)
    return APPROVALS.changed(approval_id, WithdrawApproval(approval_id=approval_id, by=call.actor))
