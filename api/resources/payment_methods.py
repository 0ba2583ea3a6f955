"""Payment methods: gateways' tokens for what customers pay with. Card numbers are refused."""

from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Change, Kept
from api.http.fields import CustomerId, New, NoBody, PaymentMethodId
from api.http.listing import (
    CreatedParameters,
)
from api.http.operations import Intention
from api.http.problems import DRY_RUN_NOT_POSSIBLE
from api.http.resource import Resource
from api.http.validation import form
from api.resources.payment_tokens import verified
from domain.customers.customer import CustomerIsErased, CustomerNotFound
from domain.customers.payment_method import (
    PAYMENT_METHOD,
    AttachPaymentMethod,
    ChangePaymentMethod,
    DetachPaymentMethod,
    PaymentMethod,
    PaymentMethodDeclined,
    PaymentMethodIsDetached,
    PaymentMethodKind,
    PaymentMethodTypeMismatch,
)
from domain.identity.permissions import Permission
from domain.kernel.identifiers import PAYMENT_METHOD as PREFIX
from domain.kernel.unchanged import Unchanged
from gateway_adapters.registry import GatewayName
from infra.ids import new_id
from projections.models import payment_methods as read

_ID: Final = "pm_01m7ywe9z7e398x54gfbrtqnk7"

Token = Annotated[
    str,
    form(r"^[A-Za-z0-9_.:-]{1,200}$", "Must be the gateway's token: letters, digits and _ . : -"),
    Field(description="The gateway's token, never a number."),
]


_MERCHANTS: Final = MappingProxyType({"metadata": Permission.INVOICES_WRITE})


class NewPaymentMethod(New):
    """A payment method to be. Metadata are the merchant's to say, and need `invoices:write`."""

    reserved = _MERCHANTS

    customer: CustomerId
    type: PaymentMethodKind
    gateway: GatewayName = GatewayName.SANDBOX
    token: Token
    set_default: bool = False


class PaymentMethodChange(Change):
    """What is to change of a payment method: a renewed card has a new token. Metadata need `invoices:write`."""

    reserved = _MERCHANTS

    token: Kept[Token]


class PaymentMethodFilters(CreatedParameters):
    """Which payment methods."""

    customer: CustomerId | None = None


class PaymentMethodResource(TypedDict):
    """A payment method, as its gateway describes it. Its token is not shown."""

    id: PaymentMethodId
    object: Literal["payment_method"]
    customer: str
    type: PaymentMethodKind
    gateway: str
    brand: str | None
    last4: str | None
    expires_month: int | None
    expires_year: int | None
    metadata: dict[str, str]
    created: datetime
    detached_at: datetime | None


def payment_method_resource(method: PaymentMethod) -> PaymentMethodResource:
    """A payment method as it is answered."""
    details = method.details
    return {
        "id": method.payment_method_id,
        "object": "payment_method",
        "customer": method.customer_id,
        "type": method.kind,
        "gateway": method.gateway,
        "brand": None if details is None else details.brand,
        "last4": None if details is None else details.last4,
        "expires_month": None if details is None else details.expires_month,
        "expires_year": None if details is None else details.expires_year,
        "metadata": dict(method.metadata),
        "created": method.created_at,
        "detached_at": method.detached_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "payment_method",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "type": "card",
    "gateway": "sandbox",
    "brand": "visa",
    "last4": "4242",
    "expires_month": 12,
    "expires_year": 2034,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "detached_at": None,
}

PAYMENT_METHODS: Final = Resource(
    tag="payment methods",
    about="What customers pay with.",
    stream=PAYMENT_METHOD,
    table=read.TABLE,
    path="/v1/payment-methods",
    prefix=PREFIX,
    seen_with=Permission.PAYMENT_METHODS_READ,
    changed_with=Permission.PAYMENT_METHODS_WRITE,
    shows=PaymentMethodResource,
    render=payment_method_resource,
    example=EXAMPLE,
    filters=PaymentMethodFilters,
)


@PAYMENT_METHODS.creates(
    body=NewPaymentMethod,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "type": "card",
        "token": "tok_visa",
        "set_default": True,
    },
    refusals=(CustomerNotFound, CustomerIsErased, PaymentMethodDeclined, PaymentMethodTypeMismatch),
    problems=(DRY_RUN_NOT_POSSIBLE,),
)
async def attach_payment_method(call: Call, body: NewPaymentMethod) -> Intention:
    """Attach a payment method to a customer.

    The gateway is asked whether it knows the token, and of which type it is; the token is kept sealed and shown to
    nobody. A deleted customer may have one, too, to pay what they still owe.
    """
    method_id = new_id(PREFIX)
    token = await verified(call, body.gateway, body.token, body.customer, body.type)
    made = PAYMENT_METHODS.created(
        method_id,
        AttachPaymentMethod(
            payment_method_id=method_id,
            customer_id=body.customer,
            kind=body.type,
            gateway=body.gateway.value,
            token_reference=token.reference,
            details=token.details,
            make_default=body.set_default,
            metadata=body.kept,
        ),
    )
    return made._replace(seals=token.rows)


@PAYMENT_METHODS.changes(
    "PATCH",
    body=PaymentMethodChange,
    body_example={"token": "tok_mastercard"},
    refusals=(PaymentMethodIsDetached, PaymentMethodDeclined, PaymentMethodTypeMismatch),
    problems=(DRY_RUN_NOT_POSSIBLE,),
)
async def update_payment_method(call: Call, body: PaymentMethodChange) -> Intention:
    """Give a payment method the gateway's new token, which the gateway is asked about."""
    method_id = PAYMENT_METHODS.id_of(call)
    if isinstance(body.token, Unchanged):
        return PAYMENT_METHODS.patched(method_id, body, ChangePaymentMethod(payment_method_id=method_id))
    async with call.reading() as connection:
        method = (await PAYMENT_METHODS.row(call, connection, method_id)).state
    try:
        token = await verified(call, method.gateway, body.token, method.customer_id, method.kind)
    except PaymentMethodTypeMismatch as mismatch:
        raise mismatch.at("token") from None
    command = ChangePaymentMethod(payment_method_id=method_id, token_reference=token.reference, details=token.details)
    return PAYMENT_METHODS.patched(method_id, body, command)._replace(seals=token.rows)


@PAYMENT_METHODS.changes(
    "DELETE",
    body=NoBody,
    example={"detached_at": "2026-02-01T00:00:00Z"},
)
async def detach_payment_method(call: Call, _body: NoBody) -> Intention:
    """Detach a payment method from its customer.

    If it was the default, the customer has none from then on. Its gateway is asked to delete it.
    """
    method_id = PAYMENT_METHODS.id_of(call)
    return PAYMENT_METHODS.changed(method_id, DetachPaymentMethod(payment_method_id=method_id))
