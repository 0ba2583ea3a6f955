"""A change of what a subscription consists of: its plan, its prices, how many of each; now, or at a time to come."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.refusal import Refusal, RefusalKind
from domain.subscriptions.running import ItemFrom, ItemPaid, LongerPeriod
from domain.subscriptions.terms import SubscriptionTerms


class Proration(StrEnum):
    """What a change bills. `none`: nothing, the running period stays as it was billed, and owes in arrears what it did.
    `period_end`: nothing, as the change waits until the running period is over.
    """

    INVOICE_NOW = "invoice_now"
    NEXT_INVOICE = "next_invoice"
    PERIOD_END = "period_end"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionChanged:
    """Its terms are these. `lines` are what the change bills, credits below zero; with `withdrawn`, lines of earlier
    changes that waited and are billed no more. `invoice_id` bills all that wait; None: the next invoice does.

    `longer`, `paid` and `arrears_from` are as they are after it. With `resets_anchor` what ran has ended, and the next
    event begins a period at this instant, from which all are counted.
    """

    subscription_id: str
    terms: SubscriptionTerms
    proration: Proration
    lines: tuple[InvoiceLine, ...]
    withdrawn: tuple[str, ...]
    invoice_id: str | None
    longer: tuple[LongerPeriod, ...]
    paid: tuple[ItemPaid, ...]
    arrears_from: tuple[ItemFrom, ...]
    resets_anchor: bool
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledChange:
    """What is to become of a subscription at a time to come, by a migration of its plan where one asked for it."""

    terms: SubscriptionTerms
    proration: Proration
    resets_anchor: bool
    at: datetime
    migration_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionChangeScheduled:
    """It will be changed so, unless that is taken back."""

    subscription_id: str
    change: ScheduledChange


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionChangeUnscheduled:
    """The change that was scheduled is taken back."""

    subscription_id: str


class NothingChanges(Refusal):
    """The subscription has these items already: name what is to be another, or taken away."""

    code = "nothing_changes"
    kind = RefusalKind.INVALID
    param = "items"


class PriceNotSubscribed(Refusal):
    """The subscription has no item of this price, so there is none to take away."""

    code = "price_not_subscribed"
    kind = RefusalKind.INVALID
    param = "remove"


class SubscriptionIsPaused(Refusal):
    """The subscription is paused: resume it, then change it."""

    code = "subscription_paused"


class ChangeIsScheduled(Refusal):
    """A change of the subscription is scheduled already: take that back first, then say all that is to be another."""

    code = "change_scheduled"


class NoChangeScheduled(Refusal):
    """No change of the subscription is scheduled, so there is none to take back."""

    code = "no_change_scheduled"


class ChangeNotAhead(Refusal):
    """A change is scheduled for a time that is still to come: name a later one, or leave it out and change it now."""

    code = "change_not_ahead"
    kind = RefusalKind.INVALID
    param = "effective_at"


class ContradictoryChange(Refusal):
    """A change takes effect on a date or once the running period is over: name one of the two."""

    code = "contradictory_change"
    kind = RefusalKind.INVALID
    param = "effective_at"


class TooMuchWaits(Refusal):
    """More waits for the next invoice than it can hold: let this change be invoiced at once, and what waits with it."""

    code = "too_much_waits"
    param = "proration"
