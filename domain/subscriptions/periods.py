"""The periods of a subscription, and what each bills: of its own interval, and of the longer ones of some items.

An item's interval is the subscription's own, which is the shortest of them, or a whole number of those. So there is
one count of periods, and a longer one begins with every n-th of them: a year's fee with every twelfth month's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from domain.catalog.price import BillingTiming
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind, LinePricing
from domain.kernel.billing_period import BillingCycle, Interval, Period
from domain.kernel.identifiers import INVOICE_LINE, derived_id
from domain.pricing.amount import licensed_amount_of
from domain.pricing.models import WHOLE_PERIOD
from domain.subscriptions.proration_basis import ProrationBasis, ServicePeriod, share_of
from domain.subscriptions.subscription import LongerPeriod, Subscription
from domain.subscriptions.terms import SubscriptionTerms

OwnInterval: TypeAlias = Interval | None
"""What an item names: a longer interval, or None where it is the subscription's."""


@dataclass(frozen=True, slots=True)
class Served:
    """What is billed of a period: the time, and its share of the whole."""

    period: Period
    share: Fraction = WHOLE_PERIOD


def next_period(subscription: Subscription) -> tuple[int, Period]:
    """The index and the instants of the period after the running one; an empty one (a skipped day) is passed over.

    It begins where the last one ended, whatever the calendar says of that boundary by now: time zones are redefined,
    and an anchor in the second run of a repeated hour is not its first. So no time is billed twice or left out.
    """
    begins_at = subscription.anchor_at if subscription.period_end is None else subscription.period_end
    terms = subscription.terms
    index = subscription.period_index + 1
    while (
        period := Period(
            begins_at, _service_period(subscription.anchor_at, terms.time_zone, terms.interval, index).period.end
        )
    ).is_empty:
        index += 1
    return index, period


def resumed_period(subscription: Subscription, at: datetime) -> tuple[int, Period]:
    """The index of the period that the schedule is in at `at`, and what is left of it; never one that ran before."""
    terms = subscription.terms
    cycle = BillingCycle.anniversary(subscription.anchor_at, terms.time_zone, terms.interval)
    index = max(cycle.index_at(at), subscription.period_index + 1)
    while (rest := cycle.period(index).starting_at(at)).is_empty:
        index += 1
    return index, rest


def longer_periods(subscription: Subscription, index: int, begins_at: datetime) -> tuple[LongerPeriod, ...]:
    """The periods of longer intervals that begin with period `index`, each where the one before it ended."""
    terms = subscription.terms
    running = {period.interval: period.end for period in subscription.longer}
    begun: list[LongerPeriod] = []
    for interval in _longer_intervals(terms):
        nth = _nth(interval, index, terms)
        if nth != _nth(interval, subscription.period_index, terms):
            ends_at = _service_period(subscription.anchor_at, terms.time_zone, interval, nth).period.end
            begun.append(LongerPeriod(interval=interval, start=running.get(interval, begins_at), end=ends_at))
    return tuple(begun)


def last_end(subscription: Subscription) -> datetime:
    """When the last of the running periods ends, or the trial: until then it is paid."""
    return max((period.end for period in subscription.longer), default=subscription.next_period_at)


def all_end_before(subscription: Subscription, index: int) -> bool:
    """Whether no running period goes on where period `index` would begin. Counted, not told by instants: once a time
    zone is redefined, two intervals may have written down two instants for the boundary that they share.
    """
    terms = subscription.terms
    return all(
        _nth(interval, index, terms) != _nth(interval, subscription.period_index, terms)
        for interval in _longer_intervals(terms)
    )


def served_from(subscription: Subscription, own: OwnInterval, index: int, rest: Period) -> Served | None:
    """What is left of the period of that interval in which the subscription's period `index` is: its local days, the
    first among them. None where no day is left.
    """
    terms = subscription.terms
    interval = own or terms.interval
    service = _service_period(subscription.anchor_at, terms.time_zone, interval, _nth(interval, index, terms))
    share = share_of(rest, service, ProrationBasis.DAY)
    return Served(rest, share) if share else None


