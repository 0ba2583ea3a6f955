"""What a customer is to be billed, by a reference that knows only dates and fractions.

It keeps, for each day of each thing sold, how many of it are to be billed on that day, and takes off what lines bill:
a charge so many on each of its days, a credit as many fewer. Where nothing is left over, each day is billed once. It
is told of what happened, never of what that bills; boundaries are counted by itself on the calendar on the wall.
"""

from calendar import monthrange
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from domain.catalog.price import BillingTiming
from domain.subscriptions.billing_date import SubscriptionAnchorChanged
from domain.subscriptions.cancellation import (
    SubscriptionCanceled,
    SubscriptionCancellationScheduled,
    SubscriptionCancellationUndone,
)
from domain.subscriptions.change import Proration, SubscriptionChanged
from domain.subscriptions.pause import SubscriptionPaused, SubscriptionResumed
from domain.subscriptions.subscription import SubscriptionCreated, SubscriptionPeriodStarted
from domain.subscriptions.terms import SubscriptionTerms
from domain.subscriptions.transfer import SubscriptionContinued
from domain.subscriptions.trial import SubscriptionTrialEnded, SubscriptionTrialExtended


class Day(NamedTuple):
    """One day of one thing that is sold to a customer."""

    customer_id: str
    price_id: str
    on: date


@dataclass
class Item:
    """How many of a price are subscribed to, by periods of so many months; `paid` is how many were charged in advance
    of the period [start, end) that runs, `gave_back` how many of those a pause gave back. In arrears it is owed from
    `since` on. `days` are those of the whole period on the schedule.
    """

    quantity: int
    months: int
    in_advance: bool
    start: datetime | None = None
    end: datetime | None = None
    since: datetime | None = None
    paid: int = 0
    gave_back: int = 0
    days: tuple[date, date] | None = None

    def runs_at(self, at: datetime) -> bool:
        return self.start is not None and self.end is not None and self.start <= at < self.end


