"""What an explanation shows adds up to what was billed, to the last digit; and the largest prices fit their events."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from hypothesis import given as given_any
from hypothesis import strategies as st

from api.http.fields import MAX_AMOUNT, MAX_DECIMALS, MAX_QUANTITY, MAX_UNIT_AMOUNT
from api.resources.invoice_explanations import LineExplanation, exact_text, explanation_resource
from api.resources.prices import MAX_CURRENCY_OPTIONS
from domain.catalog.price import CreatePrice
from domain.kernel.currency import EXPONENTS, CurrencyCode
from domain.kernel.money import Money
from domain.pricing.models import BoundedPrice, Flat, Graduated, PerUnit, Price, Tier, model_of
from domain.pricing.validation import MAX_TIERS
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.terms import MAX_ITEMS
from infra.kafka.records import VALUE_BYTES_MAX
from schemas.codec import default_codec
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    PLAN_ID,
    PRICE_ID,
    USD,
    create_customer,
    id_of,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import LAST_INVOICE, cancel_now, period_invoice
from testing.specification import NOW, Result, given
from tests.domain.price_strategies import licensed_prices

FINEST: Final = Decimal(1).scaleb(-MAX_DECIMALS)
MOST_UNITS: Final = MAX_QUANTITY - FINEST


def explained(outcome: Result, invoice_id: str) -> LineExplanation:
    """The line of an invoice of one, once it was seen that what is shown adds up to it."""
    answer = explanation_resource(outcome.books.states["invoice", invoice_id])
    (line,) = answer["lines"]
    shown = [*(portion["amount"] for portion in line["portions"]), line["rounding_difference"]]
    assert sum(map(Fraction, shown)) == line["amount"]["amount"] == answer["total"]["amount"]
    for portion in line["portions"]:
        assert Fraction(portion["quantity"]) * Fraction(portion["rate"]) == Fraction(portion["amount"])
    return line


@given_any(licensed_prices(), st.decimals("0.000001", 10_000, places=6), st.integers(0, 50 * 24))
def test_whatever_a_subscription_bills_is_explained_to_the_last_digit(
    price: Price, quantity: Decimal, hours: int
) -> None:
    """In arrears, and cancelled within the second period, so most invoices are of a share of it."""
    many = Decimal(1) if isinstance(model_of(price), Flat) else quantity
    subscribed = given(create_customer(), *plan_on_sale(in_arrears=price)).and_then(
        subscribe(items=(RequestedItem(price_id=ARREARS_PRICE_ID, quantity=many),))
    )
    ended = subscribed.when(cancel_now(), at=NOW + timedelta(hours=hours))
    if ("invoice", LAST_INVOICE) in ended.books.states:
        line = explained(ended, LAST_INVOICE)
        assert line["pricing"] is not None
        assert 0 < Fraction(line["pricing"]["share"]) <= 1


def test_figures_of_the_most_digits_are_shown_whole() -> None:
    """29 digits: one more than a decimal computes with by itself."""
    dear = PerUnit(currency=USD, unit_amount=MAX_UNIT_AMOUNT)
    price = BoundedPrice(model=dear, maximum=usd(1))
    items = (RequestedItem(price_id=PRICE_ID, quantity=MOST_UNITS),)
    outcome = given(create_customer(), *plan_on_sale(in_advance=price)).when(subscribe(items=items))
    units, cut = explained(outcome, period_invoice(0))["portions"]
    assert units["amount"] == "99999999998999999.900000000001"
    assert cut["amount"] == "-99999999998999998.900000000001"


def test_a_figure_is_shown_as_a_decimal_where_it_comes_out_even_within_twelve_places() -> None:
    figures = ["0", "1200", "-0.5", "0.000000000001", "-123456789012345678901234567890.5", "1/3", "-900/7"]
    assert [exact_text(Fraction(figure)) for figure in figures] == figures
    assert exact_text(Fraction(1, 10**13)) == "1/10000000000000"


def longest_price(currency: CurrencyCode) -> Price:
    """As many bytes as a price that the API takes can have."""
    ends = [MAX_UNIT_AMOUNT - MAX_TIERS + nth - FINEST for nth in range(1, MAX_TIERS)]
    tiers = tuple(
        Tier(above=above, up_to=up_to, unit_amount=MAX_UNIT_AMOUNT - FINEST, flat_amount=MAX_AMOUNT)
        for above, up_to in zip([Decimal(0), *ends], [*ends, None], strict=True)
    )
    model = Graduated(currency=currency, tiers=tiers, free_units=MOST_UNITS)
    bound = Money(MAX_AMOUNT // MAX_ITEMS, currency)
    return BoundedPrice(model=model, minimum=bound, maximum=bound)


def test_the_longest_price_and_the_invoice_of_the_most_of_them_fit_a_records_bytes() -> None:
    others = [CurrencyCode(code) for code in sorted(EXPONENTS) if code != USD]
    options = tuple(longest_price(code) for code in others[:MAX_CURRENCY_OPTIONS])
    prices = [
        CreatePrice(
            price_id=id_of("price_", 10 + nth),
            plan_id=PLAN_ID,
            name="n" * 100,
            price=longest_price(USD),
            currency_options=() if nth else options,
        )
        for nth in range(MAX_ITEMS)
    ]
    items = tuple(RequestedItem(price_id=price.price_id, quantity=MOST_UNITS) for price in prices)
    outcome = given(create_customer(), *plan_on_sale(), *prices).when(subscribe(items=items))
    encoded = [default_codec().encode_event(change.event) for change in outcome.books.log]
    assert "invoice.finalized" in {event_type for event_type, _, _ in encoded}
    assert max(len(payload) for _, _, payload in encoded) < VALUE_BYTES_MAX
