"""Usage that is invoiced while its period runs, once so much of it is not billed yet.

What it comes to is known outside any decision, so whoever looks at what is counted tells it by a command. The events
are of the subscription's stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL
from domain.kernel.frozen import replace
from domain.kernel.money import Money, sum_money
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Claim, Free, Take
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.terms import UsageThreshold


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUsageThreshold:
    """None: usage is billed when its period is over."""

    subscription_id: str
    threshold: UsageThreshold | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BillUsageSoFar:
    """Bill what the meters of these prices have counted so far of their running periods. It was looked at when the
    subscription's period was the one of `period_index`, and it had changed and billed so far as often as these say:
    where it is another by now, it is looked at again.
    """

    subscription_id: str
    price_ids: tuple[str, ...]
    period_index: int
    changes: int
    billings_so_far: int


@dataclass(frozen=True, slots=True)
class SoFar:
    """How much more an item's running period has come to since it was billed last, of so many times. `voided` lines
    that were to bill it came to nothing, as they were voided before they were counted.
    """

    price_id: str
    more: Money
    times_billed: int
    voided: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionUsageThresholdSet:
    subscription_id: str
    threshold: UsageThreshold | None
    set_at: datetime


MAX_TIMES_BILLED: Final = 100
"""How often a period is billed before it is over, as each line names those before it; its end bills the rest."""

WATCHED_ON_CLOCK: Final = "subscription.usage_threshold"
"""The kind of claim by which the subscriptions with a threshold are found that live on a test clock."""
WATCHED_SEPARATOR: Final = "/"
"""Between the clock's id and the subscription's in that."""


class NoUsageToBill(Refusal):
    """What was looked at runs no more, or was billed meanwhile, or no threshold is left to be reached."""

    code = "no_usage_to_bill"


def is_watched(subscription: Subscription) -> bool:
    """Whether its usage may be billed before its periods are over."""
    return subscription.terms.usage_threshold is not None and subscription.status is not SubscriptionStatus.CANCELED


def reached(subscription: Subscription, so_far: Sequence[SoFar]) -> BillUsageSoFar | None:
    """What is to be billed of these items, of which there is no other with a meter; None where that is nothing yet, and
    where it is more than an invoice holds: the period's end says so to a person, once.
    """
    threshold = subscription.terms.usage_threshold
    if threshold is None:
        return None
    more = [each for each in still_watched(subscription, so_far) if each.more.amount > 0]
    unbilled = sum_money((each.more for each in more), threshold.amount.currency)
    if not threshold.amount.amount <= unbilled.amount <= MAX_INVOICE_TOTAL:
        return None
    return BillUsageSoFar(
        subscription_id=subscription.subscription_id,
        price_ids=tuple(each.price_id for each in more),
        period_index=subscription.period_index,
        changes=subscription.changes,
        billings_so_far=subscription.billings_so_far,
    )


def still_watched(subscription: Subscription, so_far: Sequence[SoFar]) -> Sequence[SoFar]:
    """The items that may still be billed before their periods are over. Items of one interval share their periods, so
    a threshold that does not recur is used up for all of them by one; those of other intervals go on.
    """
    threshold = subscription.terms.usage_threshold
    if threshold is None:
        return ()
    left = [each for each in so_far if each.times_billed + each.voided < MAX_TIMES_BILLED]
    if threshold.recurring:
        return left
    interval_of = {item.price_id: item.interval for item in subscription.terms.items}
    used_up = {interval_of[each.price_id] for each in so_far if each.times_billed}
    return [each for each in left if interval_of[each.price_id] not in used_up]


def with_threshold(subscription: Subscription, threshold: UsageThreshold | None) -> Subscription:
    """With another threshold, also once a change that is scheduled has come."""
    terms, scheduled = replace(subscription.terms, usage_threshold=threshold), subscription.scheduled
    if scheduled is not None:
        scheduled = replace(scheduled, terms=replace(scheduled.terms, usage_threshold=threshold))
    return replace(subscription, terms=terms, scheduled=scheduled)


def claims_on_clock(subscription: Subscription, *, is_new: bool = False) -> tuple[Claim, ...]:
    """A clock does not move on before what has reached a threshold at its time is billed, and finds those by this."""
    if subscription.test_clock_id is None:
        return ()
    named = subscription.subscription_id
    value = f"{subscription.test_clock_id}{WATCHED_SEPARATOR}{named}"
    take = Take(WATCHED_ON_CLOCK, value, named, lambda: NoUsageToBill(subscription=named))
    held = (take,) if is_watched(subscription) else ()
    return held if is_new else (Free(WATCHED_ON_CLOCK, value, named), *held)


EVENTS: dict[str, type] = {"subscription.usage_threshold_set": SubscriptionUsageThresholdSet}
