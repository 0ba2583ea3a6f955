"""A subscription: what a customer is billed, period by period, until it is cancelled.

Its terms (plan version, prices, interval, time zone) are copied into its first event and every change, and never
change with the catalogue. Periods are counted from the anchor, so the 31st comes back after a short month and daylight
saving moves no boundary. A period is billed once: its index is claimed in the store for ever.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, DueWork, Finish, Free, Schedule, Stream, Streams, Take, Topic, WorkKind
from domain.subscriptions import discounts as discounts_of
from domain.subscriptions import metering, paying, usage_threshold
from domain.subscriptions.alignment import PeriodAlignment
from domain.subscriptions.billing_date import SubscriptionAnchorChanged
from domain.subscriptions.cancellation import (
    SubscriptionCanceled,
    SubscriptionCancellationScheduled,
    SubscriptionCancellationUndone,
    SubscriptionIsCanceled,
)
from domain.subscriptions.change import (
    SubscriptionChanged,
    SubscriptionChangeScheduled,
    SubscriptionChangeUnscheduled,
)
from domain.subscriptions.collection import SubscriptionPastDue, SubscriptionRecovered
from domain.subscriptions.discounts import (
    SubscriptionDiscountAttached,
    SubscriptionDiscountEnded,
    SubscriptionDiscountEvent,
)
from domain.subscriptions.metering import SubscriptionUsageBilled
from domain.subscriptions.pause import (
    SubscriptionPaused,
    SubscriptionReactivated,
    SubscriptionResumed,
    SubscriptionSuspended,
)
from domain.subscriptions.running import Anchor, BegunPeriod, LongerPeriod
from domain.subscriptions.state import BEFORE_FIRST_PERIOD, NEVER, Subscription, SubscriptionStatus
from domain.subscriptions.terms import SubscriptionTerms
from domain.subscriptions.transfer import SubscriptionContinued, SubscriptionTransferScheduled
from domain.subscriptions.trial import SubscriptionTrialEnded, SubscriptionTrialExtended, SubscriptionTrialStarted
from domain.subscriptions.usage_threshold import SubscriptionUsageThresholdSet

ON_PLAN: Final = "subscription.plan"
"""The kind of claim by which the subscriptions that were sold a plan are found."""
ON_PLAN_SEPARATOR: Final = "/"
"""Between the plan's id and the subscription's in that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionCreated:
    """It begins at `starts_at`, and period 0 then or once the trial is over. Periods are counted from `anchor_at`, at
    which period `anchor_index` begins; with `begins_short` period 0 begins within one of that schedule.
    `transferred_from` is another customer's subscription whose place it takes.
    """

    subscription_id: str
    customer_id: str
    terms: SubscriptionTerms
    starts_at: datetime
    alignment: PeriodAlignment = PeriodAlignment.START
    anchor_at: datetime
    anchor_index: int = 0
    begins_short: bool = False
    trial_end: datetime | None
    test_clock_id: str | None
    transferred_from: str | None = None
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionPeriodStarted:
    """Period `index` [period_start, period_end) runs; `invoice_id` bills it, and what the last one left in arrears.

    `longer` are the periods of longer intervals that begin with it, and are billed with it in the same way.
    """

    subscription_id: str
    index: int
    period_start: datetime
    period_end: datetime
    longer: tuple[LongerPeriod, ...] = ()
    invoice_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionMetadataSet(MetadataSet):
    subscription_id: str


SubscriptionEvent = (
    SubscriptionCreated
    | SubscriptionTrialStarted
    | SubscriptionTrialExtended
    | SubscriptionTrialEnded
    | SubscriptionPeriodStarted
    | SubscriptionUsageBilled
    | SubscriptionUsageThresholdSet
    | SubscriptionChanged
    | SubscriptionChangeScheduled
    | SubscriptionChangeUnscheduled
    | SubscriptionAnchorChanged
    | SubscriptionPaused
    | SubscriptionResumed
    | SubscriptionSuspended
    | SubscriptionReactivated
    | SubscriptionCancellationScheduled
    | SubscriptionCancellationUndone
    | SubscriptionTransferScheduled
    | SubscriptionContinued
    | SubscriptionCanceled
    | SubscriptionPastDue
    | SubscriptionRecovered
    | SubscriptionDiscountEvent
    | SubscriptionMetadataSet
)


class SubscriptionNotFound(Refusal):
    """There is no such subscription."""

    code = "subscription_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "subscription"


class SubscriptionAlreadyExists(Refusal):
    """A subscription of this id exists already."""

    code = "subscription_already_exists"


class SubscriptionIsOverdue(Refusal):
    """More periods are waiting to be billed than one command may; they are being caught up with. Try again soon.

    Under another idempotency key: this one has had its answer.
    """

    code = "subscription_overdue"


