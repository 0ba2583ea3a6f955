"""Prices of plans: how much, in which currency, in advance or in arrears. What they cost is never changed."""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import (
    ExternalId,
    MeterId,
    MoneyResource,
    New,
    NoBody,
    PlanId,
    PriceId,
    text,
)
from api.http.listing import (
    CreatedParameters,
)
from api.http.operations import Intention
from api.http.resource import Resource
from api.resources.plans import IntervalBody, IntervalResource, interval_resource
from api.resources.price_models import CommitmentResource, ModelResource, StatedPrice, StatedResource, stated_resource
from api.resources.tax_fields import TaxInclusive
from domain.catalog.plan import PlanIsArchived, PlanNotFound
from domain.catalog.price import (
    PRICE,
    ArchivePrice,
    BillingTiming,
    CreatePrice,
    DeletePrice,
    MeteredPriceInAdvance,
    PlanPrice,
    PriceInUse,
    PriceModelNotBillable,
)
from domain.identity.permissions import Permission
from domain.kernel.identifiers import PRICE as PREFIX
from domain.kernel.refusal import ExternalIdTaken
from domain.metering.meter import MeterIsArchived, MeterNotFound
from domain.pricing.validation import InvalidPrice, InvalidTierTable
from infra.ids import new_id
from projections.models import prices as read

MAX_CURRENCY_OPTIONS: Final = 50
_ID: Final = "price_01m7ywe9z7e398x54gfbrtqnk7"


PriceName: TypeAlias = Annotated[
    str, text(100), Field(examples=["Seats"], description="An invoice's line reads the plan's name, a dash, and this.")
]


class NewPrice(New, StatedPrice):
    """A price to be: in the currency of its model, and in those of its `currency_options`.

    A subscription takes the one in its customer's currency. Nothing is ever converted.
    """

    plan: PlanId
    external_id: ExternalId | None = None
    name: PriceName | None = None
    currency_options: Annotated[
        tuple[StatedPrice, ...],
        Field(max_length=MAX_CURRENCY_OPTIONS, description="The same price in further currencies, once in each."),
    ] = ()
    interval: Annotated[
        IntervalBody | None, Field(description="How often it is billed; as the plan, where none is named.")
    ] = None
    timing: BillingTiming = BillingTiming.IN_ADVANCE
    meter: Annotated[
        MeterId | None,
        Field(description="Whose quantities it prices, period by period, in arrears; null: those subscribed to."),
    ] = None
    tax_inclusive: TaxInclusive | None = None


class PriceFilters(CreatedParameters):
    """Which prices."""

    plan: PlanId | None = None
    external_id: ExternalId | None = None


class PriceResource(TypedDict):
    """A price; `currency_options` state it in further currencies. `interval` is null where it is the plan's."""

    id: PriceId
    object: Literal["price"]
    plan: str
    external_id: str | None
    name: str | None
    currency: str
    model: ModelResource
    minimum: MoneyResource | None
    maximum: MoneyResource | None
    commitment: CommitmentResource | None
    currency_options: list[StatedResource]
    interval: IntervalResource | None
    timing: BillingTiming
    meter: str | None
    tax_inclusive: bool | None
    active: bool
    metadata: dict[str, str]
    created: datetime
    archived_at: datetime | None
    deleted_at: datetime | None


