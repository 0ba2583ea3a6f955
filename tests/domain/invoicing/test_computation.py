"""The one computation of an invoice, and the tree that explains it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from domain.invoicing.computation import AvailableCredits, InvoiceLine, LicensedLine, MeteredLine
from domain.invoicing.explanation import Explanation
from domain.kernel.money import CurrencyMismatch, Money
from domain.kernel.rounding import Rounding
from domain.pricing.models import BoundedPrice, Flat
from testing.examples.half_up import compute_invoice, explain_invoice
from testing.examples.pricing import (
    JPY,
    NEW_YEAR,
    USD,
    amount_off,
    graduated,
    grant,
    line,
    per_unit,
    percent_off,
    tax_rate,
    usd,
)


def test_the_plain_invoice_is_its_one_line() -> None:
    plain = MeteredLine(line_id="a", product_id="p", price=Flat(amount=usd(1999)), measured=1, discountable=True)
    computed = compute_invoice([plain], USD)
    (one,) = computed.lines
    assert (one.line_id, one.amount, one.discount, one.net, one.tax, one.taxes, one.total) == (
        "a",
        usd(1999),
        usd(0),
        usd(1999),
        usd(0),
        (),
        usd(1999),
    )
    assert (computed.currency, computed.subtotal, computed.discount, computed.tax) == (USD, usd(1999), usd(0), usd(0))
    assert (computed.total, computed.due, computed.draws.covered) == (usd(1999), usd(1999), usd(0))
    assert (computed.discounts, computed.tax_by_rate, computed.draws.draws) == ((), (), ())
    assert computed.draws.left_due == usd(1999)


def test_no_lines_are_an_invoice_of_nothing() -> None:
    computed = compute_invoice([], USD, coupons=[amount_off(5)])
    assert (computed.lines, computed.total, computed.due) == ((), usd(0), usd(0))


def test_every_step_is_rounded_by_the_chosen_rule() -> None:
    half = MeteredLine(
        line_id="a", product_id="p", price=per_unit("0.5"), measured=5, discountable=True, tax_rates=(tax_rate(25),)
    )
    assert compute_invoice([half], USD).subtotal == usd(3)
    assert compute_invoice([half], USD, rounding=Rounding.HALF_EVEN).subtotal == usd(2)
    assert compute_invoice([half], USD, rounding=Rounding.HALF_EVEN).tax == usd(0)
    assert compute_invoice([line("a", 2, tax_rate(25))], USD).tax == usd(1)
    coupon = [percent_off(50)]
    assert compute_invoice([line("a", 5)], USD, coupons=coupon).discount == usd(3)
    assert compute_invoice([line("a", 5)], USD, coupons=coupon, rounding=Rounding.HALF_EVEN).discount == usd(2)


def test_the_share_of_the_period_reaches_the_price() -> None:
    price = BoundedPrice(model=per_unit(1), minimum=usd(100))
    half = MeteredLine(
        line_id="a", product_id="p", price=price, measured=1, period_share=Fraction(1, 2), discountable=True
    )
    computed = compute_invoice([half], USD)
    assert computed.due == usd(50)
    price_node = explain_invoice([half], computed).children[0].children[0].children[0]
    assert [str(portion.amount) for portion in price_node.children] == ["1", "49"]


def test_lines_with_and_without_tax_and_discount_stand_side_by_side() -> None:
    lines = [
        line("a", 1000, tax_rate(20), product_id="x"),
        line("b", 1200, tax_rate(20), inclusive=True, product_id="y"),
        line("c", 500, product_id="x"),
        line("d", 600, inclusive=True, product_id="y"),
    ]
    computed = compute_invoice(lines, USD, coupons=[percent_off(10, products=("x",))])
    figures = [
        (one.amount.amount, one.discount.amount, one.net.amount, one.tax.amount, one.total.amount)
        for one in computed.lines
    ]
    assert figures == [
        (1000, 100, 900, 180, 1080),
        (1200, 0, 1000, 200, 1200),
        (500, 50, 450, 0, 450),
        (600, 0, 600, 0, 600),
    ]
    assert (computed.subtotal, computed.discount, computed.tax, computed.total) == (
        usd(3300),
        usd(150),
        usd(380),
        usd(3330),
    )


def test_prepaid_credits_pay_after_tax_and_leave_it_alone() -> None:
    available = AvailableCredits(grants=(grant("g", 700),), at=NEW_YEAR)
    computed = compute_invoice([line("a", 1000, tax_rate(20))], USD, prepaid=available)
    assert (computed.tax, computed.total, computed.draws.covered, computed.due) == (
        usd(200),
        usd(1200),
        usd(700),
        usd(500),
    )
    expired = replace(available, at=NEW_YEAR - timedelta(days=1))
    assert compute_invoice([line("a", 1000)], USD, prepaid=expired).due == usd(1000)


def test_an_invoice_below_zero_leaves_nothing_due_and_becomes_the_customers_balance() -> None:
    available = AvailableCredits(grants=(grant("g", 700),), at=NEW_YEAR)
    lines = [line("a", -1000, tax_rate(20)), line("b", 300)]
    computed = compute_invoice(lines, USD, prepaid=available)
    assert (computed.total, computed.due, computed.to_customer_balance) == (usd(-900), usd(0), usd(900))
    assert computed.draws.draws == ()
    assert outline(explain_invoice(lines, computed))[0] == "due = 0"
    assert outline(explain_invoice(lines, computed))[-1] == "  to_customer_balance = 900"
    assert compute_invoice([line("a", 5)], USD).to_customer_balance == usd(0)


def test_a_licensed_line_is_billed_for_its_share_rounded_once() -> None:
    half_a_cent = LicensedLine(
        line_id="a", product_id="p", price=per_unit("0.5"), quantity=1, share=Fraction(1, 2), discountable=True
    )
    computed = compute_invoice([half_a_cent], USD)
    assert computed.due == usd(0)
    assert outline(explain_invoice([half_a_cent], computed))[-4:] == [
        "      price = 0",
        "        portion units 1 @1/2 = 1/2",
        "        portion share_not_billed -1/2 @1/2 = -1/4",
        "        rounding = -1/4",
    ]
    whole = replace(half_a_cent, share=Fraction(1))
    assert compute_invoice([whole], USD).due == usd(1)
    assert compute_invoice([whole], USD, rounding=Rounding.HALF_EVEN).due == usd(0)


def test_a_credit_bears_the_percentage_that_was_charged_beside_what_the_rate_is_now() -> None:
    lines = [line("old", -1000, tax_rate(19, "vat")), line("new", 2000, tax_rate(20, "vat"))]
    computed = compute_invoice(lines, USD)
    assert [one.tax.amount for one in computed.lines] == [-190, 400]
    assert [(total.percent, total.tax.amount) for total in computed.tax_by_rate] == [
        (Decimal(19), -190),
        (Decimal(20), 400),
    ]
    assert outline(explain_invoice(lines, computed))[4] == "      tax vat @19 = -190"


def test_a_line_in_another_currency_is_refused() -> None:
    other = MeteredLine(line_id="a", product_id="p", price=Flat(amount=Money(5, JPY)), measured=1, discountable=True)
    with pytest.raises(CurrencyMismatch):
        compute_invoice([other], USD)


def outline(node: Explanation, depth: int = 0) -> list[str]:
    words = [
        node.kind.value,
        node.reference,
        node.portion,
        f"tier {node.tier}" if node.tier else None,
        f"{node.quantity}" if node.quantity is not None else None,
        f"@{node.rate}" if node.rate is not None else None,
        f"= {node.amount}",
    ]
    lines = ["  " * depth + " ".join(word for word in words if word)]
    for child in node.children:
        lines += outline(child, depth + 1)
    for part in node.of_which:
        lines += ["  " * (depth + 1) + "of which " + outline(part)[0]]
    return lines


def test_the_explanation_goes_from_the_amount_due_down_to_the_quantities_of_tiers() -> None:
    lines: list[InvoiceLine] = [
        MeteredLine(
            line_id="usage",
            product_id="p",
            price=graduated((5, 10, 100), (None, "2.5", 0)),
            measured=Decimal(8),
            discountable=True,
            tax_rates=(tax_rate(20),),
        ),
        line("setup", 1200, tax_rate(20), inclusive=True, product_id="q"),
        line("extra", 100, product_id="r"),
    ]
    available = AvailableCredits(grants=(grant("wallet", 50, 2),), at=NEW_YEAR)
    coupons = [percent_off(50, products=("p",)), amount_off(100, products=("q",))]
    computed = compute_invoice(lines, USD, coupons=coupons, prepaid=available)
    assert outline(explain_invoice(lines, computed)) == [
        "due = 1195",
        "  total = 1295",
        "    line usage = 95",
        "      price = 158",
        "        portion tier_flat tier 1 1 @100 = 100",
        "        portion tier_units tier 1 5 @10 = 50",
        "        portion tier_units tier 2 3 @5/2 = 15/2",
        "        rounding = 1/2",
        "      discount percent = -79",
        "      tax tax-20 @20 = 16",
        "    line setup = 1100",
        "      price = 1200",
        "      discount fixed = -100",
        "      of which tax_included tax-20 @20 = 183",
        "    line extra = 100",
        "      price = 100",
        "  credits wallet 50 = -100",
    ]


def test_the_explanation_rounds_by_the_rule_of_the_invoice() -> None:
    lines = [MeteredLine(line_id="a", product_id="p", price=per_unit("0.5"), measured=5, discountable=True)]
    computed = compute_invoice(lines, USD)
    assert outline(explain_invoice(lines, computed, Rounding.HALF_UP))[-3:] == [
        "      price = 3",
        "        portion units 5 @1/2 = 5/2",
        "        rounding = 1/2",
    ]
    computed = compute_invoice(lines, USD, rounding=Rounding.HALF_EVEN)
    assert outline(explain_invoice(lines, computed, Rounding.HALF_EVEN))[-3:] == [
        "      price = 2",
        "        portion units 5 @1/2 = 5/2",
        "        rounding = -1/2",
    ]
