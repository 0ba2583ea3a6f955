"""What holds for all prices, discounts, taxes, credit notes, credits and usage, whatever the figures."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from domain.coupon_discount import AmountOff, Coupon, PercentOff
from domain.credit_note_amounts import after_credit, credit_gross, credit_net, creditable, settle_credit
from domain.invoice_computation import (
    AmountLine,
    AvailableCredits,
    ComputedInvoice,
    InvoiceLine,
    PricedLine,
    compute_invoice,
)
from domain.invoice_explanation import Explanation, ExplanationKind, explain_invoice
from domain.line_split import split_over_lines
from domain.measured_usage import EventAmounts
from domain.prepaid_credits import CreditGrant, draw_down, value_left, value_of
from domain.price import (
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
from domain.price_breakdown import Breakdown
from domain.pricing import amount_of, explain
from domain.progressive_billing import charge_to_date
from domain.rounding import EXACT, Rounding
from domain.tax import TaxableLine, TaxShare, tax_on
from domain.usage_aggregation import (
    Aggregation,
    PartialAggregate,
    UsageEvent,
    Window,
    aggregate,
    correction,
    level_at,
    merge,
    quantity_of,
    settled,
    time_weighted_sum,
    void,
)
from tests.domain.pricing_examples import NEW_YEAR, USD, grant, tax_rate, usd

# --- what figures there are -------------------------------------------------------------------------------------------

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


def explains(breakdown: Breakdown) -> bool:
    exact = sum((Fraction(portion.amount) for portion in breakdown.portions), Fraction(0))
    difference = Fraction(breakdown.rounding_difference)
    return exact + difference == breakdown.amount.amount and abs(difference) <= Fraction(1, 2)


# --- prices -----------------------------------------------------------------------------------------------------------


@given(st.one_of(unit_models, bounded_prices()), signed_quantities, roundings, shares)
def test_a_breakdown_sums_to_the_price_of_a_quantity(
    price: Price, quantity: Decimal, rounding: Rounding, share: Fraction
) -> None:
    breakdown = explain(price, quantity, rounding, share)
    assert breakdown.amount == amount_of(price, quantity, rounding, share)
    assert explains(breakdown)


@given(percentages, event_lists, roundings)
def test_a_breakdown_sums_to_the_price_of_events(price: Percentage, events: EventAmounts, rounding: Rounding) -> None:
    breakdown = explain(price, events, rounding)
    assert breakdown.amount == amount_of(price, events, rounding)
    assert explains(breakdown)


@given(graduateds, quantities)
def test_the_slices_of_graduated_tiers_tile_the_charged_quantity(price: Graduated, quantity: Decimal) -> None:
    units = [portion.quantity for portion in explain(price, quantity).portions if portion.kind.value.endswith("units")]
    assert sum(map(Fraction, units), Fraction(0)) == Fraction(quantity)


@given(tier_tables(), free_units, st.integers(1, 9))
def test_graduated_is_continuous_except_for_the_flat_amounts_of_tiers(
    tiers: tuple[Tier, ...], free: Decimal, digits: int
) -> None:
    """Just above a bound costs as much more as the step is worth in the next tier, and that tier's flat amount."""
    price = Graduated(currency=USD, tiers=tiers, free_units=free)
    step = Decimal(1).scaleb(-digits - 1)  # smaller than any tier
    for before, after in pairwise(tiers):
        assert before.up_to is not None
        bound = EXACT.add(before.up_to, free)
        here = explain(price, bound)
        beyond = explain(price, EXACT.add(bound, step))
        jump = sum((Fraction(p.amount) for p in beyond.portions), Fraction(0)) - sum(
            (Fraction(p.amount) for p in here.portions), Fraction(0)
        )
        assert jump == Fraction(step) * Fraction(after.unit_amount) + after.flat_amount


@given(
    st.one_of(flats, per_units, graduateds, packages, graduated_percentages),
    st.none() | minor_units.map(usd),
    quantities,
    quantities,
    roundings,
)
def test_more_never_costs_less_except_under_volume(
    model: Flat | PerUnit | Graduated | Package | GraduatedPercentage,
    minimum: None,
    quantity: Decimal,
    more: Decimal,
    rounding: Rounding,
) -> None:
    price = BoundedPrice(model=model, minimum=minimum)
    assert amount_of(price, quantity, rounding) <= amount_of(price, EXACT.add(quantity, more), rounding)


