"""Subscriptions: what a customer is billed, period by period, until it is cancelled."""

from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import (
    Body,
    CustomerId,
    Instant,
    MoneyResource,
    New,
    NoBody,
    PlanId,
    PriceId,
    Quantity,
    SubscriptionId,
    TestClockId,
    TimeZone,
    plain_decimal,
)
from api.http.listing import (
    CreatedParameters,
)
from api.http.operations import Intention
from api.http.resource import Resource
from api.resources.customers import CUSTOMERS, CustomerResource
from api.resources.plans import FeatureResource, IntervalResource, feature_resources, interval_resource
from api.resources.price_models import ModelResource, stated_resource
from domain.catalog.plan import MAX_TRIAL_DAYS, PlanIsArchived, PlanNotFound, TrialTooLong
from domain.catalog.price import BillingTiming, PriceIsArchived, PriceNotFound
from domain.catalog.product import ProductIsArchived
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
from domain.customers.test_clock import TestClockIsDeleted
from domain.identity.permissions import Permission
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import DEFAULT_DAYS_UNTIL_DUE
from domain.kernel.billing_period import BeyondCalendar, UnknownTimeZone
from domain.kernel.identifiers import SUBSCRIPTION as PREFIX
from domain.pricing.models import NoPriceInCurrency
from domain.subscriptions.backdating import StartTooFarBack
from domain.subscriptions.cancel_commands import CancelSubscription, UndoCancellation
from domain.subscriptions.cancellation import (
    CancellationIsScheduled,
    CancellationNotAhead,
    ContradictoryCancellation,
    NoCancellationScheduled,
    SubscriptionIsCanceled,
)
from domain.subscriptions.commands import CreateSubscription, RenewSubscription, RequestedItem
from domain.subscriptions.pause import (
    ResumptionNotAhead,
    SubscriptionNotPausable,
    SubscriptionNotPaused,
    SubscriptionNotSuspendable,
    SubscriptionNotSuspended,
)
from domain.subscriptions.pause_commands import (
    PauseSubscription,
    ReactivateSubscription,
    ResumeSubscription,
    SuspendSubscription,
)
from domain.subscriptions.periods import running_period
from domain.subscriptions.subscription import (
    SUBSCRIPTION,
    PeriodIsBilled,
    RenewalNotDue,
    Subscription,
    SubscriptionIsOverdue,
    SubscriptionStatus,
)
from domain.subscriptions.terms import (
    MAX_ITEMS,
    DuplicatePrice,
    FlatPriceHasNoQuantity,
    IntervalsDoNotNest,
    InvalidSubscriptionItems,
    OnlyAddOns,
    PlanIsAddOn,
    PriceOfAnotherPlan,
    SubscriptionItem,
)
from domain.subscriptions.trial import SubscriptionNotTrialing, TrialNotExtended
from domain.subscriptions.trial_commands import EndTrial, ExtendTrial
from infra.ids import new_id
from projections.models import subscriptions as read

MAX_DAYS_UNTIL_DUE: Final = 365
_ID: Final = "sub_01m7ywe9z7e398x54gfbrtqnk7"


class NewItem(Body):
    """A price, and how many of it."""

    price: PriceId
    quantity: Quantity = Decimal(1)


class NewSubscription(New):
    """A subscription to be. The plan's trial and the customer's time zone hold unless others are given.

    A customer at the portal subscribes to a plan as it is, at once: another start or trial, how it is collected and
    metadata are the merchant's to say, and need the permission `invoices:write`.
    """

    reserved = MappingProxyType(
        dict.fromkeys(
            ("starts_at", "trial_days", "collection_method", "days_until_due", "metadata"), Permission.INVOICES_WRITE
        )
    )

    customer: CustomerId
    plan: PlanId
    items: Annotated[tuple[NewItem, ...], Field(min_length=1, max_length=MAX_ITEMS)]
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: Annotated[int, Field(ge=0, le=MAX_DAYS_UNTIL_DUE)] = DEFAULT_DAYS_UNTIL_DUE
    starts_at: Instant | None = Field(default=None, description="When it begins, later or in the past; null: now")
    trial_days: Annotated[int, Field(ge=0, le=MAX_TRIAL_DAYS)] | None = None
    time_zone: TimeZone | None = None


class Cancellation(Body):
    """When it is to end: with the running period, which is what nothing said means, on a date, or at once."""

    at_period_end: bool | None = Field(default=None, description="true unless `cancel_at` is given; false ends it now")
    cancel_at: Instant | None = Field(default=None, description="A time ahead, in place of the period's end")


