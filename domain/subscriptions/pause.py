"""A pause: it is not billed, and what was paid before stays paid. A suspension: service is withheld, and billed."""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.refusal import Refusal, RefusalKind
from domain.subscriptions.running import ItemPaid


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionPaused:
    """No period begins until it is resumed, at `resumes_at` by itself where that is set. `invoice_id` bills what the
    running periods owed in arrears by then, if they owed anything. It credits what is unused of what is `given_back`:
    these lines pay for them no more.
    """

    subscription_id: str
    paused_at: datetime
    resumes_at: datetime | None
    given_back: tuple[ItemPaid, ...] = ()
    invoice_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionResumed:
    """It goes on, on its old schedule: what was paid for runs on, and what is not begins with the events after it.

    Of running periods of which the pause gave something back `invoice_id` bills that for the rest, by `paid`.
    """

    subscription_id: str
    paid: tuple[ItemPaid, ...] = ()
    invoice_id: str | None = None
    resumed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSuspended:
    """Its service is withheld. Its periods go on and are billed."""

    subscription_id: str
    suspended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionReactivated:
    """Its service is given again."""

    subscription_id: str
    reactivated_at: datetime


class SubscriptionNotPausable(Refusal):
    """A subscription is paused while it is active or past due: it has not begun, or is paused or suspended already."""

    code = "subscription_not_pausable"


class SubscriptionNotPaused(Refusal):
    """The subscription is not paused, so there is nothing to resume."""

    code = "subscription_not_paused"


class ResumptionNotAhead(Refusal):
    """A pause ends at a time that is still to come: name a later one, or leave it out and resume by hand."""

    code = "resumption_not_ahead"
    kind = RefusalKind.INVALID
    param = "resumes_at"


class SubscriptionNotSuspendable(Refusal):
    """A subscription is suspended while it is active or past due."""

    code = "subscription_not_suspendable"


class SubscriptionNotSuspended(Refusal):
    """The subscription is not suspended, so there is nothing to reactivate."""

    code = "subscription_not_suspended"