def test_volume_promises_no_such_thing() -> None:
    price = Volume(
        currency=USD,
        tiers=(Tier(up_to=Decimal(15), unit_amount=Decimal(10)), Tier(above=Decimal(15), up_to=None)),
    )
    assert amount_of(price, 16) < amount_of(price, 15)


@given(percentages, st.lists(quantities, max_size=5), quantities)
def test_another_event_never_makes_a_percentage_cheaper(
    price: Percentage, amounts: list[Decimal], another: Decimal
) -> None:
    before = amount_of(price, EventAmounts(tuple(amounts)))
    assert before <= amount_of(price, EventAmounts((*amounts, another)))


@given(unit_models, quantities, roundings)
def test_a_negative_quantity_mirrors_the_positive_one(price: Price, quantity: Decimal, rounding: Rounding) -> None:
    assume(quantity > 0 and not isinstance(price, Flat))
    assert amount_of(price, EXACT.minus(quantity), rounding) == -amount_of(price, quantity, rounding)


@given(st.one_of(unit_models, bounded_prices()), st.lists(quantities, min_size=1, max_size=5), roundings)
def test_progressive_slices_sum_to_one_bill_at_the_end(
    price: Price, readings: list[Decimal], rounding: Rounding
) -> None:
    billed = usd(0)
    for reading in readings:
        billed += charge_to_date(price, reading, billed, rounding).due
    assert billed == amount_of(price, readings[-1], rounding)


@given(unit_models, quantities, minor_units, st.integers(0, 10**8), shares)
def test_a_bounded_price_stays_within_its_bounds(
    model: Graduated, quantity: Decimal, minimum: int, above: int, share: Fraction
) -> None:
    price = BoundedPrice(model=model, minimum=usd(minimum), maximum=usd(minimum + above))
    amount = amount_of(price, quantity, period_share=share)
    lowest = BoundedPrice(model=Flat(amount=usd(0)), minimum=usd(minimum))
    highest = BoundedPrice(model=Flat(amount=usd(10**9)), maximum=usd(minimum + above))
    assert amount_of(lowest, period_share=share) <= amount <= amount_of(highest, period_share=share)


# --- splits, coupons, tax ---------------------------------------------------------------------------------------------

line_amounts = st.lists(st.integers(-5000, 10**6), min_size=1, max_size=6)
charges = st.lists(st.integers(0, 10**6), min_size=1, max_size=6)
TAX_RATES = (tax_rate(0), tax_rate("5.5"), tax_rate(20), tax_rate("9.975"), tax_rate(5))
rate_sets = st.lists(st.sampled_from(TAX_RATES), max_size=3, unique=True).map(tuple)


@given(line_amounts, percents, roundings)
def test_a_split_conserves_and_stays_near_each_exact_share(
    amounts: list[int], percent: Decimal, rounding: Rounding
) -> None:
    taxed = tax_on([TaxableLine(usd(amount), (tax_rate(percent, "r"),)) for amount in amounts], USD, rounding)
    assert sum(shares[0].amount.amount for shares in taxed.by_line) == taxed.total.amount
    for amount, parts in zip(amounts, taxed.by_line, strict=True):
        assert abs(parts[0].amount.amount - amount * Fraction(percent) / 100) < 2


