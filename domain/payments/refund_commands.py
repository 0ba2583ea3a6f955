"""Commands about refunds: asked for within what was captured, then what the gateway answered."""

from dataclasses import dataclass
from datetime import datetime

from domain.customers import customer as customers
from domain.customers.customer import CUSTOMER
from domain.customers.test_clock import customer_time
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Change, Decision, Streams
from domain.payments import payment as payments
from domain.payments.payment import (
    PAYMENT,
    Payment,
    PaymentStatus,
)
from domain.payments.refund import (
    Refund,
    RefundEvent,
    RefundFailed,
    RefundOutcomeUnknown,
    RefundRequested,
    RefundStatus,
    RefundSucceeded,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefund:
    """`amount` None: all that is left of the payment."""

    refund_id: str
    payment_id: str
    amount: Money | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRefundSucceeded:
    refund_id: str
    payment_id: str
    gateway_refund_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRefundFailed:
    refund_id: str
    payment_id: str
    failure_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRefundOutcomeUnknown:
    refund_id: str
    payment_id: str
    why: str


RefundCommand = RequestRefund | RecordRefundSucceeded | RecordRefundFailed | RecordRefundOutcomeUnknown


class PaymentNotRefundable(Refusal):
    """Only a payment that succeeded can be refunded."""

    code = "payment_not_refundable"


class RefundExceedsPayment(Refusal):
    """The refund is more than what is left of the payment."""

    code = "refund_exceeds_payment"
    param = "amount"


class InvalidRefundAmount(Refusal):
    """A refund is of more than zero, in the payment's currency."""

    code = "invalid_refund_amount"
    kind = RefusalKind.INVALID
    param = "amount"


class RefundAlreadyExists(Refusal):
    """A refund of this id exists already."""

    code = "refund_already_exists"


class RefundNotFound(Refusal):
    """There is no such refund."""

    code = "refund_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "refund"


class RefundIsOver(Refusal):
    """The refund has its outcome already."""

    code = "refund_over"


def change_refund(command: RefundCommand, streams: Streams, now: datetime) -> Decision:
    payment = payments.existing(streams.get(PAYMENT, command.payment_id), command.payment_id)
    customer = customers.existing(streams.get(CUSTOMER, payment.customer_id), payment.customer_id)
    at = customer_time(streams, customer, now)
    return Decision(at, [Change(PAYMENT, payment.payment_id, decide(command, payment, at))])


def decide(command: RefundCommand, payment: Payment, now: datetime) -> RefundEvent:
    if isinstance(command, RequestRefund):
        return _request(command, payment, now)
    refund = _pending(payment, command.refund_id)
    match command:
        case RecordRefundSucceeded():
            return RefundSucceeded(
                refund_id=refund.refund_id,
                payment_id=payment.payment_id,
                gateway_refund_id=command.gateway_refund_id,
                amount=refund.amount,
                succeeded_at=now,
            )
        case RecordRefundFailed():
            return RefundFailed(
                refund_id=refund.refund_id,
                payment_id=payment.payment_id,
                code=command.failure_code,
                amount=refund.amount,
                failed_at=now,
            )
        case RecordRefundOutcomeUnknown():
            if refund.outcome_unknown:
                raise RefundIsOver(refund=refund.refund_id, status="outcome_unknown")
            return RefundOutcomeUnknown(
                refund_id=refund.refund_id, payment_id=payment.payment_id, why=command.why, noticed_at=now
            )


def _request(command: RequestRefund, payment: Payment, now: datetime) -> RefundRequested:
    if payment.status is not PaymentStatus.SUCCEEDED:
        raise PaymentNotRefundable(payment=payment.payment_id, status=payment.status)
    if any(refund.refund_id == command.refund_id for refund in payment.refunds):
        raise RefundAlreadyExists(refund=command.refund_id)
    left = payment.refundable
    amount = left if command.amount is None else command.amount
    if amount.currency != payment.amount.currency or (command.amount is not None and amount.amount <= 0):
        raise InvalidRefundAmount(amount=amount.amount, currency=amount.currency)
    if amount.amount > left.amount or amount.is_zero:
        raise RefundExceedsPayment(amount=amount.amount, refundable=left.amount)
    return RefundRequested(
        refund_id=command.refund_id,
        payment_id=payment.payment_id,
        amount=amount,
        reason=command.reason,
        requested_at=now,
    )


def _pending(payment: Payment, refund_id: str) -> Refund:
    for refund in payment.refunds:
        if refund.refund_id == refund_id:
            if refund.status is not RefundStatus.PENDING:
                raise RefundIsOver(refund=refund_id, status=refund.status)
            return refund
    raise RefundNotFound(refund=refund_id)