class ExtendedTrial(Body):
    """When a trial is to end."""

    trial_end: Instant


class Pause(Body):
    """How long."""

    resumes_at: Instant | None = Field(default=None, description="When it ends by itself; null: until it is resumed")


class SubscriptionItemResource(TypedDict):
    """A price as it was when it was subscribed to, in the customer's currency, and how many of it.

    Its period is longer than the subscription's where its interval is. Both are null during a trial.
    """

    price: str
    product: str
    description: str
    tax_category: str | None
    currency: str
    model: ModelResource
    minimum: MoneyResource | None
    maximum: MoneyResource | None
    timing: BillingTiming
    tax_inclusive: bool
    quantity: str
    interval: IntervalResource
    current_period_start: datetime | None
    current_period_end: datetime | None


class SubscriptionFilters(CreatedParameters):
    """Which subscriptions."""

    customer: CustomerId | None = None
    status: SubscriptionStatus | None = None
    test_clock: TestClockId | None = None


class SubscriptionResource(TypedDict):
    """A subscription. Period fields are null before it begins and during a trial."""

    id: SubscriptionId
    object: Literal["subscription"]
    customer: str | CustomerResource
    plan: str
    plan_version: int
    status: SubscriptionStatus
    items: list[SubscriptionItemResource]
    features: list[FeatureResource]
    interval: IntervalResource
    currency: str
    time_zone: str
    collection_method: CollectionMethod
    days_until_due: int
    starts_at: datetime
    billing_anchor: datetime
    trial_end: datetime | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    paused_at: datetime | None
    resumes_at: datetime | None
    cancel_at: datetime | None
    canceled_at: datetime | None
    latest_invoice: str | None
    past_due_invoices: list[str]
    test_clock: str | None
    metadata: dict[str, str]
    created: datetime


def subscription_resource(subscription: Subscription) -> SubscriptionResource:
    """A subscription as it is answered."""
    terms = subscription.terms
    return {
        "id": subscription.subscription_id,
        "object": "subscription",
        "customer": subscription.customer_id,
        "plan": terms.plan_id,
        "plan_version": terms.plan_version,
        "status": subscription.status,
        "items": [_item(item, subscription) for item in terms.items],
        "features": feature_resources(terms.features),
        "interval": interval_resource(terms.interval),
        "currency": terms.currency,
        "time_zone": terms.time_zone,
        "collection_method": terms.collection,
        "days_until_due": terms.days_until_due,
        "starts_at": subscription.starts_at,
        "billing_anchor": subscription.anchor_at,
        "trial_end": subscription.trial_end,
        "current_period_start": subscription.period_start,
        "current_period_end": subscription.period_end,
        "paused_at": subscription.paused_at,
        "resumes_at": subscription.resumes_at,
        "cancel_at": subscription.cancel_at,
        "canceled_at": subscription.canceled_at,
        "latest_invoice": subscription.latest_invoice_id,
        "past_due_invoices": list(subscription.past_due_invoice_ids),
        "test_clock": subscription.test_clock_id,
        "metadata": dict(subscription.metadata),
        "created": subscription.created_at,
    }


def _item(item: SubscriptionItem, subscription: Subscription) -> SubscriptionItemResource:
    period = running_period(subscription, item.interval)
    return {
        "price": item.price_id,
        "product": item.product_id,
        "description": item.description,
        "tax_category": item.tax_category,
        **stated_resource(item.price),
        "timing": item.timing,
        "tax_inclusive": item.tax_inclusive,
        "quantity": plain_decimal(item.quantity),
        "interval": interval_resource(item.interval or subscription.terms.interval),
        "current_period_start": None if period is None else period.start,
        "current_period_end": None if period is None else period.end,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "subscription",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
    "plan_version": 1,
    "status": "active",
    "items": [
        {
            "price": "price_01m7ywe9z7e398x54gfbrtqnk7",
            "product": "prod_01m7ywe9z7e398x54gfbrtqnk7",
            "tax_category": "saas",
            "description": "Team, monthly",
            "currency": "EUR",
            "model": {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}},
            "minimum": None,
            "maximum": None,
            "timing": "in_advance",
            "tax_inclusive": False,
            "quantity": "1",
            "interval": {"unit": "month", "count": 1},
            "current_period_start": "2026-01-01T00:00:00Z",
            "current_period_end": "2026-01-31T23:00:00Z",
        }
    ],
    "features": [{"key": "seats", "limit": 10}],
    "interval": {"unit": "month", "count": 1},
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "collection_method": "charge_automatically",
    "days_until_due": 30,
    "starts_at": "2026-01-01T00:00:00Z",
    "billing_anchor": "2026-01-01T00:00:00Z",
    "trial_end": None,
    "current_period_start": "2026-01-01T00:00:00Z",
    "current_period_end": "2026-01-31T23:00:00Z",
    "paused_at": None,
    "resumes_at": None,
    "cancel_at": None,
    "canceled_at": None,
    "latest_invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "past_due_invoices": [],
    "test_clock": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
}

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


