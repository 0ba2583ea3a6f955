"""The figures of billing_vectors.md on prices, coupons, tax, credits and usage: vectors 17 to 28, 33, 34 and 39."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from domain.discounts.computation import Coupon
from domain.invoicing.balance import DisputeOutcome, PaymentFigures, balance_of
from domain.invoicing.computation import AvailableCredits, MeteredLine
from domain.invoicing.credit_amounts import after_credit, creditable
from domain.invoicing.progressive import charge_to_date
from domain.kernel.money import Money
from domain.metering.aggregation import (
    Aggregation,
    UsageEvent,
    Window,
    aggregate,
    quantity_of,
    time_weighted_average,
)
from domain.pricing.models import PerUnit
from domain.tax.computation import TaxableLine
from testing.examples.half_up import HALF_UP, amount_of, compute_invoice, credit_net, tax_on
from testing.examples.pricing import (
    JPY,
    KWD,
    NEW_YEAR,
    USD,
    amount_off,
    event_amounts,
    graduated,
    grant,
    line,
    package,
    per_unit,
    percent_off,
    percentage,
    tax_rate,
    usd,
    volume,
)


@pytest.mark.parametrize(("quantity", "amount"), [(3, 130), (8, 215)])
def test_vector_17_graduated_with_a_flat_amount_in_each_tier(quantity: int, amount: int) -> None:
    price = graduated((5, 10, 100), (None, 5, 50))
    assert amount_of(price, quantity) == usd(amount)


@pytest.mark.parametrize(("quantity", "amount"), [("0", 100), ("5.001", 150), ("12", 170), ("22", 235)])
def test_vector_18_first_flat_is_due_at_zero_and_a_later_one_past_its_bound(quantity: str, amount: int) -> None:
    price = graduated((5, 0, 100), (10, 0, 50), (15, 10, 0), (None, 5, 0))
    assert amount_of(price, Decimal(quantity)) == usd(amount)


def test_vector_19_volume_billed_progressively_when_a_late_unit_changes_the_tier() -> None:
    price = volume((15, 10, 0), (None, 5, 0))
    billed = amount_of(price, 15)
    assert billed == usd(150)
    late = charge_to_date(price, 16, billed, HALF_UP, is_last=True)
    assert (late.so_far.amount, late.billed_before, late.due) == (usd(80), usd(150), usd(-70))


def test_vector_20_package_charges_each_started_block() -> None:
    with_free_units = package(100, 10, free_units=5)
    assert amount_of(with_free_units, 3) == usd(0)
    assert amount_of(with_free_units, 12) == usd(100)
    assert amount_of(package(100, 10), 15) == usd(200)


def test_vector_21_percentage_frees_the_first_events_of_rate_and_fixed_amount() -> None:
    price = percentage(1, 500, free_events=3)
    four_events = event_amounts(1000, 1000, 1000, 1000)
    assert amount_of(price, four_events) == usd(510)
    taxed = MeteredLine(
        line_id="a", product_id="p", price=price, measured=four_events, discountable=True, tax_rates=(tax_rate(20),)
    )
    assert compute_invoice([taxed], USD).total == usd(612)


@pytest.mark.parametrize(
    ("amount", "coupons", "discount"),
    [
        (4900, (percent_off(60, "a"), percent_off(60, "b")), 4900 - 784),
        (4900, (amount_off(1000), percent_off(90)), 4900),
        (4900, (percent_off(90), amount_off(1000)), 4900),
        (10000, (amount_off(5000), percent_off(10)), 6000),
        (10000, (percent_off(10), amount_off(5000)), 6000),
    ],
)
def test_vector_22_percent_before_fixed_whatever_the_order_of_attachment(
    amount: int, coupons: tuple[Coupon, ...], discount: int
) -> None:
    computed = compute_invoice([line("a", amount)], USD, coupons=coupons)
    assert computed.discount == usd(discount)
    assert computed.due == usd(amount - discount)


def test_vector_23_fixed_coupon_over_lines_of_several_rates() -> None:
    ten, none, twenty = tax_rate(10), tax_rate(0), tax_rate(20)
    lines = [line("a", 10000, ten), line("b", 5000, none), line("c", 3000, twenty), line("d", 2000, twenty)]
    computed = compute_invoice(lines, USD, coupons=[amount_off(1000)])
    assert [one.discount.amount for one in computed.lines] == [500, 250, 150, 100]
    assert {total.rate_id: total.tax.amount for total in computed.tax_by_rate} == {
        "tax-10": 950,
        "tax-0": 0,
        "tax-20": 950,
    }
    assert (computed.tax, computed.total) == (usd(1900), usd(20900))


def test_vector_24_fixed_coupon_is_split_by_largest_remainder() -> None:
    computed = compute_invoice([line("a", 100), line("b", 200)], USD, coupons=[amount_off(100)])
    assert [one.discount.amount for one in computed.lines] == [33, 67]


def test_vector_25_tax_on_the_sum_and_credit_notes_that_end_at_zero() -> None:
    computed = compute_invoice([line("a", 6833, tax_rate(20)), line("b", 6833, tax_rate(20))], USD)
    assert computed.tax == usd(2733)
    assert [one.tax.amount for one in computed.lines] == [1367, 1366]
    assert computed.total == usd(16399)
    credited = []
    for one in computed.lines:
        billed = creditable(one.line_id, one.net, one.taxes)
        credit = credit_net(billed, one.net)
        credited.append(credit.total)
        assert after_credit(billed, credit).left == usd(0)
    assert credited == [usd(8200), usd(8199)]


def test_vector_26_a_refund_is_owed_again_unless_a_credit_note_goes_with_it() -> None:
    total = usd(24995)

    def balance(credited: int, refunded: int) -> Money:
        return balance_of(total, usd(credited), usd(0), [PaymentFigures(captured=total, refunded=usd(refunded))])

    assert balance(0, 0) == usd(0)
    # one after the other, each on top of the ones before
    assert balance(0, 1000) == usd(1000)
    assert balance(100, 1100) == usd(1000)
    assert balance(1100, 2100) == usd(1000)


def test_vector_27_a_lost_dispute_reopens_the_invoice_by_policy_reopen() -> None:
    def balance(dispute: DisputeOutcome) -> Money:
        disputed = PaymentFigures(captured=usd(1000), refunded=usd(0), dispute=dispute)
        return balance_of(usd(24995), usd(0), usd(0), [disputed])

    assert balance(DisputeOutcome.NONE) == usd(23995)
    assert balance(DisputeOutcome.OPEN) == usd(23995)
    assert balance(DisputeOutcome.LOST_REOPENED) == usd(24995)
    assert balance(DisputeOutcome.REVERSED) == usd(23995)


def test_vector_28_prices_round_half_up_away_from_zero() -> None:
    assert amount_of(PerUnit(currency=JPY, unit_amount=Decimal("1000.5"))) == Money(1001, JPY)
    assert amount_of(PerUnit(currency=JPY, unit_amount=Decimal("100.5")), -1) == Money(-101, JPY)
    assert amount_of(PerUnit(currency=KWD, unit_amount=Decimal(100500))) == Money(100500, KWD)


@pytest.mark.parametrize(("percent", "amount", "tax"), [("10.5", 999, 105), ("8.875", 10000, 888), ("0.1", 100, 0)])
def test_vector_28_tax_is_rounded_half_up(percent: str, amount: int, tax: int) -> None:
    assert tax_on([TaxableLine(usd(amount), (tax_rate(percent),))], USD).total == usd(tax)


def test_vector_28_discount_is_rounded_half_up() -> None:
    assert compute_invoice([line("a", 1000)], USD, coupons=[percent_off("33.333")]).discount == usd(333)


def test_vector_33_tax_inclusive_lines_with_coupons_on_the_inclusive_amounts() -> None:
    twenty = tax_rate(20)
    computed = compute_invoice(
        [line("a", 12000, twenty, inclusive=True), line("b", 6000, twenty, inclusive=True)],
        USD,
        coupons=[percent_off(10), amount_off(1000)],
    )
    assert [[part.amount for part in applied.by_line] for applied in computed.discounts] == [[1200, 600], [667, 333]]
    assert [one.total.amount for one in computed.lines] == [10133, 5067]
    assert computed.due == usd(15200)
    assert computed.tax == usd(2533)
    assert [one.tax.amount for one in computed.lines] == [1689, 844]
    assert [one.net.amount for one in computed.lines] == [8444, 4223]


def test_vector_34_several_rates_then_prepaid_credits_soonest_expiry_first() -> None:
    twenty, reduced, none = tax_rate(20), tax_rate("5.5"), tax_rate(0)
    lines = [line("a", 10005, twenty), line("b", 3333, reduced), line("c", 1999, reduced), line("d", 5000, none)]
    later = grant("b", 50, 250, expires_at=NEW_YEAR + timedelta(days=60))
    sooner = grant("a", 5000, 1, expires_at=NEW_YEAR + timedelta(days=30))
    computed = compute_invoice(lines, USD, prepaid=AvailableCredits(grants=(later, sooner), at=NEW_YEAR))
    assert [one.tax.amount for one in computed.lines] == [2001, 183, 110, 0]
    assert [total.tax.amount for total in computed.tax_by_rate] == [2001, 293, 0]
    assert computed.total == usd(22631)
    assert [(draw.grant_id, draw.amount.amount) for draw in computed.draws.draws] == [("a", 5000), ("b", 12500)]
    assert computed.due == usd(5131)

    one_wallet = grant("w", 100, 250)
    computed = compute_invoice(lines, USD, prepaid=AvailableCredits(grants=(one_wallet,), at=NEW_YEAR))
    assert computed.due == usd(0)
    assert [draw.credits for draw in computed.draws.draws] == [Decimal("90.524")]
    assert one_wallet.left - computed.draws.draws[0].credits == Decimal("9.476")


def test_vector_39_gauge_weighted_by_elapsed_time_over_a_day_of_25_hours() -> None:
    new_york = ZoneInfo("America/New_York")
    day = Window(start=datetime(2024, 11, 3, tzinfo=new_york), end=datetime(2024, 11, 4, tzinfo=new_york))
    assert day.start.astimezone(UTC) == datetime(2024, 11, 3, 4, tzinfo=UTC)
    assert day.end.astimezone(UTC) == datetime(2024, 11, 4, 5, tzinfo=UTC)
    levels = [(datetime(2024, 11, 3, 5, 30, tzinfo=UTC), 20), (datetime(2024, 11, 3, 6, 30, tzinfo=UTC), 5)]
    levels.append((datetime(2024, 11, 3, 17, tzinfo=UTC), 0))
    gauge = aggregate(
        Aggregation.TIME_WEIGHTED_SUM,
        [UsageEvent(event_id=f"e{n}", at=at, value=Decimal(level)) for n, (at, level) in enumerate(levels)],
    )
    gigabyte_hours = quantity_of(gauge, day, carried_in=Decimal(10))
    assert gigabyte_hours == Fraction(175, 2)
    assert time_weighted_average(gauge, day, carried_in=Decimal(10)) == Fraction(7, 2)
    assert amount_of(per_unit(3), gigabyte_hours) == usd(263)


def test_vector_39_gauge_held_constant_over_a_day_of_23_hours() -> None:
    new_york = ZoneInfo("America/New_York")
    day = Window(start=datetime(2024, 3, 10, tzinfo=new_york), end=datetime(2024, 3, 11, tzinfo=new_york))
    nothing = aggregate(Aggregation.TIME_WEIGHTED_SUM, [])
    assert quantity_of(nothing, day, carried_in=Decimal(10)) == 230
    assert time_weighted_average(nothing, day, carried_in=Decimal(10)) == 10
