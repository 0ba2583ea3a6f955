"""Why a price comes to its amount: exact portions, then one rounding, shown as its own figure."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from domain.kernel.money import Money


class PortionKind(StrEnum):
    """What a portion of a price is for.

    `not_below_zero`: so many units are less than nothing, and count as none; nothing is carried over. Of what less
    usage gives back, `given_back_elsewhere` is what other lines give back, now or with the period's end, or nobody had
    to pay, and `not_paid` what discounts had taken off.
    """

    FLAT = "flat"
    UNITS = "units"
    FREE_UNITS = "free_units"
    TIER_UNITS = "tier_units"
    TIER_FLAT = "tier_flat"
    PACKAGES = "packages"
    PERCENT = "percent"
    FIXED_PER_EVENT = "fixed_per_event"
    FREE_EVENTS = "free_events"
    EVENT_MINIMUM = "event_minimum"
    EVENT_MAXIMUM = "event_maximum"
    NEVER_CHARGED = "never_charged"
    COVERED_BY_COMMITMENT = "covered_by_commitment"
    OVERAGE_SURCHARGE = "overage_surcharge"
    COMMITMENT = "commitment"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    SHARE_NOT_BILLED = "share_not_billed"
    NOT_BELOW_ZERO = "not_below_zero"
    BILLED_BEFORE = "billed_before"
    GIVEN_BACK = "given_back"
    GIVEN_BACK_ELSEWHERE = "given_back_elsewhere"
    NOT_PAID = "not_paid"


@dataclass(frozen=True, slots=True)
class Portion:
    """`amount`: exact minor units, not rounded. `tier`: counted from 1, where the portion belongs to one.

    `rate` is minor units per unit of `quantity` (for PERCENT: per cent of `quantity` minor units), so that
    quantity × rate explains the amount; portions that are plain amounts have quantity 1.
    """

    kind: PortionKind
    quantity: Fraction
    rate: Fraction
    amount: Fraction
    tier: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The sum of the portions plus `rounding_difference` (less than one minor unit) is exactly `amount`."""

    portions: tuple[Portion, ...]
    rounding_difference: Fraction
    amount: Money


_ONCE = Fraction(1)


def plain(kind: PortionKind, amount: Fraction, tier: int | None = None) -> Portion:
    """A portion that is one amount."""
    return Portion(kind, _ONCE, amount, amount, tier)
