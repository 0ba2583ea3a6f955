"""What a subscription goes through: trial, pause, suspension, renewal, and its end."""

from typing import Final

from pydantic import Field

from api.http.call import Call
from api.http.fields import (
    Body,
    Instant,
    NoBody,
)
from api.http.operations import Intention
from api.resources.subscriptions import SUBSCRIPTIONS
from domain.catalog.plan import TrialTooLong
from domain.customers.customer import CustomerIsDeleted
from domain.customers.test_clock import TestClockIsDeleted
from domain.identity.permissions import Permission
from domain.kernel.billing_period import BeyondCalendar
from domain.subscriptions.cancel_commands import CancelSubscription, UndoCancellation
from domain.subscriptions.cancellation import (
    CancellationIsScheduled,
    CancellationNotAhead,
    ContradictoryCancellation,
    NoCancellationScheduled,
    SubscriptionIsCanceled,
)
from domain.subscriptions.commands import RenewSubscription
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
from domain.subscriptions.subscription import PeriodIsBilled, RenewalNotDue, SubscriptionIsOverdue
from domain.subscriptions.trial import SubscriptionNotTrialing, TrialNotExtended
from domain.subscriptions.trial_commands import EndTrial, ExtendTrial


class Cancellation(Body):
    """When it is to end: with the running period, which is what nothing said means, on a date, or at once."""

    at_period_end: bool | None = Field(default=None, description="true unless `cancel_at` is given; false ends it now")
    cancel_at: Instant | None = Field(default=None, description="A time ahead, in place of the period's end")
    credit_unused: bool = Field(default=False, description="Whether what is then unused of what was paid is given back")


class ExtendedTrial(Body):
    """When a trial is to end."""

    trial_end: Instant


class Pause(Body):
    """How long."""

    resumes_at: Instant | None = Field(default=None, description="When it ends by itself; null: until it is resumed")
    credit_unused: bool = Field(default=False, description="Whether what is unused of what was paid is given back")


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
    that were used. The rest of a period that is billed in advance is given back with `credit_unused`: at what discounts
    left of it, with the tax that it bore, on the last invoice, which is the customer's balance where it comes to less
    than zero.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    with_period = body.cancel_at is None if body.at_period_end is None else body.at_period_end
    return SUBSCRIPTIONS.changed(
        subscription_id,
        CancelSubscription(
            subscription_id=subscription_id,
            at_period_end=with_period,
            cancel_at=body.cancel_at,
            gives_back=body.credit_unused,
        ),
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

    What is paid stays paid, or is given back with `credit_unused`, and charged again from when it is resumed. Prices in
    arrears are billed for the days that were used.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    command = PauseSubscription(
        subscription_id=subscription_id, resumes_at=body.resumes_at, gives_back=body.credit_unused
    )
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

    Within a period that is paid, nothing is billed; what the pause gave back of it is charged from here on. Later,
    prices in advance are billed for the days that are left of the period that the schedule is in.
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
