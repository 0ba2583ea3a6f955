"""What a customer has used of a feature's limit: that the limit was reached, and that the counter was reset.

A reset begins the counter anew within a period: what was used by then no longer counts towards the limit. It never
changes what is billed. The stream's id is made of the customer and the feature.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from domain.catalog.feature import LimitKind
from domain.entitlements.triggered_alert import Counted
from domain.kernel.frozen import replace
from domain.kernel.identifiers import ENTITLEMENT as PREFIX
from domain.kernel.identifiers import derived_id
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Stream, Topic
from domain.metering.aggregation import Aggregation

RESETTABLE = frozenset({Aggregation.COUNT, Aggregation.SUM, Aggregation.AMOUNTS, Aggregation.TIME_WEIGHTED_SUM})
"""Of which what was used before can be taken off what is used in all."""
REMEMBERED = timedelta(days=100)
"""For how long after its period it is known what was told: longer than any event may come late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachLimit:
    """Let the log tell that what is counted has reached the feature's limit, if it has not told so."""

    counted: Counted
    limit_kind: LimitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetEntitlement:
    """From now on count anew. `used` of the meter is counted of the whole period by now, by the usage records before
    `counted_to`.
    """

    customer_id: str
    feature: str
    meter_id: str
    aggregation: Aggregation
    period_start: datetime
    period_end: datetime
    used: Fraction
    counted_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitlementLimitReached:
    """`limit` is reached by what is counted since `since`: the beginning of the period, or the last reset in it."""

    entitlement_id: str
    customer_id: str
    feature: str
    meter_id: str
    limit: int
    limit_kind: LimitKind
    used: Decimal
    period_start: datetime
    period_end: datetime
    since: datetime
    reached_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitlementReset:
    """`used_before` of the meter was counted of the period by then, by the usage records before `counted_to`, and no
    longer counts towards the limit.
    """

    entitlement_id: str
    customer_id: str
    feature: str
    meter_id: str
    period_start: datetime
    period_end: datetime
    used_before: Fraction
    counted_to: int
    reset_at: datetime


EntitlementEvent = EntitlementLimitReached | EntitlementReset


class EntitlementNotMetered(Refusal):
    """No meter counts what the customer uses of this feature: there is nothing to reset."""

    code = "entitlement_not_metered"
    param = "feature"


class EntitlementNotResettable(Refusal):
    """A greatest or last value, or a count of different ones, cannot begin anew within a period."""

    code = "entitlement_not_resettable"
    param = "feature"


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterReset:
    """The last reset of a feature's counter: in which period of which meter, and what was used of that by then, by the
    usage records before `counted_to`.
    """

    meter_id: str
    period_start: datetime
    period_end: datetime
    used_before: Fraction
    counted_to: int
    reset_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """A limit that was told of as reached, counted since then, in a period that ends at `until`."""

    meter_id: str
    since: datetime
    until: datetime
    limit: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """The last reset of each period, and what was told of it, of those that were not over a hundred days ago: what
    comes late is of one of them.
    """

    entitlement_id: str
    customer_id: str
    feature: str
    resets: tuple[CounterReset, ...]
    reached: tuple[LimitReached, ...]
    created_at: datetime

    def reset_in(self, meter_id: str, period_start: datetime) -> CounterReset | None:
        """The last reset in that period of that meter."""
        wanted = (meter_id, period_start)
        return next((each for each in self.resets if (each.meter_id, each.period_start) == wanted), None)

    def reached_at(self, meter_id: str, since: datetime, limit: int) -> datetime | None:
        """When that limit was reached of what is counted since then; None where nobody told so."""
        wanted = (meter_id, since, limit)
        return next((each.at for each in self.reached if (each.meter_id, each.since, each.limit) == wanted), None)


def since_of(entitlement: Entitlement | None, meter_id: str, period_start: datetime) -> datetime:
    """From when on is counted in a period: its beginning, or the last reset in it."""
    reset = None if entitlement is None else entitlement.reset_in(meter_id, period_start)
    return period_start if reset is None else reset.reset_at


def used_after(reset: CounterReset, used: Fraction, taken_back: Decimal) -> Fraction:
    """What counts towards the limit of what is used in the period: without what a reset took off, as far as that still
    is there. `taken_back` of it was voided since; never below zero.
    """
    return max(used - (reset.used_before - Fraction(taken_back)), Fraction(0))


def entitlement_id_of(customer_id: str, feature: str) -> str:
    """The stream of a customer's feature."""
    return derived_id(PREFIX, customer_id, f"entitlement/{feature}")


def evolve(entitlement: Entitlement | None, event: EntitlementEvent) -> Entitlement:
    if entitlement is None:
        entitlement = Entitlement(
            entitlement_id=event.entitlement_id,
            customer_id=event.customer_id,
            feature=event.feature,
            resets=(),
            reached=(),
            created_at=event.reset_at if isinstance(event, EntitlementReset) else event.reached_at,
        )
    match event:
        case EntitlementReset():
            reset = CounterReset(
                meter_id=event.meter_id,
                period_start=event.period_start,
                period_end=event.period_end,
                used_before=event.used_before,
                counted_to=event.counted_to,
                reset_at=event.reset_at,
            )
            before = entitlement.reset_in(event.meter_id, event.period_start)
            oldest = event.reset_at - REMEMBERED
            kept_resets = (each for each in entitlement.resets if each is not before and each.period_end >= oldest)
            return replace(entitlement, resets=(*kept_resets, reset))
        case EntitlementLimitReached():
            reached = LimitReached(
                meter_id=event.meter_id,
                since=event.since,
                until=event.period_end,
                limit=event.limit,
                at=event.reached_at,
            )
            oldest = max(each.since for each in (*entitlement.reached, reached)) - REMEMBERED
            kept = tuple(each for each in entitlement.reached if each.until >= oldest)
            return replace(entitlement, reached=(*kept, reached))


EVENTS: dict[str, type] = {
    "entitlement.limit_reached": EntitlementLimitReached,
    "entitlement.reset": EntitlementReset,
}

ENTITLEMENT: Stream[Entitlement] = Stream(
    name="entitlement",
    id_field="entitlement_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda entitlement: entitlement.customer_id,
)
