"""Random prices, lines, coupons, grants and rates for the property tests of the billing mathematics."""

from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from fractions import Fraction

from hypothesis import strategies as st

from domain.discounts.computation import AmountOff, Coupon, PercentOff
from domain.invoicing.computation import (
    AmountLine,
    InvoiceLine,
    LicensedLine,
    MeteredLine,
)
from domain.kernel.rounding import EXACT, Rounding
from domain.pricing.measured import EventAmounts
from domain.pricing.models import (
    BoundedPrice,
    Commitment,
    Flat,
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Price,
    RateTier,
    Tier,
    Volume,
)
from domain.wallets.prepaid_credits import CreditGrant
from testing.examples.pricing import NEW_YEAR, USD, grant, tax_rate, usd

roundings = st.sampled_from(Rounding)
minor_units = st.integers(0, 10**7)
rates = st.decimals(0, 5000, places=4)
percents = st.decimals(0, 40, places=3)
quantities = st.one_of(st.integers(0, 2000).map(Decimal), st.decimals(0, 2000, places=6))
signed_quantities = st.one_of(quantities, quantities.map(EXACT.minus))
shares = st.builds(Fraction, st.integers(0, 31), st.just(31))
free_units = st.one_of(st.just(Decimal(0)), quantities)


@st.composite
def bounds(draw: st.DrawFn) -> list[tuple[Decimal, Decimal | None]]:
    ends = sorted(draw(st.sets(st.decimals("0.5", 1000, places=1), max_size=4)))
    return list(zip([Decimal(0), *ends], [*ends, None], strict=True))


@st.composite
def tier_tables(draw: st.DrawFn, flat: st.SearchStrategy[int] = minor_units) -> tuple[Tier, ...]:
    return tuple(
        Tier(above=above, up_to=up_to, unit_amount=draw(rates), flat_amount=draw(flat))
        for above, up_to in draw(bounds())
    )


@st.composite
def rate_tables(draw: st.DrawFn) -> tuple[RateTier, ...]:
    return tuple(
        RateTier(above=above, up_to=up_to, percent=draw(percents), flat_amount=draw(minor_units))
        for above, up_to in draw(bounds())
    )


flats = st.builds(Flat, amount=minor_units.map(usd))
per_units = st.builds(PerUnit, currency=st.just(USD), unit_amount=rates, free_units=free_units)
graduateds = st.builds(Graduated, currency=st.just(USD), tiers=tier_tables(), free_units=free_units)
volumes = st.builds(Volume, currency=st.just(USD), tiers=tier_tables(), free_units=free_units)
packages = st.builds(
    Package,
    currency=st.just(USD),
    package_size=st.decimals("0.1", 100, places=1),
    package_amount=minor_units,
    free_units=free_units,
)
graduated_percentages = st.builds(GraduatedPercentage, currency=st.just(USD), tiers=rate_tables())
percentages = st.builds(
    Percentage,
    currency=st.just(USD),
    percent=percents,
    fixed_amount=rates,
    free_events=st.integers(0, 3),
    event_minimum=st.none() | st.integers(0, 500),
    event_maximum=st.none() | st.integers(500, 9000),
)
unit_models = st.one_of(flats, per_units, graduateds, volumes, packages, graduated_percentages)
event_lists = st.lists(signed_quantities, max_size=6).map(lambda amounts: EventAmounts(tuple(amounts)))


@st.composite
def bounded_prices(draw: st.DrawFn) -> BoundedPrice:
    commitment = draw(
        st.none() | st.builds(Commitment, amount=minor_units.map(usd), overage_factor=percents, prepaid=st.booleans())
    )
    minimum = None if commitment else draw(st.none() | minor_units.map(usd))
    maximum = draw(st.none() | st.integers(0 if minimum is None else minimum.amount, 10**8).map(usd))
    return BoundedPrice(model=draw(unit_models), minimum=minimum, maximum=maximum, commitment=commitment)