@given(line_amounts, st.integers(-3, 3))
def test_a_split_conserves_when_the_total_is_a_unit_or_so_off(amounts: list[int], off: int) -> None:
    assume(any(amounts))
    total = usd(sum(amounts) // 5 + off)
    assume(not total.is_zero)
    parts = split_over_lines(total, [usd(amount) for amount in amounts], Fraction(1, 5))
    assert sum(part.amount for part in parts) == total.amount


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
        if draw(st.booleans()):
            price = draw(st.one_of(unit_models, bounded_prices()))
            made.append(
                PricedLine(
                    line_id=f"l{index}",
                    product_id=product,
                    price=price,
                    measured=draw(quantities),
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
                    tax_rates=rate_set,
                    tax_inclusive=inclusive,
                )
            )
    return made


@st.composite
def credit_grants(draw: st.DrawFn) -> tuple[CreditGrant, ...]:
    return tuple(
        grant(
            f"g{index}",
            draw(st.integers(1, 10**6)),
            str(draw(st.decimals("0.01", 300, places=2))),
            expires_at=draw(st.none() | st.integers(-1, 60).map(lambda days: NEW_YEAR + timedelta(days=days))),
            priority=draw(st.integers(0, 2)),
        )
        for index in range(draw(st.integers(0, 3)))
    )


@given(invoice_lines(charges), coupons(), roundings)
def test_coupons_never_take_a_line_below_zero_and_conserve(
    lines: list[InvoiceLine], given_coupons: list[Coupon], rounding: Rounding
) -> None:
    computed = compute_invoice(lines, USD, coupons=given_coupons, rounding=rounding)
    for one in computed.lines:
        assert usd(0) <= one.discount <= one.amount
    assert sum(one.amount.amount for one in computed.discounts) == computed.discount.amount
    assert sum(one.discount.amount for one in computed.lines) == computed.discount.amount


@given(st.integers(-(10**9), 10**9), st.decimals("0.001", 400, places=3), roundings)
def test_taking_tax_out_of_a_price_it_was_put_on_gives_the_price_back(
    net: int, percent: Decimal, rounding: Rounding
) -> None:
    """Exactly this way round; tax put on what was left after taking it out may differ by what a unit's rate is."""
    rate = (tax_rate(percent),)
    on_top = tax_on([TaxableLine(usd(net), rate)], USD, rounding).total
    gross = usd(net) + on_top
    included = tax_on([TaxableLine(gross, rate, inclusive=True)], USD, rounding)
    assert included.total == on_top
    assert included.by_rate[0].taxable == usd(net)
    again = tax_on(
        [TaxableLine(usd(net) - tax_on([TaxableLine(usd(net), rate, True)], USD, rounding).total, rate)], USD
    )
    first = tax_on([TaxableLine(usd(net), rate, inclusive=True)], USD, rounding).total
    assert abs((again.total - first).amount) <= 1 + percent / 200


@given(invoice_lines(), coupons(), roundings)
def test_tax_by_line_by_rate_and_in_all_is_the_same_tax(
    lines: list[InvoiceLine], given_coupons: list[Coupon], rounding: Rounding
) -> None:
    computed = compute_invoice(lines, USD, coupons=given_coupons, rounding=rounding)
    assert sum(total.tax.amount for total in computed.tax_by_rate) == computed.tax.amount
    assert sum(one.tax.amount for one in computed.lines) == computed.tax.amount
    for total in computed.tax_by_rate:
        shares = [tax for one in computed.lines for tax in one.taxes if tax.rate_id == total.rate_id]
        assert sum(share.amount.amount for share in shares) == total.tax.amount
        bearing = [one for one in computed.lines if any(tax.rate_id == total.rate_id for tax in one.taxes)]
        assert sum(one.net.amount for one in bearing) == total.taxable.amount


# --- the whole invoice ------------------------------------------------------------------------------------------------


TAX_KINDS = (ExplanationKind.TAX, ExplanationKind.TAX_INCLUDED)


def adds_up(node: Explanation) -> bool:
    if node.children and sum((Fraction(child.amount) for child in node.children), Fraction(0)) != node.amount:
        return False
    return all(adds_up(child) for child in node.children)


def parts_agree(computed: ComputedInvoice) -> bool:
    on_top = sum(one.total.amount - (one.amount - one.discount).amount for one in computed.lines)
    return (
        computed.total.amount == computed.subtotal.amount - computed.discount.amount + on_top
        and computed.total.amount == sum(one.total.amount for one in computed.lines)
        and all(one.net + one.tax == one.total for one in computed.lines)
        and computed.due == computed.total - computed.draws.covered
    )


@given(invoice_lines(), coupons(), credit_grants(), roundings)
def test_an_invoice_is_the_sum_of_its_parts_and_its_explanation_adds_up_to_the_amount_due(
    lines: list[InvoiceLine], given_coupons: list[Coupon], grants: tuple[CreditGrant, ...], rounding: Rounding
) -> None:
    available = AvailableCredits(grants=grants, at=NEW_YEAR)
    computed = compute_invoice(lines, USD, coupons=given_coupons, prepaid=available, rounding=rounding)
    assert parts_agree(computed)
    tree = explain_invoice(lines, computed, rounding)
    assert tree.amount == computed.due.amount
    assert adds_up(tree)
    for node, one in zip(tree.children[0].children, computed.lines, strict=True):
        taxes = [child for child in (*node.children, *node.of_which) if child.kind in TAX_KINDS]
        assert [tax.amount for tax in taxes] == [share.amount.amount for share in one.taxes]


@given(invoice_lines(), coupons(), roundings)
def test_extras_that_do_nothing_change_nothing(
    lines: list[InvoiceLine], given_coupons: list[Coupon], rounding: Rounding
) -> None:
    plain = compute_invoice(lines, USD, rounding=rounding)
    none = AvailableCredits(grants=(), at=NEW_YEAR)
    elsewhere = Coupon(coupon_id="x", discount=PercentOff(percent=Decimal(100)), product_ids=("no such product",))
    padded = compute_invoice(lines, USD, coupons=[elsewhere], prepaid=none, rounding=rounding)
    assert (padded.lines, padded.total, padded.due) == (plain.lines, plain.total, plain.due)


@given(credit_grants(), st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_grants_pay_only_what_they_are_worth_and_the_books_lose_nothing(
    grants: tuple[CreditGrant, ...], dues: list[int]
) -> None:
    paid = dict.fromkeys((one.grant_id for one in grants), 0)
    left = {one.grant_id: one for one in grants}
    for due in dues:
        plan = draw_down(list(left.values()), usd(due), NEW_YEAR)
        assert plan.covered + plan.left_due == usd(due)
        assert usd(0) <= plan.covered <= usd(due)
        for draw in plan.draws:
            before = left[draw.grant_id]
            paid[draw.grant_id] += draw.amount.amount
            assert draw.credits > 0
            left[draw.grant_id] = CreditGrant(
                grant_id=before.grant_id,
                granted=before.granted,
                drawn=EXACT.add(before.drawn, draw.credits),
                unit_amount=before.unit_amount,
                drawn_amount=before.drawn_amount + draw.amount,
                priority=before.priority,
                granted_at=before.granted_at,
                expires_at=before.expires_at,
            )
    for one in left.values():
        assert one.left >= 0
        assert paid[one.grant_id] <= value_of(one).amount
        assert value_left(one).amount + paid[one.grant_id] == value_of(one).amount


# --- credit notes -----------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 10**6),
    st.lists(st.integers(0, 3 * 10**5), max_size=3),
    st.lists(st.tuples(st.booleans(), st.integers(1, 10**6)), max_size=6),
    roundings,
    st.booleans(),
)
def test_any_sequence_of_credit_notes_ends_at_zero_and_never_below(
    net: int, taxes: list[int], wanted: list[tuple[bool, int]], rounding: Rounding, negative: bool
) -> None:
    sign = -1 if negative else 1
    line = creditable("l", usd(sign * net), [TaxShare(f"t{i}", usd(sign * tax)) for i, tax in enumerate(taxes)])
    whole = line.left
    credited = usd(0)
    for gross, amount in wanted:
        left = line.left if gross else line.left_net
        part = usd(sign * min(amount, abs(left).amount))
        if part.is_zero:
            continue
        credit = credit_gross(line, part, rounding) if gross else credit_net(line, part, rounding)
        credited += credit.total
        line = after_credit(line, credit)
        for rest in (line.left_net, line.left, *(tax.amount for tax in line.left_taxes)):
            assert rest.amount * sign >= 0
    if not line.left_net.is_zero:
        last = credit_net(line, line.left_net, rounding)
        credited += last.total
        line = after_credit(line, last)
    if not line.left.is_zero:
        last = credit_gross(line, line.left, rounding)
        credited += last.total
        line = after_credit(line, last)
    assert line.left == usd(0)
    assert credited == whole


@given(st.permutations([1, 2, 3, 4, 5]), st.integers(0, 10**4), roundings)
def test_the_order_of_credit_notes_does_not_change_what_they_come_to(
    order: list[int], tax: int, rounding: Rounding
) -> None:
    line = creditable("l", usd(1500), [TaxShare("t", usd(tax))])
    total = usd(0)
    for part in order:
        credit = credit_net(line, usd(part * 100), rounding)
        assert abs(credit.tax.amount - Fraction(tax * part, 15)) <= 1
        total += credit.total
        line = after_credit(line, credit)
    assert total == usd(1500 + tax)


@given(minor_units, st.integers(-(10**6), 10**7))
def test_a_credit_reduces_the_due_first_and_is_conserved(credit: int, due: int) -> None:
    settled_credit = settle_credit(usd(credit), usd(due))
    assert settled_credit.reduces_due + settled_credit.to_give_back == usd(credit)
    assert settled_credit.to_give_back.amount == max(0, credit - max(due, 0))


# --- usage ------------------------------------------------------------------------------------------------------------

aggregations = st.sampled_from(Aggregation)
DAY = Window(start=NEW_YEAR, end=NEW_YEAR + timedelta(days=1))


@st.composite
def usage(draw: st.DrawFn) -> list[UsageEvent]:
    rows = draw(st.lists(st.tuples(st.integers(-60, 1500), st.decimals(-50, 100, places=2), st.sampled_from("xyz"))))
    return [
        UsageEvent(event_id=f"e{index:03}", at=NEW_YEAR + timedelta(minutes=minute), value=value, key=key)
        for index, (minute, value, key) in enumerate(rows)
    ]


@given(aggregations, usage(), usage(), usage())
def test_merging_is_associative_and_commutative_and_has_a_neutral_element(
    aggregation: Aggregation, first: list[UsageEvent], second: list[UsageEvent], third: list[UsageEvent]
) -> None:
    a, b, c = (aggregate(aggregation, events) for events in (first, second, third))
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, PartialAggregate(aggregation=aggregation)) == a


