"""What subscriptions bill by each model of prices, and that every line says why it comes to its amount."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st

from domain.invoicing.explanation import Explanation, explain_billed
from domain.invoicing.invoice_line import InvoiceLine, LinePricing
from domain.kernel.money import Money
from domain.kernel.rounding import Rounding
from domain.pricing.amount import licensed_amount_of
from domain.pricing.models import BoundedPrice, Price
from domain.subscriptions.selling import RequestedItem
from testing.examples.pricing import graduated, package, per_unit, volume
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    IN_ARREARS,
    PRICE_ID,
    USD,
    create_customer,
    line,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import LAST_INVOICE, cancel_now, period_invoice
from testing.moments import utc
from testing.specification import given
from tests.domain.price_strategies import licensed_prices, roundings

SEATS = graduated((5, 10, 100), (None, "5.5", 50), free_units=2)


@pytest.mark.parametrize(
    ("price", "quantity", "billed"),
    [
        (SEATS, "8", 206),  # 100 + 5 × 10 + 50 + 1 × 5.5, half up
        (volume((5, 10, 100), (None, 5, 50)), "8", 90),
        (package(100, 10, 5), "25.5", 300),
        (per_unit("0.25", 1), "7", 2),
        (BoundedPrice(model=SEATS, minimum=usd(500)), "8", 500),
        (BoundedPrice(model=SEATS, maximum=usd(99)), "8", 99),
    ],
)
def test_each_model_bills_its_quantity_and_the_line_says_by_what(price: Price, quantity: str, billed: int) -> None:
    items = (RequestedItem(price_id=PRICE_ID, quantity=Decimal(quantity)),)
    outcome = given(create_customer(), *plan_on_sale(in_advance=price)).when(subscribe(items=items))
    (line,) = outcome.books.states["invoice", period_invoice(0)].lines
    assert line.amount == usd(billed)
    assert line.pricing == LinePricing(price=price, share=Fraction(1), rounding=Rounding.HALF_UP)
    by = line.pricing
    assert licensed_amount_of(by.price, line.quantity, by.share, by.rounding) == line.amount


@pytest.mark.parametrize(
    ("minimum", "maximum", "billed"), [(None, None, 103), (usd(500), None, 250), (None, usd(99), 50)]
)
def test_what_bounds_make_of_a_price_is_prorated_like_the_rest_of_it(
    minimum: Money | None, maximum: Money | None, billed: int
) -> None:
    price = BoundedPrice(model=SEATS, minimum=minimum, maximum=maximum)
    subscribed = given(create_customer(), *plan_on_sale(in_arrears=price)).and_then(
        subscribe(items=(RequestedItem(price_id=ARREARS_PRICE_ID, quantity=Decimal(8)),))
    )
    outcome = subscribed.when(cancel_now(), at=utc("2026-02-14T10:00"))  # 14 of 28 days
    (line,) = outcome.books.states["invoice", LAST_INVOICE].lines
    assert (line.amount, line.pricing.share) == (usd(billed), Fraction(1, 2))


def outline(node: Explanation, depth: int = 0) -> list[str]:
    """A tree as indented lines: kind, quantity, rate, amount."""
    name = node.kind if node.portion is None else node.portion
    figures = "" if node.quantity is None else f" {node.quantity} × {node.rate}"
    shown = [f"{'  ' * depth}{name}{figures} = {node.amount}"]
    return shown + [each for child in node.children for each in outline(child, depth + 1)]


def test_an_invoice_explains_itself_down_to_the_slices_of_the_tiers() -> None:
    price = BoundedPrice(model=SEATS, maximum=usd(205))
    pricing = LinePricing(price=price, share=Fraction(1, 3), rounding=Rounding.HALF_UP)
    seats = line(68, quantity=Decimal(8), pricing=pricing)
    assert outline(explain_billed((seats, line(1_000)), USD)) == [
        "total = 1068",
        "  line = 68",
        "    price = 68",
        "      free_units 2 × 0 = 0",
        "      tier_flat 1 × 100 = 100",
        "      tier_units 5 × 10 = 50",
        "      tier_flat 1 × 50 = 50",
        "      tier_units 1 × 11/2 = 11/2",
        "      maximum 1 × -1/2 = -1/2",
        "      share_not_billed -2/3 × 205 = -410/3",
        "      rounding = -1/3",
        "  line = 1000",
        "    price = 1000",
    ]


@given_any(licensed_prices(), st.decimals("0.001", 10_000, places=3), st.fractions(0, 1), roundings)
def test_whatever_is_billed_the_explanation_adds_up_to_it(
    price: Price, quantity: Decimal, share: Fraction, rounding: Rounding
) -> None:
    def check(node: Explanation) -> None:
        assert not node.children or sum(child.amount for child in node.children) == node.amount
        for child in node.children:
            check(child)

    billed = InvoiceLine(
        line_id="il_1",
        description="Seats",
        amount=licensed_amount_of(price, quantity, share, rounding),
        quantity=quantity,
        timing=IN_ARREARS,
        pricing=LinePricing(price=price, share=share, rounding=rounding),
    )
    check(explain_billed((billed, billed), USD))
