"""A payment method: a gateway's token for something a customer pays with. Card numbers never come here.

Nor does the token enter the log: it lies in the vault under its customer's key, and events carry a reference to it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import DueWork, Finish, Schedule, Stream, Streams, Topic, WorkKind
from domain.kernel.unchanged import UNCHANGED, Unchanged


class PaymentMethodKind(StrEnum):
    """What sort of thing the token stands for."""

    CARD = "card"
    BANK_ACCOUNT = "bank_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDetails:
    """What a customer knows the method by, in the gateway's words: tells two cards apart, and charges neither."""

    brand: str
    last4: str
    expires_month: int | None
    expires_year: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPaymentMethod:
    """`make_default`: collect the customer's invoices with it from now on."""

    payment_method_id: str
    customer_id: str
    kind: PaymentMethodKind
    gateway: str
    token_reference: str
    details: MethodDetails | None = None
    make_default: bool = False
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePaymentMethod:
    """A renewed card: the gateway gave a new token, which `details` describe."""

    payment_method_id: str
    token_reference: str | Unchanged = UNCHANGED
    details: MethodDetails | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachPaymentMethod:
    payment_method_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPaymentMethodForgotten:
    """The gateway has deleted a method that was detached."""

    payment_method_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethodAttached:
    payment_method_id: str
    customer_id: str
    kind: PaymentMethodKind
    gateway: str
    token_reference: str
    details: MethodDetails | None
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethodChanged:
    payment_method_id: str
    token_reference: str
    details: MethodDetails | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethodDetached:
    payment_method_id: str
    detached_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethodForgotten:
    """Its gateway has deleted it, and charges it no more."""

    payment_method_id: str
    forgotten_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethodMetadataSet(MetadataSet):
    payment_method_id: str


PaymentMethodEvent = (
    PaymentMethodAttached
    | PaymentMethodChanged
    | PaymentMethodDetached
    | PaymentMethodForgotten
    | PaymentMethodMetadataSet
)


class NoPaymentMethod(Refusal):
    """There is nothing to charge: name a payment method, or set the customer's default."""

    code = "no_payment_method"
    param = "payment_method"


class PaymentMethodTypeMismatch(Refusal):
    """The gateway's token stands for a payment method of another type: name the type that it is of."""

    code = "payment_method_type_mismatch"
    kind = RefusalKind.INVALID
    param = "type"


class PaymentMethodNotFound(Refusal):
    """The customer has no such payment method."""

    code = "payment_method_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "payment_method"


class PaymentMethodAlreadyExists(Refusal):
    """A payment method of this id exists already."""

    code = "payment_method_already_exists"


class PaymentMethodDeclined(Refusal):
    """The gateway does not know this token, or takes no such method; ask the customer for another one."""

    code = "payment_method_declined"
    kind = RefusalKind.INVALID
    param = "token"


class PaymentMethodIsDetached(Refusal):
    """The payment method was detached from its customer."""

    code = "payment_method_detached"
    param = "payment_method"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    payment_method_id: str
    customer_id: str
    kind: PaymentMethodKind
    gateway: str
    token_reference: str
    details: MethodDetails | None
    metadata: Metadata
    created_at: datetime
    detached_at: datetime | None


def attached(streams: Streams, payment_method_id: str) -> PaymentMethod:
    """The payment method, if it is not detached: PaymentMethodNotFound or PaymentMethodIsDetached otherwise."""
    method = PAYMENT_METHOD.of(streams, payment_method_id)
    if method.detached_at is not None:
        raise PaymentMethodIsDetached(payment_method=payment_method_id)
    return method


def usable_by(streams: Streams, payment_method_id: str, customer_id: str) -> PaymentMethod:
    """The payment method, if this customer may pay with it.

    Raises PaymentMethodNotFound, also for somebody else's, or PaymentMethodIsDetached.
    """
    if PAYMENT_METHOD.of(streams, payment_method_id).customer_id != customer_id:
        raise PaymentMethodNotFound(payment_method=payment_method_id)
    return attached(streams, payment_method_id)


def evolve(method: PaymentMethod | None, event: PaymentMethodEvent) -> PaymentMethod:
    if isinstance(event, PaymentMethodAttached):
        return PaymentMethod(
            payment_method_id=event.payment_method_id,
            customer_id=event.customer_id,
            kind=event.kind,
            gateway=event.gateway,
            token_reference=event.token_reference,
            details=event.details,
            metadata=event.metadata,
            created_at=event.created_at,
            detached_at=None,
        )
    assert method is not None, "the first event of a payment method is payment_method.attached"
    match event:
        case PaymentMethodChanged():
            return replace(method, token_reference=event.token_reference, details=event.details)
        case PaymentMethodDetached():
            return replace(method, detached_at=event.detached_at)
        case PaymentMethodForgotten():
            return method
        case PaymentMethodMetadataSet():
            return replace(method, metadata=event.metadata)


def due_work(event: PaymentMethodEvent, method: PaymentMethod) -> tuple[DueWork, ...]:
    """The gateway is to delete what was detached. A test clock does not wait for that."""
    match event:
        case PaymentMethodDetached():
            return (Schedule(WorkKind.PAYMENT_METHOD_DELETION, method.payment_method_id, after_ms=0),)
        case PaymentMethodForgotten():
            return (Finish(WorkKind.PAYMENT_METHOD_DELETION, method.payment_method_id),)
        case _:
            return ()


EVENTS: dict[str, type] = {
    "payment_method.attached": PaymentMethodAttached,
    "payment_method.changed": PaymentMethodChanged,
    "payment_method.detached": PaymentMethodDetached,
    "payment_method.forgotten": PaymentMethodForgotten,
    "payment_method.metadata_set": PaymentMethodMetadataSet,
}

PAYMENT_METHOD: Stream[PaymentMethod] = Stream(
    name="payment_method",
    id_field="payment_method_id",
    topic=Topic.PAYMENTS,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda method: method.customer_id,
    not_found=PaymentMethodNotFound,
    already_exists=PaymentMethodAlreadyExists,
    due_work=due_work,
    metadata_set=PaymentMethodMetadataSet,
)
