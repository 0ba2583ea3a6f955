"""What a customer asks for themselves: their own is there, and what is another's is not."""

from typing import Any

import pytest

from domain.commands import AsCustomer
from domain.customers.customer import CustomerNotFound
from domain.customers.payment_method import DetachPaymentMethod, PaymentMethodDetached, PaymentMethodNotFound
from domain.invoicing.invoice import InvoiceNotFound
from domain.kernel.stream import Command
from domain.payments.commands import PayInvoice
from testing.examples.streams import (
    CARD_ID,
    CUSTOMER_ID,
    INVOICE_ID,
    PAYMENT_ID,
    attach_card,
    card_attached,
    create_customer,
    invoice_finalized,
)
from testing.specification import NOW, given

DETACH = DetachPaymentMethod(payment_method_id=CARD_ID)
PAY = PayInvoice(invoice_id=INVOICE_ID, payment_id=PAYMENT_ID, payment_method_id=CARD_ID)


def by(customer_id: str, command: Command) -> AsCustomer:
    return AsCustomer(customer_id=customer_id, command=command)


def test_ones_own_is_changed_as_by_anybody_who_may() -> None:
    detached = PaymentMethodDetached(payment_method_id=CARD_ID, detached_at=NOW)
    given(create_customer(), card_attached()).when(by(CUSTOMER_ID, DETACH)).then(detached)


@pytest.mark.parametrize(
    ("command", "refusal"),
    [(DETACH, PaymentMethodNotFound), (PAY, InvoiceNotFound), (attach_card(), CustomerNotFound)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_anothers_is_refused_as_what_does_not_exist(command: Any, refusal: Any) -> None:
    there = given(create_customer(), card_attached(), invoice_finalized())
    there.when(by("cus_another", command)).then_refused(refusal)
    given().when(by("cus_another", command)).then_refused(refusal)


def test_nobody_makes_another_customer_for_themselves() -> None:
    given().when(by("cus_another", create_customer())).then_refused(CustomerNotFound)
