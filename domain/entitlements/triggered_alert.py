"""A usage alert that was triggered: the thresholds that a customer reached in one period, each told of once.

Its id is made of the alert, the customer and the beginning of what is counted, so whoever finds the same threshold
again, another process or the same one after a crash, comes to the same stream, which has it already. A calendar month
is named as such, so it stays the same when the customer moves to another time zone.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

from domain.entitlements.usage_alert import AlertTerms, last_quantity
from domain.kernel.frozen import replace
from domain.kernel.identifiers import TRIGGERED_ALERT as PREFIX
from domain.kernel.identifiers import derived_id
from domain.kernel.percent import factor_of
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import EXACT, exactly
from domain.kernel.stream import Stream, Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What is used of a meter since `since` (None: ever), in [period_start, period_end). `limit` is the feature's.

    `since` is the beginning of the period, or the last reset in it. `month` is the first day of the calendar month that
    the period is, where it is a whole one.
    """

    customer_id: str
    meter_id: str
    feature: str | None
    period_start: datetime | None
    period_end: datetime | None
    since: datetime | None
    limit: int | None
    used: Fraction
    month: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerAlert:
    """Let the log tell of the thresholds that what is counted has reached, those that it has not told of."""

    usage_alert_id: str
    counted: Counted


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAlertTriggered:
    """`threshold` is reached, in the meter's unit; of one that is a percentage, of which limit. `used` by then. What is
    `recurring` is one of `every`.
    """

    trigger_id: str
    usage_alert_id: str
    customer_id: str
    meter_id: str
    feature: str | None
    period_start: datetime | None
    period_end: datetime | None
    since: datetime | None
    threshold: Decimal
    percent: Decimal | None
    limit: int | None
    used: Decimal
    triggered_at: datetime
    recurring: bool = False


class TriggeredAlertNotFound(Refusal):
    """There is no such triggered alert."""

    code = "triggered_alert_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "triggered_alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedThreshold:
    """A threshold in the meter's unit that was told of, with what was used by then."""

    threshold: Decimal
    percent: Decimal | None
    limit: int | None
    used: Decimal
    triggered_at: datetime
    recurring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggeredAlert:
    """`reached` in the order in which they were told of; of those of `every` the last one alone, as whatever follows is
    greater: the stream of an alert that counts for ever stays small.
    """

    trigger_id: str
    usage_alert_id: str
    customer_id: str
    meter_id: str
    feature: str | None
    period_start: datetime | None
    period_end: datetime | None
    since: datetime | None
    reached: tuple[ReachedThreshold, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A threshold that is reached, in the meter's unit, and the percentage that it comes from."""

    threshold: Decimal
    percent: Decimal | None = None
    recurring: bool = False


def trigger_id_of(usage_alert_id: str, counted: Counted) -> str:
    """The stream in which an alert tells of a customer and of what is counted since then."""
    if counted.month is not None:
        since = f"month/{counted.month.isoformat()}"
    else:
        since = "ever" if counted.since is None else counted.since.astimezone(UTC).isoformat()
    return derived_id(PREFIX, counted.customer_id, f"{usage_alert_id}/{since}")


def due_thresholds(terms: AlertTerms, counted: Counted, told: Collection[Decimal]) -> list[Due]:
    """The thresholds that are reached and were not told of, the least first.

    A percentage is of the limit as it is: where that is raised, the same one is reached anew. Of `every` it is the last
    one that is reached, and those before it are passed over: one that is told of was greater than whatever follows.
    """
    found = _fixed(terms, counted.limit)
    if terms.every is not None:
        at = _recurring(terms.every, last_quantity(terms.thresholds), counted.used)
        if at is not None and at > max(told, default=Decimal(0)):
            found.setdefault(at, Due(threshold=at, recurring=True))
    reached = (at for at in sorted(found) if counted.used >= exactly(at) and at not in told)
    return [found[at] for at in reached]


def next_threshold(terms: AlertTerms, counted: Counted, told: Collection[Decimal]) -> Decimal | None:
    """The least threshold above what is used, of those that were not told of: what more usage is to be told of first.
    None where there is none.
    """
    ahead = [at for at in _fixed(terms, counted.limit) if counted.used < exactly(at) and at not in told]
    if terms.every is not None:
        last = last_quantity(terms.thresholds)
        passed = max(counted.used, *(exactly(at) for at in (last, *told)))
        ahead.append(EXACT.add(_recurring(terms.every, last, passed) or last, terms.every))
    return min(ahead, default=None)


def _fixed(terms: AlertTerms, limit: int | None) -> dict[Decimal, Due]:
    """The thresholds that are named, in the meter's unit; no percentages where there is no limit."""
    found: dict[Decimal, Due] = {}
    for each in terms.thresholds:
        at = each.quantity
        if each.percent is not None:
            if not limit:
                continue
            at = EXACT.multiply(factor_of(each.percent), limit)
        assert at is not None, "a quantity or a percentage"
        found.setdefault(at, Due(threshold=at, percent=each.percent))
    return found


def _recurring(every: Decimal, last: Decimal, used: Fraction) -> Decimal | None:
    """The last of those that come again and again behind `last` that what is used has passed."""
    times = int((used - exactly(last)) // exactly(every))
    return EXACT.add(last, EXACT.multiply(every, times)) if times > 0 else None


def evolve(triggered: TriggeredAlert | None, event: UsageAlertTriggered) -> TriggeredAlert:
    reached = ReachedThreshold(
        threshold=event.threshold,
        percent=event.percent,
        limit=event.limit,
        used=event.used,
        triggered_at=event.triggered_at,
        recurring=event.recurring,
    )
    if triggered is not None:
        kept = triggered.reached
        if reached.recurring:
            kept = tuple(each for each in kept if not each.recurring)
        return replace(triggered, reached=(*kept, reached))
    return TriggeredAlert(
        trigger_id=event.trigger_id,
        usage_alert_id=event.usage_alert_id,
        customer_id=event.customer_id,
        meter_id=event.meter_id,
        feature=event.feature,
        period_start=event.period_start,
        period_end=event.period_end,
        since=event.since,
        reached=(reached,),
        created_at=event.triggered_at,
    )


EVENTS: dict[str, type] = {"usage_alert.triggered": UsageAlertTriggered}

TRIGGERED_ALERT: Stream[TriggeredAlert] = Stream(
    name="triggered_alert",
    id_field="trigger_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda triggered: triggered.customer_id,
    not_found=TriggeredAlertNotFound,
)