class RenewalNotDue(Refusal):
    """The subscription's next period begins later, or this renewal was done already."""

    code = "renewal_not_due"


class PeriodIsBilled(Refusal):
    """This period of the subscription is billed already."""

    code = "period_already_billed"


def living(streams: Streams, subscription_id: str) -> Subscription:
    """The subscription, if it is not cancelled: SubscriptionNotFound or SubscriptionIsCanceled otherwise."""
    subscription = SUBSCRIPTION.of(streams, subscription_id)
    if subscription.status is SubscriptionStatus.CANCELED:
        raise SubscriptionIsCanceled(subscription=subscription_id)
    return subscription


def first_status(event: SubscriptionCreated) -> SubscriptionStatus:
    """What it is until anything else happens to it."""
    if event.starts_at > event.created_at:
        return SubscriptionStatus.INCOMPLETE
    in_trial = event.trial_end is not None and event.trial_end > event.created_at
    return SubscriptionStatus.TRIALING if in_trial else SubscriptionStatus.ACTIVE


def _running_status(subscription: Subscription) -> SubscriptionStatus:
    """What it is where nothing holds it up."""
    return SubscriptionStatus.PAST_DUE if subscription.past_due_invoice_ids else SubscriptionStatus.ACTIVE


def evolve(subscription: Subscription | None, event: SubscriptionEvent) -> Subscription:
    if isinstance(event, SubscriptionCreated):
        return Subscription(
            subscription_id=event.subscription_id,
            customer_id=event.customer_id,
            terms=event.terms,
            status=first_status(event),
            starts_at=event.starts_at,
            alignment=event.alignment,
            anchor_at=event.anchor_at,
            anchor_index=event.anchor_index,
            former_anchor=None,
            begins_short=event.begins_short,
            is_short=False,
            trial_end=event.trial_end,
            period_index=BEFORE_FIRST_PERIOD,
            period_start=None,
            period_end=None,
            longer=(),
            begun=(),
            paid=(),
            arrears_from=(),
            pending=(),
            changes=0,
            scheduled=None,
            paused_at=None,
            resumes_at=None,
            given_back=(),
            resumed_at=None,
            cancel_at=None,
            ends_with_period=False,
            end_gives_back=False,
            canceled_at=None,
            discount_ids=(),
            latest_invoice_id=None,
            past_due_invoice_ids=(),
            test_clock_id=event.test_clock_id,
            metadata=event.metadata,
            created_at=event.created_at,
            transferred_from=event.transferred_from,
            metered=metering.metered_after((), event.terms),
        )
    assert subscription is not None, "the first event of a subscription is subscription.created"
    match event:
        case SubscriptionPeriodStarted():
            is_first = subscription.period_start is None
            begun = (None, *(each.interval for each in event.longer))
            return replace(
                paying.billed(paying.forgetting(subscription, begun), event.invoice_id),
                status=SubscriptionStatus.ACTIVE if is_first else subscription.status,
                period_index=event.index,
                former_anchor=None,
                is_short=subscription.begins_short,
                begins_short=False,
                period_start=event.period_start,
                period_end=event.period_end,
                longer=_with(event.longer, subscription.longer) if event.longer else subscription.longer,
                begun=(
                    *(each for each in subscription.begun if each.interval not in begun),
                    *(BegunPeriod(interval=own, index=event.index, invoice_id=event.invoice_id) for own in begun),
                ),
            )
        case SubscriptionChanged():
            withdrawn = subscription.pending
            if event.withdrawn:
                withdrawn = tuple(line for line in withdrawn if line.line_id not in event.withdrawn)
            changed = replace(
                subscription,
                terms=event.terms,
                longer=event.longer,
                paid=event.paid,
                arrears_from=event.arrears_from,
                pending=(*withdrawn, *event.lines),
                changes=subscription.changes + 1,
                scheduled=None,
                metered=metering.metered_after(subscription.metered, event.terms),
            )
            if event.resets_anchor:
                changed = replace(
                    changed,
                    alignment=PeriodAlignment.START,
                    anchor_at=event.changed_at,
                    anchor_index=subscription.period_index + 1,
                    former_anchor=None,
                    begins_short=False,
                    period_end=event.changed_at,
                )
            return paying.billed(changed, event.invoice_id)
        case SubscriptionChangeScheduled():
            metered = metering.metered_after(subscription.metered, event.change.terms)
            return replace(subscription, scheduled=event.change, metered=metered)
        case SubscriptionUsageBilled():
            return metering.after_billing(subscription, event)
        case SubscriptionUsageThresholdSet():
            return usage_threshold.with_threshold(subscription, event.threshold)
        case SubscriptionChangeUnscheduled():
            return replace(subscription, scheduled=None)
        case SubscriptionAnchorChanged():
            return replace(
                subscription,
                alignment=event.alignment,
                anchor_at=event.anchor_at,
                anchor_index=event.anchor_index,
                former_anchor=_anchor_of_running(subscription),
                begins_short=event.begins_short,
            )
        case SubscriptionTrialStarted():
            return replace(subscription, status=SubscriptionStatus.TRIALING)
        case SubscriptionTrialExtended() | SubscriptionTrialEnded():
            moved = replace(subscription, trial_end=event.trial_end)
            return replace(moved, anchor_at=event.trial_end) if moved.alignment is PeriodAlignment.START else moved
        case SubscriptionPaused():
            return replace(
                paying.billed(paying.given_back(subscription, event.given_back), event.invoice_id),
                status=SubscriptionStatus.PAUSED,
                changes=subscription.changes + 1,
                given_back=event.given_back,
                paused_at=event.paused_at,
                resumes_at=event.resumes_at,
            )
        case SubscriptionResumed():
            resumed = subscription
            if event.paid:
                resumed = replace(resumed, paid=paying.latest(resumed.paid, event.paid))
            return replace(
                paying.billed(resumed, event.invoice_id),
                status=_running_status(subscription),
                changes=subscription.changes + 1,
                given_back=(),
                paused_at=None,
                resumes_at=None,
                resumed_at=event.resumed_at,
            )
        case SubscriptionSuspended():
            return replace(subscription, status=SubscriptionStatus.SUSPENDED)
        case SubscriptionReactivated():
            return replace(subscription, status=_running_status(subscription))
        case SubscriptionCancellationScheduled():
            return replace(
                subscription,
                cancel_at=event.cancel_at,
                ends_with_period=event.with_period,
                end_gives_back=event.gives_back,
                transfer=None,
            )
        case SubscriptionCancellationUndone():
            return replace(subscription, cancel_at=None, ends_with_period=False, end_gives_back=False, transfer=None)
        case SubscriptionTransferScheduled():
            return replace(
                subscription,
                cancel_at=event.transfer_at,
                ends_with_period=True,
                transfer=event.to,
                last_transfer=event.to,
            )
        case SubscriptionContinued():
            return paying.continued(subscription, event)
        case SubscriptionCanceled():
            return replace(
                paying.billed(subscription, event.invoice_id),
                status=SubscriptionStatus.CANCELED,
                pending=(),
                scheduled=None,
                resumes_at=None,
                cancel_at=None,
                ends_with_period=False,
                end_gives_back=False,
                canceled_at=event.canceled_at,
                transfer=None,
                transferred_to=event.transferred_to,
            )
        case SubscriptionPastDue():
            held_up = subscription.status in {SubscriptionStatus.PAUSED, SubscriptionStatus.SUSPENDED}
            return replace(
                subscription,
                status=subscription.status if held_up else SubscriptionStatus.PAST_DUE,
                past_due_invoice_ids=(*subscription.past_due_invoice_ids, event.invoice_id),
            )
        case SubscriptionRecovered():
            left = tuple(known for known in subscription.past_due_invoice_ids if known != event.invoice_id)
            recovered = not left and subscription.status is SubscriptionStatus.PAST_DUE
            return replace(
                subscription,
                status=SubscriptionStatus.ACTIVE if recovered else subscription.status,
                past_due_invoice_ids=left,
            )
        case SubscriptionDiscountAttached() | SubscriptionDiscountEnded():
            return replace(subscription, discount_ids=discounts_of.after(subscription.discount_ids, event))
        case SubscriptionMetadataSet():
            return replace(subscription, metadata=event.metadata)


