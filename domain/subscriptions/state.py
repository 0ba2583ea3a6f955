"""What a subscription is: the state that its events leave it in."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.metadata import Metadata
from domain.subscriptions.alignment import PeriodAlignment
from domain.subscriptions.change import (
    ScheduledChange,
)
from domain.subscriptions.running import (
    Anchor,
    BegunPeriod,
    ItemBilledSoFar,
    ItemFrom,
    ItemPaid,
    LongerPeriod,
    MeterBilled,
)
from domain.subscriptions.terms import SubscriptionTerms
from domain.subscriptions.transfer import ScheduledTransfer

BEFORE_FIRST_PERIOD = -1
"""The period index of a subscription that is still in its trial."""


NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""When a subscription in a pause until further notice does something by itself."""


class SubscriptionStatus(StrEnum):
    """`incomplete`: it begins at a time that is still to come. `paused`: nothing is billed. `suspended`: its service is
    withheld, and billed.
    """

    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """`period` is None during a trial, and `longer` are the periods of longer intervals that run beside it.

    Period `anchor_index` begins at the anchor, from which all are counted; `alignment` says what that is. One that
    `is_short` began within a period of that schedule, as the next will with `begins_short`; where the billing date was
    moved since it began, the one that runs is counted from `former_anchor`. `begun` says with which period each of
    those that run began; `paid` and `arrears_from` are of items that were changed since. `pending` are the lines of
    changes that the next invoice bills, whatever that is for, and `changes` counts changes.

    `given_back` paid for what runs until its pause gave it back; `resumed_at` is the end of its last pause.
    `discount_ids` are its own, besides its customer's.
    `past_due_invoice_ids` are the open invoices whose collection failed. `transfer` is who takes it over where it ends;
    `last_transfer` is who was to do so last, be that taken back by now;
    `transferred_from` is the subscription whose place it took, `transferred_to` the one that took its. `billed_so_far`
    is what was billed of usage while its period runs, and `billings_so_far` counts the invoices that did so.
    """

    subscription_id: str
    customer_id: str
    terms: SubscriptionTerms
    status: SubscriptionStatus
    starts_at: datetime
    alignment: PeriodAlignment
    anchor_at: datetime
    anchor_index: int
    former_anchor: Anchor | None
    begins_short: bool
    is_short: bool
    trial_end: datetime | None
    period_index: int
    period_start: datetime | None
    period_end: datetime | None
    longer: tuple[LongerPeriod, ...]
    begun: tuple[BegunPeriod, ...]
    paid: tuple[ItemPaid, ...]
    arrears_from: tuple[ItemFrom, ...]
    pending: tuple[InvoiceLine, ...]
    changes: int
    scheduled: ScheduledChange | None
    paused_at: datetime | None
    resumes_at: datetime | None
    given_back: tuple[ItemPaid, ...]
    resumed_at: datetime | None
    cancel_at: datetime | None
    ends_with_period: bool
    end_gives_back: bool
    canceled_at: datetime | None
    discount_ids: tuple[str, ...]
    latest_invoice_id: str | None
    past_due_invoice_ids: tuple[str, ...]
    test_clock_id: str | None
    metadata: Metadata
    created_at: datetime
    transfer: ScheduledTransfer | None = None
    transferred_from: str | None = None
    transferred_to: str | None = None
    metered: tuple[MeterBilled, ...] = ()
    last_transfer: ScheduledTransfer | None = None
    billed_so_far: tuple[ItemBilledSoFar, ...] = ()
    billings_so_far: int = 0

    @property
    def next_period_at(self) -> datetime:
        """When what runs comes to its end: the running period, the trial, or the time before all that."""
        if self.period_end is not None:
            return self.period_end
        return self.starts_at if self.status is SubscriptionStatus.INCOMPLETE else self.first_period_at

    @property
    def first_period_at(self) -> datetime:
        """When the first period begins, or began: at the start, or once the trial is over."""
        return self.starts_at if self.trial_end is None else self.trial_end

    @property
    def next_change_at(self) -> datetime | None:
        """When the change that is scheduled takes effect: in a pause not before its end."""
        if self.scheduled is None or self.paused_at is not None:
            return None
        return self.scheduled.at if self.resumed_at is None else max(self.scheduled.at, self.resumed_at)

    @property
    def next_boundary(self) -> datetime | None:
        """What comes first: the next period, the end of a pause, a change or an end that is scheduled. None where
        nothing comes by itself: once cancelled, and in a pause until further notice.
        """
        if self.status is SubscriptionStatus.CANCELED:
            return None
        at = self.next_period_at if self.paused_at is None else self.resumes_at
        change_at = self.next_change_at
        if at is not None and change_at is not None:
            at = min(at, change_at)
        if self.cancel_at is None or self.ends_with_period:
            return at
        return self.cancel_at if at is None else min(at, self.cancel_at)
