"""A payment with its attempts and refunds: intent first, the gateway's answer after, unknown until it is known.

An attempt is committed to the log before the gateway is called. Its outcome is one of captured, declined, action
required, or unknown; unknown is resolved by asking the gateway, never by guessing. The stream guards that refunds
never exceed what was captured.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.customers.payment_method import PaymentMethod
from domain.kernel import identifiers
from domain.kernel.accounts import (
    ALLOWANCES,
    CUSTOMER_BALANCE,
    GATEWAY_CLEARING,
    RECEIVABLE,
    Entry,
    credit,
    debit,
    entry,
)
from domain.kernel.frozen import replace
from domain.kernel.identifiers import derived_id
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, DueWork, Finish, Free, Schedule, Stream, Streams, Take, Topic, WorkKind
from domain.payments import cancellation as cancellations
from domain.payments import refund as refunds
from domain.payments.cancellation import Cancellation, PaymentAttemptCanceled, PaymentCancelRequested
from domain.payments.decline import DeclineCode
from domain.payments.refund import (
    Refund,
    RefundEvent,
    RefundFailed,
    RefundMetadataSet,
    RefundOutcomeUnknown,
    RefundRequested,
    RefundStatus,
    RefundSucceeded,
)

RESOLVE_UNKNOWN_AFTER_MS = 500
"""How long after an unknown outcome the gateway is first asked what became of it (ms)."""

ASK_ABOUT_ACTION_AFTER_MS = 5_000
"""How often the gateway is asked whether a customer has authenticated an attempt (ms)."""


class PaymentStatus(StrEnum):
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCreated:
    payment_id: str
    customer_id: str
    invoice_id: str | None
    amount: Money
    payment_method_id: str | None
    description: str | None
    test_clock_id: str | None
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentAttemptRequested:
    """Attempts count from 1. The gateway's idempotency key is the payment id and this number.

    `amount` is what this attempt charges: of an invoice what is due on it by then.
    """

    payment_id: str
    attempt: int
    amount: Money
    payment_method_id: str
    gateway: str
    token_reference: str
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentOutcomeUnknown:
    payment_id: str
    attempt: int
    why: str
    noticed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentActionRequired:
    """The customer must authenticate with the gateway before the attempt can go on."""

    payment_id: str
    attempt: int
    gateway_payment_id: str
    required_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCaptured:
    """`unneeded`: its invoice was paid otherwise or voided meanwhile, so the money goes back.

    `surplus` is what of it came above what was still due: part of that was paid otherwise meanwhile. It is the
    customer's balance.
    """

    payment_id: str
    attempt: int
    gateway_payment_id: str
    amount: Money
    unneeded: bool
    surplus: Money
    captured_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentDeclined:
    """`retryable` tells whether the same method may work later."""

    payment_id: str
    attempt: int
    code: DeclineCode
    retryable: bool
    declined_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCanceled:
    payment_id: str
    canceled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMetadataSet(MetadataSet):
    payment_id: str


PaymentEvent = (
    PaymentCreated
    | PaymentAttemptRequested
    | PaymentOutcomeUnknown
    | PaymentActionRequired
    | PaymentCaptured
    | PaymentDeclined
    | PaymentCancelRequested
    | PaymentAttemptCanceled
    | PaymentCanceled
    | PaymentMetadataSet
    | RefundEvent
)


class PaymentNotFound(Refusal):
    """There is no such payment."""

    code = "payment_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "payment"


class PaymentAlreadyExists(Refusal):
    """A payment of this id exists already."""

    code = "payment_already_exists"


class PaymentNotConfirmable(Refusal):
    """The payment is at the gateway, being cancelled, or over; only one that is new, failed or waits is tried."""

    code = "payment_not_confirmable"


class PaymentNotCancelable(Refusal):
    """The payment has succeeded; refund it."""

    code = "payment_not_cancelable"


class PaymentAttemptIsOver(Refusal):
    """This attempt has its outcome already."""

    code = "payment_attempt_over"


class InvoiceHasLivePayment(Refusal):
    """Another payment of this invoice is under way; wait for its outcome."""

    code = "invoice_payment_in_progress"
    param = "invoice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """`amount` is what the last attempt charges, `surplus` what it captured above what was due on its invoice, or above
    what is since a refund of it failed that had made that due again.
    `attempt` is 0 before the first. `outcome_unknown` is set while the gateway has yet to be asked, `cancellation`
    while the running attempt is to be given up."""

    payment_id: str
    customer_id: str
    invoice_id: str | None
    amount: Money
    status: PaymentStatus
    attempt: int
    outcome_unknown: bool
    cancellation: Cancellation | None
    payment_method_id: str | None
    gateway: str | None
    token_reference: str | None
    gateway_payment_id: str | None
    decline_code: DeclineCode | None
    description: str | None
    test_clock_id: str | None
    refunds: tuple[Refund, ...]
    metadata: Metadata
    created_at: datetime
    captured_at: datetime | None
    unneeded: bool
    surplus: Money

    @property
    def can_be_tried(self) -> bool:
        """Whether an attempt may begin: none runs, and it is not over."""
        return self.status in {PaymentStatus.REQUIRES_PAYMENT_METHOD, PaymentStatus.REQUIRES_CONFIRMATION}

    @property
    def waits_for_customer(self) -> bool:
        """Whether its attempt is the customer's to go on with, and nobody has given it up."""
        return self.status is PaymentStatus.REQUIRES_ACTION and self.cancellation is None

    @property
    def is_under_way(self) -> bool:
        """Whether an attempt has begun and has no outcome yet."""
        return self.status in {PaymentStatus.PROCESSING, PaymentStatus.REQUIRES_ACTION}

    @property
    def refundable(self) -> Money:
        """What was captured less the refunds that succeeded or may yet."""
        if self.status is not PaymentStatus.SUCCEEDED:
            return Money(0, self.amount.currency)
        taken = sum(refund.amount.amount for refund in self.refunds if refund.status is not RefundStatus.FAILED)
        return Money(self.amount.amount - taken, self.amount.currency)

    @property
    def is_applied(self) -> bool:
        """Whether what it captured pays an invoice: not that of a stand-alone payment, nor an unneeded capture."""
        return self.invoice_id is not None and not self.unneeded

    @property
    def unapplied(self) -> Money:
        """What it captured and has not given back, where no invoice is paid by it: it belongs to the customer."""
        return Money(0, self.amount.currency) if self.is_applied else self.refundable

    @property
    def allowed(self) -> Money:
        """What refunds returned, or may yet, of what pays its invoice, without a credit note and without its being due
        again: it lessens revenue."""
        standing = [each for each in self.refunds if self.is_applied and each.status is not RefundStatus.FAILED]
        return Money(sum(each.borne.amount for each in standing), self.amount.currency)

    @property
    def taken_from_balance(self) -> Money:
        """What refunds returned, or may yet, that the customer's balance held; those of credit notes took their own."""
        taken = sum(
            each.from_balance.amount
            for each in self.refunds
            if each.status is not RefundStatus.FAILED and each.credit_note_id is None
        )
        return Money(taken, self.amount.currency)

    @property
    def amount_refunded(self) -> Money:
        """The refunds that succeeded."""
        done = sum(refund.amount.amount for refund in self.refunds if refund.status is RefundStatus.SUCCEEDED)
        return Money(done, self.amount.currency)