@SUBSCRIPTIONS.creates(
    body=NewSubscription,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
        "items": [{"price": "price_01m7ywe9z7e398x54gfbrtqnk7", "quantity": 1}],
    },
    refusals=(
        CustomerNotFound,
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
        IntervalsDoNotNest,
        UnknownTimeZone,
        StartTooFarBack,
        BeyondCalendar,
    ),
)
async def create_subscription(_call: Call, body: NewSubscription) -> Intention:
    """Subscribe a customer to a plan, and to add-ons beside it: by the prices of their plans.

    Without a trial the first period starts, and is invoiced, at once. With `starts_at` ahead it is `incomplete` until
    then, and nothing is billed; with one in the past, every period that has begun since is billed at once, on one
    invoice with a line for each.
    """
    subscription_id = new_id(PREFIX)
    return SUBSCRIPTIONS.created(
        subscription_id,
        CreateSubscription(
            subscription_id=subscription_id,
            customer_id=body.customer,
            plan_id=body.plan,
            items=tuple(RequestedItem(price_id=item.price, quantity=item.quantity) for item in body.items),
            collection=body.collection_method,
            days_until_due=body.days_until_due,
            starts_at=body.starts_at,
            trial_days=body.trial_days,
            time_zone=body.time_zone,
            metadata=body.kept,
        ),
    )


SUBSCRIPTIONS.changes_metadata(needs=Permission.INVOICES_WRITE)


@SUBSCRIPTIONS.changes(
    "POST",
    "cancel",
    body=Cancellation,
    body_example={"at_period_end": True},
    example={"cancel_at": "2026-01-31T23:00:00Z"},
    refusals=(
        SubscriptionIsCanceled,
        SubscriptionIsOverdue,
        CancellationNotAhead,
        ContradictoryCancellation,
        PeriodIsBilled,
        BeyondCalendar,
    ),
)
async def cancel_subscription(call: Call, body: Cancellation) -> Intention:
    """Cancel a subscription: with its period, on a date, or at once. Asked again, the end that is scheduled moves.

    Periods that began before are billed first; at the very instant at which one would begin, a subscription that is
    cancelled at once or for that date ends without it. Before a period's end, prices in arrears are billed for the days
    that were used. Nothing is credited for the rest of a period that is billed in advance: void its open invoice, or
    refund what it paid.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    with_period = body.cancel_at is None if body.at_period_end is None else body.at_period_end
    return SUBSCRIPTIONS.changed(
        subscription_id,
        CancelSubscription(subscription_id=subscription_id, at_period_end=with_period, cancel_at=body.cancel_at),
    )


@SUBSCRIPTIONS.changes(
    "POST",
    "undo-cancel",
    body=NoBody,
    refusals=(
        SubscriptionIsCanceled,
        SubscriptionIsOverdue,
        NoCancellationScheduled,
        PeriodIsBilled,
        BeyondCalendar,
    ),
)
async def undo_cancel_subscription(call: Call, _body: NoBody) -> Intention:
    """Take back an end that is scheduled: the subscription goes on, period by period.

    Until it has ended; once it has, subscribe anew.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(subscription_id, UndoCancellation(subscription_id=subscription_id))


_TRIAL_REFUSALS: Final = (
    SubscriptionNotTrialing,
    SubscriptionIsCanceled,
    SubscriptionIsOverdue,
    CancellationIsScheduled,
    CustomerIsDeleted,
    TestClockIsDeleted,
    PeriodIsBilled,
    BeyondCalendar,
)


