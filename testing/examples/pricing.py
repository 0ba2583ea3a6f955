"""Short ways to write prices, lines and rates in the tests of the billing mathematics."""

from datetime import UTC, date, datetime
from decimal import Decimal

from domain.kernel.frozen import replace
from domain.kernel.rounding import Rounding
from domain.discounts.computation import AmountOff, Coupon, PercentOff
from domain.kernel.currency import CurrencyCode
from domain.invoicing.computation import AmountLine
from domain.pricing.measured import EventAmounts
from domain.kernel.money import Money
from domain.wallets.prepaid_credits import CreditGrant, grant_credits
from domain.pricing.models import Graduated, GraduatedPercentage, Package, Percentage, PerUnit, RateTier, Tier, Volume
from domain.tax.computation import TaxRate

USD = CurrencyCode("USD")
JPY = CurrencyCode("JPY")
KWD = CurrencyCode("KWD")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)

TierRow = tuple[str | int | None, str | int, int]
"""Up to, unit amount (or percent), flat amount."""


def usd(amount: int) -> Money:
    return Money(amount, USD)


def tiers(*rows: TierRow) -> tuple[Tier, ...]:
    made: list[Tier] = []
    above = Decimal(0)
    for up_to, unit_amount, flat_amount in rows:
        end = None if up_to is None else Decimal(up_to)
        made.append(Tier(above=above, up_to=end, unit_amount=Decimal(unit_amount), flat_amount=flat_amount))
        above = above if end is None else end
    return tuple(made)


def rate_tiers(*rows: TierRow) -> tuple[RateTier, ...]:
    return tuple(
        RateTier(above=tier.above, up_to=tier.up_to, percent=tier.unit_amount, flat_amount=tier.flat_amount)
        for tier in tiers(*rows)
    )


def per_unit(unit_amount: str | int, free_units: str | int = 0) -> PerUnit:
    return PerUnit(currency=USD, unit_amount=Decimal(unit_amount), free_units=Decimal(free_units))


def graduated(*rows: TierRow, free_units: str | int = 0) -> Graduated:
    return Graduated(currency=USD, tiers=tiers(*rows), free_units=Decimal(free_units))


def volume(*rows: TierRow, free_units: str | int = 0) -> Volume:
    return Volume(currency=USD, tiers=tiers(*rows), free_units=Decimal(free_units))


def package(amount: int, size: str | int, free_units: str | int = 0) -> Package:
    return Package(currency=USD, package_size=Decimal(size), package_amount=amount, free_units=Decimal(free_units))


def percentage(
    percent: str | int,
    fixed_amount: str | int = 0,
    free_events: int = 0,
    event_minimum: int | None = None,
    event_maximum: int | None = None,
) -> Percentage:
    return Percentage(
        currency=USD,
        percent=Decimal(percent),
        fixed_amount=Decimal(fixed_amount),
        free_events=free_events,
        event_minimum=event_minimum,
        event_maximum=event_maximum,
    )


def graduated_percentage(*rows: TierRow) -> GraduatedPercentage:
    return GraduatedPercentage(currency=USD, tiers=rate_tiers(*rows))


def event_amounts(*amounts: str | int) -> EventAmounts:
    return EventAmounts(tuple(Decimal(amount) for amount in amounts))


def tax_rate(percent: str | int | Decimal, rate_id: str | None = None) -> TaxRate:
    return TaxRate(
        rate_id=rate_id or f"tax-{percent}", percent=Decimal(percent), country="FR", valid_from=date(2020, 1, 1)
    )


def percent_off(percent: str | int | Decimal, coupon_id: str = "percent", products: tuple[str, ...] = ()) -> Coupon:
    return Coupon(coupon_id=coupon_id, discount=PercentOff(percent=Decimal(percent)), product_ids=products)


def amount_off(amount: int, coupon_id: str = "fixed", products: tuple[str, ...] = ()) -> Coupon:
    return Coupon(coupon_id=coupon_id, discount=AmountOff(amount=usd(amount)), product_ids=products)


def line(
    line_id: str,
    amount: int,
    *rates: TaxRate,
    inclusive: bool = False,
    product_id: str = "product",
    discountable: bool = True,
) -> AmountLine:
    return AmountLine(
        line_id=line_id,
        product_id=product_id,
        amount=usd(amount),
        discountable=discountable,
        tax_rates=rates,
        tax_inclusive=inclusive,
    )


def grant(
    grant_id: str,
    granted: str | int,
    unit_amount: str | int = 1,
    *,
    expires_at: datetime | None = None,
    granted_at: datetime = NEW_YEAR,
    priority: int = 0,
    drawn: str | int = 0,
    drawn_amount: int = 0,
    rounding: Rounding = Rounding.HALF_UP,
) -> CreditGrant:
    new = grant_credits(
        grant_id=grant_id,
        granted=Decimal(granted),
        unit_amount=Decimal(unit_amount),
        currency=USD,
        rounding=rounding,
        priority=priority,
        granted_at=granted_at,
        expires_at=expires_at,
    )
    return replace(new, drawn=Decimal(drawn), drawn_amount=usd(drawn_amount))