@given(aggregations, usage(), st.integers(1, 7), st.randoms(use_true_random=False))
def test_parts_in_any_order_merge_to_the_whole(
    aggregation: Aggregation, events: list[UsageEvent], pieces: int, order: Random
) -> None:
    parts = [aggregate(aggregation, events[start::pieces]) for start in range(pieces)]
    order.shuffle(parts)
    merged = PartialAggregate(aggregation=aggregation)
    for part in parts:
        merged = merge(merged, part)
    whole = aggregate(aggregation, events)
    assert merged == whole
    assert quantity_of(settled(whole), DAY, Decimal(3)) == quantity_of(whole, DAY, Decimal(3))


@given(aggregations, usage(), usage(), st.booleans())
def test_a_void_undoes_its_event_even_when_it_comes_first(
    aggregation: Aggregation, kept: list[UsageEvent], voided: list[UsageEvent], early: bool
) -> None:
    expected = aggregate(aggregation, kept)
    result = expected
    for event in voided:
        both = [aggregate(aggregation, [event]), void(aggregation, event)]
        for partial in reversed(both) if early else both:
            result = merge(result, partial)
    assert result == expected


@given(aggregations, usage(), st.decimals(-50, 100, places=2))
def test_a_correction_is_as_if_the_right_event_had_been_sent(
    aggregation: Aggregation, events: list[UsageEvent], value: Decimal
) -> None:
    assume(events)
    wrong = events[0]
    right = UsageEvent(event_id=wrong.event_id, at=wrong.at, value=value, key="corrected")
    corrected = merge(aggregate(aggregation, events), correction(aggregation, wrong, right))
    assert corrected == aggregate(aggregation, [right, *events[1:]])


@given(usage(), st.decimals(0, 50, places=2), st.lists(st.integers(1, 1439), max_size=5))
def test_time_weighted_sums_of_adjacent_windows_add_up(
    events: list[UsageEvent], carried_in: Decimal, cuts: list[int]
) -> None:
    gauge = aggregate(Aggregation.TIME_WEIGHTED_SUM, events)
    edges = [DAY.start, *(DAY.start + timedelta(minutes=cut) for cut in sorted(set(cuts))), DAY.end]
    pieces = Fraction(0)
    for start, end in pairwise(edges):
        level = level_at(gauge, start, carried_in)
        inside = aggregate(Aggregation.TIME_WEIGHTED_SUM, [event for event in events if start <= event.at < end])
        pieces += time_weighted_sum(inside, Window(start=start, end=end), level)
    assert pieces == time_weighted_sum(gauge, DAY, carried_in)
