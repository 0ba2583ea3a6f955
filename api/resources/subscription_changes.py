"""What becomes of a subscription's items: changed now, scheduled, taken back, or tried for what it would bill."""

from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Instant, NoBody, PlanId, PriceId, Quantity
from api.http.foreseen_invoices import Usage, foreseen_invoice
from api.http.operations import Intention
from api.http.problems import DRY_RUNS_BUSY, TAX_SERVICE_SILENT
from api.resources.invoice_resource import EXAMPLE as INVOICE_EXAMPLE
from api.resources.invoice_resource import InvoiceResource, invoice_resource
from api.resources.subscription_resource import SubscriptionResource, subscription_resource
from api.resources.subscriptions import NOT_SOLD, SUBSCRIPTIONS
from api.resources.usage_thresholds import UsageThresholdBody
from domain.customers.customer import CustomerIsDeleted
from domain.customers.test_clock import TestClockIsDeleted
from domain.identity.permissions import Permission
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice
from domain.kernel.billing_period import BeyondCalendar
from domain.kernel.stream import Streams
from domain.subscriptions.billing_date import BillingDateNotMovable
from domain.subscriptions.billing_date_commands import ChangeBillingDate
from domain.subscriptions.cancellation import CancellationIsScheduled, SubscriptionIsCanceled
from domain.subscriptions.change import (
    ChangeIsScheduled,
    ChangeNotAhead,
    ContradictoryChange,
    NoChangeScheduled,
    NothingChanges,
    PriceNotSubscribed,
    Proration,
    SubscriptionIsPaused,
    TooMuchWaits,
)
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription, UnscheduleChange
from domain.subscriptions.preview_commands import NothingUpcoming, RehearseChange
from domain.subscriptions.proration import AnchorMustBeReset
from domain.subscriptions.subscription import SUBSCRIPTION, PeriodIsBilled, SubscriptionIsOverdue, SubscriptionNotFound
from domain.subscriptions.terms import (
    MAX_ITEMS,
    InvalidUsageThreshold,
)
from domain.subscriptions.usage_threshold import SetUsageThreshold
from domain.tax.remote import TaxAnswer


class ItemChange(Body):
    """A price, and how many of it from then on."""

    price: PriceId
    quantity: Quantity | None = Field(default=None, description="null: as many as there are, or one of a new price")


class SubscriptionChange(Body):
    """What is to be another. Items that are not named stay as they are.

    Another plan takes the prices of the present one away, and add-ons stay. The present plan, named again, is had as it
    is sold now.
    """

    plan: PlanId | None = None
    items: Annotated[tuple[ItemChange, ...], Field(max_length=MAX_ITEMS)] = ()
    remove: Annotated[tuple[PriceId, ...], Field(max_length=MAX_ITEMS, description="Prices to take away")] = ()
    proration: Proration = Proration.INVOICE_NOW
    reset_anchor: bool = Field(default=False, description="Whether a new period begins with the change, billed whole")
    effective_at: Instant | None = Field(default=None, description="A time ahead; null: now, or at the period's end")


class WantedThreshold(Body):
    """From which amount on usage is invoiced while its period runs."""

    usage_threshold: UsageThresholdBody | None


class BillingDate(Body):
    """From when on periods are counted."""

    billing_anchor: Instant


class ChangePreview(TypedDict):
    """The subscription as it will be, and the invoice that bills the change, if nothing else becomes of it until then.

    The invoice has no number yet, and its id names nothing before it is there. With `usage_so_far` it bills usage, of
    what is counted by now.
    """

    object: Literal["subscription_change_preview"]
    subscription: SubscriptionResource
    invoice: InvoiceResource
    usage_so_far: bool


_REFUSALS: Final = (
    NothingChanges,
    PriceNotSubscribed,
    ChangeIsScheduled,
    ChangeNotAhead,
    ContradictoryChange,
    AnchorMustBeReset,
    TooMuchWaits,
    SubscriptionIsPaused,
    SubscriptionIsCanceled,
    SubscriptionIsOverdue,
    CancellationIsScheduled,
    *NOT_SOLD,
    PeriodIsBilled,
    BeyondCalendar,
)

_BODY_EXAMPLE: Final = {"items": [{"price": "price_01m7ywe9z7e398x54gfbrtqnk7", "quantity": 3}]}


def _command(subscription_id: str, body: SubscriptionChange) -> ChangeSubscription:
    return ChangeSubscription(
        subscription_id=subscription_id,
        items=tuple(ChangedItem(price_id=item.price, quantity=item.quantity) for item in body.items),
        remove=body.remove,
        plan_id=body.plan,
        proration=body.proration,
        resets_anchor=body.reset_anchor,
        effective_at=body.effective_at,
    )


