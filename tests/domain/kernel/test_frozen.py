"""Copies of values with some fields changed are what `dataclasses.replace` makes."""

import dataclasses
from typing import Any, cast

import pytest

from domain.customers.customer import Customer
from domain.customers.payment_method import PaymentMethod
from domain.invoicing.state import Invoice
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.payments.payment import Payment
from domain.subscriptions.state import Subscription

STATES = [Customer, Invoice, Payment, PaymentMethod, Subscription]


def _made(state: type) -> Any:
    return state(**{field.name: f"old {field.name}" for field in dataclasses.fields(state)})


@pytest.mark.parametrize("state", STATES)
def test_any_field_is_replaced_and_no_other(state: type) -> None:
    value = _made(state)
    before = repr(value)
    for field in dataclasses.fields(state):
        change = {field.name: object()}
        assert replace(value, **change) == dataclasses.replace(value, **change)
    assert replace(value) == value
    assert replace(value) is not value
    assert repr(value) == before


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="Payment has no field 'colour'"):
        replace(_made(Payment), **cast("Any", {"colour": "red"}))


def test_a_value_that_checks_itself_is_not_copied_past_its_check() -> None:
    with pytest.raises(TypeError, match="Money checks itself"):
        replace(Money(1, CurrencyCode("USD")), amount=2)