def _anchor_of_running(subscription: Subscription) -> Anchor | None:
    """From where the period is counted that runs while the anchor moves, if one does."""
    if subscription.period_end is None:
        return None
    return subscription.former_anchor or Anchor(at=subscription.anchor_at, index=subscription.anchor_index)


def _with(begun: tuple[LongerPeriod, ...], running: tuple[LongerPeriod, ...]) -> tuple[LongerPeriod, ...]:
    """Each begins in the place of the one of its interval that ran."""
    intervals = {period.interval for period in begun}
    return (*(period for period in running if period.interval not in intervals), *begun)


def claims(event: SubscriptionEvent, subscription: Subscription) -> tuple[Claim, ...]:
    """A period is billed once, whatever retries or runs twice, and a customer's usage by one subscription. Who runs on
    a plan is found by what they hold of it.
    """
    meters = metering.claims_after(subscription) if isinstance(event, _MOVES_METERS) else ()
    match event:
        case SubscriptionPeriodStarted():
            value = f"{event.subscription_id}:{event.index}"
            return (
                Take(
                    "subscription.period",
                    value,
                    event.subscription_id,
                    lambda: PeriodIsBilled(subscription=event.subscription_id, period=event.index),
                ),
            )
        case SubscriptionCreated():
            is_taken_over = event.transferred_from is not None
            begun = metering.claims_after(subscription, is_taken_over=is_taken_over)
            return (_on_plan(subscription), *begun, *usage_threshold.claims_on_clock(subscription, is_new=True))
        case SubscriptionUsageThresholdSet():
            return usage_threshold.claims_on_clock(subscription)
        case SubscriptionChanged():
            # It may be the plan that it ran on before. Of another one it keeps its place: whoever looks there sees it.
            held = _on_plan(subscription)
            return (Free(held.kind, held.value, held.owner), held, *meters)
        case SubscriptionCanceled():
            held = _on_plan(subscription)
            return (Free(held.kind, held.value, held.owner), *meters, *usage_threshold.claims_on_clock(subscription))
        case _:
            return meters


