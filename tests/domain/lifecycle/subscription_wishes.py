"""What is wished of subscriptions: all that may become of one, with arguments right and wrong."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from domain.customers.customer import CUSTOMER
from domain.kernel.stream import Command
from domain.subscriptions.billing_date_commands import ChangeBillingDate
from domain.subscriptions.cancel_commands import CancelSubscription, UndoCancellation
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription, UnscheduleChange
from domain.subscriptions.commands import RenewSubscription, RequestedCoupon
from domain.subscriptions.pause_commands import (
    PauseSubscription,
    ReactivateSubscription,
    ResumeSubscription,
    SuspendSubscription,
)
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import TrialEnd
from domain.subscriptions.transfer_commands import TransferSubscription
from domain.subscriptions.trial_commands import EndTrial, ExtendTrial
from testing.examples.streams import (
    BY_CHARGE,
    BY_HAND,
    PLAN_ID,
    subscribe,
)
from tests.domain.lifecycle.shop import BIG_PLAN, BY_THE_UNIT, COUPONS, OF_PLAN
from tests.domain.lifecycle.tenant import Tenant
from tests.domain.lifecycle.wish import Granting, Wish, apt, pick, somebody

# --- subscriptions ---------------------------------------------------------------------------------------------------


def _subscription(
    tenant: Tenant, wish: Wish, where: Callable[[Subscription], bool] = lambda each: True
) -> Subscription | None:
    return apt(tenant, SUBSCRIPTION, wish.a, where=lambda each: each.canceled_at is None and where(each))


def _runs(subscription: Subscription) -> bool:
    """Whether periods of it run, and nothing is said of what will become of it."""
    is_held_up = subscription.paused_at is not None or subscription.period_end is None
    return not is_held_up and subscription.cancel_at is None and subscription.scheduled is None


def _ahead(tenant: Tenant, customer_id: str, n: int) -> datetime:
    """A time of the customer's, mostly to come: in some days and hours."""
    return tenant.time_of(customer_id) + timedelta(days=n % 75 - 1, hours=n % 24)


def _some_of(prices: Sequence[str], n: int) -> list[str]:
    return [price_id for nth, price_id in enumerate(prices) if n >> nth & 1]


def _subscribe(tenant: Tenant, wish: Wish) -> Command:
    customer = somebody(tenant, wish)
    plan_id = PLAN_ID if wish.b % 4 else BIG_PLAN
    now = tenant.time_of(customer.customer_id)
    starts = (None, None, None, now - timedelta(days=40), now - timedelta(days=5), now + timedelta(days=12))[wish.c % 6]
    coupon = pick(COUPONS, wish.c)
    assert coupon is not None
    return subscribe(
        subscription_id=tenant.new("sub_"),
        customer_id=customer.customer_id,
        plan_id=plan_id,
        items=tuple(
            RequestedItem(price_id=price_id, quantity=Decimal(1 + wish.c % 3 if price_id in BY_THE_UNIT else 1))
            for price_id in _some_of(OF_PLAN[plan_id], wish.b) or OF_PLAN[plan_id][:1]
        ),
        coupons=(RequestedCoupon(coupon_id=coupon.coupon_id, discount_id=tenant.new("disc_")),)
        if wish.c % 5 == 0
        else (),
        collection=BY_CHARGE if wish.b % 2 else BY_HAND,
        billed_together=wish.c % 7 < 3,
        trial_days=(0, 0, 0, 10)[wish.b % 4],
        trial_end=tuple(TrialEnd)[wish.c % 3],
        starts_at=starts,
    )


def _renew(tenant: Tenant, wish: Wish) -> Command | None:
    """By hand, or as its timer does."""
    subscription = _subscription(tenant, wish)
    return subscription and RenewSubscription(
        subscription_id=subscription.subscription_id, due_at=subscription.next_boundary if wish.b % 2 else None
    )


