"""Subscriptions: what a customer is billed, period by period, until it is cancelled."""

from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field

from api.http.call import Call
from api.http.fields import (
    Body,
    CouponId,
    CustomerId,
    Instant,
    New,
    PlanId,
    PriceId,
    Quantity,
    TestClockId,
    TimeZone,
)
from api.http.listing import (
    CreatedParameters,
)
from api.http.operations import Intention
from api.http.resource import Resource
from api.resources.customers import CUSTOMERS
from api.resources.discounts import NOT_REDEEMABLE
from api.resources.subscription_resource import EXAMPLE, SubscriptionResource, subscription_resource
from api.resources.usage_thresholds import UsageThresholdBody
from domain.catalog.plan import MAX_TRIAL_DAYS, PlanIsArchived, PlanNotFound
from domain.catalog.price import PriceIsArchived, PriceNotFound
from domain.catalog.product import ProductIsArchived
from domain.customers.consolidation import TooManyBilledTogether
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
from domain.customers.test_clock import TestClockIsDeleted
from domain.discounts.discount import MAX_DISCOUNTS
from domain.identity.permissions import Permission
from domain.invoicing.billing_settings import MAX_DAYS_UNTIL_DUE
from domain.invoicing.collection import CollectionMethod
from domain.kernel.billing_period import BeyondCalendar, UnknownTimeZone
from domain.kernel.identifiers import DISCOUNT as DISCOUNT_PREFIX
from domain.kernel.identifiers import SUBSCRIPTION as PREFIX
from domain.pricing.models import NoPriceInCurrency
from domain.subscriptions.alignment import ContradictoryAnchor, PeriodAlignment, StubPeriod
from domain.subscriptions.backdating import StartTooFarBack
from domain.subscriptions.commands import CreateSubscription, RequestedCoupon
from domain.subscriptions.metering import MeterIsBilled
from domain.subscriptions.proration_basis import BasisNeedsMonths, ProrationBasis
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import (
    MAX_ITEMS,
    DuplicatePrice,
    FlatPriceHasNoQuantity,
    IntervalsDoNotNest,
    InvalidSubscriptionItems,
    InvalidUsageThreshold,
    MeteredPriceHasNoQuantity,
    MeterTwice,
    OnlyAddOns,
    PlanIsAddOn,
    PriceOfAnotherPlan,
    TrialEnd,
)
from infra.ids import new_id
from projections.models import subscriptions as read


class NewItem(Body):
    """A price, and how many of it."""

    price: PriceId
    quantity: Quantity | None = Field(default=None, description="null: one, or what the price's meter counts")


class NewSubscription(New):
    """A subscription to be. The plan's trial and the customer's time zone hold unless others are given.

    A customer at the portal subscribes to a plan as it is, at once: another start or trial, coupons, how it is
    collected and metadata are the merchant's to say, and need the permission `invoices:write`.
    """

    reserved = MappingProxyType(
        dict.fromkeys(
            (
                "starts_at",
                "trial_days",
                "billing_anchor",
                "period_alignment",
                "stub_period",
                "coupons",
                "collection_method",
                "days_until_due",
                "proration_basis",
                "billed_together",
                "trial_end_behavior",
                "usage_threshold",
                "metadata",
            ),
            Permission.INVOICES_WRITE,
        )
    )

    customer: CustomerId
    plan: PlanId
    items: Annotated[tuple[NewItem, ...], Field(min_length=1, max_length=MAX_ITEMS)]
    coupons: Annotated[
        tuple[CouponId, ...], Field(max_length=MAX_DISCOUNTS, description="Applied to it from its first invoice on")
    ] = ()
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: Annotated[int | None, Field(ge=0, le=MAX_DAYS_UNTIL_DUE)] = None
    proration_basis: ProrationBasis = Field(
        default=ProrationBasis.DAY, description="What share of a whole a part of a period is"
    )
    trial_end_behavior: TrialEnd = Field(
        default=TrialEnd.INVOICE,
        description="What becomes of it where its trial ends and there is no payment method to charge",
    )
    usage_threshold: UsageThresholdBody | None = Field(
        default=None, description="From which amount on its usage is invoiced while its period runs"
    )
    starts_at: Instant | None = Field(default=None, description="When it begins, later or in the past; null: now")
    billing_anchor: Instant | None = Field(
        default=None,
        description="When a period begins, past or ahead: all are counted from it, and the first one may be short",
    )
    period_alignment: PeriodAlignment | None = Field(
        default=None, description="From where periods are counted; null: from the billing_anchor, or else the start"
    )
    stub_period: StubPeriod = Field(
        default=StubPeriod.PRORATED, description="What a first period costs that is shorter than the others"
    )
    trial_days: Annotated[int, Field(ge=0, le=MAX_TRIAL_DAYS)] | None = None
    time_zone: TimeZone | None = None
    billed_together: bool = Field(
        default=False,
        description="Whether its renewals share invoices with those of the customer's others of that kind that fall "
        "due at the same instant and are paid in the same way",
    )

    @property
    def alignment(self) -> PeriodAlignment:
        """The one that is meant where none is named."""
        by_anchor = PeriodAlignment.START if self.billing_anchor is None else PeriodAlignment.ANCHOR
        return self.period_alignment or by_anchor


