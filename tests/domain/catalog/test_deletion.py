"""Specifications of what of the catalogue may be deleted: what nothing uses, in the order in which it is decided."""

from decimal import Decimal

import pytest

from domain.catalog.plan import PLAN, DeletePlan, PlanDeleted, PlanFreed, PlanInUse, PlanNotFound
from domain.catalog.price import DeletePrice, PriceDeleted, PriceInUse, PriceNotFound, PriceUsed
from domain.catalog.product import (
    PRODUCT,
    DeleteProduct,
    ProductDeleted,
    ProductFreed,
    ProductInUse,
    ProductNotFound,
    ProductUsed,
)
from domain.discounts.computation import CouponDuration, PercentOff
from domain.discounts.coupon import CouponTerms, CreateCoupon, DeleteCoupon
from domain.invoicing.draft import AddInvoiceItem
from domain.kernel.frozen import replace
from domain.kernel.stream import Command
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    INVOICE_ID,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    create_customer,
    draft,
    flat,
    id_of,
    line,
    plan_on_sale,
    subscribe,
)
from testing.specification import NOW, given

DELETE_PRICE = DeletePrice(price_id=PRICE_ID)
DELETE_PLAN = DeletePlan(plan_id=PLAN_ID)
DELETE_PRODUCT = DeleteProduct(product_id=PRODUCT_ID)
COUPON_ID = id_of("coupon_", 1)
A_COUPON = CreateCoupon(
    coupon_id=COUPON_ID,
    terms=CouponTerms(
        name="Tenth", off=PercentOff(percent=Decimal(10)), duration=CouponDuration.ONCE, product_ids=(PRODUCT_ID,)
    ),
)


def test_what_nothing_uses_is_deleted_from_the_price_up_to_the_product() -> None:
    (
        given(create_customer(), *plan_on_sale())
        .when(DELETE_PRODUCT)
        .then_refused(ProductInUse, product=PRODUCT_ID, used_by=PLAN_ID, uses=1)
        .when(DELETE_PLAN)
        .then_refused(PlanInUse, plan=PLAN_ID, used_by=PRICE_ID, uses=1)
        .when(DELETE_PRICE)
        .then(PriceDeleted(price_id=PRICE_ID, deleted_at=NOW), PlanFreed(plan_id=PLAN_ID, by=PRICE_ID))
        .when(DELETE_PRICE)
        .then_nothing()
        .when(DELETE_PLAN)
        .then(PlanDeleted(plan_id=PLAN_ID, deleted_at=NOW), ProductFreed(product_id=PRODUCT_ID, by=PLAN_ID))
        .when(DELETE_PRODUCT)
        .then(ProductDeleted(product_id=PRODUCT_ID, deleted_at=NOW))
        .then_shows(PLAN, PLAN_ID, archived_at=NOW, deleted_at=NOW, used_by=())
        .then_shows(PRODUCT, PRODUCT_ID, archived_at=NOW, deleted_at=NOW, used_by=())
    )


def test_what_was_deleted_is_not_sold() -> None:
    sold = given(create_customer(), *plan_on_sale(in_advance=flat(), in_arrears=flat(3)))
    sold.and_then(DELETE_PRICE).when(subscribe()).then_refused(PriceNotFound, price=PRICE_ID)
    gone = sold.and_then(DeletePrice(price_id=ARREARS_PRICE_ID), DELETE_PLAN)
    gone.when(subscribe()).then_refused(PlanNotFound, plan=PLAN_ID)
    gone.and_then(DELETE_PRODUCT).when(A_COUPON).then_refused(ProductNotFound, product=PRODUCT_ID)


def test_what_was_sold_is_not_deleted_and_the_first_subscription_says_so_for_all() -> None:
    other = id_of("sub_", 2)
    sold = given(create_customer(), *plan_on_sale()).when(subscribe())
    assert [event for event in sold.done.events if isinstance(event, PriceUsed)] == [
        PriceUsed(price_id=PRICE_ID, by=SUBSCRIPTION_ID)
    ]
    again = sold.when(replace(subscribe(), subscription_id=other))
    assert not [event for event in again.done.events if isinstance(event, PriceUsed)]
    again.when(DELETE_PRICE).then_refused(PriceInUse, price=PRICE_ID, used_by=SUBSCRIPTION_ID)


@pytest.mark.parametrize("proration", [Proration.INVOICE_NOW, Proration.PERIOD_END])
def test_a_price_that_a_change_brings_is_used_be_it_now_or_later(proration: Proration) -> None:
    change = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID, items=(ChangedItem(price_id=ARREARS_PRICE_ID),), proration=proration
    )
    prices = plan_on_sale(in_advance=flat(), in_arrears=flat(3))
    given(create_customer(), *prices, subscribe(), change).when(DeletePrice(price_id=ARREARS_PRICE_ID)).then_refused(
        PriceInUse, price=ARREARS_PRICE_ID, used_by=SUBSCRIPTION_ID
    )


def test_a_coupon_uses_its_products_until_it_is_deleted() -> None:
    (
        given(create_customer(), *plan_on_sale(), DELETE_PRICE, DELETE_PLAN, A_COUPON)
        .when(DELETE_PRODUCT)
        .then_refused(ProductInUse, product=PRODUCT_ID, used_by=COUPON_ID, uses=1)
        .and_then(DeleteCoupon(coupon_id=COUPON_ID))
        .when(DELETE_PRODUCT)
        .then(ProductDeleted(product_id=PRODUCT_ID, deleted_at=NOW))
    )


@pytest.mark.parametrize(
    "billed",
    [
        [draft(line(product_id=PRODUCT_ID))],
        [draft(), AddInvoiceItem(invoice_id=INVOICE_ID, line=line(product_id=PRODUCT_ID, line_id=id_of("il_", 7)))],
    ],
)
def test_an_invoice_uses_the_products_of_its_lines(billed: list[Command]) -> None:
    made = given(create_customer(), *plan_on_sale(), DELETE_PRICE, DELETE_PLAN, *billed)
    made.when(DELETE_PRODUCT).then_refused(ProductInUse, product=PRODUCT_ID, used_by=INVOICE_ID, uses=1)
    second = made.when(replace(draft(line(product_id=PRODUCT_ID)), invoice_id=id_of("in_", 2)))
    assert not [event for event in second.done.events if isinstance(event, ProductUsed)], "one says it for all"
