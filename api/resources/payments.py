"""Payments: an intent, its attempts at a gateway, and what came of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import (
    Body,
    CustomerId,
    InvoiceId,
    LongText,
    MoneyResource,
    NoBody,
    PaymentId,
    PaymentMethodId,
    PositiveMoney,
    money,
)
from api.http.listing import (
    CreatedParameters,
    ListResource,
    Parameters,
    expand,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from api.resources.customers import CustomerResource, load_customers
from api.resources.invoices import InvoiceResource, load_invoices
from api.resources.payment_methods import PaymentMethodResource, load_payment_methods
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound, NotCustomersCurrency
from domain.customers.payment_method import PaymentMethodIsDetached, PaymentMethodNotFound
from domain.invoicing.invoice import InvoiceNotOpen
from domain.kernel.identifiers import PAYMENT as PREFIX
from domain.kernel.stream import Streams
from domain.payments.commands import CancelPayment, ConfirmPayment, CreatePayment
from domain.payments.payment import (
    PAYMENT,
    InvoiceHasLivePayment,
    Payment,
    PaymentNotCancelable,
    PaymentNotConfirmable,
    PaymentNotFound,
    PaymentStatus,
)
from infra.ids import new_id
from projections.models import payments as read
from projections.read_model import Projection
from projections.reading import Reader, many

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


class PaymentExpansion(Parameters):
    """What to show in place of its id."""

    expand: Annotated[
        tuple[Literal["customer", "invoice", "payment_method"], ...], Field(alias="expand[]", max_length=10)
    ] = ()


class PaymentFilters(CreatedParameters, PaymentExpansion):
    """Which payments."""

    customer: CustomerId | None = None
    invoice: InvoiceId | None = None
    status: PaymentStatus | None = None


class PaymentResource(TypedDict):
    """A payment. `outcome_unknown` holds while the gateway has yet to say what became of the attempt."""

    id: PaymentId
    object: Literal["payment"]
    customer: str | CustomerResource
    invoice: str | InvoiceResource | None
    amount: MoneyResource
    amount_refunded: MoneyResource
    amount_refundable: MoneyResource
    status: PaymentStatus
    attempt: int
    outcome_unknown: bool
    payment_method: str | PaymentMethodResource | None
    gateway: str | None
    gateway_payment_id: str | None
    decline_code: str | None
    description: str | None
    test_clock: str | None
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


def _decided(streams: Streams, payment_id: str) -> PaymentResource:
    return payment_resource(PAYMENT.of(streams, payment_id))


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
    refusals=(
        CustomerNotFound,
        CustomerIsDeleted,
        NotCustomersCurrency,
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


_LOADERS: Final = {"customer": load_customers, "invoice": load_invoices, "payment_method": load_payment_methods}


async def load_payments(call: Call, connection: Reader, ids: Sequence[str]) -> Mapping[str, object]:
    """Payments by id, for expansion."""
    found = await many(connection, read.TABLE, call.tenant_id, ids)
    return {each.state.payment_id: payment_resource(each.state) for each in found}


@PAYMENTS.query(
    "/v1/payments/{payment_id}",
    answers=PaymentWithSteps,
    example=EXAMPLE | {"steps": [STEP_EXAMPLE]},
    parameters=PaymentExpansion,
    refusals=(PaymentNotFound,),
    reads=(Projection.PAYMENTS,),
)
async def get_payment(call: Call, asked: PaymentExpansion) -> PaymentWithSteps:
    """Get a payment, with every step of its way, its time and its cause."""
    wanted = _path_id(call)
    async with call.reading() as connection:
        each = await read.get(connection, call.tenant_id, wanted)
        if each is None:
            raise PaymentNotFound(payment=wanted)
        resource: PaymentWithSteps = {**payment_resource(each.state), "steps": [_step(step) for step in each.steps]}
        await expand(call, connection, [resource], asked.expand, _LOADERS)
    return resource


@PAYMENTS.query(
    "/v1/payments",
    answers=ListResource[PaymentResource],
    example=list_example(EXAMPLE),
    parameters=PaymentFilters,
    reads=(Projection.PAYMENTS,),
)
async def list_payments(call: Call, asked: PaymentFilters) -> ListResource[PaymentResource]:
    """List payments, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        page = await read.page(
            connection,
            call.tenant_id,
            customer_id=asked.customer,
            invoice_id=asked.invoice,
            status=asked.status,
            created=asked.created,
            request=request,
        )
        resources = [payment_resource(each.state) for each in page.items]
        await expand(call, connection, resources, asked.expand, _LOADERS)
    return page_resource(page, request, resources)
