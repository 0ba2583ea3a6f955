"""What holds for all splits, discounts, taxes, invoices, prepaid credits and credit notes."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from domain.discounts.computation import Coupon, PercentOff
from domain.invoicing.computation import AvailableCredits, ComputedInvoice, InvoiceLine
from domain.invoicing.credit_amounts import after_credit, creditable, settle_credit
from domain.invoicing.explanation import Explanation, ExplanationKind
from domain.kernel.allocation import split_over_lines
from domain.kernel.rounding import EXACT, Rounding
from domain.tax.computation import TaxableLine, TaxShare
from domain.wallets.prepaid_credits import CreditGrant, draw_down
from testing.examples.half_up import compute_invoice, credit_gross, credit_net, explain_invoice, tax_on
from testing.examples.pricing import NEW_YEAR, USD, tax_rate, usd
from tests.domain.price_strategies import (
    coupons,
    credit_grants,
    invoice_lines,
    line_amounts,
    minor_units,
    percents,
    roundings,
)


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


@given(invoice_lines(), coupons(), roundings)
def test_coupons_never_take_a_line_below_zero_nor_anything_off_a_credit_and_conserve(
    lines: list[InvoiceLine], given_coupons: list[Coupon], rounding: Rounding
) -> None:
    computed = compute_invoice(lines, USD, coupons=given_coupons, rounding=rounding)
    for line, one in zip(lines, computed.lines, strict=True):
        assert usd(0) <= one.discount <= max(one.amount, usd(0))
        assert line.discountable or one.discount.is_zero
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
        and computed.due - computed.to_customer_balance == computed.total - computed.draws.covered
        and computed.due.amount >= 0
        and 0 in {computed.due.amount, computed.to_customer_balance.amount}
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
def test_a_grant_is_never_worth_more_or_less_than_it_can_be_used_for(
    grants: tuple[CreditGrant, ...], dues: list[int]
) -> None:
    left = {one.grant_id: one for one in grants}
    everything = 10**15
    for due in (*dues, everything, everything):
        plan = draw_down(list(left.values()), usd(due), NEW_YEAR)
        assert plan.covered + plan.left_due == usd(due)
        for draw in plan.draws:
            before = left[draw.grant_id]
            assert draw.credits >= 0
            assert draw.amount > usd(0)
            left[draw.grant_id] = replace(
                before,
                drawn=EXACT.add(before.drawn, draw.credits),
                drawn_amount=before.drawn_amount + draw.amount,
            )
            paid = left[draw.grant_id].drawn_amount
            assert paid <= before.value
            assert left[draw.grant_id].left >= 0
    for one in left.values():
        usable = one.expires_at is None or one.expires_at > NEW_YEAR
        assert one.drawn_amount == (one.value if usable else usd(0))
        assert one.left == (0 if usable else one.granted)


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
