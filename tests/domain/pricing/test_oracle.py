"""10,000 random cases per price model, and for whole invoices, against the naive oracle. The seed is in the message."""

import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from domain.discounts.computation import Coupon
from domain.invoicing.computation import AvailableCredits
from domain.kernel.money import Money
from domain.kernel.rounding import EXACT, Rounding
from domain.pricing.measured import EventAmounts, Measured
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
from domain.pricing.validation import check_price
from testing.examples.half_up import amount_of, compute_invoice, explain
from testing.examples.pricing import NEW_YEAR, USD, amount_off, grant, line, percent_off, tax_rate, usd
from testing.oracles import prices as oracle
from tests.lengths import LENGTH

CASES = LENGTH.oracle_cases
SEED = 20260101

Case = tuple[Price, Measured, Fraction]
"""A price, what is measured, and the oracle's exact amount."""


def decimal(rng: random.Random, most: int) -> Decimal:
    places = rng.choice((0, 0, 1, 2, 4, 9))
    return Decimal(rng.randint(0, most * 10**places)).scaleb(-places)


def quantity(rng: random.Random, most: int = 1000) -> Decimal:
    return rng.choice((1, 1, 1, -1)) * decimal(rng, most)


def rows(rng: random.Random, most_rate: int) -> list[tuple[Decimal, Decimal | None, Decimal, int]]:
    bounds = sorted({decimal(rng, 500) for _ in range(rng.randint(0, 5))} - {Decimal(0)})
    starts, ends = [Decimal(0), *bounds], [*bounds, None]
    return [
        (above, up_to, decimal(rng, most_rate), rng.choice((0, 0, rng.randint(1, 999))))
        for above, up_to in zip(starts, ends, strict=True)
    ]


def as_fractions(table: list[tuple[Decimal, Decimal | None, Decimal, int]]) -> list[oracle.Row]:
    return [
        (Fraction(above), None if up_to is None else Fraction(up_to), Fraction(rate), flat)
        for above, up_to, rate, flat in table
    ]


def measured(rng: random.Random, table: list[tuple[Decimal, Decimal | None, Decimal, int]]) -> Decimal:
    """Often exactly on a bound or just beside it: that is where tiers go wrong."""
    bounds = [up_to for _, up_to, _, _ in table if up_to is not None]
    if bounds and rng.random() < 0.4:
        beside = rng.choice((Decimal(0), Decimal("0.000000001"), Decimal("-0.000000001")))
        return EXACT.add(rng.choice(bounds), beside)
    return quantity(rng)


def flat_case(rng: random.Random) -> Case:
    amount = rng.randint(0, 10**9)
    return Flat(amount=usd(amount)), quantity(rng), Fraction(amount)


def per_unit_case(rng: random.Random) -> Case:
    unit_amount, free, units = decimal(rng, 5000), rng.choice((Decimal(0), decimal(rng, 300))), quantity(rng)
    exact = oracle.per_unit(Fraction(units), Fraction(unit_amount), Fraction(free))
    return PerUnit(currency=USD, unit_amount=unit_amount, free_units=free), units, exact


def tier_case(rng: random.Random, model: type[Graduated] | type[Volume]) -> Case:
    table, free = rows(rng, 5000), rng.choice((Decimal(0), decimal(rng, 100)))
    units = measured(rng, table)
    tiers = tuple(
        Tier(above=above, up_to=up_to, unit_amount=rate, flat_amount=flat) for above, up_to, rate, flat in table
    )
    naive = oracle.graduated if model is Graduated else oracle.volume
    exact = naive(Fraction(units), as_fractions(table), Fraction(free))
    return model(currency=USD, tiers=tiers, free_units=free), units, exact


def graduated_case(rng: random.Random) -> Case:
    return tier_case(rng, Graduated)


def volume_case(rng: random.Random) -> Case:
    return tier_case(rng, Volume)


def package_case(rng: random.Random) -> Case:
    size, free = decimal(rng, 50) + 1, rng.choice((Decimal(0), decimal(rng, 100)))
    units = rng.choice((quantity(rng, 400), size * rng.randint(0, 9) + free))
    amount = rng.randint(0, 5000)
    exact = oracle.package(Fraction(units), Fraction(size), amount, Fraction(free))
    return Package(currency=USD, package_size=size, package_amount=amount, free_units=free), units, exact


def percentage_case(rng: random.Random) -> Case:
    percent, fixed, free_events = decimal(rng, 30), rng.choice((Decimal(0), decimal(rng, 100))), rng.randint(0, 4)
    minimum = rng.choice((None, rng.randint(0, 500)))
    maximum = rng.choice((None, (minimum or 0) + rng.randint(0, 900)))
    events = [quantity(rng, 20_000) for _ in range(rng.randint(0, 8))]
    exact = oracle.percentage(
        [Fraction(event) for event in events], Fraction(percent), Fraction(fixed), free_events, minimum, maximum
    )
    price = Percentage(
        currency=USD,
        percent=percent,
        fixed_amount=fixed,
        free_events=free_events,
        event_minimum=minimum,
        event_maximum=maximum,
    )
    return price, EventAmounts(tuple(events)), exact


def graduated_percentage_case(rng: random.Random) -> Case:
    table = rows(rng, 40)
    total = measured(rng, table)
    tiers = tuple(
        RateTier(above=above, up_to=up_to, percent=rate, flat_amount=flat) for above, up_to, rate, flat in table
    )
    exact = oracle.graduated_percentage(Fraction(total), as_fractions(table))
    first = rng.choice((Decimal(0), quantity(rng)))
    amounts = rng.choice((total, EventAmounts((first, EXACT.subtract(total, first)))))
    return GraduatedPercentage(currency=USD, tiers=tiers), amounts, exact


