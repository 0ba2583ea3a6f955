"""A subscription as it is answered."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import (
    MoneyResource,
    SubscriptionId,
    plain_decimal,
)
from api.resources.customers import CustomerResource
from api.resources.invoice_line_resource import InvoiceLineResource, invoice_line_resource
from api.resources.plans import FeatureResource, IntervalResource, feature_resources, interval_resource
from api.resources.price_models import CommitmentResource, ModelResource, stated_resource
from api.resources.usage_thresholds import UsageThresholdResource, threshold_resource
from domain.catalog.price import BillingTiming
from domain.invoicing.collection import CollectionMethod
from domain.subscriptions.alignment import PeriodAlignment, StubPeriod
from domain.subscriptions.change import Proration, ScheduledChange
from domain.subscriptions.periods import running_period
from domain.subscriptions.proration_basis import ProrationBasis
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.terms import (
    SubscriptionItem,
    TrialEnd,
)
from domain.subscriptions.transfer import ScheduledTransfer

_ID: Final = "sub_01m7ywe9z7e398x54gfbrtqnk7"


class SubscriptionItemResource(TypedDict):
    """A price as it was when it was subscribed to, in the customer's currency, and how many of it: null where a `meter`
    counts that.

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
    commitment: CommitmentResource | None
    timing: BillingTiming
    tax_inclusive: bool
    quantity: str | None
    meter: str | None
    interval: IntervalResource
    current_period_start: datetime | None
    current_period_end: datetime | None


class ScheduledItem(TypedDict):
    """An item that is to be."""

    price: str
    description: str
    quantity: str | None


class ScheduledChangeResource(TypedDict):
    """What the subscription is to consist of from a time to come on; by a migration of its plan, if one asks for it."""

    effective_at: datetime
    plan: str
    items: list[ScheduledItem]
    proration: Proration
    reset_anchor: bool
    migration: str | None


class ScheduledTransferResource(TypedDict):
    """Who takes the subscription over when its period is over, and what will be theirs then."""

    customer: str
    subscription: str


class SubscriptionResource(TypedDict):
    """A subscription. Period fields are null before it begins and during a trial.

    `pending_lines` are what changes in the middle of a period charge and give back; the next invoice bills them.
    `transferred_from` is the subscription of another customer whose place it took, `transferred_to` the one that took
    its place.
    """

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
    billed_together: bool
    proration_basis: ProrationBasis
    trial_end_behavior: TrialEnd
    usage_threshold: UsageThresholdResource | None
    starts_at: datetime
    period_alignment: PeriodAlignment
    billing_anchor: datetime
    stub_period: StubPeriod
    trial_end: datetime | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    paused_at: datetime | None
    resumes_at: datetime | None
    scheduled_change: ScheduledChangeResource | None
    cancel_at: datetime | None
    canceled_at: datetime | None
    scheduled_transfer: ScheduledTransferResource | None
    transferred_from: str | None
    transferred_to: str | None
    pending_lines: list[InvoiceLineResource]
    latest_invoice: str | None
    past_due_invoices: list[str]
    discounts: Annotated[list[str], Field(description="Its own, besides those of its customer.")]
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
        "billed_together": terms.billed_together,
        "proration_basis": terms.proration_basis,
        "trial_end_behavior": terms.trial_end,
        "usage_threshold": threshold_resource(terms.usage_threshold),
        "starts_at": subscription.starts_at,
        "period_alignment": subscription.alignment,
        "billing_anchor": subscription.anchor_at,
        "stub_period": terms.stub,
        "trial_end": subscription.trial_end,
        "current_period_start": subscription.period_start,
        "current_period_end": subscription.period_end,
        "paused_at": subscription.paused_at,
        "resumes_at": subscription.resumes_at,
        "scheduled_change": _scheduled(subscription.scheduled),
        "cancel_at": subscription.cancel_at,
        "canceled_at": subscription.canceled_at,
        "scheduled_transfer": _transfer(subscription.transfer),
        "transferred_from": subscription.transferred_from,
        "transferred_to": subscription.transferred_to,
        "pending_lines": [invoice_line_resource(line) for line in subscription.pending],
        "latest_invoice": subscription.latest_invoice_id,
        "past_due_invoices": list(subscription.past_due_invoice_ids),
        "discounts": list(subscription.discount_ids),
        "test_clock": subscription.test_clock_id,
        "metadata": dict(subscription.metadata),
        "created": subscription.created_at,
    }


def _scheduled(change: ScheduledChange | None) -> ScheduledChangeResource | None:
    if change is None:
        return None
    return {
        "effective_at": change.at,
        "plan": change.terms.plan_id,
        "items": [
            {"price": item.price_id, "description": item.description, "quantity": _quantity(item)}
            for item in change.terms.items
        ],
        "proration": change.proration,
        "reset_anchor": change.resets_anchor,
        "migration": change.migration_id,
    }


def _transfer(transfer: ScheduledTransfer | None) -> ScheduledTransferResource | None:
    return None if transfer is None else {"customer": transfer.customer_id, "subscription": transfer.subscription_id}


def _quantity(item: SubscriptionItem) -> str | None:
    return None if item.quantity is None else plain_decimal(item.quantity)


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
        "quantity": _quantity(item),
        "meter": item.meter_id,
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
            "commitment": None,
            "timing": "in_advance",
            "tax_inclusive": False,
            "quantity": "1",
            "meter": None,
            "interval": {"unit": "month", "count": 1},
            "current_period_start": "2026-01-01T00:00:00Z",
            "current_period_end": "2026-01-31T23:00:00Z",
        }
    ],
    "features": [{"key": "seats", "limit": 10, "meter": None, "limit_kind": "hard"}],
    "interval": {"unit": "month", "count": 1},
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "collection_method": "charge_automatically",
    "days_until_due": 30,
    "billed_together": False,
    "proration_basis": "day",
    "trial_end_behavior": "invoice",
    "usage_threshold": None,
    "starts_at": "2026-01-01T00:00:00Z",
    "period_alignment": "start",
    "stub_period": "prorated",
    "billing_anchor": "2026-01-01T00:00:00Z",
    "trial_end": None,
    "current_period_start": "2026-01-01T00:00:00Z",
    "current_period_end": "2026-01-31T23:00:00Z",
    "paused_at": None,
    "resumes_at": None,
    "scheduled_change": None,
    "cancel_at": None,
    "canceled_at": None,
    "scheduled_transfer": None,
    "transferred_from": None,
    "transferred_to": None,
    "pending_lines": [],
    "latest_invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "past_due_invoices": [],
    "discounts": [],
    "test_clock": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
}
