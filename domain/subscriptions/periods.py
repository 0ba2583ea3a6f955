"""The periods of a subscription, and what each bills: of its own interval, and of the longer ones of some items.

An item's interval is the subscription's own, which is the shortest of them, or a whole number of those. So there is
one count of periods, and a longer one begins with every n-th of them: a year's fee with every twelfth month's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from domain.catalog.price import BillingTiming
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind, LinePricing
from domain.invoicing.usage_line import LineUsage
from domain.kernel.billing_period import BillingCycle, Interval, Period
from domain.kernel.identifiers import INVOICE, INVOICE_LINE, derived_id
from domain.kernel.money import Money
from domain.kernel.rounding import Rounding
from domain.pricing.amount import licensed_amount_of
from domain.pricing.models import WHOLE_PERIOD
from domain.subscriptions.alignment import PeriodAlignment, StubPeriod
from domain.subscriptions.proration_basis import ServicePeriod, share_of, used_share_at_cancellation
from domain.subscriptions.running import LongerPeriod
from domain.subscriptions.state import Subscription
from domain.subscriptions.terms import SubscriptionItem, longer_intervals

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
    begins_at = subscription.first_period_at if subscription.period_end is None else subscription.period_end
    terms = subscription.terms
    index = subscription.period_index + 1
    while (
        period := Period(
            begins_at,
            _service_period(
                subscription.anchor_at, terms.time_zone, terms.interval, index - subscription.anchor_index
            ).period.end,
        )
    ).is_empty:
        index += 1
    return index, period


def resumed_period(subscription: Subscription, at: datetime) -> tuple[int, Period]:
    """The index of the period that the schedule is in at `at`, and what is left of it; never one that ran before."""
    terms = subscription.terms
    cycle = BillingCycle.anniversary(subscription.anchor_at, terms.time_zone, terms.interval)
    index = max(cycle.index_at(at) + subscription.anchor_index, subscription.period_index + 1)
    while (rest := cycle.period(index - subscription.anchor_index).starting_at(at)).is_empty:
        index += 1
    return index, rest


def longer_periods(subscription: Subscription, index: int, begins_at: datetime) -> tuple[LongerPeriod, ...]:
    """The periods of longer intervals that begin with period `index`, each where the one before it ended. With the
    first period all of them do, and each may be short.
    """
    terms = subscription.terms
    may_be_short = subscription.period_end is None and subscription.alignment is not PeriodAlignment.START
    running = {period.interval: period.end for period in subscription.longer}
    begun: list[LongerPeriod] = []
    for interval in longer_intervals(terms):
        if begins_with(subscription, interval, index):
            whole = service_period(subscription, interval, index).period
            is_short = may_be_short and whole.start < begins_at != subscription.anchor_at
            start = running.get(interval, begins_at)
            begun.append(LongerPeriod(interval=interval, start=start, end=whole.end, is_short=is_short))
    return tuple(begun)


def begins_with(subscription: Subscription, interval: Interval, index: int) -> bool:
    """Whether a period of that longer interval begins with the subscription's period `index`, which is to come: with
    the first one, of every interval.
    """
    if subscription.period_end is None:
        return True
    return _nth(interval, index, subscription) != _nth(interval, subscription.period_index, subscription)


def period_invoice_id(subscription: Subscription, index: int) -> str:
    """The id of the invoice of a period that begins."""
    return derived_id(INVOICE, subscription.subscription_id, f"period/{index}")


def last_end(subscription: Subscription) -> datetime:
    """When the last of the running periods ends, or the trial: until then it is paid."""
    return max((period.end for period in subscription.longer), default=subscription.next_period_at)


def all_end_before(subscription: Subscription, index: int) -> bool:
    """Whether no running period goes on where period `index` would begin. Counted, not told by instants: once a time
    zone is redefined, two intervals may have written down two instants for the boundary that they share.
    """
    return all(begins_with(subscription, interval, index) for interval in longer_intervals(subscription.terms))


def served_from(subscription: Subscription, own: OwnInterval, index: int, rest: Period) -> Served | None:
    """What is left of the period of that interval in which the subscription's period `index` is, by the subscription's
    basis: by local days, say, the first among them. None where nothing is left.
    """
    share = share_of(rest, service_period(subscription, own, index), subscription.terms.proration_basis)
    return Served(rest, share) if share else None


def stub_from(subscription: Subscription, own: OwnInterval, index: int, stub: Period) -> Served | None:
    """What is billed of a period that begins short: its share, or nothing where stubs are free."""
    return None if subscription.terms.stub is StubPeriod.FREE else served_from(subscription, own, index, stub)


def is_free(subscription: Subscription, own: OwnInterval) -> bool:
    """Whether the running period of that interval is a stub that costs nothing."""
    return subscription.terms.stub is StubPeriod.FREE and _is_short(subscription, own)


def _is_short(subscription: Subscription, own: OwnInterval) -> bool:
    if own is None:
        return subscription.is_short
    return any(each.is_short for each in subscription.longer if each.interval == own)


def served_until(
    subscription: Subscription,
    own: OwnInterval,
    until: datetime,
    *,
    since: datetime | None = None,
    ends: bool = False,
    is_measured: bool = False,
) -> Served | None:
    """What was used before `until` (and from `since` on) of the running period of that interval, by the subscription's
    basis: by local days, say, the last unused; None of one that never ran, or has only begun. What ran before a pause
    was billed by the pause. With `ends` it is the end of all, whose day one basis bills. What is measured counts in
    however short a time, also where the basis counts nothing.
    """
    running = running_period(subscription, own)
    if running is None or subscription.paused_at is not None or is_free(subscription, own):
        return None
    used = running.ending_at(until)
    resumed_at = subscription.resumed_at
    is_shortened = _is_short(subscription, own)
    if resumed_at is not None and running.contains(resumed_at):
        is_shortened = True
        used = used.starting_at(resumed_at)
    if since is not None:
        used = used.starting_at(since)
    if used == running and since is None and not is_shortened:
        return Served(used)
    service = service_period(subscription, own, subscription.period_index)
    by = subscription.terms.proration_basis
    share = used_share_at_cancellation(used.end, service, by, since=used.start) if ends else share_of(used, service, by)
    return Served(used, share) if share or (is_measured and not used.is_empty) else None


def lines_for(
    subscription: Subscription, timing: BillingTiming, served: Mapping[OwnInterval, Served], invoice_id: str
) -> tuple[InvoiceLine, ...]:
    """The invoice lines of the items with this timing whose intervals are served: rounded once a line, from the exact
    price times the share. Their ids are made of `invoice_id`: the one that bills the period, or would if it were alone.
    """
    terms = subscription.terms
    return tuple(
        [
            line_of(item, of, line_id(invoice_id, timing, item.price_id), terms.rounding)
            for item in terms.items
            if item.timing is timing and (of := served.get(item.interval)) is not None
        ]
    )


def line_id(invoice_id: str, timing: BillingTiming, price_id: str) -> str:
    """The id of the line that bills a price where a period begins or ends."""
    return derived_id(INVOICE_LINE, invoice_id, f"{timing}/{price_id}")


def line_of(item: SubscriptionItem, of: Served, line_id: str, rounding: Rounding) -> InvoiceLine:
    """The line that bills an item for that time; of usage nothing is known yet but whose and when."""
    if item.meter_id is not None:
        return _usage_line(item, item.meter_id, of, line_id, rounding)
    is_whole = of.share is WHOLE_PERIOD or of.share == WHOLE_PERIOD
    return InvoiceLine(
        line_id=line_id,
        description=item.description,
        amount=licensed_amount_of(item.price, item.licensed_quantity, of.share, rounding),
        quantity=item.licensed_quantity,
        timing=item.timing,
        kind=InvoiceLineKind.RECURRING if is_whole else InvoiceLineKind.PRORATED,
        product_id=item.product_id,
        price_id=item.price_id,
        tax_category=item.tax_category,
        period_start=of.period.start,
        period_end=of.period.end,
        pricing=LinePricing(price=item.price, share=of.share, rounding=rounding),
        tax_inclusive=item.tax_inclusive,
    )


def _usage_line(item: SubscriptionItem, meter_id: str, of: Served, line_id: str, rounding: Rounding) -> InvoiceLine:
    return InvoiceLine(
        line_id=line_id,
        description=item.description,
        amount=Money.zero(item.price.currency),
        quantity=Decimal(0),
        timing=item.timing,
        kind=InvoiceLineKind.USAGE,
        product_id=item.product_id,
        price_id=item.price_id,
        tax_category=item.tax_category,
        period_start=of.period.start,
        period_end=of.period.end,
        pricing=LinePricing(price=item.price, share=of.share, rounding=rounding),
        tax_inclusive=item.tax_inclusive,
        usage=LineUsage(meter_id=meter_id),
    )


def arrears_until(
    subscription: Subscription, ending: Collection[OwnInterval], until: datetime, invoice_id: str, *, ends: bool = False
) -> tuple[InvoiceLine, ...]:
    """What the running periods of these intervals owe for the time before `until`; with `ends` it is the end of all."""
    terms = subscription.terms
    owed = [item for item in terms.items if item.timing is BillingTiming.IN_ARREARS and item.interval in ending]
    if not owed:
        return ()
    since = {each.price_id: each.at for each in subscription.arrears_from}
    lines: list[InvoiceLine] = []
    for item in owed:
        used = served_until(
            subscription,
            item.interval,
            until,
            since=since.get(item.price_id),
            ends=ends,
            is_measured=item.meter_id is not None,
        )
        if used is not None:
            lines.append(line_of(item, used, line_id(invoice_id, item.timing, item.price_id), terms.rounding))
    return tuple(lines)


def running_period(subscription: Subscription, own: OwnInterval) -> Period | None:
    """The one that runs of that interval; None during a trial."""
    if own is not None:
        return next((Period(each.start, each.end) for each in subscription.longer if each.interval == own), None)
    if subscription.period_start is None or subscription.period_end is None:
        return None
    return Period(subscription.period_start, subscription.period_end)


def service_period(subscription: Subscription, own: OwnInterval, index: int) -> ServicePeriod:
    """The whole period of that interval in which the subscription's period `index` is: shares are taken of it. The one
    that runs is as it was when it began, wherever the billing date was moved to since.
    """
    terms, former = subscription.terms, subscription.former_anchor
    if former is not None and own is None and index <= subscription.period_index:
        return _service_period(former.at, terms.time_zone, terms.interval, index - former.index)
    interval = own or terms.interval
    nth = _nth(interval, index, subscription)
    return _service_period(subscription.anchor_at, terms.time_zone, interval, nth)


def _nth(interval: Interval, index: int, subscription: Subscription) -> int:
    """Which period of the interval the subscription's period `index` is in, counted from the anchor."""
    return (index - subscription.anchor_index) // interval.multiple_of(subscription.terms.interval)


@lru_cache(maxsize=16_384)
def _service_period(anchor_at: datetime, time_zone: str, interval: Interval, index: int) -> ServicePeriod:
    """Many subscriptions share an anchor (all that were imported at once, say); the calendar is asked once."""
    return ServicePeriod.of(BillingCycle.anniversary(anchor_at, time_zone, interval), index)
