"""Payment methods: gateways' tokens for what customers pay with. Card numbers are refused."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, CustomerId, NoBody, PaymentMethodId
from api.http.listing import (
    CreatedParameters,
    ListResource,
    NoParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from api.http.validation import form
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
from domain.customers.payment_method import (
    PAYMENT_METHOD,
    AttachPaymentMethod,
    ChangePaymentMethod,
    DetachPaymentMethod,
    PaymentMethod,
    PaymentMethodIsDetached,
    PaymentMethodKind,
    PaymentMethodNotFound,
)
from domain.kernel.identifiers import PAYMENT_METHOD as PREFIX
from domain.kernel.stream import Streams
from infra.ids import new_id
from projections.models import payment_methods as read
from projections.read_model import Projection
from projections.reading import Reader, many

PAYMENT_METHODS: Final = Operations(tag="payment methods", about="What customers pay with.")
_ID: Final = "pm_01m7ywe9z7e398x54gfbrtqnk7"

Token = Annotated[
    str,
    form(r"^[A-Za-z0-9_.:-]{1,200}$", "Must be the gateway's token: letters, digits and _ . : -"),
    Field(description="The gateway's token, never a number."),
]


class NewPaymentMethod(Body):
    """A payment method to be."""

    customer: CustomerId
    type: PaymentMethodKind
    gateway: Literal["sandbox"] = "sandbox"
    token: Token
    set_default: bool = False


class PaymentMethodChange(Body):
    """A renewed card: the gateway gave a new token."""

    token: Token


class PaymentMethodFilters(CreatedParameters):
    """Which payment methods."""

    customer: CustomerId | None = None


class PaymentMethodResource(TypedDict):
    """A payment method. Its token is not shown."""

    id: PaymentMethodId
    object: Literal["payment_method"]
    customer: str
    type: PaymentMethodKind
    gateway: str
    created: datetime
    detached_at: datetime | None


def payment_method_resource(method: PaymentMethod) -> PaymentMethodResource:
    """A payment method as it is answered."""
    return {
        "id": method.payment_method_id,
        "object": "payment_method",
        "customer": method.customer_id,
        "type": method.kind,
        "gateway": method.gateway,
        "created": method.created_at,
        "detached_at": method.detached_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "payment_method",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "type": "card",
    "gateway": "sandbox",
    "created": "2026-01-01T00:00:00Z",
    "detached_at": None,
}


def _decided(streams: Streams, method_id: str) -> PaymentMethodResource:
    return payment_method_resource(PAYMENT_METHOD.of(streams, method_id))


def _path_id(call: Call) -> str:
    return call.id("payment_method_id", PREFIX, PaymentMethodNotFound)


@PAYMENT_METHODS.command(
    "POST",
    "/v1/payment-methods",
    body=NewPaymentMethod,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "type": "card",
        "token": "tok_visa",
        "set_default": True,
    },
    answers=PaymentMethodResource,
    example=EXAMPLE,
    status=201,
    refusals=(CustomerNotFound, CustomerIsDeleted),
)
async def attach_payment_method(_call: Call, body: NewPaymentMethod) -> Intention:
    """Attach a payment method to a customer."""
    method_id = new_id(PREFIX)
    return Intention(
        command=AttachPaymentMethod(
            payment_method_id=method_id,
            customer_id=body.customer,
            kind=body.type,
            gateway=body.gateway,
            token=body.token,
            make_default=body.set_default,
        ),
        render=lambda streams: _decided(streams, method_id),
        location=f"/v1/payment-methods/{method_id}",
    )


@PAYMENT_METHODS.command(
    "PATCH",
    "/v1/payment-methods/{payment_method_id}",
    body=PaymentMethodChange,
    body_example={"token": "tok_visa_renewed"},
    answers=PaymentMethodResource,
    example=EXAMPLE,
    refusals=(PaymentMethodNotFound, PaymentMethodIsDetached),
)
async def update_payment_method(call: Call, body: PaymentMethodChange) -> Intention:
    """Give a payment method the gateway's new token."""
    method_id = _path_id(call)
    return Intention(
        command=ChangePaymentMethod(payment_method_id=method_id, token=body.token),
        render=lambda streams: _decided(streams, method_id),
    )


@PAYMENT_METHODS.command(
    "DELETE",
    "/v1/payment-methods/{payment_method_id}",
    body=NoBody,
    answers=PaymentMethodResource,
    example=EXAMPLE | {"detached_at": "2026-02-01T00:00:00Z"},
    refusals=(PaymentMethodNotFound,),
)
async def detach_payment_method(call: Call, _body: NoBody) -> Intention:
    """Detach a payment method from its customer.

    If it was the default, the customer has none from then on.
    """
    method_id = _path_id(call)
    return Intention(
        command=DetachPaymentMethod(payment_method_id=method_id),
        render=lambda streams: _decided(streams, method_id),
    )


@PAYMENT_METHODS.query(
    "/v1/payment-methods/{payment_method_id}",
    answers=PaymentMethodResource,
    example=EXAMPLE,
    parameters=NoParameters,
    refusals=(PaymentMethodNotFound,),
    reads=(Projection.PAYMENTS,),
)
async def get_payment_method(call: Call, _asked: NoParameters) -> PaymentMethodResource:
    """Get a payment method."""
    wanted = _path_id(call)
    async with call.reading() as connection:
        found = await read.get(connection, call.tenant_id, wanted)
    if found is None:
        raise PaymentMethodNotFound(payment_method=wanted)
    return payment_method_resource(found.state)


@PAYMENT_METHODS.query(
    "/v1/payment-methods",
    answers=ListResource[PaymentMethodResource],
    example=list_example(EXAMPLE),
    parameters=PaymentMethodFilters,
    reads=(Projection.PAYMENTS,),
)
async def list_payment_methods(call: Call, asked: PaymentMethodFilters) -> ListResource[PaymentMethodResource]:
    """List payment methods, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        page = await read.page(
            connection, call.tenant_id, customer_id=asked.customer, created=asked.created, request=request
        )
    return page_resource(page, request, [payment_method_resource(found.state) for found in page.items])


async def load_payment_methods(call: Call, connection: Reader, ids: Sequence[str]) -> Mapping[str, object]:
    """Payment methods by id, for expansion."""
    found = await many(connection, read.TABLE, call.tenant_id, ids)
    return {each.state.payment_method_id: payment_method_resource(each.state) for each in found}
