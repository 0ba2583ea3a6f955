"""Prices of plans: how much, in which currency, in advance or in arrears. What they cost is never changed."""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import (
    MAX_AMOUNT,
    Body,
    Currency,
    ExternalId,
    MoneyBody,
    MoneyResource,
    New,
    NoBody,
    PlanId,
    PriceId,
    Quantity,
    UnitAmount,
    money,
    plain_decimal,
    text,
)
from api.http.listing import (
    CreatedParameters,
)
from api.http.operations import Intention
from api.http.resource import Resource
from api.http.validation import told_by_type
from domain.catalog.plan import PlanIsArchived, PlanNotFound
from domain.catalog.price import (
    PRICE,
    ArchivePrice,
    BillingTiming,
    CreatePrice,
    PlanPrice,
)
from domain.identity.permissions import Permission
from domain.kernel.currency import CurrencyCode
from domain.kernel.identifiers import PRICE as PREFIX
from domain.kernel.refusal import ExternalIdTaken
from domain.pricing.models import ZERO, Flat, PerUnit, PriceModel
from domain.pricing.validation import InvalidPrice
from infra.ids import new_id
from projections.models import prices as read

_ID: Final = "price_01m7ywe9z7e398x54gfbrtqnk7"


class PriceAmount(MoneyBody):
    """An amount of zero or more."""

    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT)]


class FlatModel(Body):
    """One amount a period, whatever the quantity."""

    type: Literal["flat"]
    amount: PriceAmount

    @property
    def value(self) -> PriceModel:
        return Flat(amount=self.amount.value)


class PerUnitModel(Body):
    """Quantity × unit amount (minor units, decimals allowed), after the free units."""

    type: Literal["per_unit"]
    currency: Currency
    unit_amount: UnitAmount
    free_units: Quantity = ZERO

    @property
    def value(self) -> PriceModel:
        return PerUnit(currency=CurrencyCode(self.currency), unit_amount=self.unit_amount, free_units=self.free_units)


PriceName: TypeAlias = Annotated[
    str, text(100), Field(examples=["Seats"], description="An invoice's line reads the plan's name, a dash, and this.")
]


class NewPrice(New):
    """A price to be."""

    plan: PlanId
    external_id: ExternalId | None = None
    name: PriceName | None = None
    model: Annotated[FlatModel | PerUnitModel, told_by_type(FlatModel, PerUnitModel)]
    timing: BillingTiming = BillingTiming.IN_ADVANCE


class PriceFilters(CreatedParameters):
    """Which prices."""

    plan: PlanId | None = None
    external_id: ExternalId | None = None


class FlatResource(TypedDict):
    """One amount a period."""

    type: Literal["flat"]
    amount: MoneyResource


class PerUnitResource(TypedDict):
    """Quantity × unit amount, in minor units as a plain decimal."""

    type: Literal["per_unit"]
    currency: str
    unit_amount: str
    free_units: str


ModelResource = FlatResource | PerUnitResource


def model_resource(model: PriceModel) -> ModelResource:
    """A price model as it is answered. Subscriptions bill flat and per-unit prices; others cannot be created."""
    match model:
        case Flat():
            return {"type": "flat", "amount": money(model.amount)}
        case PerUnit():
            return {
                "type": "per_unit",
                "currency": model.currency,
                "unit_amount": plain_decimal(model.unit_amount),
                "free_units": plain_decimal(model.free_units),
            }
    raise TypeError(f"a {type(model).__name__} price has no form in this API yet")


class PriceResource(TypedDict):
    """A price."""

    id: PriceId
    object: Literal["price"]
    plan: str
    external_id: str | None
    name: str | None
    currency: str
    model: ModelResource
    timing: BillingTiming
    active: bool
    metadata: dict[str, str]
    created: datetime
    archived_at: datetime | None


def price_resource(price: PlanPrice) -> PriceResource:
    """A price as it is answered."""
    return {
        "id": price.price_id,
        "object": "price",
        "plan": price.plan_id,
        "external_id": price.external_id,
        "name": price.name,
        "currency": price.currency,
        "model": model_resource(price.model),
        "timing": price.timing,
        "active": price.archived_at is None,
        "metadata": dict(price.metadata),
        "created": price.created_at,
        "archived_at": price.archived_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "price",
    "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
    "external_id": "team-monthly-eur",
    "name": "Base fee",
    "currency": "EUR",
    "model": {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}},
    "timing": "in_advance",
    "active": True,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
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
        "external_id": "team-monthly-eur",
        "name": "Base fee",
        "model": {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}},
        "timing": "in_advance",
    },
    refusals=(PlanNotFound, PlanIsArchived, ExternalIdTaken, InvalidPrice),
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
            model=body.model.value,
            timing=body.timing,
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
