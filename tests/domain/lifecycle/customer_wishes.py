"""What is wished of customers: that they pay by card or not, get coupons and single items, and go."""

from typing import Final

from domain.customers.customer import CUSTOMER, Customer, DeleteCustomer, SetDefaultPaymentMethod
from domain.discounts.commands import ApplyCouponToCustomer
from domain.discounts.coupon import ArchiveCoupon
from domain.discounts.discount import DISCOUNT
from domain.invoicing.waiting_item_commands import AddWaitingItem, RemoveWaitingItem
from domain.kernel.stream import Command
from domain.subscriptions.discount_commands import ApplyCouponToSubscription, RemoveDiscount
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    IN_ADVANCE,
    IN_ARREARS,
    line,
)
from tests.domain.lifecycle.shop import COUPONS
from tests.domain.lifecycle.tenant import Tenant
from tests.domain.lifecycle.wish import Granting, Wish, apt, card_of, pick, somebody, up_to

# --- customers -------------------------------------------------------------------------------------------------------


def _customer(tenant: Tenant, wish: Wish) -> Customer:
    found = pick(tenant.all(CUSTOMER), wish.a)
    assert found is not None, "there are some from the beginning"
    return found


def _default_card(tenant: Tenant, wish: Wish) -> Command:
    customer_id = somebody(tenant, wish).customer_id
    method_id = card_of(customer_id) if wish.b % 3 else None
    return SetDefaultPaymentMethod(customer_id=customer_id, payment_method_id=method_id)


def _delete_customer(tenant: Tenant, wish: Wish) -> Command | None:
    """Seldom, as nothing more begins for whoever is gone."""
    return DeleteCustomer(customer_id=somebody(tenant, wish).customer_id) if not wish.b % 8 else None


def _waiting_item(tenant: Tenant, wish: Wish) -> Command:
    customer = somebody(tenant, wish)
    if wish.b % 4 == 0 and customer.waiting_items:
        return RemoveWaitingItem(customer_id=customer.customer_id, item_id=customer.waiting_items[0].item_id)
    timing = IN_ADVANCE if wish.b % 2 else IN_ARREARS
    item = line(up_to(wish.c, 3_000) - 500, timing, line_id=tenant.new("il_"))
    return AddWaitingItem(customer_id=customer.customer_id, line=item)


# --- coupons ---------------------------------------------------------------------------------------------------------


def _coupon_to_customer(tenant: Tenant, wish: Wish) -> Command:
    coupon = COUPONS[wish.b % len(COUPONS)]
    return ApplyCouponToCustomer(
        discount_id=tenant.new("disc_"), coupon_id=coupon.coupon_id, customer_id=somebody(tenant, wish).customer_id
    )


def _coupon_to_subscription(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = apt(tenant, SUBSCRIPTION, wish.a, where=lambda each: each.canceled_at is None)
    coupon = COUPONS[wish.b % len(COUPONS)]
    return subscription and ApplyCouponToSubscription(
        discount_id=tenant.new("disc_"),
        coupon_id=coupon.coupon_id,
        subscription_id=subscription.subscription_id,
    )


def _no_discount(tenant: Tenant, wish: Wish) -> Command | None:
    if not wish.b % 16:
        return ArchiveCoupon(coupon_id=COUPONS[wish.c % len(COUPONS)].coupon_id)
    discount = apt(tenant, DISCOUNT, wish.a, where=lambda each: each.ended_at is None)
    return discount and RemoveDiscount(discount_id=discount.discount_id)


OF_CUSTOMERS: Final[Granting] = {
    "coupon to the customer": _coupon_to_customer,
    "coupon to the subscription": _coupon_to_subscription,
    "no discount": _no_discount,
    "default card": _default_card,
    "delete the customer": _delete_customer,
    "waiting item": _waiting_item,
}
