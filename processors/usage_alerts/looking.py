"""What a look at customers' meters finds: thresholds of alerts, and limits of features, that what is used has reached.

Figures are asked of the rows that a bill takes, on one snapshot. What is found goes to the log by commands that look
again at what was told before, so it does no harm to find it twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from domain.customers.customer import Customer
from domain.entitlements.entitlement import Entitlement, ReachLimit, entitlement_id_of, since_of, used_since
from domain.entitlements.triggered_alert import Counted, TriggerAlert, due_thresholds, trigger_id_of
from domain.entitlements.usage_alert import AlertPeriod, UsageAlert
from domain.kernel.stream import Command
from domain.metering.aggregation import Aggregation, Window
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
from usage.looks import Look
from usage.partials import EPOCH
from usage.used import used_in

AHEAD: Final = timedelta(days=1)
"""Further than an event's time may lie ahead."""


class Found(NamedTuple):
    """What a look comes to. `again`: levels go on, so that something may be reached though nothing more is counted.
    `subscriptions` are invoiced once usage of the meter comes to so much.
    """

    commands: Sequence[Command]
    again: bool = False
    subscriptions: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Scene:
    """What there is to know of the customers and meters of some looks of one tenant."""

    connection: Connection
    tenant_id: str
    now: datetime
    alerts: Sequence[UsageAlert]
    customers: Mapping[str, Customer]
    clocks: Mapping[str, datetime]
    meters: Mapping[str, Meter]
    subscriptions: Mapping[str, Sequence[Subscription]]
    entitlements: Mapping[str, Entitlement]

    def now_of(self, customer: Customer) -> datetime:
        clock_id = customer.test_clock_id
        return self.now if clock_id is None else self.clocks.get(clock_id, self.now)


async def scene_of(connection: Connection, tenant_id: str, looks: Sequence[Look], now: datetime) -> Scene:
    """Everything in a few queries, however many looks there are."""
    ids = sorted({look.customer_id for look in looks})
    found = {row.state.customer_id: row.state for row in await many(connection, customers.TABLE, tenant_id, ids)}
    clock_ids = [each.test_clock_id for each in found.values() if each.test_clock_id is not None]
    by_customer: dict[str, list[Subscription]] = {}
    for subscription in await subscriptions.counting(connection, tenant_id, ids):
        by_customer.setdefault(subscription.customer_id, []).append(subscription)
    named = {
        entitlement_id_of(look.customer_id, feature)
        for look in looks
        for feature in metered_features(by_customer.get(look.customer_id, ()), look.meter_id)
    }
    told = await many(connection, entitlements.TABLE, tenant_id, sorted(named))
    clocks = await many(connection, test_clocks.TABLE, tenant_id, clock_ids)
    counted = await many(connection, meters.TABLE, tenant_id, sorted({look.meter_id for look in looks}))
    return Scene(
        connection=connection,
        tenant_id=tenant_id,
        now=now,
        alerts=await usage_alerts.watching(connection, tenant_id, ids),
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
    looking = _Looking(scene, look, customer)
    await looking.all()
    is_level = meter.aggregation is Aggregation.TIME_WEIGHTED_SUM
    billed = watched(scene.subscriptions.get(look.customer_id, ()), look.meter_id)
    return Found(looking.commands, is_level and looking.may_come, billed)


class _Looking:
    """One look under way. `may_come`: something is watched that is not reached yet."""

    def __init__(self, scene: Scene, look: Look, customer: Customer) -> None:
        self._scene = scene
        self._look = look
        self._zone = customer.time_zone
        self._now = scene.now_of(customer)
        owned = scene.subscriptions.get(look.customer_id, ())
        self._features = metered_features(owned, look.meter_id)
        self._history = History(scene.connection, scene.tenant_id, owned, self._now)
        self._alerts = [each for each in scene.alerts if each.customer_id in (None, look.customer_id)]
        self.commands: list[Command] = []
        self.may_come = False

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
            await self._told(ever, await self._counted(Window(start=EPOCH, end=self._now + AHEAD), ever=True))

    async def _each(self, look_up: Lookup, alerts: Sequence[UsageAlert], feature: str | None) -> None:
        async for counting in self._history.countings(look_up, self._look.first_bucket):
            if not alerts and not counting.limit:
                continue
            counted = await self._counted(counting.period, feature=feature, counting=counting)
            await self._told(alerts, counted)
            if feature is not None and counting.limit:
                self._limited(counted, counting)

    async def _counted(
        self, period: Window, *, feature: str | None = None, counting: Counting | None = None, ever: bool = False
    ) -> Counted:
        look = self._look
        metered = Metered(look.tenant_id, look.customer_id, look.meter_id)
        figure = await used_in(self._scene.connection, metered, period, held_until=self._now)
        used, since = Fraction(figure.quantity), period.start
        if feature is not None:
            entitlement = self._entitlement(feature)
            since = since_of(entitlement, look.meter_id, period.start)
            used = used_since(entitlement, look.meter_id, period.start, used)
        return Counted(
            customer_id=look.customer_id,
            meter_id=look.meter_id,
            feature=feature,
            period_start=None if ever else period.start,
            period_end=None if ever else period.end,
            since=None if ever else since,
            limit=None if counting is None else counting.limit,
            used=used,
        )

    async def _told(self, alerts: Sequence[UsageAlert], counted: Counted) -> None:
        """The alerts of which a threshold is reached that the log has not told of."""
        ids = {trigger_id_of(each.usage_alert_id, counted): each for each in alerts}
        rows = await many(self._scene.connection, triggered_alerts.TABLE, self._scene.tenant_id, list(ids))
        reached = {row.state.trigger_id: [each.threshold for each in row.state.reached] for row in rows}
        for trigger_id, alert in ids.items():
            told = reached.get(trigger_id, [])
            due = due_thresholds(alert.terms, counted, told)
            if due:
                self.commands.append(TriggerAlert(usage_alert_id=alert.usage_alert_id, counted=counted))
            if alert.terms.every is not None or len(told) + len(due) < len(alert.terms.thresholds):
                self.may_come = True

    def _limited(self, counted: Counted, counting: Counting) -> None:
        assert counting.limit is not None, "there is a limit"
        assert counted.feature is not None, "a feature has it"
        assert counted.since is not None, "a limit is of a period"
        entitlement = self._entitlement(counted.feature)
        if counted.used < counting.limit:
            self.may_come = True
        elif entitlement is None or not entitlement.reached_at(counted.meter_id, counted.since, counting.limit):
            self.commands.append(ReachLimit(counted=counted, limit_kind=counting.limit_kind))

    def _entitlement(self, feature: str) -> Entitlement | None:
        return self._scene.entitlements.get(entitlement_id_of(self._look.customer_id, feature))
