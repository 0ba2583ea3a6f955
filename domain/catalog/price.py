"""A price of a plan: how much, in which currencies, in advance or in arrears. Immutable; it can only be archived, or
deleted while nobody has subscribed to it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.kernel.billing_period import Interval
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import ExternalIdTaken, Refusal, RefusalKind
from domain.kernel.stream import Claim, Stream, Streams, Take, Topic
from domain.metering.aggregation import Aggregation
from domain.metering.meter import METER, MeterIsArchived
from domain.pricing.models import (
    BoundedPrice,
    Flat,
    GraduatedPercentage,
    NoPriceInCurrency,
    Percentage,
    Price,
    model_of,
)
from domain.pricing.validation import InvalidPrice, check_price


class BillingTiming(StrEnum):
    """Whether a period is billed when it begins or when it has ended."""

    IN_ADVANCE = "in_advance"
    IN_ARREARS = "in_arrears"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePrice:
    """`name` tells it from the plan's other prices on an invoice: seats, storage. One that is alone needs none.

    `currency_options` state the same price in further currencies, once in each; nothing is ever converted. It is for
    an `interval` of its own, or for its plan's (None). `tax_inclusive`: whether it contains the tax; None: as the
    tenant's tax settings say when it is subscribed to. With a meter it prices what that one counts of the customer's
    usage in a period, and is billed once that is over.
    """

    price_id: str
    plan_id: str
    external_id: str | None = None
    name: str | None = None
    price: Price
    currency_options: tuple[Price, ...] = ()
    interval: Interval | None = None
    timing: BillingTiming = BillingTiming.IN_ADVANCE
    meter_id: str | None = None
    tax_inclusive: bool | None = None
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePrice:
    price_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePrice:
    price_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCreated:
    price_id: str
    plan_id: str
    external_id: str | None
    name: str | None
    price: Price
    currency_options: tuple[Price, ...] = ()
    interval: Interval | None = None
    timing: BillingTiming
    meter_id: str | None = None
    tax_inclusive: bool | None = None
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceArchived:
    price_id: str
    archived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceUsed:
    """`by` is the first subscription that it was sold to, or is to be."""

    price_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceDeleted:
    price_id: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceMetadataSet(MetadataSet):
    price_id: str


PriceEvent = PriceCreated | PriceArchived | PriceUsed | PriceDeleted | PriceMetadataSet


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


class PriceInUse(Refusal):
    """The price was subscribed to: archive it, and nobody new subscribes to it."""

    code = "price_in_use"


class PriceModelNotBillable(Refusal):
    """Nothing measures what its model counts: the message says which meter it needs.

    Flat has none, a commitment any, graduated_percentage one that sums, and percentage one of amounts.
    """

    code = "price_model_not_billable"
    kind = RefusalKind.INVALID
    param = "model"

    def summary(self) -> str:
        match self.details:
            case {"commitment": "without a meter"}:
                return "A commitment is to usage: give the price a `meter`, whose figures draw it down."
            case {"commitment": str()}:
                return "A commitment is due with its usage, when the period is over: none is paid ahead."
            case {"model": "Percentage"}:
                return "`percentage` is of single events: give the price a `meter` that counts by `amounts`."
            case {"model": "GraduatedPercentage"}:
                return "`graduated_percentage` is of a sum: give the price a `meter` that counts by `sum` or `amounts`."
            case {"model": "Flat"}:
                return "`flat` counts nothing: leave `meter` out, or take a model that counts, such as `per_unit`."
            case _:
                return super().summary()


class MeteredPriceInAdvance(Refusal):
    """What a meter counts is known once its period is over: a price with a meter is in arrears."""

    code = "metered_price_in_advance"
    kind = RefusalKind.INVALID
    param = "timing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPrice:
    """`used_by` is the first subscription to it. One that was deleted is archived, too. `meter_id` is the meter whose
    quantities it prices; None: it prices those that are subscribed to.
    """

    price_id: str
    plan_id: str
    external_id: str | None
    name: str | None
    price: Price
    currency_options: tuple[Price, ...]
    interval: Interval | None
    timing: BillingTiming
    meter_id: str | None
    tax_inclusive: bool | None
    metadata: Metadata
    created_at: datetime
    archived_at: datetime | None
    deleted_at: datetime | None
    used_by: str | None

    def stated_in(self, currency: CurrencyCode) -> Price:
        """What it is in that currency. Raises NoPriceInCurrency."""
        stated = (self.price, *self.currency_options)
        for price in stated:
            if price.currency == currency:
                return price
        available = " ".join(price.currency for price in stated)
        raise NoPriceInCurrency(price=self.price_id, currency=currency, available=available)


def on_sale(streams: Streams, price_id: str) -> PlanPrice:
    """The price, if it may be subscribed to: PriceNotFound or PriceIsArchived otherwise."""
    price = PRICE.of(streams, price_id)
    if price.deleted_at is not None:
        raise PRICE.missing(price_id)
    if price.archived_at is not None:
        raise PriceIsArchived(price=price_id)
    return price


def check_metered(streams: Streams, meter_id: str, timing: BillingTiming) -> Aggregation:
    """How the meter counts that is priced. Raises MeterNotFound, MeterIsArchived, MeteredPriceInAdvance."""
    meter = METER.of(streams, meter_id)
    if meter.archived_at is not None:
        raise MeterIsArchived(meter=meter_id)
    if timing is not BillingTiming.IN_ARREARS:
        raise MeteredPriceInAdvance(meter=meter_id)
    return meter.aggregation


def check_billable(price: Price, currency_options: tuple[Price, ...], *, counted_by: Aggregation | None = None) -> None:
    """Raises what `check_price` raises, the one gate for prices, PriceModelNotBillable, and InvalidPrice for two prices
    in one currency: each where it lies in the command, `currency_options.0.model.tiers.2.up_to`. `counted_by` is how
    the meter counts whose quantities it prices.
    """
    stated: set[CurrencyCode] = set()
    for nth, each in enumerate((price, *currency_options)):
        try:
            check_price(each)
            _check_measurable(each, counted_by)
            if each.currency in stated:
                raise InvalidPrice(reason="stated in this currency already", currency=each.currency).at("model")
        except Refusal as refused:
            raise refused.at(refused.param if nth == 0 else f"currency_options.{nth - 1}.{refused.param}") from None
        stated.add(each.currency)


def _check_measurable(price: Price, counted_by: Aggregation | None) -> None:
    """Whether it prices what is subscribed to, or what a meter counts: percentages of tiers take a sum of amounts, one
    of single events each of them, and with a flat amount nothing is counted at all. A commitment is to usage, and due
    with it: none is paid ahead.

    Raises PriceModelNotBillable.
    """
    model = model_of(price)
    match model:
        case Percentage():
            is_measured = counted_by is Aggregation.AMOUNTS
        case GraduatedPercentage():
            is_measured = counted_by in (Aggregation.SUM, Aggregation.AMOUNTS)
        case Flat():
            is_measured = counted_by is None
        case _:
            is_measured = True
    if not is_measured:
        raise PriceModelNotBillable(model=type(model).__name__, counted_by=counted_by).at("model")
    commitment = price.commitment if isinstance(price, BoundedPrice) else None
    if commitment is not None and (counted_by is None or commitment.prepaid):
        why = "without a meter" if counted_by is None else "prepaid"
        refused = PriceModelNotBillable(model=type(model).__name__, commitment=why, counted_by=counted_by)
        raise refused.at("commitment")


def evolve(price: PlanPrice | None, event: PriceEvent) -> PlanPrice:
    if isinstance(event, PriceCreated):
        return PlanPrice(
            price_id=event.price_id,
            plan_id=event.plan_id,
            external_id=event.external_id,
            name=event.name,
            price=event.price,
            currency_options=event.currency_options,
            interval=event.interval,
            timing=event.timing,
            meter_id=event.meter_id,
            tax_inclusive=event.tax_inclusive,
            metadata=event.metadata,
            created_at=event.created_at,
            archived_at=None,
            deleted_at=None,
            used_by=None,
        )
    assert price is not None, "the first event of a price is price.created"
    match event:
        case PriceArchived():
            return replace(price, archived_at=event.archived_at)
        case PriceUsed():
            return replace(price, used_by=event.by)
        case PriceDeleted():
            return replace(price, archived_at=price.archived_at or event.deleted_at, deleted_at=event.deleted_at)
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
    "price.used": PriceUsed,
    "price.deleted": PriceDeleted,
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
