"""A refund of a payment: requested, then succeeded or failed for good; unknown until the gateway says which.

Its events belong to the payment's stream, which guards that refunds never exceed what was captured.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.kernel.accounts import (
    CUSTOMER_BALANCE,
    GATEWAY_CLEARING,
    REFUNDS_PAYABLE,
    Account,
    Entry,
    credit,
    debit,
    entry,
    transfer,
)
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Claim, DueWork, Finish, Schedule, Take, WorkKind
from domain.payments.decline import DeclineCode

RESOLVE_UNKNOWN_AFTER_MS = 500
"""How long after an unknown outcome the gateway is first asked what became of it (ms)."""

CLAIM = "payment.refund"
"""The kind of claim by which a refund's id leads to its payment, in whose stream it lives."""


CLAIM_AT_GATEWAY = "payment.gateway_refund"
"""The kind of claim by which one refund at a gateway is one of ours: its value is the gateway and its id there."""


class RefundStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RefundTreatment(StrEnum):
    """What a refund leaves of the invoice that its payment paid, where no credit note says so: it stays paid, and what
    went back lessens revenue; or it is due again by as much."""

    ALLOWANCE = "allowance"
    REOPEN = "reopen"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequested:
    """`from_balance` is what of it the customer's balance holds: an overpayment, or what a credit note gave back.
    `reopened` is what of it is due again on the payment's invoice, whose own event says so and posts it; None: nothing.

    `credit_note_id`: the one that it was asked for with."""

    refund_id: str
    payment_id: str
    amount: Money
    from_balance: Money
    reopened: Money | None = None
    credit_note_id: str | None = None
    reason: str | None
    metadata: Metadata = ()
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundOutcomeUnknown:
    refund_id: str
    payment_id: str
    why: str
    noticed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundSucceeded:
    """`evidence` is what an operator says it rests on, who ended it by hand; None: the gateway said so."""

    refund_id: str
    payment_id: str
    gateway_refund_id: str
    amount: Money
    succeeded_at: datetime
    evidence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFailed:
    """`evidence`: see `RefundSucceeded`. `surplus` is what of it was to be due again and pays nothing any more: it is
    the customer's balance; None: nothing."""

    refund_id: str
    payment_id: str
    code: DeclineCode
    amount: Money
    failed_at: datetime
    evidence: str | None
    surplus: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundMetadataSet(MetadataSet):
    refund_id: str
    payment_id: str


RefundEvent = RefundRequested | RefundOutcomeUnknown | RefundSucceeded | RefundFailed | RefundMetadataSet


class RefundAlreadyExists(Refusal):
    """A refund of this id exists already."""

    code = "refund_already_exists"


class GatewayRefundTaken(Refusal):
    """What the gateway knows by this id is another refund already; look at the gateway's own record."""

    code = "gateway_refund_taken"
    param = "gateway_refund_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """`outcome_unknown` is set while the gateway has yet to be asked what became of it. Of `amount` the customer's
    balance bore `from_balance`, and `reopened` is due again; the rest is an allowance, or of no invoice."""

    refund_id: str
    amount: Money
    from_balance: Money
    reopened: Money
    credit_note_id: str | None
    status: RefundStatus
    outcome_unknown: bool
    reason: str | None
    gateway_refund_id: str | None
    failure_code: DeclineCode | None
    metadata: Metadata
    requested_at: datetime

    @property
    def borne(self) -> Money:
        """What neither the customer's balance bears nor an invoice that is due again."""
        return self.amount - self.from_balance - self.reopened


def evolve(refunds: tuple[Refund, ...], event: RefundEvent) -> tuple[Refund, ...]:
    """A payment's refunds after the event."""
    if isinstance(event, RefundRequested):
        requested = Refund(
            refund_id=event.refund_id,
            amount=event.amount,
            from_balance=event.from_balance,
            reopened=event.reopened or Money.zero(event.amount.currency),
            credit_note_id=event.credit_note_id,
            status=RefundStatus.PENDING,
            outcome_unknown=False,
            reason=event.reason,
            gateway_refund_id=None,
            failure_code=None,
            metadata=event.metadata,
            requested_at=event.requested_at,
        )
        return (*refunds, requested)
    return tuple(_after(event, refund) if refund.refund_id == event.refund_id else refund for refund in refunds)


