"""What a price can be: a closed set of models, and the bounds that may hold around one.

A price is a value without behaviour; `domain/pricing/amount.py` computes with it. Amounts named `unit_amount`,
`fixed_amount` and `flat_amount` are minor units of the price's currency; the first two may have decimals (0.25 is a
quarter of a cent). Percentages are plain: Decimal("5.5") is 5.5 %.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind

ZERO = Decimal(0)
ONE = Decimal(1)
NOTHING = Fraction(0)
WHOLE_PERIOD = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """One amount a period, whatever the quantity."""

    amount: Money

    @property
    def currency(self) -> CurrencyCode:
        return self.amount.currency


@dataclass(frozen=True, slots=True, kw_only=True)
class PerUnit:
    """quantity × unit_amount, after the free units."""

    currency: CurrencyCode
    unit_amount: Decimal
    free_units: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A range of quantities (above, up_to]: the upper bound belongs to it, None has no end.

    `flat_amount` (minor units) is due once when the tier is reached; the first tier is reached at zero.
    """

    above: Decimal = ZERO
    up_to: Decimal | None
    unit_amount: Decimal = ZERO
    flat_amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Graduated:
    """Each tier prices its own slice of the quantity, after the free units."""

    currency: CurrencyCode
    tiers: tuple[Tier, ...]
    free_units: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The tier reached prices the whole quantity, after the free units."""

    currency: CurrencyCode
    tiers: tuple[Tier, ...]
    free_units: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """`package_amount` (minor units) for every started block of `package_size` units, after the free units."""

    currency: CurrencyCode
    package_size: Decimal
    package_amount: int
    free_units: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentage:
    """percent × the event's amount + fixed_amount for each event after the free ones.

    `event_minimum` and `event_maximum` (minor units) bound what one charged event costs, its fixed amount included.
    """

    currency: CurrencyCode
    percent: Decimal
    fixed_amount: Decimal = ZERO
    free_events: int = 0
    event_minimum: int | None = None
    event_maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTier:
    """A range of amounts (above, up_to] in minor units, None has no end, priced at percent of the slice.

    `flat_amount` (minor units) is due once when the tier is reached; the first tier is reached at zero.
    """

    above: Decimal = ZERO
    up_to: Decimal | None
    percent: Decimal
    flat_amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GraduatedPercentage:
    """Each tier takes its percentage of its own slice of the sum of the events' amounts."""

    currency: CurrencyCode
    tiers: tuple[RateTier, ...]


PriceModel: TypeAlias = Flat | PerUnit | Graduated | Volume | Package | Percentage | GraduatedPercentage


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """An amount promised for the period that usage draws down; usage beyond it costs `overage_factor` times its price.

    `prepaid` commitments were billed in advance, so only the overage is due for the period; others are due with it.
    """

    amount: Money
    overage_factor: Decimal = ONE
    prepaid: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedPrice:
    """A price with a commitment, a minimum that it is raised to, or a maximum that it is cut to, each a period's."""

    model: PriceModel
    minimum: Money | None = None
    maximum: Money | None = None
    commitment: Commitment | None = None

    @property
    def currency(self) -> CurrencyCode:
        return self.model.currency


Price: TypeAlias = PriceModel | BoundedPrice


def model_of(price: Price) -> PriceModel:
    """The model inside the bounds, if there are any."""
    return price.model if isinstance(price, BoundedPrice) else price


class NoPriceInCurrency(Refusal):
    """The price is not stated in the customer's currency: choose one that is, or state it in that currency, too."""

    code = "no_price_in_currency"
    kind = RefusalKind.INVALID
    param = "currency"
