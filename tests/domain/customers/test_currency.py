"""A customer is billed and pays in one currency, their own."""

from dataclasses import replace

import pytest

from domain.catalog.price import CreatePrice
from domain.customers.customer import NotCustomersCurrency
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.payments.commands import CreatePayment
from domain.pricing.models import Flat, NoPriceInCurrency
from testing.examples.streams import (
    CUSTOMER_ID,
    EUR,
    PAYMENT_ID,
    PLAN_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    USD,
    attach_card,
    create_customer,
    draft,
    line,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import period_invoice
from testing.specification import given

EUROS = Money(1_000, EUR)


@pytest.mark.parametrize(
    "command",
    [
        draft(replace(line(), amount=EUROS), currency=EUR),
        CreatePayment(payment_id=PAYMENT_ID, customer_id=CUSTOMER_ID, amount=EUROS),
    ],
    ids=lambda command: type(command).__name__,
)
def test_whatever_is_billed_or_paid_is_in_the_customers_currency(command: Command) -> None:
    def customer_in(currency: str) -> tuple[Command, ...]:
        return create_customer(currency=currency), attach_card(), *plan_on_sale(in_advance=Flat(amount=EUROS))

    given(*customer_in("USD")).when(command).then_refused(
        NotCustomersCurrency, customers_currency="USD", currency="EUR", customer=CUSTOMER_ID
    )
    assert given(*customer_in("EUR")).when(command).done.changes


def test_a_subscription_takes_the_price_in_its_customers_currency() -> None:
    in_euros, in_dollars = Flat(amount=EUROS), Flat(amount=Money(1_100, USD))
    price = CreatePrice(price_id=PRICE_ID, plan_id=PLAN_ID, price=in_euros, currency_options=(in_dollars,))
    for currency, stated in (("EUR", in_euros), ("USD", in_dollars)):
        subscribed = given(create_customer(currency=currency), *plan_on_sale()[:2], price).when(subscribe())
        assert [item.price for item in subscribed.books.states["subscription", SUBSCRIPTION_ID].terms.items] == [stated]
        assert subscribed.books.states["invoice", period_invoice(0)].total == stated.amount
    (
        given(create_customer(currency="JPY"), *plan_on_sale()[:2], price)
        .when(subscribe())
        .then_refused(NoPriceInCurrency, price=PRICE_ID, currency="JPY", available="EUR USD")
        .then_is_about("items.0.price")
    )
