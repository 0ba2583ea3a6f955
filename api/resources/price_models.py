"""The models of prices as they are sent and answered: flat, per unit, graduated, volume, package, percentages of single
events and of tiers.

`unit_amount` is minor units with decimals; it and quantities are sent as whole numbers or as plain decimals in quotes,
and answered as plain decimals in quotes.
"""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import (
    MAX_AMOUNT,
    Body,
    Currency,
    MoneyBody,
    MoneyResource,
    Percent,
    Quantity,
    UnitAmount,
    money,
    plain_decimal,
)
from api.http.validation import told_by_type
from domain.kernel.currency import CurrencyCode
from domain.pricing.models import (
    ONE,
    ZERO,
    BoundedPrice,
    Commitment,
    Flat,
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Price,
    PriceModel,
    RateTier,
    Tier,
    Volume,
    model_of,
)
from domain.pricing.validation import MAX_TIERS

MinorUnits: TypeAlias = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
MAX_FREE_EVENTS: Final = 1_000_000


class PriceAmount(MoneyBody):
    """An amount of zero or more."""

    amount: MinorUnits


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


class TierBody(Body):
    """A range of quantities: from where the tier before ends, up to and with `up_to`; null has no end.

    `flat_amount` is due once when the tier is reached; the first is reached at zero.
    """

    up_to: UnitAmount | None
    unit_amount: UnitAmount = ZERO
    flat_amount: MinorUnits = 0


Tiers: TypeAlias = Annotated[
    tuple[TierBody, ...],
    Field(min_length=1, max_length=MAX_TIERS, description="In order of their ends; the last, and only it, has none."),
]


def _tiers(sent: tuple[TierBody, ...]) -> tuple[Tier, ...]:
    """Each begins where the one before it ends, so no quantity is left out or priced twice."""
    tiers: list[Tier] = []
    above = ZERO
    for tier in sent:
        tiers.append(Tier(above=above, up_to=tier.up_to, unit_amount=tier.unit_amount, flat_amount=tier.flat_amount))
        above = above if tier.up_to is None else tier.up_to
    return tuple(tiers)


class GraduatedModel(Body):
    """Each tier prices its own slice of the quantity, after the free units."""

    type: Literal["graduated"]
    currency: Currency
    tiers: Tiers
    free_units: Quantity = ZERO

    @property
    def value(self) -> PriceModel:
        return Graduated(currency=CurrencyCode(self.currency), tiers=_tiers(self.tiers), free_units=self.free_units)


class VolumeModel(Body):
    """The tier that the quantity reaches prices all of it, after the free units."""

    type: Literal["volume"]
    currency: Currency
    tiers: Tiers
    free_units: Quantity = ZERO

    @property
    def value(self) -> PriceModel:
        return Volume(currency=CurrencyCode(self.currency), tiers=_tiers(self.tiers), free_units=self.free_units)


class PackageModel(Body):
    """An amount for every started block of units, after the free units."""

    type: Literal["package"]
    currency: Currency
    package_size: Quantity
    package_amount: MinorUnits
    free_units: Quantity = ZERO

    @property
    def value(self) -> PriceModel:
        return Package(
            currency=CurrencyCode(self.currency),
            package_size=self.package_size,
            package_amount=self.package_amount,
            free_units=self.free_units,
        )


class RateTierBody(Body):
    """A range of amounts in minor units: from where the tier before ends, up to and with `up_to`; null has no end.

    `flat_amount` is due once when the tier is reached; the first is reached at zero.
    """

    up_to: UnitAmount | None
    percent: Percent
    flat_amount: MinorUnits = 0


RateTiers: TypeAlias = Annotated[
    tuple[RateTierBody, ...],
    Field(min_length=1, max_length=MAX_TIERS, description="In order of their ends; the last, and only it, has none."),
]


class GraduatedPercentageModel(Body):
    """Each tier takes its percentage of its own slice of the amounts, in minor units, that a meter sums; one tier of no
    end is a plain percentage.
    """

    type: Literal["graduated_percentage"]
    currency: Currency
    tiers: RateTiers

    @property
    def value(self) -> PriceModel:
        ends = (None, *(tier.up_to for tier in self.tiers[:-1]))
        tiers = tuple(
            RateTier(above=end or ZERO, up_to=tier.up_to, percent=tier.percent, flat_amount=tier.flat_amount)
            for end, tier in zip(ends, self.tiers, strict=True)
        )
        return GraduatedPercentage(currency=CurrencyCode(self.currency), tiers=tiers)


class PercentageModel(Body):
    """A percentage of each event's amount, in minor units, and a fixed amount for each event, after the free ones: of a
    meter that counts `amounts`. `event_minimum` and `event_maximum` bound what one event costs.
    """

    type: Literal["percentage"]
    currency: Currency
    percent: Percent
    fixed_amount: UnitAmount = ZERO
    free_events: Annotated[int, Field(ge=0, le=MAX_FREE_EVENTS)] = 0
    event_minimum: MinorUnits | None = None
    event_maximum: MinorUnits | None = None

    @property
    def value(self) -> PriceModel:
        return Percentage(
            currency=CurrencyCode(self.currency),
            percent=self.percent,
            fixed_amount=self.fixed_amount,
            free_events=self.free_events,
            event_minimum=self.event_minimum,
            event_maximum=self.event_maximum,
        )


ModelBody: TypeAlias = Annotated[
    FlatModel | PerUnitModel | GraduatedModel | VolumeModel | PackageModel | PercentageModel | GraduatedPercentageModel,
    told_by_type(
        FlatModel,
        PerUnitModel,
        GraduatedModel,
        VolumeModel,
        PackageModel,
        PercentageModel,
        GraduatedPercentageModel,
    ),
]