def check_confirmable(payment: Payment) -> None:
    """Raises PaymentNotConfirmable while an attempt runs, after a success, and once it is cancelled."""
    if not payment.can_be_tried:
        raise PaymentNotConfirmable(payment=payment.payment_id, status=payment.status)


def request_attempt(payment: Payment, method: PaymentMethod, amount: Money, now: datetime) -> PaymentAttemptRequested:
    """The next attempt, of this amount, with this method. Raises PaymentNotConfirmable."""
    check_confirmable(payment)
    return PaymentAttemptRequested(
        payment_id=payment.payment_id,
        attempt=payment.attempt + 1,
        amount=amount,
        payment_method_id=method.payment_method_id,
        gateway=method.gateway,
        token_reference=method.token_reference,
        requested_at=now,
    )


def awaiting_outcome(streams: Streams, payment_id: str, attempt: int) -> Payment:
    """The payment, if this attempt is under way: PaymentNotFound or PaymentAttemptIsOver otherwise."""
    payment = PAYMENT.of(streams, payment_id)
    if not payment.is_under_way or payment.attempt != attempt:
        raise PaymentAttemptIsOver(payment=payment_id, attempt=attempt, status=payment.status)
    return payment


def evolve(payment: Payment | None, event: PaymentEvent) -> Payment:
    if isinstance(event, PaymentCreated):
        return Payment(
            payment_id=event.payment_id,
            customer_id=event.customer_id,
            invoice_id=event.invoice_id,
            amount=event.amount,
            status=(
                PaymentStatus.REQUIRES_PAYMENT_METHOD
                if event.payment_method_id is None
                else PaymentStatus.REQUIRES_CONFIRMATION
            ),
            attempt=0,
            outcome_unknown=False,
            cancellation=None,
            payment_method_id=event.payment_method_id,
            gateway=None,
            token_reference=None,
            gateway_payment_id=None,
            decline_code=None,
            description=event.description,
            test_clock_id=event.test_clock_id,
            refunds=(),
            metadata=event.metadata,
            created_at=event.created_at,
            captured_at=None,
            unneeded=False,
            surplus=Money.zero(event.amount.currency),
        )
    assert payment is not None, "the first event of a payment is payment.created"
    match event:
        case PaymentAttemptRequested():
            return replace(
                payment,
                status=PaymentStatus.PROCESSING,
                attempt=event.attempt,
                amount=event.amount,
                outcome_unknown=False,
                payment_method_id=event.payment_method_id,
                gateway=event.gateway,
                token_reference=event.token_reference,
                gateway_payment_id=None,
                decline_code=None,
            )
        case PaymentOutcomeUnknown():
            return replace(payment, outcome_unknown=True)
        case PaymentActionRequired():
            return replace(
                payment,
                status=PaymentStatus.REQUIRES_ACTION,
                outcome_unknown=False,
                gateway_payment_id=event.gateway_payment_id,
            )
        case PaymentCaptured():
            return replace(
                payment,
                status=PaymentStatus.SUCCEEDED,
                outcome_unknown=False,
                cancellation=None,
                gateway_payment_id=event.gateway_payment_id,
                captured_at=event.captured_at,
                unneeded=event.unneeded,
                surplus=event.surplus,
            )
        case PaymentDeclined():
            return replace(
                payment,
                status=PaymentStatus.REQUIRES_PAYMENT_METHOD,
                outcome_unknown=False,
                cancellation=None,
                decline_code=event.code,
            )
        case PaymentCancelRequested():
            return replace(payment, cancellation=cancellations.wanted(event))
        case PaymentAttemptCanceled():
            return replace(
                payment,
                status=PaymentStatus.REQUIRES_PAYMENT_METHOD,
                outcome_unknown=False,
                cancellation=None,
            )
        case PaymentCanceled():
            return replace(payment, status=PaymentStatus.CANCELED, cancellation=None)
        case PaymentMetadataSet():
            return replace(payment, metadata=event.metadata)
        case RefundFailed(surplus=Money() as surplus):
            kept = payment.surplus + surplus
            return replace(payment, refunds=refunds.evolve(payment.refunds, event), surplus=kept)
        case RefundRequested() | RefundOutcomeUnknown() | RefundSucceeded() | RefundFailed() | RefundMetadataSet():
            return replace(payment, refunds=refunds.evolve(payment.refunds, event))