def served_until(subscription: Subscription, own: OwnInterval, until: datetime) -> Served | None:
    """What was used before `until` of the running period of that interval, by local days, the last unused; None of
    one that never ran, or has only begun. What ran before a pause was billed by the pause.
    """
    running = running_period(subscription, own)
    if running is None or subscription.paused_at is not None:
        return None
    used = running.ending_at(until)
    resumed_at = subscription.resumed_at
    if resumed_at is not None and running.contains(resumed_at):
        used = used.starting_at(resumed_at)
    elif used == running:
        return Served(used)
    terms = subscription.terms
    interval = own or terms.interval
    nth = _nth(interval, subscription.period_index, terms)
    service = _service_period(subscription.anchor_at, terms.time_zone, interval, nth)
    share = share_of(used, service, ProrationBasis.DAY)
    return Served(used, share) if share else None


def lines_for(
    subscription: Subscription, timing: BillingTiming, served: Mapping[OwnInterval, Served], invoice_id: str
) -> tuple[InvoiceLine, ...]:
    """The invoice lines of the items with this timing whose intervals are served: rounded once a line, from the exact
    price times the share. Their ids are made of `invoice_id`: the one that bills the period, or would if it were alone.
    """
    terms = subscription.terms
    lines: list[InvoiceLine] = []
    for item in terms.items:
        if item.timing is not timing or (of := served.get(item.interval)) is None:
            continue
        is_whole = of.share is WHOLE_PERIOD or of.share == WHOLE_PERIOD
        lines.append(
            InvoiceLine(
                line_id=derived_id(INVOICE_LINE, invoice_id, f"{timing}/{item.price_id}"),
                description=item.description,
                amount=licensed_amount_of(item.price, item.quantity, of.share, terms.rounding),
                quantity=item.quantity,
                timing=timing,
                kind=InvoiceLineKind.RECURRING if is_whole else InvoiceLineKind.PRORATED,
                product_id=item.product_id,
                price_id=item.price_id,
                tax_category=item.tax_category,
                period_start=of.period.start,
                period_end=of.period.end,
                pricing=LinePricing(price=item.price, share=of.share, rounding=terms.rounding),
                tax_inclusive=item.tax_inclusive,
            )
        )
    return tuple(lines)


def arrears_until(
    subscription: Subscription, ending: Iterable[OwnInterval], until: datetime, invoice_id: str
) -> tuple[InvoiceLine, ...]:
    """What the running periods of these intervals owe for the time before `until`."""
    if all(item.timing is not BillingTiming.IN_ARREARS for item in subscription.terms.items):
        return ()
    served = {own: used for own in ending if (used := served_until(subscription, own, until)) is not None}
    return lines_for(subscription, BillingTiming.IN_ARREARS, served, invoice_id)


def running_period(subscription: Subscription, own: OwnInterval) -> Period | None:
    """The one that runs of that interval; None during a trial."""
    if own is not None:
        return next((Period(each.start, each.end) for each in subscription.longer if each.interval == own), None)
    if subscription.period_start is None or subscription.period_end is None:
        return None
    return Period(subscription.period_start, subscription.period_end)


def _longer_intervals(terms: SubscriptionTerms) -> tuple[Interval, ...]:
    return tuple(dict.fromkeys(item.interval for item in terms.items if item.interval is not None))


def _nth(interval: Interval, index: int, terms: SubscriptionTerms) -> int:
    """Which period of the interval the subscription's period `index` is in."""
    return index // interval.multiple_of(terms.interval)


@lru_cache(maxsize=16_384)
def _service_period(anchor_at: datetime, time_zone: str, interval: Interval, index: int) -> ServicePeriod:
    """Many subscriptions share an anchor (all that were imported at once, say); the calendar is asked once."""
    return ServicePeriod.of(BillingCycle.anniversary(anchor_at, time_zone, interval), index)
