"""Payments: an intent, its attempts at a gateway, and what came of them."""

from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.call import Call
from api.fields import (
    Body,
    CustomerId,
    LongText,
    MoneyResource,
    NoBody,
    PaymentId,
    PaymentMethodId,
    PositiveMoney,
    money,
)
from api.operations import Intention, Operations
from domain.customer import CustomerIsDeleted, CustomerNotFound
from domain.identifiers import PAYMENT as PREFIX
from domain.invoice import InvoiceNotOpen
from domain.payment import (
    PAYMENT,
    InvoiceHasLivePayment,
    Payment,
    PaymentNotCancelable,
    PaymentNotConfirmable,
    PaymentNotFound,
    PaymentStatus,
    existing,
)
from domain.payment_commands import CancelPayment, ConfirmPayment, CreatePayment
from domain.payment_method import PaymentMethodIsDetached, PaymentMethodNotFound
from domain.stream import Streams
from infra.ids import new_id

PAYMENTS: Final = Operations(tag="payments", about="Money on its way from customers.")
_ID: Final = "pay_01m7ywe9z7e398x54gfbrtqnk7"


class NewPayment(Body):
    """A payment to be; with `confirm` its first attempt begins at once."""

    customer: CustomerId
    amount: PositiveMoney
    payment_method: PaymentMethodId | None = None
    description: LongText | None = None
    confirm: bool = False


class Confirmation(Body):
    """The payment method to try; without one, the payment's own."""

    payment_method: PaymentMethodId | None = None


class PaymentResource(TypedDict):
    """A payment. `outcome_unknown` holds while the gateway has yet to say what became of the attempt."""

    id: PaymentId
    object: Literal["payment"]
    customer: str
    invoice: str | None
    amount: MoneyResource
    amount_refunded: MoneyResource
    amount_refundable: MoneyResource
    status: PaymentStatus
    attempt: int
    outcome_unknown: bool
    payment_method: str | None
    gateway: str | None
    gateway_payment_id: str | None
    decline_code: str | None
    description: str | None
    test_clock: str | None
    created: datetime
    captured_at: datetime | None


def payment_resource(payment: Payment) -> PaymentResource:
    """A payment as it is answered."""
    return {
        "id": payment.payment_id,
        "object": "payment",
        "customer": payment.customer_id,
        "invoice": payment.invoice_id,
        "amount": money(payment.amount),
        "amount_refunded": money(payment.amount_refunded),
        "amount_refundable": money(payment.refundable),
        "status": payment.status,
        "attempt": payment.attempt,
        "outcome_unknown": payment.outcome_unknown,
        "payment_method": payment.payment_method_id,
        "gateway": payment.gateway,
        "gateway_payment_id": payment.gateway_payment_id,
        "decline_code": payment.decline_code,
        "description": payment.description,
        "test_clock": payment.test_clock_id,
        "created": payment.created_at,
        "captured_at": payment.captured_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "payment",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "invoice": None,
    "amount": {"amount": 1999, "currency": "EUR"},
    "amount_refunded": {"amount": 0, "currency": "EUR"},
    "amount_refundable": {"amount": 0, "currency": "EUR"},
    "status": "processing",
    "attempt": 1,
    "outcome_unknown": False,
    "payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7",
    "gateway": "sandbox",
    "gateway_payment_id": None,
    "decline_code": None,
    "description": "Order 4711",
    "test_clock": None,
    "created": "2026-01-01T00:00:00Z",
    "captured_at": None,
}


def _decided(streams: Streams, payment_id: str) -> PaymentResource:
    return payment_resource(existing(streams.get(PAYMENT, payment_id), payment_id))


def _path_id(call: Call) -> str:
    return call.id("payment_id", PREFIX, PaymentNotFound)


@PAYMENTS.command(
    "POST",
    "/v1/payments",
    body=NewPayment,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "amount": {"amount": 1999, "currency": "EUR"},
        "payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7",
        "description": "Order 4711",
        "confirm": True,
    },
    answers=PaymentResource,
    example=EXAMPLE,
    status=201,
    refusals=(CustomerNotFound, CustomerIsDeleted, PaymentMethodNotFound, PaymentMethodIsDetached),
)
async def create_payment(_call: Call, body: NewPayment) -> Intention:
    """Create a payment intent.

    With `confirm` its attempt is recorded before the gateway is called: the answer says `processing`, and the outcome
    follows. Without a payment method the customer's default is charged.
    """
    payment_id = new_id(PREFIX)
    return Intention(
        command=CreatePayment(
            payment_id=payment_id,
            customer_id=body.customer,
            amount=body.amount.value,
            payment_method_id=body.payment_method,
            description=body.description,
            confirm=body.confirm,
        ),
        render=lambda streams: _decided(streams, payment_id),
        location=f"/v1/payments/{payment_id}",
    )


@PAYMENTS.command(
    "POST",
    "/v1/payments/{payment_id}/confirm",
    body=Confirmation,
    body_example={"payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7"},
    answers=PaymentResource,
    example=EXAMPLE,
    refusals=(
        PaymentNotFound,
        PaymentNotConfirmable,
        PaymentMethodNotFound,
        PaymentMethodIsDetached,
        InvoiceNotOpen,
        InvoiceHasLivePayment,
    ),
)
async def confirm_payment(call: Call, body: Confirmation) -> Intention:
    """Begin the next attempt of a payment."""
    payment_id = _path_id(call)
    return Intention(
        command=ConfirmPayment(payment_id=payment_id, payment_method_id=body.payment_method),
        render=lambda streams: _decided(streams, payment_id),
    )


@PAYMENTS.command(
    "POST",
    "/v1/payments/{payment_id}/cancel",
    body=NoBody,
    answers=PaymentResource,
    example=EXAMPLE | {"status": "canceled", "attempt": 0, "gateway": None},
    refusals=(PaymentNotFound, PaymentNotCancelable),
)
async def cancel_payment(call: Call, _body: NoBody) -> Intention:
    """Give up a payment that no gateway is working on."""
    payment_id = _path_id(call)
    return Intention(command=CancelPayment(payment_id=payment_id), render=lambda streams: _decided(streams, payment_id))
