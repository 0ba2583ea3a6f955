"""A transfer: another customer's subscription takes the place of this one, and goes on with its schedule.

Whose events a subscription's are never changes: all of one customer's facts lie under one key, in one order. So what is
transferred ends, a new one begins for the other customer, and each names the other.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.refusal import Refusal, RefusalKind
from domain.subscriptions.running import Anchor, ItemFrom, LongerPeriod


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledTransfer:
    """Who takes it over where it ends, and the subscription that is then theirs."""

    customer_id: str
    subscription_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionTransferScheduled:
    """It ends with its current period (of several intervals the longest one's, or with its trial), about `transfer_at`,
    and `to` goes on then.
    """

    subscription_id: str
    to: ScheduledTransfer
    transfer_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionContinued:
    """It goes on with what runs of `continues`: period `index` [period_start, period_end), and the `longer` ones. Until
    now they were the other one's; in arrears this one owes for them from `arrears_from` on. What they cost in advance
    that one has paid, unless `invoice_id` bills what is left of them.

    `is_short`, `begins_short` and `former_anchor` are as the state has them.
    """

    subscription_id: str
    continues: str
    index: int
    period_start: datetime
    period_end: datetime
    longer: tuple[LongerPeriod, ...]
    is_short: bool
    begins_short: bool
    former_anchor: Anchor | None
    arrears_from: tuple[ItemFrom, ...]
    invoice_id: str | None
    continued_at: datetime


class TransferToSameCustomer(Refusal):
    """The subscription is this customer's already: name another one."""

    code = "transfer_to_same_customer"
    kind = RefusalKind.INVALID
    param = "customer"


class TransferToOtherClock(Refusal):
    """Both customers live on one test clock, or both in real time: make the other customer on the same clock first."""

    code = "transfer_to_other_clock"
    param = "customer"


class ContradictoryTransfer(Refusal):
    """With the period's end nothing is left unused: leave `credit_unused` out, or transfer it now."""

    code = "contradictory_transfer"
    kind = RefusalKind.INVALID
    param = "credit_unused"


class SubscriptionNotTransferable(Refusal):
    """The subscription is paused: resume it, then transfer it."""

    code = "subscription_not_transferable"
