"""How a subscription comes to its end: what is scheduled, what is taken back, and the end itself."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.kernel.refusal import Refusal, RefusalKind


class CancellationReason(StrEnum):
    REQUESTED = "requested"
    PERIOD_END = "period_end"
    ON_DATE = "on_date"
    NO_PAYMENT_METHOD = "no_payment_method"
    CUSTOMER_DELETED = "customer_deleted"
    TEST_CLOCK_DELETED = "test_clock_deleted"
    TRANSFERRED = "transferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionCancellationScheduled:
    """It ends at `cancel_at`: on that date, or `with_period`, that is with its current period, of several intervals the
    longest one's (or with its trial). Said again, it is moved. With `gives_back` what is then unused is credited.
    """

    subscription_id: str
    cancel_at: datetime
    with_period: bool
    gives_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionCancellationUndone:
    """It goes on: the end that was scheduled is taken back."""

    subscription_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionCanceled:
    """`invoice_id` bills what was left in arrears, if anything was, and credits what is unused where that was asked.
    `transferred_to` is another customer's subscription that takes its place.
    """

    subscription_id: str
    canceled_at: datetime
    reason: CancellationReason
    invoice_id: str | None
    transferred_to: str | None = None


class SubscriptionIsCanceled(Refusal):
    """The subscription is cancelled."""

    code = "subscription_canceled"


class CancellationNotAhead(Refusal):
    """A subscription ends at a time that is still to come: name a later one, or leave it out and cancel at once."""

    code = "cancellation_not_ahead"
    kind = RefusalKind.INVALID
    param = "cancel_at"


class ContradictoryCancellation(Refusal):
    """A subscription ends with its period or on a date: name one of the two."""

    code = "contradictory_cancellation"
    kind = RefusalKind.INVALID
    param = "cancel_at"


class NoCancellationScheduled(Refusal):
    """No end of the subscription is scheduled, so there is none to take back."""

    code = "no_cancellation_scheduled"


class CancellationIsScheduled(Refusal):
    """The subscription is to end at a set time. Take that back first, then change its trial, pause or transfer it."""

    code = "cancellation_scheduled"
