"""Subscriptions: what a customer is billed, period by period, until it is cancelled."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import (
    Body,
    CustomerId,
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
    ListResource,
    Parameters,
    expand,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from api.resources.customers import CustomerResource, load_customers
from api.resources.plans import IntervalResource, interval_resource
from api.resources.prices import ModelResource, model_resource
from domain.catalog.plan import MAX_TRIAL_DAYS, PlanIsArchived, PlanNotFound
from domain.catalog.price import BillingTiming, PriceIsArchived, PriceNotFound
from domain.catalog.product import ProductIsArchived
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound, NotCustomersCurrency
from domain.invoicing.commands import DEFAULT_DAYS_UNTIL_DUE
from domain.invoicing.invoice import CollectionMethod
from domain.kernel.billing_period import BeyondCalendar, UnknownTimeZone
from domain.kernel.identifiers import SUBSCRIPTION as PREFIX
from domain.kernel.stream import Streams
from domain.subscriptions.commands import CancelSubscription, CreateSubscription, RenewSubscription, RequestedItem
from domain.subscriptions.subscription import (
    MAX_ITEMS,
    SUBSCRIPTION,
    FlatPriceHasNoQuantity,
    InvalidSubscriptionItems,
    PeriodIsBilled,
    RenewalNotDue,
    Subscription,
    SubscriptionIsCanceled,
    SubscriptionIsOverdue,
    SubscriptionNotFound,
    SubscriptionStatus,
)
from infra.ids import new_id
from projections.models import subscriptions as read
from projections.read_model import Projection
from projections.reading import Reader, many

SUBSCRIPTIONS: Final = Operations(tag="subscriptions", about="What customers are billed, period by period.")
MAX_DAYS_UNTIL_DUE: Final = 365
_ID: Final = "sub_01m7ywe9z7e398x54gfbrtqnk7"


class NewItem(Body):
    """A price, and how many of it."""

    price: PriceId
    quantity: Quantity = Decimal(1)


class NewSubscription(Body):
    """A subscription to be. The plan's trial and the customer's time zone hold unless others are given."""

    customer: CustomerId
    plan: PlanId
    items: Annotated[tuple[NewItem, ...], Field(min_length=1, max_length=MAX_ITEMS)]
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: Annotated[int, Field(ge=0, le=MAX_DAYS_UNTIL_DUE)] = DEFAULT_DAYS_UNTIL_DUE
    trial_days: Annotated[int, Field(ge=0, le=MAX_TRIAL_DAYS)] | None = None
    time_zone: TimeZone | None = None


class Cancellation(Body):
    """When it is to end: with the running period, or at once."""

    at_period_end: bool = True


class SubscriptionItemResource(TypedDict):
    """A price as it was when it was subscribed to, and how many of it."""

    price: str
    description: str
    model: ModelResource
    timing: BillingTiming
    quantity: str


class SubscriptionExpansion(Parameters):
    """What to show in place of its id."""

    expand: Annotated[tuple[Literal["customer"], ...], Field(alias="expand[]", max_length=10)] = ()


class SubscriptionFilters(CreatedParameters, SubscriptionExpansion):
    """Which subscriptions."""

    customer: CustomerId | None = None
    status: SubscriptionStatus | None = None
    test_clock: TestClockId | None = None


class SubscriptionResource(TypedDict):
    """A subscription. Period fields are null during a trial."""

    id: SubscriptionId
    object: Literal["subscription"]
    customer: str | CustomerResource
    plan: str
    plan_version: int
    status: SubscriptionStatus
    items: list[SubscriptionItemResource]
    interval: IntervalResource
    currency: str
    time_zone: str
    collection_method: CollectionMethod
    days_until_due: int
    billing_anchor: datetime
    trial_end: datetime | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    cancel_at: datetime | None
    canceled_at: datetime | None
    latest_invoice: str | None
    past_due_invoices: list[str]
    test_clock: str | None
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
        "items": [
            {
                "price": item.price_id,
                "description": item.description,
                "model": model_resource(item.model),
                "timing": item.timing,
                "quantity": plain_decimal(item.quantity),
            }
            for item in terms.items
        ],
        "interval": interval_resource(terms.interval),
        "currency": terms.currency,
        "time_zone": terms.time_zone,
        "collection_method": terms.collection,
        "days_until_due": terms.days_until_due,
        "billing_anchor": subscription.anchor_at,
        "trial_end": subscription.trial_end,
        "current_period_start": subscription.period_start,
        "current_period_end": subscription.period_end,
        "cancel_at": subscription.cancel_at,
        "canceled_at": subscription.canceled_at,
        "latest_invoice": subscription.latest_invoice_id,
        "past_due_invoices": list(subscription.past_due_invoice_ids),
        "test_clock": subscription.test_clock_id,
        "created": subscription.created_at,
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
            "description": "Team, monthly",
            "model": {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}},
            "timing": "in_advance",
            "quantity": "1",
        }
    ],
    "interval": {"unit": "month", "count": 1},
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "collection_method": "charge_automatically",
    "days_until_due": 30,
    "billing_anchor": "2026-01-01T00:00:00Z",
    "trial_end": None,
    "current_period_start": "2026-01-01T00:00:00Z",
    "current_period_end": "2026-01-31T23:00:00Z",
    "cancel_at": None,
    "canceled_at": None,
    "latest_invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "past_due_invoices": [],
    "test_clock": None,
    "created": "2026-01-01T00:00:00Z",
}


def _decided(streams: Streams, subscription_id: str) -> SubscriptionResource:
    return subscription_resource(SUBSCRIPTION.of(streams, subscription_id))


def _path_id(call: Call) -> str:
    return call.id("subscription_id", PREFIX, SubscriptionNotFound)


@SUBSCRIPTIONS.command(
    "POST",
    "/v1/subscriptions",
    body=NewSubscription,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
        "items": [{"price": "price_01m7ywe9z7e398x54gfbrtqnk7", "quantity": 1}],
        "trial_days": 0,
    },
    answers=SubscriptionResource,
    example=EXAMPLE,
    status=201,
    refusals=(
        CustomerNotFound,
        CustomerIsDeleted,
        PlanNotFound,
        PlanIsArchived,
        ProductIsArchived,
        PriceNotFound,
        PriceIsArchived,
        NotCustomersCurrency,
        InvalidSubscriptionItems,
        FlatPriceHasNoQuantity,
        UnknownTimeZone,
        BeyondCalendar,
    ),
)
async def create_subscription(_call: Call, body: NewSubscription) -> Intention:
    """Subscribe a customer to a plan.

    Without a trial the first period starts, and is invoiced, at once.
    """
    subscription_id = new_id(PREFIX)
    return Intention(
        command=CreateSubscription(
            subscription_id=subscription_id,
            customer_id=body.customer,
            plan_id=body.plan,
            items=tuple(RequestedItem(price_id=item.price, quantity=item.quantity) for item in body.items),
            collection=body.collection_method,
            days_until_due=body.days_until_due,
            trial_days=body.trial_days,
            time_zone=body.time_zone,
        ),
        render=lambda streams: _decided(streams, subscription_id),
        location=f"/v1/subscriptions/{subscription_id}",
    )


@SUBSCRIPTIONS.command(
    "POST",
    "/v1/subscriptions/{subscription_id}/cancel",
    body=Cancellation,
    body_example={"at_period_end": True},
    answers=SubscriptionResource,
    example=EXAMPLE | {"cancel_at": "2026-01-31T23:00:00Z"},
    refusals=(SubscriptionNotFound, SubscriptionIsCanceled, SubscriptionIsOverdue, PeriodIsBilled, BeyondCalendar),
)
async def cancel_subscription(call: Call, body: Cancellation) -> Intention:
    """Cancel a subscription, with its period or at once. Periods that are due by now are billed first."""
    subscription_id = _path_id(call)
    return Intention(
        command=CancelSubscription(subscription_id=subscription_id, at_period_end=body.at_period_end),
        render=lambda streams: _decided(streams, subscription_id),
    )


@SUBSCRIPTIONS.command(
    "POST",
    "/v1/subscriptions/{subscription_id}/renew",
    body=NoBody,
    answers=SubscriptionResource,
    example=EXAMPLE | {"current_period_start": "2026-01-31T23:00:00Z", "current_period_end": "2026-02-28T23:00:00Z"},
    refusals=(SubscriptionNotFound, SubscriptionIsCanceled, RenewalNotDue, PeriodIsBilled, BeyondCalendar),
)
async def renew_subscription(call: Call, _body: NoBody) -> Intention:
    """Renew a subscription by hand, if its next period is due.

    The billing clock does this by itself; a period is billed once, whoever is first.
    """
    subscription_id = _path_id(call)
    return Intention(
        command=RenewSubscription(subscription_id=subscription_id),
        render=lambda streams: _decided(streams, subscription_id),
    )


_LOADERS: Final = {"customer": load_customers}


async def load_subscriptions(call: Call, connection: Reader, ids: Sequence[str]) -> Mapping[str, object]:
    """Subscriptions by id, for expansion."""
    found = await many(connection, read.TABLE, call.tenant_id, ids)
    return {each.state.subscription_id: subscription_resource(each.state) for each in found}


@SUBSCRIPTIONS.query(
    "/v1/subscriptions/{subscription_id}",
    answers=SubscriptionResource,
    example=EXAMPLE,
    parameters=SubscriptionExpansion,
    refusals=(SubscriptionNotFound,),
    reads=(Projection.BILLING,),
)
async def get_subscription(call: Call, asked: SubscriptionExpansion) -> SubscriptionResource:
    """Get a subscription."""
    wanted = _path_id(call)
    async with call.reading() as connection:
        each = await read.get(connection, call.tenant_id, wanted)
        if each is None:
            raise SubscriptionNotFound(subscription=wanted)
        resource = subscription_resource(each.state)
        await expand(call, connection, [resource], asked.expand, _LOADERS)
    return resource


@SUBSCRIPTIONS.query(
    "/v1/subscriptions",
    answers=ListResource[SubscriptionResource],
    example=list_example(EXAMPLE),
    parameters=SubscriptionFilters,
    reads=(Projection.BILLING,),
)
async def list_subscriptions(call: Call, asked: SubscriptionFilters) -> ListResource[SubscriptionResource]:
    """List subscriptions, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        page = await read.page(
            connection,
            call.tenant_id,
            customer_id=asked.customer,
            status=asked.status,
            test_clock_id=asked.test_clock,
            created=asked.created,
            request=request,
        )
        resources = [subscription_resource(each.state) for each in page.items]
        await expand(call, connection, resources, asked.expand, _LOADERS)
    return page_resource(page, request, resources)
