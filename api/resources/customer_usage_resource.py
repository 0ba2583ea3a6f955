"""A customer's usage as it is answered: figures of a meter, by window and group, and what they are billed at."""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.fields import MoneyResource, eur, money, plain_decimal
from domain.entitlements.triggered_alert import TriggeredAlert
from domain.invoicing.usage_line import told_quantity
from domain.kernel.money import Money
from domain.metering.aggregation import Aggregation, Window
from domain.metering.meter import Meter
from usage.figures import Figure
from usage.live import GroupFigure, LiveUsage, RunningBill, WindowFigure


class UsageBill(TypedDict):
    """What a subscription bills for its running period by what is counted so far, if nothing more is used and nothing
    changed until its end: before discounts and taxes. A level is billed as if it were held until then. `amount` is null
    where it is more than an invoice holds.

    `invoiced` is what invoices have billed of it while the period runs (see `usage_threshold` of the subscription), and
    `remaining` what is still to be billed; below zero, what the end of the period gives back.
    """

    subscription: str
    price: str
    period_start: datetime
    period_end: datetime
    quantity: str
    events: int
    amount: MoneyResource | None
    invoiced: MoneyResource
    remaining: MoneyResource | None


class UsageAlertReached(TypedDict):
    """A threshold of an alert that was reached, in the meter's unit, and what was used by then."""

    usage_alert: str
    triggered_alert: str
    threshold: str
    used: str
    triggered_at: datetime


class MeterUsageResource(TypedDict):
    """A meter's figure of a time, of so many events less their voids. Quantities are in the meter's unit.

    Whatever was accepted before `counted_until` is counted; null: that is not known now. `bill` is null where no
    subscription bills the meter at this time. `alerts` tells what was reached of usage alerts in periods that share a
    part of this time, the latest period first.
    """

    object: Literal["meter_usage"]
    meter: str
    code: str
    name: str
    aggregation: Aggregation
    unit: str | None
    time_zone: str
    start: datetime
    end: datetime
    quantity: str
    events: int
    counted_until: datetime | None
    bill: UsageBill | None
    alerts: list[UsageAlertReached]


class UsageWindowResource(TypedDict):
    """[start, end), and what was used in it."""

    start: datetime
    end: datetime
    quantity: str
    events: int


class UsageGroupResource(TypedDict):
    """What was used where the properties that the meter groups by have these values, null where events had none; of
    the windows those in which there is something.
    """

    properties: dict[str, str | None]
    quantity: str
    events: int
    windows: list[UsageWindowResource]


class MeterUsageDetail(MeterUsageResource):
    """The same with its windows, all of them, and with the 50 groups that have the most events; `more_groups` are not
    told.
    """

    windows: list[UsageWindowResource]
    groups: list[UsageGroupResource]
    more_groups: int


EXAMPLE: Final[dict[str, object]] = {
    "object": "meter_usage",
    "meter": "mtr_01m7ywe9z7e398x54gfbrtqnk7",
    "code": "traffic",
    "name": "Outgoing traffic",
    "aggregation": "sum",
    "unit": "GB",
    "time_zone": "Europe/Berlin",
    "start": "2026-01-01T00:00:00Z",
    "end": "2026-02-01T00:00:00Z",
    "quantity": "120.5",
    "events": 348,
    "counted_until": "2026-01-20T12:00:00Z",
    "bill": {
        "subscription": "sub_01m7ywe9z7e398x54gfbrtqnk7",
        "price": "price_01m7ywe9z7e398x54gfbrtqnk7",
        "period_start": "2026-01-01T00:00:00Z",
        "period_end": "2026-02-01T00:00:00Z",
        "quantity": "120.5",
        "events": 348,
        "amount": eur(2756),
        "invoiced": eur(2000),
        "remaining": eur(756),
    },
    "alerts": [
        {
            "usage_alert": "alrt_01m7ywe9z7e398x54gfbrtqnk7",
            "triggered_alert": "trig_01m7ywe9z7e398x54gfbrtqnk7",
            "threshold": "100",
            "used": "100.5",
            "triggered_at": "2026-01-20T12:00:00Z",
        }
    ],
}
_WINDOW: Final = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z", "quantity": "120.5", "events": 348}
DETAIL_EXAMPLE: Final[dict[str, object]] = EXAMPLE | {
    "windows": [_WINDOW],
    "groups": [{"properties": {"region": "eu"}, "quantity": "120.5", "events": 348, "windows": [_WINDOW]}],
    "more_groups": 0,
}


def meter_usage_resource(
    meter: Meter,
    whole: Window,
    figure: Figure,
    bill: RunningBill | None,
    *,
    invoiced: Money | None,
    time_zone: str,
    counted_until: datetime | None,
    triggered: Sequence[TriggeredAlert],
) -> MeterUsageResource:
    """A meter's figure of a time."""
    return {
        "object": "meter_usage",
        "meter": meter.meter_id,
        "code": meter.code,
        "name": meter.name,
        "aggregation": meter.aggregation,
        "unit": meter.unit,
        "time_zone": time_zone,
        "start": whole.start,
        "end": whole.end,
        "quantity": told(figure),
        "events": figure.events,
        "counted_until": counted_until,
        "bill": None if bill is None or invoiced is None else _bill(bill, invoiced),
        "alerts": [
            {
                "usage_alert": each.usage_alert_id,
                "triggered_alert": each.trigger_id,
                "threshold": plain_decimal(reached.threshold),
                "used": plain_decimal(reached.used),
                "triggered_at": reached.triggered_at,
            }
            for each in triggered
            for reached in each.reached
        ],
    }


def meter_usage_detail(whole: MeterUsageResource, live: LiveUsage) -> MeterUsageDetail:
    """The same with its windows and groups."""
    return {
        **whole,
        "windows": [_window(each) for each in live.windows],
        "groups": [_group(each) for each in live.groups],
        "more_groups": live.more_groups,
    }


def told(figure: Figure) -> str:
    """A quantity exactly, or half up to nine decimals where it does not come out even."""
    return plain_decimal(told_quantity(Fraction(figure.quantity)))


def _bill(bill: RunningBill, invoiced: Money) -> UsageBill:
    return {
        "subscription": bill.subscription_id,
        "price": bill.price_id,
        "period_start": bill.period.start,
        "period_end": bill.period.end,
        "quantity": told(bill.figure),
        "events": bill.figure.events,
        "amount": None if bill.amount is None else money(bill.amount),
        "invoiced": money(invoiced),
        "remaining": None if bill.amount is None else money(bill.amount - invoiced),
    }


def _window(each: WindowFigure) -> UsageWindowResource:
    window, figure = each
    return {"start": window.start, "end": window.end, "quantity": told(figure), "events": figure.events}


def _group(each: GroupFigure) -> UsageGroupResource:
    return {
        "properties": dict(each.properties),
        "quantity": told(each.figure),
        "events": each.figure.events,
        "windows": [_window(window) for window in each.windows],
    }
