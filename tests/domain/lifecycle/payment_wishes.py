"""What is wished of payments and refunds, by people and by gateways."""

from typing import Final

from domain.invoicing.invoice import INVOICE
from domain.kernel.stream import Command
from domain.payments.cancel_commands import CancelPayment, RecordPaymentCanceled
from domain.payments.commands import (
    ConfirmPayment,
    CreatePayment,
    PayInvoice,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
    RecordPaymentOutcomeUnknown,
)
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT, Payment, PaymentStatus
from domain.payments.refund import RefundStatus, RefundTreatment
from domain.payments.refund_commands import RecordRefundFailed, RecordRefundSucceeded, RequestRefund
from testing.examples.streams import (
    usd,
)
from tests.domain.lifecycle.tenant import Tenant
from tests.domain.lifecycle.wish import Granting, Wish, apt, card_of, pick, somebody, up_to

# --- payments --------------------------------------------------------------------------------------------------------


def _payment(tenant: Tenant, wish: Wish, *statuses: PaymentStatus) -> Payment | None:
    return apt(tenant, PAYMENT, wish.a, where=lambda each: each.status in statuses)


def _pay(tenant: Tenant, wish: Wish) -> Command | None:
    invoice = apt(tenant, INVOICE, wish.a, where=lambda each: each.is_payable)
    return invoice and PayInvoice(invoice_id=invoice.invoice_id, payment_id=tenant.new("pay_"))


def _intent(tenant: Tenant, wish: Wish) -> Command:
    return CreatePayment(
        payment_id=tenant.new("pay_"),
        customer_id=somebody(tenant, wish).customer_id,
        amount=usd(up_to(wish.b, 5_000)),
        confirm=wish.c % 4 > 0,
    )


def _payment_again(tenant: Tenant, wish: Wish) -> Command | None:
    payment = _payment(tenant, wish, PaymentStatus.REQUIRES_PAYMENT_METHOD, PaymentStatus.REQUIRES_CONFIRMATION)
    if payment is None or not wish.b % 4:
        return payment and CancelPayment(payment_id=payment.payment_id)
    return ConfirmPayment(payment_id=payment.payment_id, payment_method_id=card_of(payment.customer_id))


def _gateway_answers(tenant: Tenant, wish: Wish) -> Command | None:
    payment = _payment(tenant, wish, PaymentStatus.PROCESSING)
    if payment is None:
        return None
    named = {"payment_id": payment.payment_id}
    match wish.b % 6:
        case 0:
            return RecordPaymentOutcomeUnknown(**named, attempt=payment.attempt, why="time-out")
        case 1:
            return RecordPaymentCanceled(**named, attempt=payment.attempt)
        case 2:
            return RecordPaymentDeclined(
                **named, attempt=payment.attempt, decline_code=DeclineCode.DO_NOT_HONOR, retryable=True
            )
        case _:
            return RecordPaymentCaptured(**named, attempt=payment.attempt, gateway_payment_id="gw_1")


def _refund(tenant: Tenant, wish: Wish) -> Command | None:
    payment = _payment(tenant, wish, PaymentStatus.SUCCEEDED)
    return payment and RequestRefund(
        refund_id=tenant.new("re_"),
        payment_id=payment.payment_id,
        amount=usd(up_to(wish.b, 3_000)) if wish.b % 2 else None,
        from_balance=wish.c % 3 == 0,
        treatment=RefundTreatment.REOPEN if wish.c % 4 else RefundTreatment.ALLOWANCE,
    )


def _refund_answers(tenant: Tenant, wish: Wish) -> Command | None:
    refunds = [(each, refund) for each in tenant.all(PAYMENT) for refund in each.refunds]
    pending = [each for each in refunds if each[1].status is RefundStatus.PENDING]
    found = pick(pending if pending and wish.a % 8 else refunds, wish.a // 8)
    if found is None:
        return None
    payment, refund = found
    if not wish.b % 3:
        return RecordRefundFailed(
            refund_id=refund.refund_id, payment_id=payment.payment_id, failure_code=DeclineCode.ACCOUNT_CLOSED
        )
    return RecordRefundSucceeded(
        refund_id=refund.refund_id, payment_id=payment.payment_id, gateway_refund_id=refund.refund_id
    )


OF_PAYMENTS: Final[Granting] = {
    "pay": _pay,
    "intent": _intent,
    "payment again": _payment_again,
    "gateway answers": _gateway_answers,
    "refund": _refund,
    "refund answers": _refund_answers,
}
