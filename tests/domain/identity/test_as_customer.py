"""What a customer asks for themselves: their own is there, and what is another's is not."""

from typing import Any

import pytest

from domain.catalog.plan import PlanNotFound
from domain.commands import AsCustomer
from domain.customers.customer import CustomerNotFound
from domain.customers.payment_method import DetachPaymentMethod, PaymentMethodDetached, PaymentMethodNotFound
from domain.invoicing.invoice import InvoiceNotFound
from domain.kernel.stream import Command
from domain.payments.commands import PayInvoice
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    BY_HAND,
    CARD_ID,
    CUSTOMER_ID,
    INVOICE_ID,
    PAYMENT_ID,
    PLAN_ID,
    SUBSCRIPTION_ID,
    attach_card,
    card_attached,
    create_customer,
    id_of,
    invoice_finalized,
    plan_on_sale,
    subscribe,
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


def test_a_plan_that_a_customer_is_not_offered_is_not_there_for_them() -> None:
    on_sale = given(create_customer(), *plan_on_sale())
    asked = subscribe(collection=BY_HAND)
    for plan_ids in (frozenset[str](), frozenset({id_of("plan_", 2)})):
        on_sale.when(AsCustomer(customer_id=CUSTOMER_ID, plan_ids=plan_ids, command=asked)).then_refused(PlanNotFound)
    offered = AsCustomer(customer_id=CUSTOMER_ID, plan_ids=frozenset({PLAN_ID}), command=asked)
    on_sale.when(offered).then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, customer_id=CUSTOMER_ID)
