"""Specifications of what a line says beside its amount: what it bills, of which product, in which tax category."""

from domain.catalog.product import ChangeProduct, CreateProduct, ProductNotFound
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.subscriptions.commands import RenewSubscription
from testing.examples.streams import (
    INVOICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    create_customer,
    draft,
    line,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import FEBRUARY, period_invoice
from testing.specification import given

SAAS = CreateProduct(product_id=PRODUCT_ID, name="Phone", tax_category="saas")
MOVED = ChangeProduct(product_id=PRODUCT_ID, tax_category="telecom")


def test_a_line_bears_its_products_tax_category() -> None:
    (billed,) = (
        given(create_customer(), SAAS)
        .when(draft(line(product_id=PRODUCT_ID)))
        .books.states[INVOICE.name, INVOICE_ID]
        .lines
    )
    assert (billed.kind, billed.product_id, billed.tax_category) == (InvoiceLineKind.ONE_OFF, PRODUCT_ID, "saas")


def test_a_line_of_no_product_bears_none_and_an_unknown_product_is_refused() -> None:
    given(create_customer()).when(draft(line(product_id=PRODUCT_ID))).then_refused(ProductNotFound)
    drafted = given(create_customer()).when(draft(line()))
    assert drafted.books.states[INVOICE.name, INVOICE_ID].lines[0].tax_category is None


def test_a_subscription_keeps_the_category_that_it_was_sold_in() -> None:
    """A product that moves to another category changes what is sold from then on, not what is billed of what was."""
    on_sale = (create_customer(), *plan_on_sale(), ChangeProduct(product_id=PRODUCT_ID, tax_category="saas"))
    renewed = given(*on_sale, subscribe(), MOVED).when(
        RenewSubscription(subscription_id=SUBSCRIPTION_ID, due_at=FEBRUARY), at=FEBRUARY
    )
    (billed,) = renewed.books.states[INVOICE.name, period_invoice(1)].lines
    assert (billed.kind, billed.product_id, billed.tax_category) == (InvoiceLineKind.RECURRING, PRODUCT_ID, "saas")
