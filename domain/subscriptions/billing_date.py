"""Another billing date: the running period stays, and those after it are counted from a new anchor."""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.refusal import Refusal
from domain.subscriptions.alignment import PeriodAlignment


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionAnchorChanged:
    """Periods are counted from `anchor_at`, at which period `anchor_index` begins. With `begins_short` the next one
    begins within a period of that schedule, and is billed for what is left of it.
    """

    subscription_id: str
    alignment: PeriodAlignment = PeriodAlignment.ANCHOR
    anchor_at: datetime
    anchor_index: int
    begins_short: bool
    changed_at: datetime


class BillingDateNotMovable(Refusal):
    """The billing date moves while periods run, all of one interval: not in a trial or a pause, nor beside longer ones.

    There, change the subscription with `reset_anchor`.
    """

    code = "billing_date_not_movable"
