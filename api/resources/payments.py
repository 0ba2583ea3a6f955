"""Payments: an intent, its attempts at a gateway, and what came of them."""

from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import (
    Body,
    CustomerId,
    InvoiceId,
    LongText,
    MoneyResource,
    New,
    NoBody,
    PaymentId,
    PaymentMethodId,
    PositiveMoney,
    TestClockId,
    money,
)
from api.http.listing import (
    CreatedParameters,
)
from api.http.operations import Intention
from api.http.resource import Detail, Resource
from api.resources.customers import CUSTOMERS, CustomerResource
from api.resources.invoice_resource import InvoiceResource
from api.resources.invoices import INVOICES
from api.resources.payment_methods import PAYMENT_METHODS, PaymentMethodResource
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound, NotCustomersCurrency
from domain.customers.payment_method import NoPaymentMethod, PaymentMethodIsDetached, PaymentMethodNotFound
from domain.customers.test_clock import TestClockIsDeleted
from domain.identity.permissions import Permission
from domain.invoicing.invoice import InvoiceNotOpen
from domain.kernel.identifiers import PAYMENT as PREFIX
from domain.payments.cancel_commands import CancelPayment
from domain.payments.cancellation import CancelReason
from domain.payments.commands import ConfirmPayment, CreatePayment
from domain.payments.payment import (
    PAYMENT,
    InvoiceHasLivePayment,
    Payment,
    PaymentNotCancelable,
    PaymentNotConfirmable,
    PaymentStatus,
)
from infra.ids import new_id
from projections.models import payments as read
from projections.reading import Reader

_ID: Final = "pay_01m7ywe9z7e398x54gfbrtqnk7"


class NewPayment(New):
    """A payment to be; with `confirm` its first attempt begins at once."""

    customer: CustomerId
    amount: PositiveMoney
    payment_method: PaymentMethodId | None = None
    description: LongText | None = None
    confirm: bool = False


class Confirmation(Body):
    """The payment method to try; without one, the payment's own."""

    payment_method: PaymentMethodId | None = None


class PaymentFilters(CreatedParameters):
    """Which payments."""

    customer: CustomerId | None = None
    invoice: InvoiceId | None = None
    status: PaymentStatus | None = None
    test_clock: TestClockId | None = None


class PaymentResource(TypedDict):
    """A payment. `outcome_unknown` holds while the gateway has yet to say what became of the attempt, `cancellation`
    says why it is being asked to give the attempt up. Of an invoice, `amount` is what was due on it when the last
    attempt began, and `amount_overpaid` what was captured above what was due by then: it is the customer's balance.
    """

    id: PaymentId
    object: Literal["payment"]
    customer: str | CustomerResource
    invoice: str | InvoiceResource | None
    amount: MoneyResource
    amount_refunded: MoneyResource
    amount_refundable: MoneyResource
    amount_overpaid: MoneyResource
    status: PaymentStatus
    attempt: int
    outcome_unknown: bool
    cancellation: CancelReason | None
    payment_method: str | PaymentMethodResource | None
    gateway: str | None
    gateway_payment_id: str | None
    decline_code: str | None
    description: str | None
    test_clock: str | None
    metadata: dict[str, str]
    created: datetime
    captured_at: datetime | None


class StepResource(TypedDict):
    """One step of a payment: what happened, when (in business and in real time), by which event, and what caused it."""

    type: str
    at: datetime
    recorded_at: datetime
    event: str
    cause: str | None


class PaymentWithSteps(PaymentResource):
    """A payment with every step of its way, oldest first."""

    steps: list[StepResource]


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
        "amount_overpaid": money(payment.surplus),
        "status": payment.status,
        "attempt": payment.attempt,
        "outcome_unknown": payment.outcome_unknown,
        "cancellation": None if payment.cancellation is None else payment.cancellation.reason,
        "payment_method": payment.payment_method_id,
        "gateway": payment.gateway,
        "gateway_payment_id": payment.gateway_payment_id,
        "decline_code": payment.decline_code,
        "description": payment.description,
        "test_clock": payment.test_clock_id,
        "metadata": dict(payment.metadata),
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
    "amount_overpaid": {"amount": 0, "currency": "EUR"},
    "status": "processing",
    "attempt": 1,
    "outcome_unknown": False,
    "cancellation": None,
    "payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7",
    "gateway": "sandbox",
    "gateway_payment_id": None,
    "decline_code": None,
    "description": "Order 4711",
    "test_clock": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "captured_at": None,
}


