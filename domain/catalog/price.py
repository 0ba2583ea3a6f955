"""A price of a plan: how much, in which currency, in advance or in arrears. Immutable; it can only be archived."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import ExternalIdTaken, Refusal, RefusalKind
from domain.kernel.stream import Claim, Stream, Streams, Take, Topic
from domain.pricing.models import Flat, PerUnit, PriceModel
from domain.pricing.validation import check_price


class BillingTiming(StrEnum):
    """Whether a period is billed when it begins or when it has ended."""

    IN_ADVANCE = "in_advance"
    IN_ARREARS = "in_arrears"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePrice:
    """`name` tells it from the plan's other prices on an invoice: seats, storage. One that is alone needs none."""

    price_id: str
    plan_id: str
    external_id: str | None = None
    name: str | None = None
    model: PriceModel
    timing: BillingTiming = BillingTiming.IN_ADVANCE
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePrice:
    price_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCreated:
    price_id: str
    plan_id: str
    external_id: str | None
    name: str | None
    model: PriceModel
    timing: BillingTiming
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceArchived:
    price_id: str
    archived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceMetadataSet(MetadataSet):
    price_id: str


PriceEvent = PriceCreated | PriceArchived | PriceMetadataSet


class PriceNotFound(Refusal):
    """There is no such price."""

    code = "price_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "price"


class PriceAlreadyExists(Refusal):
    """A price of this id exists already."""

    code = "price_already_exists"


class PriceIsArchived(Refusal):
    """The price is archived and cannot be subscribed to."""

    code = "price_archived"
    param = "price"


class PriceModelNotBillable(Refusal):
    """Subscriptions bill flat and per-unit prices."""

    code = "price_model_not_billable"
    kind = RefusalKind.INVALID
    param = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPrice:
    price_id: str
    plan_id: str
    external_id: str | None
    name: str | None
    model: PriceModel
    timing: BillingTiming
    metadata: Metadata
    created_at: datetime
    archived_at: datetime | None

    @property
    def currency(self) -> CurrencyCode:
        return self.model.currency


def on_sale(streams: Streams, price_id: str) -> PlanPrice:
    """The price, if it may be subscribed to: PriceNotFound or PriceIsArchived otherwise."""
    price = PRICE.of(streams, price_id)
    if price.archived_at is not None:
        raise PriceIsArchived(price=price_id)
    return price


def check_billable(model: PriceModel) -> None:
    """Raises what `check_price` raises, the one gate for prices, and PriceModelNotBillable."""
    check_price(model)
    if not isinstance(model, Flat | PerUnit):
        raise PriceModelNotBillable(model=type(model).__name__)


def evolve(price: PlanPrice | None, event: PriceEvent) -> PlanPrice:
    if isinstance(event, PriceCreated):
        return PlanPrice(
            price_id=event.price_id,
            plan_id=event.plan_id,
            external_id=event.external_id,
            name=event.name,
            model=event.model,
            timing=event.timing,
            metadata=event.metadata,
            created_at=event.created_at,
            archived_at=None,
        )
    assert price is not None, "the first event of a price is price.created"
    match event:
        case PriceArchived():
            return replace(price, archived_at=event.archived_at)
        case PriceMetadataSet():
            return replace(price, metadata=event.metadata)


def claims(event: PriceEvent, price: PlanPrice) -> tuple[Claim, ...]:
    """An external id belongs to one price for ever."""
    external_id = price.external_id
    if isinstance(event, PriceCreated) and external_id is not None:
        return (
            Take("price.external_id", external_id, event.price_id, lambda: ExternalIdTaken(external_id=external_id)),
        )
    return ()


EVENTS: dict[str, type] = {
    "price.created": PriceCreated,
    "price.archived": PriceArchived,
    "price.metadata_set": PriceMetadataSet,
}

PRICE: Stream[PlanPrice] = Stream(
    name="price",
    id_field="price_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda price: None,
    not_found=PriceNotFound,
    already_exists=PriceAlreadyExists,
    metadata_set=PriceMetadataSet,
    claims=claims,
)