@st.composite
def licensed_prices(draw: st.DrawFn) -> Price:
    """Whatever may be sold of a quantity that nobody measures, with bounds or without."""
    model = draw(st.one_of(flats, per_units, graduateds, volumes, packages))
    minimum = draw(st.none() | minor_units.map(usd))
    maximum = draw(st.none() | st.integers(0 if minimum is None else minimum.amount, 10**8).map(usd))
    if minimum is None and maximum is None:
        return model
    return BoundedPrice(model=model, minimum=minimum, maximum=maximum)


line_amounts = st.lists(st.integers(-5000, 10**6), min_size=1, max_size=6)
charges = st.lists(st.integers(0, 10**6), min_size=1, max_size=6)
TAX_RATES = (tax_rate(0), tax_rate("5.5"), tax_rate(20), tax_rate("9.975"), tax_rate(5))
rate_sets = st.lists(st.sampled_from(TAX_RATES), max_size=3, unique=True).map(tuple)


@st.composite
def coupons(draw: st.DrawFn) -> list[Coupon]:
    discounts = st.one_of(
        st.builds(PercentOff, percent=st.decimals("0.001", 100, places=3)),
        st.builds(AmountOff, amount=st.integers(1, 10**6).map(usd)),
    )
    products = st.sampled_from(((), ("a",), ("b", "c")))
    made = draw(st.lists(st.tuples(discounts, products), max_size=4))
    return [
        Coupon(coupon_id=f"c{index}", discount=discount, product_ids=only)
        for index, (discount, only) in enumerate(made)
    ]


@st.composite
def invoice_lines(draw: st.DrawFn, amounts: st.SearchStrategy[list[int]] = line_amounts) -> list[InvoiceLine]:
    made: list[InvoiceLine] = []
    for index, amount in enumerate(draw(amounts)):
        product, rate_set, inclusive = draw(st.sampled_from("abc")), draw(rate_sets), draw(st.booleans())
        kind, discountable = draw(st.sampled_from(("metered", "licensed", "amount"))), draw(st.booleans())
        if kind == "licensed":
            made.append(
                LicensedLine(
                    line_id=f"l{index}",
                    product_id=product,
                    price=draw(st.one_of(unit_models, bounded_prices())),
                    quantity=draw(quantities),
                    share=draw(shares),
                    discountable=discountable,
                    tax_rates=rate_set,
                    tax_inclusive=inclusive,
                )
            )
        elif kind == "metered":
            price = draw(st.one_of(unit_models, bounded_prices()))
            made.append(
                MeteredLine(
                    line_id=f"l{index}",
                    product_id=product,
                    price=price,
                    measured=draw(quantities),
                    discountable=discountable,
                    tax_rates=rate_set,
                    tax_inclusive=inclusive,
                )
            )
        else:
            made.append(
                AmountLine(
                    line_id=f"l{index}",
                    product_id=product,
                    amount=usd(amount),
                    discountable=discountable,
                    tax_rates=rate_set,
                    tax_inclusive=inclusive,
                )
            )
    return made


@st.composite
def credit_grants(draw: st.DrawFn) -> tuple[CreditGrant, ...]:
    return tuple(draw(st.lists(st.integers(0, 2).flatmap(_grants), max_size=3, unique_by=lambda one: one.grant_id)))


def _grants(priority: int) -> st.SearchStrategy[CreditGrant]:
    return st.builds(
        _grant_worth_something,
        st.sampled_from(("g0", "g1", "g2", "g3")),
        st.decimals("0.001", 10**6, places=3),
        st.decimals("0.01", 300, places=2),
        st.none() | st.integers(-1, 60).map(lambda days: NEW_YEAR + timedelta(days=days)),
        st.just(priority),
        roundings,
    )


def _grant_worth_something(
    grant_id: str,
    granted: Decimal,
    unit_amount: Decimal,
    expires_at: datetime | None,
    priority: int,
    rounding: Rounding,
) -> CreditGrant:
    enough = (Decimal("0.51") / unit_amount).quantize(Decimal("0.001"), ROUND_UP)
    return grant(
        grant_id,
        str(max(granted, enough)),
        str(unit_amount),
        expires_at=expires_at,
        priority=priority,
        rounding=rounding,
    )