MODELS: dict[str, Callable[[random.Random], Case]] = {
    "flat": flat_case,
    "per_unit": per_unit_case,
    "graduated": graduated_case,
    "volume": volume_case,
    "package": package_case,
    "percentage": percentage_case,
    "graduated_percentage": graduated_percentage_case,
}


@pytest.mark.parametrize("model", MODELS)
def test_a_model_agrees_with_the_naive_oracle(model: str) -> None:
    rng = random.Random(f"{SEED} {model}")
    for number in range(CASES):
        price, measure, exact = MODELS[model](rng)
        where = f"seed {SEED}, {model} case {number}: {price} at {measure}"
        if number % 100 == 0:
            check_price(price)
        assert amount_of(price, measure) == usd(oracle.half_up(exact)), where
        if number % 10 == 0:
            assert amount_of(price, measure, Rounding.HALF_EVEN) == usd(oracle.half_even(exact)), where
            breakdown = explain(price, measure)
            assert sum(Fraction(portion.amount) for portion in breakdown.portions) == exact, where
            assert breakdown.amount == usd(oracle.half_up(exact)), where


def test_bounds_agree_with_the_naive_oracle() -> None:
    rng = random.Random(f"{SEED} bounds")
    for number in range(CASES):
        price, measure, usage = MODELS[rng.choice(list(MODELS))](rng)
        assert not isinstance(price, BoundedPrice)
        share = rng.choice((Fraction(1), Fraction(rng.randint(1, 31), 31)))
        maximum = rng.choice((None, rng.randint(0, 200_000)))
        minimum: int | None = None
        committed: tuple[int, Fraction, bool] | None = None
        commitment: Commitment | None = None
        if rng.random() < 0.5:
            amount, factor, prepaid = rng.randint(0, 100_000), decimal(rng, 3), rng.random() < 0.5
            committed = amount, Fraction(factor), prepaid
            commitment = Commitment(amount=usd(amount), overage_factor=factor, prepaid=prepaid)
        elif rng.random() < 0.8:
            minimum = rng.randint(0, 100_000 if maximum is None else maximum)
        bounds = BoundedPrice(
            model=price,
            minimum=None if minimum is None else usd(minimum),
            maximum=None if maximum is None else usd(maximum),
            commitment=commitment,
        )
        exact = oracle.bounded(usage, share, minimum=minimum, maximum=maximum, commitment=committed)
        where = f"seed {SEED}, bounds case {number}: {bounds} at {measure} for {share}"
        assert amount_of(bounds, measure, period_share=share) == usd(oracle.half_up(exact)), where


RATES = [tax_rate(0), tax_rate("5.5"), tax_rate(20), tax_rate("9.975"), tax_rate(5)]
RATE_SETS = [(), (RATES[0],), (RATES[1],), (RATES[2],), (RATES[3], RATES[4])]


def test_invoices_agree_with_the_naive_oracle() -> None:
    rng = random.Random(f"{SEED} invoices")
    for number in range(CASES):
        count = rng.randint(1, 6)
        amounts = [rng.choice((rng.randint(0, 20), rng.randint(0, 50_000))) for _ in range(count)]
        products = [rng.choice(("a", "b", "c")) for _ in range(count)]
        rate_sets = [rng.choice(RATE_SETS) for _ in range(count)]
        inclusive = rng.random() < 0.5
        naive_coupons: list[tuple[str, Fraction, tuple[str, ...]]] = []
        coupons: list[Coupon] = []
        for index in range(rng.randint(0, 3)):
            only = rng.choice(((), ("a",), ("b", "c")))
            if rng.random() < 0.5:
                percent = decimal(rng, 99) + 1
                naive_coupons.append(("percent", Fraction(percent), only))
                coupons.append(percent_off(percent, f"c{index}", only))
            else:
                off = rng.randint(1, 30_000)
                naive_coupons.append(("fixed", Fraction(off), only))
                coupons.append(amount_off(off, f"c{index}", only))
        grants = [(f"g{index}", rng.randint(1, 90), rng.randint(1, 30_000)) for index in range(rng.randint(0, 3))]
        available = AvailableCredits(
            grants=tuple(
                grant(name, value, expires_at=NEW_YEAR + timedelta(days=days)) for name, days, value in grants
            ),
            at=NEW_YEAR,
        )
        lines = [
            line(f"l{index}", amounts[index], *rate_sets[index], inclusive=inclusive, product_id=products[index])
            for index in range(count)
        ]
        computed = compute_invoice(lines, USD, coupons=coupons, prepaid=available)
        bill = oracle.invoice(
            amounts,
            products,
            [{rate.rate_id: Fraction(rate.percent) for rate in rates} for rates in rate_sets],
            inclusive=inclusive,
            coupons=naive_coupons,
            grants=grants,
        )
        where = f"seed {SEED}, invoice {number}: {lines} {coupons} {grants}"
        assert [one.discount.amount for one in computed.lines] == bill.discounts, where
        assert [{tax.rate_id: tax.amount.amount for tax in one.taxes} for one in computed.lines] == bill.taxes, where
        assert [one.total.amount for one in computed.lines] == bill.totals, where
        assert [(draw.grant_id, draw.amount.amount) for draw in computed.draws.draws] == bill.draws, where
        assert computed.due == Money(bill.due, USD), where