class SubscriptionFilters(CreatedParameters):
    """Which subscriptions."""

    customer: CustomerId | None = None
    status: SubscriptionStatus | None = None
    test_clock: TestClockId | None = None


SUBSCRIPTIONS: Final = Resource(
    tag="subscriptions",
    about="What customers are billed, period by period.",
    stream=SUBSCRIPTION,
    table=read.TABLE,
    path="/v1/subscriptions",
    prefix=PREFIX,
    seen_with=Permission.SUBSCRIPTIONS_READ,
    changed_with=Permission.SUBSCRIPTIONS_WRITE,
    shows=SubscriptionResource,
    render=subscription_resource,
    example=EXAMPLE,
    filters=SubscriptionFilters,
    expands={"customer": CUSTOMERS},
)


NOT_SOLD: Final = (
    CustomerIsDeleted,
    TestClockIsDeleted,
    PlanNotFound,
    PlanIsArchived,
    ProductIsArchived,
    PriceNotFound,
    PriceIsArchived,
    NoPriceInCurrency,
    InvalidSubscriptionItems,
    PriceOfAnotherPlan,
    PlanIsAddOn,
    OnlyAddOns,
    DuplicatePrice,
    FlatPriceHasNoQuantity,
    MeteredPriceHasNoQuantity,
    MeterTwice,
    MeterIsBilled,
    IntervalsDoNotNest,
    BasisNeedsMonths,
)
"""Why what is asked for is not sold to that customer, be it at first or by a change."""


@SUBSCRIPTIONS.creates(
    body=NewSubscription,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
        "items": [{"price": "price_01m7ywe9z7e398x54gfbrtqnk7", "quantity": 1}],
    },
    refusals=(
        CustomerNotFound,
        *NOT_SOLD,
        UnknownTimeZone,
        StartTooFarBack,
        ContradictoryAnchor,
        BeyondCalendar,
        TooManyBilledTogether,
        InvalidUsageThreshold,
        *NOT_REDEEMABLE,
    ),
)
async def create_subscription(_call: Call, body: NewSubscription) -> Intention:
    """Subscribe a customer to a plan, and to add-ons beside it: by the prices of their plans.

    Without a trial the first period starts, and is invoiced, at once. With `starts_at` ahead it is `incomplete` until
    then, and nothing is billed; with one in the past, every period that has begun since is billed at once, on one
    invoice with a line for each. Periods are counted from the start, from a `billing_anchor`, or by the calendar
    (`period_alignment`): a first one that is shorter is billed by its share, or is free (`stub_period`).
    """
    subscription_id = new_id(PREFIX)
    return SUBSCRIPTIONS.created(
        subscription_id,
        CreateSubscription(
            subscription_id=subscription_id,
            customer_id=body.customer,
            plan_id=body.plan,
            items=tuple(RequestedItem(price_id=item.price, quantity=item.quantity) for item in body.items),
            coupons=tuple(
                RequestedCoupon(coupon_id=coupon, discount_id=new_id(DISCOUNT_PREFIX)) for coupon in body.coupons
            ),
            collection=body.collection_method,
            days_until_due=body.days_until_due,
            proration_basis=body.proration_basis,
            billed_together=body.billed_together,
            trial_end=body.trial_end_behavior,
            usage_threshold=None if body.usage_threshold is None else body.usage_threshold.value,
            starts_at=body.starts_at,
            alignment=body.alignment,
            anchor_at=body.billing_anchor,
            stub=body.stub_period,
            trial_days=body.trial_days,
            time_zone=body.time_zone,
            metadata=body.kept,
        ),
    )


SUBSCRIPTIONS.changes_metadata(needs=Permission.INVOICES_WRITE)
