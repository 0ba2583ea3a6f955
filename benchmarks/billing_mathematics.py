"""Prices and invoices computed per second on one core, per model, in pairs from one run.

`python -m benchmarks.billing_mathematics` prints a table. "naive" is the oracle of the tests, in fractions, on the same
figures; "decimal" is the time that the Decimal multiplications alone would take that the model cannot do without (one
for each rate × quantity of the result). A ratio above 1 means that ours is faster.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from domain.invoicing.computation import AvailableCredits, InvoiceLine, MeteredLine
from domain.kernel.money import Money
from domain.pricing.measured import ChargedEvents, EventAmounts, Measured
from domain.pricing.models import (
    BoundedPrice,
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
from testing.examples.half_up import amount_of, compute_invoice, explain
from testing.examples.pricing import NEW_YEAR, USD, amount_off, grant, line, percent_off, tax_rate
from testing.oracles import prices as oracle

CASES = 200
MIN_RUN_S = 0.15
REPEATS = 5
SEED = 20260101
TIER_ENDS = (Decimal(100), Decimal(500), Decimal("2500.5"), None)


@dataclass(frozen=True, slots=True)
class Pair:
    """The same work done in each way; every call does all CASES."""

    row_id: str
    unit: str
    ours: Callable[[], object]
    naive: Callable[[], object]
    multiplications: Sequence[tuple[Decimal, Decimal]]
    cases: int


def seconds_per_call(work: Callable[[], object]) -> float:
    """The best of several runs, each long enough to measure."""
    calls, best = 1, float("inf")
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            work()
        taken = time.perf_counter() - start
        if taken >= MIN_RUN_S / REPEATS:
            break
        calls *= 2
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def tiers() -> tuple[Tier, ...]:
    starts = (Decimal(0), *TIER_ENDS[:-1])
    return tuple(
        Tier(above=above or Decimal(0), up_to=up_to, unit_amount=Decimal(50 - 10 * index), flat_amount=100 * index)
        for index, (above, up_to) in enumerate(zip(starts, TIER_ENDS, strict=True))
    )


def naive_rows(price: Graduated | Volume | GraduatedPercentage) -> list[oracle.Row]:
    return [
        (
            Fraction(tier.above),
            None if tier.up_to is None else Fraction(tier.up_to),
            Fraction(tier.percent if isinstance(tier, RateTier) else tier.unit_amount),
            tier.flat_amount,
        )
        for tier in price.tiers
    ]


def _decimal(exact: Fraction) -> Decimal:
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def price_pair(name: str, price: Price, measures: Sequence[Measured], naive: Callable[[Measured], Fraction]) -> Pair:
    multiplications = [
        (_decimal(portion.quantity), _decimal(portion.rate))
        for measured in measures
        for portion in explain(price, measured).portions
        if portion.rate
    ]
    return Pair(
        row_id=f"price-{name}",
        unit="prices/s",
        ours=lambda: [amount_of(price, measured) for measured in measures],
        naive=lambda: [oracle.half_up(naive(measured)) for measured in measures],
        multiplications=multiplications,
        cases=len(measures),
    )


def as_fraction(measured: Measured) -> Fraction:
    if isinstance(measured, EventAmounts):
        return sum((Fraction(amount) for amount in measured.amounts), Fraction(0))
    assert not isinstance(measured, ChargedEvents), "no pair is of what was charged already"
    return Fraction(measured)


def price_pairs(rng: random.Random) -> list[Pair]:
    units: list[Measured] = [Decimal(rng.randint(0, 4_000_000)).scaleb(-3) for _ in range(CASES)]
    seats: list[Measured] = [rng.randint(1, 500) for _ in range(CASES)]
    events: list[Measured] = [
        EventAmounts(tuple(Decimal(rng.randint(1, 100_000)) for _ in range(5))) for _ in range(CASES)
    ]
    none, rate = Fraction(0), Decimal("12.345")
    graduated = Graduated(currency=USD, tiers=tiers())
    volume = Volume(currency=USD, tiers=tiers())
    rates = tuple(
        RateTier(above=tier.above, up_to=tier.up_to, percent=tier.unit_amount / 10, flat_amount=tier.flat_amount)
        for tier in tiers()
    )
    graduated_percentage = GraduatedPercentage(currency=USD, tiers=rates)
    graduated_rows, volume_rows = naive_rows(graduated), naive_rows(volume)
    percent_rows = naive_rows(graduated_percentage)
    per_unit = PerUnit(currency=USD, unit_amount=rate)
    return [
        price_pair("flat", Flat(amount=Money(1999, USD)), seats, lambda _: Fraction(1999)),
        price_pair("per-unit", per_unit, units, lambda q: oracle.per_unit(as_fraction(q), Fraction(rate), none)),
        price_pair("seats", per_unit, seats, lambda q: oracle.per_unit(as_fraction(q), Fraction(rate), none)),
        price_pair("graduated", graduated, units, lambda q: oracle.graduated(as_fraction(q), graduated_rows, none)),
        price_pair("volume", volume, units, lambda q: oracle.volume(as_fraction(q), volume_rows, none)),
        price_pair(
            "package",
            Package(currency=USD, package_size=Decimal(100), package_amount=250, free_units=Decimal(10)),
            units,
            lambda q: oracle.package(as_fraction(q), Fraction(100), 250, Fraction(10)),
        ),
        price_pair(
            "percentage",
            Percentage(currency=USD, percent=Decimal("2.9"), fixed_amount=Decimal(30), free_events=1),
            events,
            lambda q: oracle.percentage(
                [Fraction(amount) for amount in q.amounts] if isinstance(q, EventAmounts) else [],
                Fraction(29, 10),
                Fraction(30),
                1,
                None,
                None,
            ),
        ),
        price_pair(
            "graduated-percentage",
            graduated_percentage,
            units,
            lambda q: oracle.graduated_percentage(as_fraction(q), percent_rows),
        ),
        price_pair(
            "bounded",
            BoundedPrice(model=per_unit, minimum=Money(5000, USD), maximum=Money(20_000, USD)),
            units,
            lambda q: oracle.bounded(
                oracle.per_unit(as_fraction(q), Fraction(rate), none), Fraction(1), minimum=5000, maximum=20_000
            ),
        ),
    ]


def invoice_pairs(rng: random.Random) -> list[Pair]:
    plain: list[InvoiceLine] = [
        MeteredLine(line_id="l", product_id="p", price=Flat(amount=Money(1999, USD)), measured=1, discountable=True)
    ]
    amounts = [rng.randint(100, 50_000) for _ in range(5)]
    products = ["a", "b", "a", "c", "b"]
    standard, reduced = tax_rate(20), tax_rate("5.5")
    rates = [(standard,), (standard,), (reduced,), (), (standard,)]
    lines: list[InvoiceLine] = [
        line(f"l{index}", amount, *rates[index], product_id=products[index]) for index, amount in enumerate(amounts)
    ]
    coupons = [percent_off(10), amount_off(500, products=("a",))]
    credits_left = AvailableCredits(grants=(grant("g", 5000, expires_at=NEW_YEAR + timedelta(days=9)),), at=NEW_YEAR)
    naive_rates = [{rate.rate_id: Fraction(rate.percent) for rate in line_rates} for line_rates in rates]
    ten = Decimal(10)

    def naive_plain() -> object:
        return oracle.invoice([1999], ["p"], [{}], inclusive=False, coupons=[], grants=[])

    def naive_full() -> object:
        return oracle.invoice(
            amounts,
            products,
            naive_rates,
            inclusive=False,
            coupons=[("percent", Fraction(10), ()), ("fixed", Fraction(500), ("a",))],
            grants=[("g", 9, 5000)],
        )

    full = [(Decimal(sum(amounts)), ten), *((Decimal(sum(amounts)), one.percent) for one in (standard, reduced))]
    return [
        Pair("invoice-plain", "invoices/s", lambda: compute_invoice(plain, USD), naive_plain, [(ten, ten)], 1),
        Pair(
            "invoice-full",
            "invoices/s",
            lambda: compute_invoice(lines, USD, coupons=coupons, prepaid=credits_left),
            naive_full,
            full,
            1,
        ),
    ]


def rows() -> list[dict[str, object]]:
    """One row a model: id, ours (a second on one core), unit, and how many times faster than each other way."""
    rng = random.Random(SEED)
    measured: list[dict[str, object]] = []
    for pair in (*price_pairs(rng), *invoice_pairs(rng)):
        multiplications = pair.multiplications

        def multiply(pairs: Sequence[tuple[Decimal, Decimal]] = multiplications) -> None:
            for quantity, rate in pairs:
                quantity * rate

        ours, naive = seconds_per_call(pair.ours), seconds_per_call(pair.naive)
        decimal = seconds_per_call(multiply)
        measured.append(
            {
                "id": pair.row_id,
                "ours": round(pair.cases / ours),
                "unit": pair.unit,
                "ratios": {"naive": round(naive / ours, 2), "decimal": round(decimal / ours, 3)},
            }
        )
    return measured


def main() -> None:
    print(f"{'':28}{'ours':>12}  {'unit':<12}{'× naive':>9}{'× decimal':>11}")
    for row in rows():
        ratios = row["ratios"]
        if isinstance(ratios, dict):
            print(f"{row['id']:28}{row['ours']:>12,}  {row['unit']:<12}{ratios['naive']:>9}{ratios['decimal']:>11}")


if __name__ == "__main__":
    main()