def postings(event: PaymentEvent, payment: Payment) -> Entry | None:
    """Captured: gateway clearing to the receivable of the invoice it pays; to the customer's balance what is above
    that, and all of it if it pays none.

    A refund goes through refunds payable, and back if it fails. It is taken from where the money lies: the customer's
    balance, or, where an invoice was paid by it and stays paid, allowances. Where that is due again, its own event
    posts so.
    """
    customer_id = payment.customer_id
    match event:
        case PaymentCaptured():
            held = event.surplus if payment.is_applied else event.amount
            return entry(
                (
                    debit(GATEWAY_CLEARING, event.amount, customer_id),
                    credit(RECEIVABLE, event.amount - held, customer_id),
                    credit(CUSTOMER_BALANCE, held, customer_id),
                )
            )
        case RefundRequested() | RefundSucceeded() | RefundFailed():
            taken_from = ALLOWANCES if payment.is_applied else CUSTOMER_BALANCE
            return refunds.postings(event, payment.refunds, taken_from, customer_id)
        case _:
            return None


def claims(event: PaymentEvent, payment: Payment) -> tuple[Claim, ...]:
    """At most one payment of an invoice is live. Once it has its outcome, whatever is due by then may be charged: what
    is paid is guarded by the invoice itself, which every attempt reads."""
    if isinstance(event, RefundRequested | RefundOutcomeUnknown | RefundSucceeded | RefundFailed):
        return refunds.claims(event, payment.gateway)
    invoice_id = payment.invoice_id
    if invoice_id is None:
        return ()
    match event:
        case PaymentAttemptRequested():
            taken = Take(
                "invoice.live_payment",
                invoice_id,
                event.payment_id,
                lambda: InvoiceHasLivePayment(invoice=invoice_id),
            )
            return (taken,)
        case PaymentCaptured() | PaymentDeclined() | PaymentAttemptCanceled():
            return (Free("invoice.live_payment", invoice_id, event.payment_id),)
        case _:
            return ()