def _change(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = _subscription(tenant, wish, _runs)
    if subscription is None:
        return None
    plan_id = subscription.terms.plan_id
    if not wish.b % 7:
        plan_id = BIG_PLAN if plan_id == PLAN_ID else PLAN_ID
    price_id = OF_PLAN[plan_id][wish.b % len(OF_PLAN[plan_id])]
    known = [item.price_id for item in subscription.terms.items]
    quantity = Decimal(1 + wish.c % 4) if price_id in BY_THE_UNIT else None
    is_removed = price_id in known and wish.c % 3 == 0 and plan_id == subscription.terms.plan_id
    return ChangeSubscription(
        subscription_id=subscription.subscription_id,
        items=() if is_removed else (ChangedItem(price_id=price_id, quantity=quantity),),
        remove=(price_id,) if is_removed else (),
        plan_id=plan_id if plan_id != subscription.terms.plan_id else None,
        proration=(*Proration, Proration.INVOICE_NOW, Proration.NEXT_INVOICE)[wish.c % 6],
        resets_anchor=wish.c % 11 == 0,
        effective_at=_ahead(tenant, subscription.customer_id, wish.c) if wish.c % 5 == 0 else None,
    )


def _unschedule(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = _subscription(tenant, wish, lambda each: each.scheduled is not None)
    return subscription and UnscheduleChange(subscription_id=subscription.subscription_id)


def _billing_date(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = _subscription(tenant, wish, _runs)
    return subscription and ChangeBillingDate(
        subscription_id=subscription.subscription_id,
        anchor_at=_ahead(tenant, subscription.customer_id, wish.b) - timedelta(days=wish.c % 40),
    )


def _cancel(tenant: Tenant, wish: Wish) -> Command | None:
    """With its period, on a date, or (less often, as nothing comes after it) now."""
    subscription = _subscription(tenant, wish)
    if subscription is None:
        return None
    way = wish.b % 8
    return CancelSubscription(
        subscription_id=subscription.subscription_id,
        at_period_end=way < 3,
        cancel_at=_ahead(tenant, subscription.customer_id, wish.c) if 3 <= way < 6 else None,
        gives_back=wish.c % 2 == 0,
    )


def _transfer(tenant: Tenant, wish: Wish) -> Command | None:
    """To one of the customers who live where it is counted: the reference counts a customer's days in one zone."""
    subscription = _subscription(tenant, wish, lambda each: each.paused_at is None and each.cancel_at is None)
    if subscription is None:
        return None
    zone = subscription.terms.time_zone
    others = [each for each in tenant.all(CUSTOMER) if each.time_zone == zone]
    customer = pick(others, wish.b)
    return customer and TransferSubscription(
        subscription_id=subscription.subscription_id,
        customer_id=customer.customer_id,
        to_subscription_id=tenant.new("sub_"),
        at_period_end=wish.c % 3 == 0,
        gives_back=wish.c % 2 == 0,
    )


def _undo_cancel(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = _subscription(tenant, wish, lambda each: each.cancel_at is not None)
    return subscription and UndoCancellation(subscription_id=subscription.subscription_id)


def _pause(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = _subscription(tenant, wish, _runs)
    return subscription and PauseSubscription(
        subscription_id=subscription.subscription_id,
        resumes_at=_ahead(tenant, subscription.customer_id, wish.b) if wish.b % 2 else None,
        gives_back=wish.c % 2 == 0,
    )


def _resume(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = _subscription(tenant, wish, lambda each: each.paused_at is not None)
    return subscription and ResumeSubscription(subscription_id=subscription.subscription_id)


def _suspend(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = _subscription(tenant, wish)
    if subscription is None:
        return None
    is_suspended = subscription.status is SubscriptionStatus.SUSPENDED
    command = ReactivateSubscription if is_suspended or not wish.b % 4 else SuspendSubscription
    return command(subscription_id=subscription.subscription_id)


def _trial(tenant: Tenant, wish: Wish) -> Command | None:
    subscription = _subscription(tenant, wish, lambda each: each.status is SubscriptionStatus.TRIALING)
    if subscription is None or wish.b % 2:
        return subscription and EndTrial(subscription_id=subscription.subscription_id)
    return ExtendTrial(
        subscription_id=subscription.subscription_id, trial_end=_ahead(tenant, subscription.customer_id, wish.c)
    )


OF_SUBSCRIPTIONS: Final[Granting] = {
    "subscribe": _subscribe,
    "renew": _renew,
    "change": _change,
    "change some more": _change,
    "unschedule": _unschedule,
    "billing date": _billing_date,
    "cancel": _cancel,
    "transfer": _transfer,
    "undo the cancellation": _undo_cancel,
    "pause": _pause,
    "resume": _resume,
    "suspend": _suspend,
    "trial": _trial,
}