STEP_EXAMPLE: Final[dict[str, object]] = {
    "type": "payment.attempt_requested",
    "at": "2026-01-01T00:00:00Z",
    "recorded_at": "2026-01-01T00:00:00.004Z",
    "event": "evt_01m7ywe9z7e398x54gfbrtqnk7",
    "cause": None,
}


def _step(step: read.Step) -> StepResource:
    return {
        "type": step.event_type,
        "at": step.effective_at,
        "recorded_at": step.recorded_at,
        "event": step.event_id,
        "cause": step.causation_id,
    }


async def _with_steps(_call: Call, _connection: Reader, found: read.FoundPayment) -> PaymentWithSteps:
    return {**payment_resource(found.state), "steps": [_step(step) for step in found.steps]}


PAYMENTS: Final = Resource(
    tag="payments",
    about="Money on its way from customers.",
    stream=PAYMENT,
    table=read.TABLE,
    path="/v1/payments",
    prefix=PREFIX,
    seen_with=Permission.PAYMENTS_READ,
    changed_with=Permission.PAYMENTS_WRITE,
    shows=PaymentResource,
    render=payment_resource,
    example=EXAMPLE,
    filters=PaymentFilters,
    expands={"customer": CUSTOMERS, "invoice": INVOICES, "payment_method": PAYMENT_METHODS},
    detail=Detail(PaymentWithSteps, _with_steps, EXAMPLE | {"steps": [STEP_EXAMPLE]}),
)


@PAYMENTS.creates(
    body=NewPayment,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "amount": {"amount": 1999, "currency": "EUR"},
        "payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7",
        "description": "Order 4711",
        "confirm": True,
    },
    refusals=(
        CustomerNotFound,
        CustomerIsDeleted,
        TestClockIsDeleted,
        NotCustomersCurrency,
        NoPaymentMethod,
        PaymentMethodNotFound,
        PaymentMethodIsDetached,
    ),
)
async def create_payment(_call: Call, body: NewPayment) -> Intention:
    """Create a payment intent.

    With `confirm` its attempt is recorded before the gateway is called: the answer says `processing`, and the outcome
    follows. Without a payment method the customer's default is charged.
    """
    payment_id = new_id(PREFIX)
    return PAYMENTS.created(
        payment_id,
        CreatePayment(
            payment_id=payment_id,
            customer_id=body.customer,
            amount=body.amount.value,
            payment_method_id=body.payment_method,
            description=body.description,
            confirm=body.confirm,
            metadata=body.kept,
        ),
    )


PAYMENTS.changes_metadata()


@PAYMENTS.changes(
    "POST",
    "confirm",
    body=Confirmation,
    body_example={"payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7"},
    refusals=(
        PaymentNotConfirmable,
        NoPaymentMethod,
        CustomerIsDeleted,
        TestClockIsDeleted,
        PaymentMethodNotFound,
        PaymentMethodIsDetached,
        InvoiceNotOpen,
        InvoiceHasLivePayment,
    ),
)
async def confirm_payment(call: Call, body: Confirmation) -> Intention:
    """Begin the next attempt of a payment.

    One that waits for its customer to authenticate is given up at the gateway first, and tried with this method then.
    If the customer was faster, the payment has succeeded, and nothing is tried. A customer who was deleted still pays
    their open invoices, and nothing else: cancel what was not confirmed before.
    """
    payment_id = PAYMENTS.id_of(call)
    return PAYMENTS.changed(payment_id, ConfirmPayment(payment_id=payment_id, payment_method_id=body.payment_method))


@PAYMENTS.changes(
    "POST",
    "cancel",
    body=NoBody,
    example={"status": "canceled", "attempt": 0, "gateway": None},
    refusals=(PaymentNotCancelable,),
)
async def cancel_payment(call: Call, _body: NoBody) -> Intention:
    """Give up a payment.

    One that is under way is given up at the gateway first: `cancellation` says so until the gateway has answered. If
    the gateway or the customer was faster, the payment has succeeded.
    """
    payment_id = PAYMENTS.id_of(call)
    return PAYMENTS.changed(payment_id, CancelPayment(payment_id=payment_id))