def collected_by(invoice_id: str) -> str:
    """The id of the payment that collects an invoice as its finalization promised. The invoice shows it once it has
    failed or paid; until then whoever settles the invoice finds it by this id."""
    return derived_id(identifiers.PAYMENT, invoice_id, "collect")


def attempt_reference(payment_id: str, attempt: int) -> str:
    """Our name for one attempt: its idempotency key at the gateway, and the subject of its due work.

    A row of due work is of one attempt, so what it knows of its first run is true of that attempt.
    """
    return f"{payment_id}:{attempt}"


def due_work(event: PaymentEvent, payment: Payment) -> tuple[DueWork, ...]:
    """A call to the gateway is due as soon as its intent is committed, and again while its outcome is unknown."""
    clock_id = payment.test_clock_id
    call, attempt = WorkKind.PAYMENT_GATEWAY_CALL, attempt_reference(payment.payment_id, payment.attempt)
    match event:
        case PaymentAttemptRequested():
            return (Schedule(call, attempt, after_ms=0, clock_id=clock_id),)
        case PaymentOutcomeUnknown():
            # A test clock waits for the gateway, but not for a customer to authenticate.
            waits = None if payment.status is PaymentStatus.REQUIRES_ACTION else clock_id
            return (Schedule(call, attempt, after_ms=RESOLVE_UNKNOWN_AFTER_MS, clock_id=waits),)
        case PaymentCaptured() | PaymentDeclined() | PaymentAttemptCanceled():
            return (Finish(call, attempt),)
        case PaymentCancelRequested():
            return (Schedule(call, attempt, after_ms=0, clock_id=clock_id),)
        case PaymentActionRequired():
            return (Schedule(call, attempt, after_ms=ASK_ABOUT_ACTION_AFTER_MS),)
        case RefundRequested() if payment.unneeded and payment.refundable.is_zero:
            return (*refunds.due_work(event, clock_id), Finish(WorkKind.REFUND_RETRY, event.payment_id))
        case RefundFailed() if payment.unneeded:
            # Nobody asked for this refund, so nobody would ask again. A test clock does not wait for the gateway's
            # change of mind.
            return (*refunds.due_work(event, clock_id), Schedule(WorkKind.REFUND_RETRY, event.payment_id, after_ms=0))
        case RefundRequested() | RefundOutcomeUnknown() | RefundSucceeded() | RefundFailed():
            return refunds.due_work(event, clock_id)
        case _:
            return ()


EVENTS: dict[str, type] = {
    "payment.created": PaymentCreated,
    "payment.attempt_requested": PaymentAttemptRequested,
    "payment.outcome_unknown": PaymentOutcomeUnknown,
    "payment.action_required": PaymentActionRequired,
    "payment.captured": PaymentCaptured,
    "payment.declined": PaymentDeclined,
    "payment.canceled": PaymentCanceled,
    "payment.metadata_set": PaymentMetadataSet,
    **cancellations.EVENTS,
    **refunds.EVENTS,
}

PAYMENT: Stream[Payment] = Stream(
    name="payment",
    id_field="payment_id",
    topic=Topic.PAYMENTS,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda payment: payment.customer_id,
    not_found=PaymentNotFound,
    already_exists=PaymentAlreadyExists,
    metadata_set=PaymentMetadataSet,
    postings=postings,
    claims=claims,
    due_work=due_work,
)