def price_resource(price: PlanPrice) -> PriceResource:
    """A price as it is answered."""
    return {
        "id": price.price_id,
        "object": "price",
        "plan": price.plan_id,
        "external_id": price.external_id,
        "name": price.name,
        **stated_resource(price.price),
        "currency_options": [stated_resource(option) for option in price.currency_options],
        "interval": None if price.interval is None else interval_resource(price.interval),
        "timing": price.timing,
        "meter": price.meter_id,
        "tax_inclusive": price.tax_inclusive,
        "active": price.archived_at is None,
        "metadata": dict(price.metadata),
        "created": price.created_at,
        "archived_at": price.archived_at,
        "deleted_at": price.deleted_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "price",
    "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
    "external_id": "team-seats",
    "name": "Seats",
    "currency": "EUR",
    "model": {
        "type": "graduated",
        "currency": "EUR",
        "tiers": [
            {"up_to": "10", "unit_amount": "1200", "flat_amount": 4900},
            {"up_to": None, "unit_amount": "999.5", "flat_amount": 0},
        ],
        "free_units": "1",
    },
    "minimum": {"amount": 9900, "currency": "EUR"},
    "maximum": None,
    "commitment": None,
    "currency_options": [
        {
            "currency": "USD",
            "model": {"type": "per_unit", "currency": "USD", "unit_amount": "1150.25", "free_units": "1"},
            "minimum": None,
            "maximum": None,
            "commitment": None,
        }
    ],
    "interval": None,
    "timing": "in_advance",
    "meter": None,
    "tax_inclusive": None,
    "active": True,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
    "deleted_at": None,
}

PRICES: Final = Resource(
    tag="prices",
    about="How much a plan costs.",
    stream=PRICE,
    table=read.TABLE,
    path="/v1/prices",
    prefix=PREFIX,
    seen_with=Permission.CATALOGUE_READ,
    changed_with=Permission.CATALOGUE_WRITE,
    shows=PriceResource,
    render=price_resource,
    example=EXAMPLE,
    filters=PriceFilters,
)


@PRICES.creates(
    body=NewPrice,
    body_example={
        "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
        "external_id": "team-seats",
        "name": "Seats",
        "model": {
            "type": "graduated",
            "currency": "EUR",
            "tiers": [
                {"up_to": "10", "unit_amount": "1200", "flat_amount": 4900},
                {"up_to": None, "unit_amount": "999.5"},
            ],
            "free_units": 1,
        },
        "minimum": {"amount": 9900, "currency": "EUR"},
        "currency_options": [{"model": {"type": "per_unit", "currency": "USD", "unit_amount": "1150.25"}}],
        "timing": "in_advance",
    },
    refusals=(
        PlanNotFound,
        PlanIsArchived,
        ExternalIdTaken,
        InvalidPrice,
        InvalidTierTable,
        PriceModelNotBillable,
        MeterNotFound,
        MeterIsArchived,
        MeteredPriceInAdvance,
    ),
)
async def create_price(_call: Call, body: NewPrice) -> Intention:
    """Create a price of a plan.

    Its name tells it from the plan's other prices on an invoice: "Team, monthly – Seats". Without names, lines that
    would read alike are counted.
    """
    price_id = new_id(PREFIX)
    return PRICES.created(
        price_id,
        CreatePrice(
            price_id=price_id,
            plan_id=body.plan,
            external_id=body.external_id,
            name=body.name,
            price=body.value,
            currency_options=tuple(option.value for option in body.currency_options),
            interval=None if body.interval is None else body.interval.value,
            timing=body.timing,
            meter_id=body.meter,
            tax_inclusive=body.tax_inclusive,
            metadata=body.kept,
        ),
    )


PRICES.changes_metadata()


@PRICES.changes(
    "POST",
    "archive",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z"},
)
async def archive_price(call: Call, _body: NoBody) -> Intention:
    """Archive a price: nobody new can subscribe to it."""
    price_id = PRICES.id_of(call)
    return PRICES.changed(price_id, ArchivePrice(price_id=price_id))


@PRICES.changes(
    "DELETE",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z", "deleted_at": "2026-02-01T00:00:00Z"},
    refusals=(PriceInUse,),
)
async def delete_price(call: Call, _body: NoBody) -> Intention:
    """Delete a price that nobody has subscribed to. One that somebody has can be archived."""
    price_id = PRICES.id_of(call)
    return PRICES.changed(price_id, DeletePrice(price_id=price_id))