class CommitmentBody(Body):
    """What a whole period's usage is to come to: less is raised to it, and what is beyond costs `overage_factor` times
    its price.
    """

    amount: PriceAmount
    overage_factor: UnitAmount = ONE


class StatedPrice(Body):
    """A price in one currency. It is never less than the minimum nor more than the maximum; all of it shrinks alike
    where a period is billed in part.
    """

    model: ModelBody
    minimum: Annotated[PriceAmount | None, Field(description="What a whole period costs at least.")] = None
    maximum: Annotated[PriceAmount | None, Field(description="What a whole period costs at most.")] = None
    commitment: Annotated[CommitmentBody | None, Field(description="Of a price with a meter.")] = None

    @property
    def value(self) -> Price:
        committed = self.commitment
        if self.minimum is None and self.maximum is None and committed is None:
            return self.model.value
        return BoundedPrice(
            model=self.model.value,
            minimum=None if self.minimum is None else self.minimum.value,
            maximum=None if self.maximum is None else self.maximum.value,
            commitment=None
            if committed is None
            else Commitment(amount=committed.amount.value, overage_factor=committed.overage_factor, prepaid=False),
        )


class FlatResource(TypedDict):
    """One amount a period."""

    type: Literal["flat"]
    amount: MoneyResource


class PerUnitResource(TypedDict):
    """Quantity × unit amount, in minor units as a plain decimal, after the free units."""

    type: Literal["per_unit"]
    currency: str
    unit_amount: str
    free_units: str


class TierResource(TypedDict):
    """A range of quantities, up to and with `up_to`; null has no end."""

    up_to: str | None
    unit_amount: str
    flat_amount: int


class GraduatedResource(TypedDict):
    """Each tier prices its own slice."""

    type: Literal["graduated"]
    currency: str
    tiers: list[TierResource]
    free_units: str


class VolumeResource(TypedDict):
    """The tier that is reached prices everything."""

    type: Literal["volume"]
    currency: str
    tiers: list[TierResource]
    free_units: str


class PackageResource(TypedDict):
    """An amount for every started block."""

    type: Literal["package"]
    currency: str
    package_size: str
    package_amount: int
    free_units: str


class RateTierResource(TypedDict):
    """A range of amounts, up to and with `up_to`; null has no end."""

    up_to: str | None
    percent: str
    flat_amount: int


class GraduatedPercentageResource(TypedDict):
    """Each tier takes its percentage of its own slice of a sum of amounts."""

    type: Literal["graduated_percentage"]
    currency: str
    tiers: list[RateTierResource]


class PercentageResource(TypedDict):
    """A percentage of each event's amount and a fixed amount for it, after the free ones, within bounds."""

    type: Literal["percentage"]
    currency: str
    percent: str
    fixed_amount: str
    free_events: int
    event_minimum: int | None
    event_maximum: int | None


ModelResource: TypeAlias = (
    FlatResource
    | PerUnitResource
    | GraduatedResource
    | VolumeResource
    | PackageResource
    | PercentageResource
    | GraduatedPercentageResource
)


class CommitmentResource(TypedDict):
    """What a whole period's usage is to come to, and what usage beyond it costs of its price."""

    amount: MoneyResource
    overage_factor: str


class StatedResource(TypedDict):
    """A price in one currency, with its bounds."""

    currency: str
    model: ModelResource
    minimum: MoneyResource | None
    maximum: MoneyResource | None
    commitment: CommitmentResource | None


def stated_resource(price: Price) -> StatedResource:
    """A price in one currency as it is answered."""
    bounds = price if isinstance(price, BoundedPrice) else None
    return {
        "currency": price.currency,
        "model": _model(model_of(price)),
        "minimum": None if bounds is None or bounds.minimum is None else money(bounds.minimum),
        "maximum": None if bounds is None or bounds.maximum is None else money(bounds.maximum),
        "commitment": None if bounds is None or bounds.commitment is None else _commitment(bounds.commitment),
    }


def _commitment(commitment: Commitment) -> CommitmentResource:
    return {"amount": money(commitment.amount), "overage_factor": plain_decimal(commitment.overage_factor)}


def _model(model: PriceModel) -> ModelResource:
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
        case Graduated():
            return {
                "type": "graduated",
                "currency": model.currency,
                "tiers": [_tier(tier) for tier in model.tiers],
                "free_units": plain_decimal(model.free_units),
            }
        case Volume():
            return {
                "type": "volume",
                "currency": model.currency,
                "tiers": [_tier(tier) for tier in model.tiers],
                "free_units": plain_decimal(model.free_units),
            }
        case Package():
            return {
                "type": "package",
                "currency": model.currency,
                "package_size": plain_decimal(model.package_size),
                "package_amount": model.package_amount,
                "free_units": plain_decimal(model.free_units),
            }
        case Percentage():
            return {
                "type": "percentage",
                "currency": model.currency,
                "percent": plain_decimal(model.percent),
                "fixed_amount": plain_decimal(model.fixed_amount),
                "free_events": model.free_events,
                "event_minimum": model.event_minimum,
                "event_maximum": model.event_maximum,
            }
        case GraduatedPercentage():
            return {
                "type": "graduated_percentage",
                "currency": model.currency,
                "tiers": [
                    {
                        "up_to": None if tier.up_to is None else plain_decimal(tier.up_to),
                        "percent": plain_decimal(tier.percent),
                        "flat_amount": tier.flat_amount,
                    }
                    for tier in model.tiers
                ],
            }


def _tier(tier: Tier) -> TierResource:
    return {
        "up_to": None if tier.up_to is None else plain_decimal(tier.up_to),
        "unit_amount": plain_decimal(tier.unit_amount),
        "flat_amount": tier.flat_amount,
    }