@dataclass
class Subscribed:
    """Period `anchor_index` begins at the anchor, from which all are counted; `index` is that of the one that runs."""

    customer_id: str
    zone: ZoneInfo
    anchor: datetime
    months: int
    items: dict[str, Item]
    anchor_index: int = 0
    index: int = -1
    start: datetime | None = None
    end: datetime | None = None
    days: tuple[date, date] | None = None
    is_paused: bool = False
    has_ended: bool = False
    resumed: bool = False
    end_gives_back: bool = False

    def wall(self, k: int) -> datetime:
        """What the wall shows at boundary k of the months: the anchor's day, or the month's last."""
        anchor = self.anchor.astimezone(self.zone).replace(tzinfo=None)
        year, month = divmod(anchor.year * 12 + anchor.month - 1 + k * self.months, 12)
        return anchor.replace(year=year, month=month + 1, day=min(anchor.day, monthrange(year, month + 1)[1]))

    def boundary(self, index: int) -> datetime:
        """Where the period of that index begins. What the wall shows twice is its first; what it leaves out is as if
        the clocks had not been put forward.
        """
        return self.wall(index - self.anchor_index).replace(tzinfo=self.zone).astimezone(UTC)

    def on(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def whole(self, months: int, index: int) -> tuple[date, date]:
        """The days of the whole period of so many months around the subscription's of that index."""
        times = months // self.months
        first = (index - self.anchor_index) // times * times
        return self.wall(first).date(), self.wall(first + times).date()

    def whole_end(self, item: Item, index: int) -> datetime:
        times = item.months // self.months
        first = (index - self.anchor_index) // times * times
        return self.boundary(first + times + self.anchor_index)


@dataclass
class Reference:
    """`left_over` is what is to be billed less what is; `of_days` how many days the whole periods of a day have."""

    subscriptions: dict[str, Subscribed] = field(default_factory=dict)
    left_over: Counter[Day] = field(default_factory=Counter)
    of_days: dict[Day, set[int]] = field(default_factory=dict)
    unclear: set[Day] = field(default_factory=set)
    periods: set[tuple[str, int]] = field(default_factory=set)
    zones: dict[str, ZoneInfo] = field(default_factory=dict)

    def copy(self) -> "Reference":
        return Reference(
            deepcopy(self.subscriptions),
            self.left_over.copy(),
            {day: set(counts) for day, counts in self.of_days.items()},
            set(self.unclear),
            set(self.periods),
            dict(self.zones),
        )

    def days_of(self, customer_id: str, start: datetime, end: datetime) -> tuple[date, date]:
        """The days from one instant to another, where the customer is; all their subscriptions are there."""
        zone = self.zones[customer_id]
        return start.astimezone(zone).date(), end.astimezone(zone).date()

    # --- what is to be billed --------------------------------------------------------------------------------------

    def _bill(self, of: Subscribed, price_id: str, start: datetime, end: datetime, quantity: int) -> None:
        """So many of it on each of these days; below zero, so many fewer."""
        first, last = of.items[price_id].days or (of.on(start), of.on(end))
        for on in days(max(of.on(start), first), min(of.on(end), last)):
            day = Day(of.customer_id, price_id, on)
            self._add(day, quantity)
            if quantity > 0:
                self.of_days.setdefault(day, set()).add((last - first).days)

    def bills(self, customer_id: str, price_id: str, first: date, end: date, quantity: int) -> None:
        """A line bills so many on each of these days, or gives them back (below zero)."""
        for on in days(first, end):
            self._add(Day(customer_id, price_id, on), -quantity)

    def is_unclear(self, customer_id: str, price_id: str, first: date, end: date) -> None:
        """Its invoice is taken back, or nobody pays it any more: what is billed on these days is anybody's guess."""
        self.unclear.update(Day(customer_id, price_id, on) for on in days(first, end))

    def differences(self) -> dict[Day, int]:
        """Days that are billed too often (below zero), or not as often as they should be."""
        return {day: count for day, count in self.left_over.items() if day not in self.unclear}

    def _add(self, day: Day, quantity: int) -> None:
        self.left_over[day] += quantity
        if not self.left_over[day]:
            del self.left_over[day]

    # --- what happens ----------------------------------------------------------------------------------------------

    def created(self, event: SubscriptionCreated) -> None:
        terms = event.terms
        self.zones[event.customer_id] = ZoneInfo(terms.time_zone)
        self.subscriptions[event.subscription_id] = Subscribed(
            customer_id=event.customer_id,
            zone=self.zones[event.customer_id],
            anchor=event.anchor_at,
            anchor_index=event.anchor_index,
            months=terms.interval.months,
            items=_items(terms),
        )

    def continued(self, event: SubscriptionContinued, *, is_billed: bool) -> None:
        """It goes on with what ran of another customer's, who paid for that in advance, unless that was given back."""
        of, was = self.subscriptions[event.subscription_id], self.subscriptions[event.continues]
        assert (event.index, event.period_end) == (was.index, was.end), "the schedule goes on"
        assert of.customer_id != was.customer_id
        of.index, of.start, of.end, of.days = was.index, was.start, was.end, was.days
        at = event.continued_at
        for price_id, item in of.items.items():
            ran = was.items[price_id]
            item.start, item.end, item.days = ran.start, ran.end, ran.days
            assert item.end is not None, "a period runs"
            item.since = min(at, item.end)
            if is_billed and item.in_advance and at < item.end:
                self._bill(of, price_id, at, item.end, item.quantity)
                item.paid = item.quantity

    def trial_moved(self, event: SubscriptionTrialExtended | SubscriptionTrialEnded) -> None:
        self.subscriptions[event.subscription_id].anchor = event.trial_end

    def anchor_moved(self, event: SubscriptionAnchorChanged) -> None:
        """The period that runs stays as it is."""
        of = self.subscriptions[event.subscription_id]
        of.anchor, of.anchor_index = event.anchor_at, event.anchor_index
        assert of.end is not None
        assert of.boundary(of.index + 1) <= of.end < of.boundary(of.index + 2), "the next period is around its start"

    def period_started(self, event: SubscriptionPeriodStarted) -> None:
        """Each begins where the one before ended, but after a pause, and once for each index."""
        of = self.subscriptions[event.subscription_id]
        key = event.subscription_id, event.index
        assert key not in self.periods, "a period is billed once"
        self.periods.add(key)
        start = event.period_start
        if of.resumed:
            assert of.index < event.index
            assert of.boundary(event.index) <= start, "what is left of the period around its resumption"
        else:
            assert event.index == of.index + 1
            assert start == (of.end or of.anchor), "a period begins where the one before it ended"
        assert event.period_end == of.boundary(event.index + 1), "a period ends on its schedule"
        before, of.index, of.start, of.end, of.resumed = of.index, event.index, start, event.period_end, False
        of.days = of.whole(of.months, event.index)
        longer = {each.interval.months: each.end for each in event.longer}
        for price_id, item in of.items.items():
            times = item.months // of.months
            first, was_first = (event.index - of.anchor_index) // times, (before - of.anchor_index) // times
            if times > 1 and first == was_first and item.start is not None:
                assert item.months not in longer, "a longer period is billed once"
                continue
            self._owed(of, price_id, start)
            item.start, item.since = start, start
            item.end = event.period_end if times == 1 else of.whole_end(item, event.index)
            assert times == 1 or longer[item.months] == item.end, "a longer period begins with one, and ends with one"
            item.days = of.whole(item.months, event.index)
            item.paid = item.quantity if item.in_advance else 0
            item.gave_back = 0
            if item.in_advance:
                self._bill(of, price_id, item.start, item.end, item.quantity)

    def _owed(self, of: Subscribed, price_id: str, until: datetime) -> None:
        """In arrears, what was used before then of the period that runs."""
        item = of.items[price_id]
        if item.in_advance or of.is_paused or item.since is None or item.end is None:
            return
        until = min(until, item.end)
        if item.since < until:
            self._bill(of, price_id, item.since, until, item.quantity)
        item.since = max(item.since, until)

    def _given_back(self, of: Subscribed, at: datetime) -> None:
        """In advance, what was paid for the time from then on."""
        for price_id, item in of.items.items():
            if item.in_advance and item.runs_at(at):
                assert item.end is not None
                self._bill(of, price_id, at, item.end, -item.paid)
                item.gave_back, item.paid = item.paid, 0

    def paused(self, event: SubscriptionPaused, *, gives_back: bool) -> None:
        of = self.subscriptions[event.subscription_id]
        for price_id in of.items:
            self._owed(of, price_id, event.paused_at)
        if gives_back:
            self._given_back(of, event.paused_at)
        of.is_paused = True

    def resumed(self, event: SubscriptionResumed) -> None:
        of, at = self.subscriptions[event.subscription_id], event.resumed_at
        of.is_paused = False
        of.resumed = of.end is not None and of.end <= at
        for price_id, item in of.items.items():
            if item.since is not None:
                item.since = max(item.since, at)
            if item.gave_back and item.runs_at(at):
                assert item.end is not None
                self._bill(of, price_id, at, item.end, item.gave_back)
                item.paid, item.gave_back = item.gave_back, 0

    def changed(self, event: SubscriptionChanged) -> None:
        of, at = self.subscriptions[event.subscription_id], event.changed_at
        wanted = _items(event.terms)
        is_prorated = event.proration is not Proration.NONE
        if of.end is None:
            of.items = wanted
        elif event.resets_anchor:
            for price_id in of.items:
                self._owed(of, price_id, at)
            if is_prorated:
                self._given_back(of, at)
            of.items, of.start, of.end = wanted, None, at
            of.anchor, of.anchor_index = at, of.index + 1
        else:
            for price_id in dict.fromkeys((*of.items, *wanted)):
                self._item_changed(of, price_id, wanted.get(price_id), at, is_prorated=is_prorated)
        of.months = event.terms.interval.months

    def _item_changed(
        self, of: Subscribed, price_id: str, wanted: Item | None, at: datetime, *, is_prorated: bool
    ) -> None:
        was = of.items.get(price_id)
        if was is None:
            assert wanted is not None
            of.items[price_id] = wanted
            self._item_begun(of, price_id, wanted, at, is_prorated=is_prorated)
            return
        if wanted is not None and wanted.quantity == was.quantity:
            return
        if was.end is not None and not was.in_advance:
            self._owed(of, price_id, at if is_prorated else was.end)
        elif was.end is not None and is_prorated and at < was.end:
            self._bill(of, price_id, at, was.end, (0 if wanted is None else wanted.quantity) - was.paid)
            was.paid = 0 if wanted is None else wanted.quantity
        if wanted is None:
            del of.items[price_id]
        else:
            was.quantity = wanted.quantity

    def _item_begun(self, of: Subscribed, price_id: str, item: Item, at: datetime, *, is_prorated: bool) -> None:
        """In the middle of a period, or with the next one where that begins here."""
        assert of.end is not None
        index, times = of.index + (at >= of.end), item.months // of.months
        begins_here = (index - of.anchor_index) // times != (of.index - of.anchor_index) // times
        if times > 1 and begins_here:
            return
        known = next((each for each in of.items.values() if each.months == item.months and each.end is not None), None)
        if times == 1:
            item.start, item.end, item.days = of.start, of.end, of.days
        elif known is not None:
            item.start, item.end, item.days = known.start, known.end, known.days
        else:
            item.start, item.end, item.days = at, of.whole_end(item, index), of.whole(item.months, index)
        assert item.end is not None
        item.since = min(at, item.end) if is_prorated else item.end
        if item.in_advance and is_prorated and at < item.end:
            self._bill(of, price_id, at, item.end, item.quantity)
            item.paid = item.quantity

    def end_scheduled(self, event: SubscriptionCancellationScheduled) -> None:
        self.subscriptions[event.subscription_id].end_gives_back = event.gives_back

    def end_undone(self, event: SubscriptionCancellationUndone) -> None:
        self.subscriptions[event.subscription_id].end_gives_back = False

    def canceled(self, event: SubscriptionCanceled, *, gives_back: bool) -> None:
        of = self.subscriptions[event.subscription_id]
        assert not of.has_ended, "it ends once"
        of.has_ended = True
        for price_id in of.items:
            self._owed(of, price_id, event.canceled_at)
        if gives_back:
            self._given_back(of, event.canceled_at)


def _items(terms: SubscriptionTerms) -> dict[str, Item]:
    return {
        item.price_id: Item(
            quantity=int(item.licensed_quantity),
            months=(item.interval or terms.interval).months,
            in_advance=item.timing is BillingTiming.IN_ADVANCE,
        )
        for item in terms.items
    }


def days(first: date, end: date) -> Iterator[date]:
    """Each of them, the end excluded."""
    return (first + timedelta(days=n) for n in range((end - first).days))