@SUBSCRIPTIONS.changes(
    "POST",
    "extend-trial",
    body=ExtendedTrial,
    body_example={"trial_end": "2026-02-01T00:00:00Z"},
    example={
        "status": "trialing",
        "billing_anchor": "2026-02-01T00:00:00Z",
        "trial_end": "2026-02-01T00:00:00Z",
        "current_period_start": None,
        "current_period_end": None,
        "latest_invoice": None,
    },
    refusals=(TrialNotExtended, TrialTooLong, *_TRIAL_REFUSALS),
    needs=Permission.INVOICES_WRITE,
)
async def extend_trial(call: Call, body: ExtendedTrial) -> Intention:
    """Let a trial end later. The first period begins, and is billed, at its new end."""
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(
        subscription_id, ExtendTrial(subscription_id=subscription_id, trial_end=body.trial_end)
    )


@SUBSCRIPTIONS.changes(
    "POST",
    "end-trial",
    body=NoBody,
    example={"trial_end": "2026-01-01T00:00:00Z"},
    refusals=_TRIAL_REFUSALS,
    needs=Permission.INVOICES_WRITE,
)
async def end_trial(call: Call, _body: NoBody) -> Intention:
    """End a trial now: the first period begins at this instant, and is billed; the others are counted from it."""
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(subscription_id, EndTrial(subscription_id=subscription_id))


_HELD_UP_REFUSALS: Final = (SubscriptionIsCanceled, SubscriptionIsOverdue, PeriodIsBilled, BeyondCalendar)


@SUBSCRIPTIONS.changes(
    "POST",
    "pause",
    body=Pause,
    body_example={"resumes_at": "2026-03-01T00:00:00Z"},
    example={"status": "paused", "paused_at": "2026-01-15T00:00:00Z", "resumes_at": "2026-03-01T00:00:00Z"},
    refusals=(SubscriptionNotPausable, CancellationIsScheduled, ResumptionNotAhead, *_HELD_UP_REFUSALS),
    needs=Permission.INVOICES_WRITE,
)
async def pause_subscription(call: Call, body: Pause) -> Intention:
    """Pause a subscription: no period begins until it is resumed.

    What is paid stays paid, and nothing is given back. Prices in arrears are billed for the days that were used.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    command = PauseSubscription(subscription_id=subscription_id, resumes_at=body.resumes_at)
    return SUBSCRIPTIONS.changed(subscription_id, command)


@SUBSCRIPTIONS.changes(
    "POST",
    "resume",
    body=NoBody,
    refusals=(SubscriptionNotPaused, CustomerIsDeleted, TestClockIsDeleted, *_HELD_UP_REFUSALS),
    needs=Permission.INVOICES_WRITE,
)
async def resume_subscription(call: Call, _body: NoBody) -> Intention:
    """Resume a subscription that is paused, on its old schedule.

    Within a period that is paid, nothing is billed. Later, prices in advance are billed for the days that are left of
    the period that the schedule is in.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(subscription_id, ResumeSubscription(subscription_id=subscription_id))


@SUBSCRIPTIONS.changes(
    "POST",
    "suspend",
    body=NoBody,
    example={"status": "suspended"},
    refusals=(SubscriptionNotSuspendable, *_HELD_UP_REFUSALS),
    needs=Permission.INVOICES_WRITE,
)
async def suspend_subscription(call: Call, _body: NoBody) -> Intention:
    """Suspend a subscription: its status says that its service is withheld, as for an unpaid invoice.

    Its periods go on and are billed. To bill nothing meanwhile, pause it.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(subscription_id, SuspendSubscription(subscription_id=subscription_id))


@SUBSCRIPTIONS.changes(
    "POST",
    "reactivate",
    body=NoBody,
    refusals=(SubscriptionNotSuspended, *_HELD_UP_REFUSALS),
    needs=Permission.INVOICES_WRITE,
)
async def reactivate_subscription(call: Call, _body: NoBody) -> Intention:
    """Give the service of a suspended subscription again.

    It is past due if invoices of it are still to be collected.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(subscription_id, ReactivateSubscription(subscription_id=subscription_id))


@SUBSCRIPTIONS.changes(
    "POST",
    "renew",
    body=NoBody,
    example={"current_period_start": "2026-01-31T23:00:00Z", "current_period_end": "2026-02-28T23:00:00Z"},
    refusals=(SubscriptionIsCanceled, RenewalNotDue, PeriodIsBilled, BeyondCalendar),
)
async def renew_subscription(call: Call, _body: NoBody) -> Intention:
    """Renew a subscription by hand: every period that is due starts, each at its own time.

    The billing clock does this by itself; a period is billed once, whoever is first.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(subscription_id, RenewSubscription(subscription_id=subscription_id))
