"""What a look at customers' meters finds: thresholds of alerts, and limits of features, that what is used has reached.

Figures are asked of the rows that a bill takes, on one snapshot. What is found goes to the log by commands that look
again at what was told before, so it does no harm to find it twice. What time alone may bring is looked at again when it
has done so: a level that is held adds up, and an event may be of the period that comes next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from domain.customers.customer import Customer
from domain.entitlements.entitlement import Entitlement, ReachLimit, entitlement_id_of, since_of
from domain.entitlements.triggered_alert import (
    Counted,
    TriggerAlert,
    due_thresholds,
    next_threshold,
    trigger_id_of,
)
from domain.entitlements.usage_alert import AlertPeriod, UsageAlert
from domain.kernel.rounding import exactly
from domain.kernel.stream import Command
from domain.metering.aggregation import Window
from domain.metering.meter import Meter
from domain.subscriptions.limits import metered_features
from domain.subscriptions.state import Subscription
from infra.database import Connection
from processors.usage_alerts.counting import Counting, History, Lookup, of_feature, of_meter, of_month
from processors.usage_thresholds import watched
from projections.models import (
    customers,
    entitlements,
    meters,
    subscriptions,
    test_clocks,
    triggered_alerts,
    usage_alerts,
)
from projections.reading import many
from usage.live import Metered
from usage.looks import AGAIN_MS_MAX, AGAIN_MS_MIN, NO_EARLIER, Look
from usage.meter_usage import AHEAD_OF_TIME, MeterUsage
from usage.partials import EPOCH, bucket_of
from usage.taken_back import TakenBack

AHEAD: Final = timedelta(days=1)
"""Further than an event's time may lie ahead."""


class Found(NamedTuple):
    """What a look comes to, at the quarter hour `bucket` of the customer's time. `again_ms`: how soon to look again,
    from there on, though nothing more is counted; None: only once something is. `subscriptions` are invoiced once usage
    of the meter comes to so much.
    """

    commands: Sequence[Command]
    bucket: int = NO_EARLIER
    again_ms: int | None = None
    subscriptions: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Scene:
    """What there is to know of the customers and meters of some looks of one tenant."""

    connection: Connection
    tenant_id: str
    now: datetime
    taken_back: TakenBack
    alerts: Sequence[UsageAlert]
    customers: Mapping[str, Customer]
    clocks: Mapping[str, datetime]
    meters: Mapping[str, Meter]
    subscriptions: Mapping[str, Sequence[Subscription]]
    entitlements: Mapping[str, Entitlement]

    def now_of(self, customer: Customer) -> datetime:
        clock_id = customer.test_clock_id
        return self.now if clock_id is None else self.clocks.get(clock_id, self.now)


async def scene_of(
    connection: Connection, tenant_id: str, looks: Sequence[Look], taken_back: TakenBack, now: datetime
) -> Scene:
    """Everything in a few queries, however many looks there are."""
    ids = sorted({look.customer_id for look in looks})
    found = {row.state.customer_id: row.state for row in await many(connection, customers.TABLE, tenant_id, ids)}
    clock_ids = [each.test_clock_id for each in found.values() if each.test_clock_id is not None]
    by_customer: dict[str, list[Subscription]] = {}
    for subscription in await subscriptions.counting(connection, tenant_id, ids):
        by_customer.setdefault(subscription.customer_id, []).append(subscription)
    counted_of = {
        (look.customer_id, feature)
        for look in looks
        for feature in metered_features(by_customer.get(look.customer_id, ()), look.meter_id)
    }
    features, meter_ids = {feature for _, feature in counted_of}, sorted({look.meter_id for look in looks})
    named = sorted(entitlement_id_of(customer_id, feature) for customer_id, feature in counted_of)
    told = await many(connection, entitlements.TABLE, tenant_id, named)
    clocks = await many(connection, test_clocks.TABLE, tenant_id, clock_ids)
    counted = await many(connection, meters.TABLE, tenant_id, meter_ids)
    return Scene(
        connection=connection,
        tenant_id=tenant_id,
        now=now,
        taken_back=taken_back,
        alerts=await usage_alerts.watching(connection, tenant_id, ids, meter_ids, sorted(features)),
        customers=found,
        clocks={row.state.clock_id: row.state.frozen_at for row in clocks},
        meters={row.state.meter_id: row.state for row in counted},
        subscriptions=by_customer,
        entitlements={row.state.entitlement_id: row.state for row in told},
    )


async def look_at(scene: Scene, look: Look) -> Found:
    """What is reached of what this meter has counted of this customer."""
    customer, meter = scene.customers.get(look.customer_id), scene.meters.get(look.meter_id)
    if customer is None or meter is None or customer.deleted_at is not None:
        return Found(())
    looking = _Looking(scene, look, customer, meter)
    await looking.all()
    billed = watched(scene.subscriptions.get(look.customer_id, ()), look.meter_id)
    return Found(looking.commands, bucket_of(looking.now), looking.again_ms(), billed)