def _after(event: RefundOutcomeUnknown | RefundSucceeded | RefundFailed | RefundMetadataSet, refund: Refund) -> Refund:
    match event:
        case RefundOutcomeUnknown():
            return replace(refund, outcome_unknown=True)
        case RefundSucceeded():
            return replace(
                refund,
                status=RefundStatus.SUCCEEDED,
                outcome_unknown=False,
                gateway_refund_id=event.gateway_refund_id,
            )
        case RefundFailed():
            return replace(refund, status=RefundStatus.FAILED, outcome_unknown=False, failure_code=event.code)
        case RefundMetadataSet():
            return replace(refund, metadata=event.metadata)


def postings(
    event: RefundRequested | RefundSucceeded | RefundFailed,
    refunds: tuple[Refund, ...],
    taken_from: Account,
    customer_id: str,
) -> Entry | None:
    """Requested: from where the money lies to refunds payable; then on to gateway clearing, or back if it failed for
    good. An overpayment, and what was credited, lie in the customer's balance. What is due again its invoice posts.
    `refunds` are the payment's after the event.
    """
    if isinstance(event, RefundSucceeded):
        return transfer(event.amount, debit_to=REFUNDS_PAYABLE, credit_to=GATEWAY_CLEARING, customer_id=customer_id)
    (refund,) = (each for each in refunds if each.refund_id == event.refund_id)
    parts = ((taken_from, refund.borne), (CUSTOMER_BALANCE, refund.from_balance))
    payable = refund.amount - refund.reopened
    if isinstance(event, RefundRequested):
        taken = [debit(account, part, customer_id) for account, part in parts]
        return entry([*taken, credit(REFUNDS_PAYABLE, payable, customer_id)])
    given_back = [credit(account, part, customer_id) for account, part in parts]
    return entry([debit(REFUNDS_PAYABLE, payable, customer_id), *given_back])


def claims(event: RefundEvent, gateway: str | None) -> tuple[Claim, ...]:
    """A refund's id names one refund of one payment for ever, and so does the gateway's own id of it."""
    match event:
        case RefundRequested():
            refund_id = event.refund_id
            return (Take(CLAIM, refund_id, event.payment_id, lambda: RefundAlreadyExists(refund=refund_id)),)
        case RefundSucceeded():
            there = event.gateway_refund_id
            taken = Take(
                CLAIM_AT_GATEWAY,
                f"{gateway}/{there}",
                event.refund_id,
                lambda: GatewayRefundTaken(gateway_refund_id=there),
            )
            return (taken,)
        case _:
            return ()


def work_subject(payment_id: str, refund_id: str) -> str:
    """The subject of a refund's due work: the stream and the refund in it."""
    return f"{payment_id}/{refund_id}"


def due_work(event: RefundEvent, clock_id: str | None) -> tuple[DueWork, ...]:
    """The gateway is called as soon as the intent is committed, and asked again while its outcome is unknown."""
    kind = WorkKind.REFUND_GATEWAY_CALL
    subject = work_subject(event.payment_id, event.refund_id)
    match event:
        case RefundRequested():
            return (Schedule(kind, subject, after_ms=0, clock_id=clock_id),)
        case RefundOutcomeUnknown():
            return (Schedule(kind, subject, after_ms=RESOLVE_UNKNOWN_AFTER_MS, clock_id=clock_id),)
        case RefundSucceeded() | RefundFailed():
            return (Finish(kind, subject),)
        case RefundMetadataSet():
            return ()


EVENTS: dict[str, type] = {
    "refund.requested": RefundRequested,
    "refund.outcome_unknown": RefundOutcomeUnknown,
    "refund.succeeded": RefundSucceeded,
    "refund.failed": RefundFailed,
    "refund.metadata_set": RefundMetadataSet,
}