@SUBSCRIPTIONS.changes(
    "POST",
    "change",
    body=SubscriptionChange,
    body_example=_BODY_EXAMPLE,
    refusals=_REFUSALS,
    needs=Permission.INVOICES_WRITE,
)
async def change_subscription(call: Call, body: SubscriptionChange) -> Intention:
    """Change what a subscription consists of: its plan, its prices, how many of each, add-ons; several at once.

    Prices in advance: what is unused of what was paid is given back, at what discounts had left of it and with the tax
    that it bore, and the rest of the new is charged, by the subscription's `proration_basis`. Prices in arrears: what
    was used of the old is billed, and the new one from there on. `proration` says when: on an invoice at once
    (`invoice_now`), or on the next (`next_invoice`, in `pending_lines` until then); `none` bills nothing for the
    change, and `period_end` lets it wait for the period's end. What an invoice comes to below zero is the customer's
    balance.

    Another interval needs `reset_anchor`, or to wait: a new period then begins, whole. With `effective_at` the change
    is scheduled for that time.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(subscription_id, _command(subscription_id, body))


@SUBSCRIPTIONS.changes(
    "POST",
    "unschedule-change",
    body=NoBody,
    refusals=(SubscriptionIsCanceled, SubscriptionIsOverdue, NoChangeScheduled, PeriodIsBilled, BeyondCalendar),
    needs=Permission.INVOICES_WRITE,
)
async def unschedule_subscription_change(call: Call, _body: NoBody) -> Intention:
    """Take back a change that is scheduled, until it has taken effect."""
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(subscription_id, UnscheduleChange(subscription_id=subscription_id))


@SUBSCRIPTIONS.changes(
    "POST",
    "change-billing-date",
    body=BillingDate,
    body_example={"billing_anchor": "2026-02-15T00:00:00Z"},
    example={"billing_anchor": "2026-02-15T00:00:00Z"},
    refusals=(
        BillingDateNotMovable,
        ChangeIsScheduled,
        SubscriptionIsCanceled,
        SubscriptionIsOverdue,
        CancellationIsScheduled,
        CustomerIsDeleted,
        TestClockIsDeleted,
        PeriodIsBilled,
        BeyondCalendar,
    ),
    needs=Permission.INVOICES_WRITE,
)
async def change_billing_date(call: Call, body: BillingDate) -> Intention:
    """Move the billing date: the periods after the running one are counted from another anchor, past or ahead.

    The running period stays as it is. The next one begins where it ends and lasts until the new date: of a whole period
    it bills its share, by the subscription's `proration_basis`.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    command = ChangeBillingDate(subscription_id=subscription_id, anchor_at=body.billing_anchor)
    return SUBSCRIPTIONS.changed(subscription_id, command)


@SUBSCRIPTIONS.changes(
    "POST",
    "set-usage-threshold",
    body=WantedThreshold,
    body_example={"usage_threshold": {"amount": {"amount": 50000, "currency": "EUR"}, "recurring": True}},
    example={"usage_threshold": {"amount": {"amount": 50000, "currency": "EUR"}, "recurring": True}},
    refusals=(
        InvalidUsageThreshold,
        SubscriptionIsCanceled,
        SubscriptionIsOverdue,
        CustomerIsDeleted,
        TestClockIsDeleted,
        PeriodIsBilled,
        BeyondCalendar,
    ),
    needs=Permission.INVOICES_WRITE,
)
async def set_usage_threshold(call: Call, body: WantedThreshold) -> Intention:
    """Say from which amount on the usage of a subscription is invoiced while its period runs.

    What all its metered prices have come to in their running periods, and no invoice has billed, is looked at again and
    again; once that reaches the amount, an invoice of its own bills it. The period's end bills the rest, so that all of
    them come to what one invoice would. With null, usage is invoiced when its period is over.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    threshold = None if body.usage_threshold is None else body.usage_threshold.value
    return SUBSCRIPTIONS.changed(
        subscription_id, SetUsageThreshold(subscription_id=subscription_id, threshold=threshold)
    )


@SUBSCRIPTIONS.unstored(
    "POST",
    f"{SUBSCRIPTIONS.path_of_one}/preview-change",
    body=SubscriptionChange,
    body_example=_BODY_EXAMPLE,
    answers=ChangePreview,
    example={
        "object": "subscription_change_preview",
        "subscription": SUBSCRIPTIONS.example,
        "invoice": INVOICE_EXAMPLE,
        "usage_so_far": False,
    },
    refusals=(SubscriptionNotFound, NothingUpcoming, *_REFUSALS),
    problems=(DRY_RUNS_BUSY, TAX_SERVICE_SILENT),
    needs=Permission.INVOICES_WRITE,
)
async def preview_subscription_change(call: Call, body: SubscriptionChange) -> ChangePreview:
    """Try a change: the invoice that bills it, be it at once or the next, and the subscription then.

    Nothing is recorded. The change itself is tried, on what is committed now, and then what comes next, each at its own
    time: lines, amounts and times are those of the invoice that will come, to the byte, unless something changes until
    then.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)

    def invoice_of(streams: Streams) -> Invoice:
        subscription = SUBSCRIPTION.of(streams, subscription_id)
        assert subscription.latest_invoice_id is not None, "what was rehearsed was invoiced"
        return INVOICE.of(streams, subscription.latest_invoice_id)

    def changed(streams: Streams) -> ChangePreview:
        return {
            "object": "subscription_change_preview",
            "subscription": subscription_resource(SUBSCRIPTION.of(streams, subscription_id)),
            "invoice": {**invoice_resource(invoice_of(streams)), "number": None},
            "usage_so_far": invoice_of(streams).bills_usage,
        }

    def command_with(usage: Usage, tax: TaxAnswer | None) -> RehearseChange:
        return RehearseChange(change=_command(subscription_id, body), usage=usage, tax=tax)

    return await foreseen_invoice(call, command_with, invoice_of, changed)