class _Looking:
    """One look under way. `again_at`: when time alone may have brought something that is watched."""

    def __init__(self, scene: Scene, look: Look, customer: Customer, meter: Meter) -> None:
        self._scene = scene
        self._look = look
        self._zone = customer.time_zone
        self._on_clock = customer.test_clock_id is not None
        self.now = scene.now_of(customer)
        owned = scene.subscriptions.get(look.customer_id, ())
        self._features = metered_features(owned, look.meter_id)
        self._history = History(scene.connection, scene.tenant_id, owned, self.now)
        self._alerts = [each for each in scene.alerts if each.customer_id in (None, look.customer_id)]
        metered = Metered(look.tenant_id, look.customer_id, look.meter_id)
        self._usage = MeterUsage(scene.connection, metered, meter.aggregation, scene.taken_back, self.now)
        self.commands: list[Command] = []
        self.again_at: list[datetime] = []

    async def all(self) -> None:
        """Features with their limits and alerts, then the alerts of the meter itself, by the time that each counts."""
        for feature in sorted(self._features):
            of_it = [each for each in self._alerts if each.feature == feature]
            await self._each(of_feature(feature, self._look.meter_id), of_it, feature)
        of_meter_itself = [each for each in self._alerts if each.meter_id == self._look.meter_id]
        for period, look_up in (
            (AlertPeriod.SUBSCRIPTION, of_meter(self._look.meter_id, self._zone)),
            (AlertPeriod.MONTH, of_month(self._zone)),
        ):
            alerts = [each for each in of_meter_itself if each.period is period]
            if alerts:
                await self._each(look_up, alerts, None)
        ever = [each for each in of_meter_itself if each.period is AlertPeriod.LIFETIME]
        if ever:
            whole = Window(start=EPOCH, end=self.now + AHEAD)
            counted = await self._counted(Counting(whole), ever=True)
            await self._grows(whole, counted, await self._told(ever, counted))

    def again_ms(self) -> int | None:
        """How soon to look again. A test clock wakes those that wait for it."""
        if not self.again_at:
            return None
        if self._on_clock:
            return AGAIN_MS_MAX
        wait_ms = (min(self.again_at) - self.now) // timedelta(milliseconds=1) + 1
        return min(max(wait_ms, AGAIN_MS_MIN), AGAIN_MS_MAX)

    async def _each(self, look_up: Lookup, alerts: Sequence[UsageAlert], feature: str | None) -> None:
        async for counting in self._history.countings(look_up, self._look.first_bucket):
            if not alerts and not counting.limit:
                continue
            counted = await self._counted(counting, feature=feature)
            ahead = await self._told(alerts, counted)
            if feature is not None and counting.limit:
                ahead += self._limited(counted, counting)
            await self._grows(counting.period, counted, ahead)

    async def _counted(self, counting: Counting, *, feature: str | None = None, ever: bool = False) -> Counted:
        look, period = self._look, counting.period
        used, since = await self._usage.in_period(period), period.start
        if feature is not None:
            entitlement = self._entitlement(feature)
            since = since_of(entitlement, look.meter_id, period.start)
            reset = None if entitlement is None else entitlement.reset_in(look.meter_id, period.start)
            if reset is not None:
                used = await self._usage.since(reset, period)
        return Counted(
            customer_id=look.customer_id,
            meter_id=look.meter_id,
            feature=feature,
            period_start=None if ever else period.start,
            period_end=None if ever else period.end,
            since=None if ever else since,
            limit=counting.limit,
            used=used,
            month=counting.month,
        )

    async def _told(self, alerts: Sequence[UsageAlert], counted: Counted) -> list[Decimal]:
        """The alerts of which a threshold is reached that the log has not told of; which comes next of each."""
        ids = {trigger_id_of(each.usage_alert_id, counted): each for each in alerts}
        rows = await many(self._scene.connection, triggered_alerts.TABLE, self._scene.tenant_id, list(ids))
        reached = {row.state.trigger_id: [each.threshold for each in row.state.reached] for row in rows}
        ahead: list[Decimal] = []
        for trigger_id, alert in ids.items():
            told = reached.get(trigger_id, [])
            due = due_thresholds(alert.terms, counted, told)
            if due:
                self.commands.append(TriggerAlert(usage_alert_id=alert.usage_alert_id, counted=counted))
            following = next_threshold(alert.terms, counted, [*told, *(each.threshold for each in due)])
            ahead += [] if following is None else [following]
        return ahead

    def _limited(self, counted: Counted, counting: Counting) -> list[Decimal]:
        """The limit, where it is not reached yet; else the log is to have told of it."""
        assert counting.limit is not None, "there is a limit"
        assert counted.feature is not None, "a feature has it"
        assert counted.since is not None, "a limit is of a period"
        if counted.used < counting.limit:
            return [Decimal(counting.limit)]
        entitlement = self._entitlement(counted.feature)
        if entitlement is None or not entitlement.reached_at(counted.meter_id, counted.since, counting.limit):
            self.commands.append(ReachLimit(counted=counted, limit_kind=counting.limit_kind))
        return []

    async def _grows(self, period: Window, counted: Counted, ahead: Sequence[Decimal]) -> None:
        """When to look again though nothing more is counted: at what is `ahead`, and at what follows the period."""
        if period.end <= self.now:
            return
        growth = await self._usage.growth(period)
        if ahead and growth is not None:
            self.again_at.append(growth.reaches(exactly(min(ahead)) - counted.used))
        if growth is not None or period.end - self.now <= AHEAD_OF_TIME:
            self.again_at.append(period.end)

    def _entitlement(self, feature: str) -> Entitlement | None:
        return self._scene.entitlements.get(entitlement_id_of(self._look.customer_id, feature))
