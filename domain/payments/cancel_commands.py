"""What is decided about payments that are to be given up: by command, for another method, or because nobody came."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import CUSTOMER, time_of
from domain.customers.payment_method import PAYMENT_METHOD
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.payments.cancellation import CancelReason, PaymentAttemptCanceled
from domain.payments.consequences import METHOD_DETACHED, amount_to_charge, give_up, is_unneeded, still_unpaid
from domain.payments.payment import (
    PAYMENT,
    Payment,
    PaymentAttemptIsOver,
    PaymentCanceled,
    PaymentNotCancelable,
    PaymentStatus,
    awaiting_outcome,
    request_attempt,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPayment:
    """Give a payment up. One that is under way is given up at the gateway first."""

    payment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpirePaymentAttempt:
    """Its customer has not come to authenticate it in time."""

    payment_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPaymentCanceled:
    """The gateway has given the attempt up, as was wanted; no money was taken."""

    payment_id: str
    attempt: int


def cancel_payment(command: CancelPayment, streams: Streams, now: datetime) -> Decision:
    payment = PAYMENT.of(streams, command.payment_id)
    at = time_of(streams, payment.customer_id, now)
    if payment.status is PaymentStatus.CANCELED:
        return Decision(at, [])
    if payment.can_be_tried:
        return Decision(at, [PAYMENT.change(PaymentCanceled(payment_id=payment.payment_id, canceled_at=at))])
    if not payment.is_under_way:
        raise PaymentNotCancelable(payment=command.payment_id, status=payment.status)
    wanted = payment.cancellation
    if wanted is not None and wanted.ends_payment:
        return Decision(at, [])
    return Decision(at, [give_up(payment, CancelReason.REQUESTED, at)])


def expire_payment_attempt(command: ExpirePaymentAttempt, streams: Streams, now: datetime) -> Decision:
    payment = awaiting_outcome(streams, command.payment_id, command.attempt)
    if not payment.waits_for_customer:
        raise PaymentAttemptIsOver(payment=payment.payment_id, attempt=command.attempt, status=payment.status)
    at = time_of(streams, payment.customer_id, now)
    return Decision(at, [give_up(payment, CancelReason.TIMED_OUT, at)])


def record_payment_canceled(command: RecordPaymentCanceled, streams: Streams, now: datetime) -> Decision:
    payment = awaiting_outcome(streams, command.payment_id, command.attempt)
    wanted = payment.cancellation
    if wanted is None:
        raise PaymentAttemptIsOver(payment=payment.payment_id, attempt=command.attempt, status=payment.status)
    at = time_of(streams, payment.customer_id, now)
    ended = PAYMENT.change(
        PaymentAttemptCanceled(
            payment_id=payment.payment_id, attempt=payment.attempt, reason=wanted.reason, canceled_at=at
        )
    )
    return Decision(at, [ended, *after_giving_up(payment, ended, streams, at)])


def after_giving_up(payment: Payment, ended: Change, streams: Streams, at: datetime) -> list[Change]:
    """What comes next once an attempt has ended without money. `payment` is as it was before.

    A payment to be cancelled is, and so is one whose invoice was settled meanwhile, whatever was wanted of it; what was
    to come in its place is tried, or ends where it may no longer be.
    """
    wanted = payment.cancellation
    canceled = PAYMENT.change(PaymentCanceled(payment_id=payment.payment_id, canceled_at=at))
    if wanted is not None and wanted.replacement_payment_id is not None:
        instead = PAYMENT.of(streams, wanted.replacement_payment_id)
        tried = _try_instead(instead, wanted.replacement_method_id, streams, at)
        return [canceled, *(tried or not_tried_instead(payment, streams, at))]
    if (wanted is not None and wanted.ends_payment) or is_unneeded(payment, streams):
        return [canceled]
    if wanted is None or wanted.reason is CancelReason.TIMED_OUT:
        return []
    tried = _try_instead(PAYMENT.evolve(payment, ended.event), wanted.replacement_method_id, streams, at)
    if not tried and isinstance(ended.event, PaymentAttemptCanceled):
        return still_unpaid(payment, METHOD_DETACHED, streams, at)
    return tried


def not_tried_instead(payment: Payment, streams: Streams, at: datetime) -> list[Change]:
    """The other payment that was to take its place ends unbegun: this one captured, or the other may not be tried."""
    wanted = payment.cancellation
    if wanted is None or wanted.replacement_payment_id is None:
        return []
    instead = PAYMENT.of(streams, wanted.replacement_payment_id)
    if not instead.can_be_tried:
        return []
    return [PAYMENT.change(PaymentCanceled(payment_id=instead.payment_id, canceled_at=at))]


def _try_instead(payment: Payment, method_id: str | None, streams: Streams, at: datetime) -> list[Change]:
    """The next attempt. Where the world has changed meanwhile, none: the outcome is recorded all the same."""
    method = None if method_id is None else streams.get(PAYMENT_METHOD, method_id)
    if not payment.can_be_tried or is_unneeded(payment, streams) or method is None or method.detached_at is not None:
        return []
    if payment.invoice_id is None and CUSTOMER.of(streams, payment.customer_id).deleted_at is not None:
        return []
    return [PAYMENT.change(request_attempt(payment, method, amount_to_charge(payment, streams), at))]


HANDLERS: Final[Mapping[type, Handler]] = {
    CancelPayment: cancel_payment,
    ExpirePaymentAttempt: expire_payment_attempt,
    RecordPaymentCanceled: record_payment_canceled,
}