def _on_plan(subscription: Subscription) -> Take:
    subscription_id = subscription.subscription_id
    value = f"{subscription.terms.plan_id}{ON_PLAN_SEPARATOR}{subscription_id}"
    return Take(ON_PLAN, value, subscription_id, lambda: SubscriptionAlreadyExists(subscription=subscription_id))


_MOVES_METERS = (
    SubscriptionChanged,
    SubscriptionChangeScheduled,
    SubscriptionChangeUnscheduled,
    SubscriptionTransferScheduled,
    SubscriptionCancellationScheduled,
    SubscriptionCancellationUndone,
    SubscriptionCanceled,
)

_MOVES_THE_BOUNDARY = (
    SubscriptionCreated,
    SubscriptionTrialStarted,
    SubscriptionTrialExtended,
    SubscriptionTrialEnded,
    SubscriptionPeriodStarted,
    SubscriptionChanged,
    SubscriptionChangeScheduled,
    SubscriptionChangeUnscheduled,
    SubscriptionPaused,
    SubscriptionResumed,
    SubscriptionCancellationScheduled,
    SubscriptionCancellationUndone,
    SubscriptionTransferScheduled,
    SubscriptionContinued,
    SubscriptionCanceled,
)


def due_work(event: SubscriptionEvent, subscription: Subscription) -> tuple[DueWork, ...]:
    """One timer, for whatever comes next: it runs on the subscription's own clock."""
    if not isinstance(event, _MOVES_THE_BOUNDARY):
        return ()
    kind = WorkKind.SUBSCRIPTION_RENEWAL
    if subscription.status is SubscriptionStatus.CANCELED:
        return (Finish(kind, event.subscription_id),)
    # Whoever deletes a test clock finds what lives on it by what is due there, if only at the end of time.
    due_at = subscription.next_boundary or NEVER
    return (Schedule(kind, event.subscription_id, due_at=due_at, clock_id=subscription.test_clock_id),)


EVENTS: dict[str, type] = {
    "subscription.created": SubscriptionCreated,
    "subscription.trial_started": SubscriptionTrialStarted,
    "subscription.trial_extended": SubscriptionTrialExtended,
    "subscription.trial_ended": SubscriptionTrialEnded,
    "subscription.period_started": SubscriptionPeriodStarted,
    "subscription.usage_billed": SubscriptionUsageBilled,
    **usage_threshold.EVENTS,
    "subscription.changed": SubscriptionChanged,
    "subscription.change_scheduled": SubscriptionChangeScheduled,
    "subscription.change_unscheduled": SubscriptionChangeUnscheduled,
    "subscription.anchor_changed": SubscriptionAnchorChanged,
    "subscription.paused": SubscriptionPaused,
    "subscription.resumed": SubscriptionResumed,
    "subscription.suspended": SubscriptionSuspended,
    "subscription.reactivated": SubscriptionReactivated,
    "subscription.cancellation_scheduled": SubscriptionCancellationScheduled,
    "subscription.cancellation_undone": SubscriptionCancellationUndone,
    "subscription.transfer_scheduled": SubscriptionTransferScheduled,
    "subscription.continued": SubscriptionContinued,
    "subscription.canceled": SubscriptionCanceled,
    **discounts_of.EVENTS,
    "subscription.past_due": SubscriptionPastDue,
    "subscription.recovered": SubscriptionRecovered,
    "subscription.metadata_set": SubscriptionMetadataSet,
}

SUBSCRIPTION: Stream[Subscription] = Stream(
    name="subscription",
    id_field="subscription_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda subscription: subscription.customer_id,
    not_found=SubscriptionNotFound,
    already_exists=SubscriptionAlreadyExists,
    metadata_set=SubscriptionMetadataSet,
    claims=claims,
    due_work=due_work,
)
