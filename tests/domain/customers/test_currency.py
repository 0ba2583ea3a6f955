"""A customer is billed and pays in one currency, their own."""

from dataclasses import replace

import pytest

from domain.customers.customer import NotCustomersCurrency
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.payments.commands import CreatePayment
from domain.pricing.models import Flat
from testing.examples.streams import (
    CUSTOMER_ID,
    EUR,
    PAYMENT_ID,
    attach_card,
    create_customer,
    draft,
    line,
    plan_on_sale,
    subscribe,
)
from testing.specification import given

EUROS = Money(1_000, EUR)


@pytest.mark.parametrize(
    "command",
    [
        subscribe(),
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
