"""A triggered usage alert as it is answered: by alert, customer and period, the thresholds that were reached."""

from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.fields import TriggeredAlertId, plain_decimal
from domain.entitlements.triggered_alert import ReachedThreshold, TriggeredAlert


class ReachedThresholdResource(TypedDict):
    """A threshold in the meter's unit, with what was used by then; `percent` and `limit` where it is one of a limit."""

    threshold: str
    percent: str | None
    limit: int | None
    used: str
    triggered_at: datetime


class TriggeredAlertResource(TypedDict):
    """What a customer has reached of an alert's thresholds in one period, in the order in which it was told; of `every`
    the last one.

    `since` is from when on is counted: the beginning of the period, or the last reset of the feature in it. All three
    times are null where all that was ever used is counted.
    """

    id: TriggeredAlertId
    object: Literal["triggered_alert"]
    usage_alert: str
    customer: str
    meter: str
    feature: str | None
    period_start: datetime | None
    period_end: datetime | None
    since: datetime | None
    reached: list[ReachedThresholdResource]
    created: datetime


def reached_resource(reached: ReachedThreshold) -> ReachedThresholdResource:
    """A threshold that was reached, as it is answered."""
    return {
        "threshold": plain_decimal(reached.threshold),
        "percent": None if reached.percent is None else plain_decimal(reached.percent),
        "limit": reached.limit,
        "used": plain_decimal(reached.used),
        "triggered_at": reached.triggered_at,
    }


def triggered_alert_resource(triggered: TriggeredAlert) -> TriggeredAlertResource:
    """A triggered alert as it is answered."""
    return {
        "id": triggered.trigger_id,
        "object": "triggered_alert",
        "usage_alert": triggered.usage_alert_id,
        "customer": triggered.customer_id,
        "meter": triggered.meter_id,
        "feature": triggered.feature,
        "period_start": triggered.period_start,
        "period_end": triggered.period_end,
        "since": triggered.since,
        "reached": [reached_resource(each) for each in triggered.reached],
        "created": triggered.created_at,
    }


REACHED_EXAMPLE: Final[dict[str, object]] = {
    "threshold": "8000",
    "percent": "80",
    "limit": 10_000,
    "used": "8120",
    "triggered_at": "2026-01-20T12:00:00Z",
}
EXAMPLE: Final[dict[str, object]] = {
    "id": "trig_01m7ywe9z7e398x54gfbrtqnk7",
    "object": "triggered_alert",
    "usage_alert": "alrt_01m7ywe9z7e398x54gfbrtqnk7",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "meter": "mtr_01m7ywe9z7e398x54gfbrtqnk7",
    "feature": "api_calls",
    "period_start": "2026-01-01T00:00:00Z",
    "period_end": "2026-02-01T00:00:00Z",
    "since": "2026-01-01T00:00:00Z",
    "reached": [REACHED_EXAMPLE],
    "created": "2026-01-20T12:00:00Z",
}
