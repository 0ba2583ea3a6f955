"""A usage event as it is answered."""

from datetime import datetime, timedelta
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.fields import plain_decimal
from domain.metering.usage_value import units
from usage.fates import Fate
from usage.partials import EPOCH, MICROSECOND
from usage.wire import WireEvent


class UsageEventResource(TypedDict):
    """An event as it came in. `meter` is the meter's id, or its code where a producer said that; `value` what the meter
    reads, null where it only counts. `received_at` is when the brokers took it, null where they just did.

    `status` is what became of it: `pending` (not read yet), `counted`, `left_out` (by its meter's filters), `duplicate`
    (it had been counted before), `conflict` (another content counts under its id), or `refused` (its meter could not
    count it). One that was counted may be `voided`; `replaced_by` is the id of what stands in its place.
    """

    object: Literal["usage_event"]
    id: str
    customer: str
    meter: str
    timestamp: datetime
    received_at: datetime | None
    value: str | None
    properties: dict[str, str]
    status: Fate
    voided: bool
    replaced_by: str | None


EXAMPLE: Final[dict[str, object]] = {
    "object": "usage_event",
    "id": "req-4711",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "meter": "mtr_01m7ywe9z7e398x54gfbrtqnk7",
    "timestamp": "2026-01-31T12:00:00Z",
    "received_at": "2026-01-31T12:00:01.5Z",
    "value": "1.5",
    "properties": {"gigabytes": "1.5", "region": "eu"},
    "status": "counted",
    "voided": False,
    "replaced_by": None,
}


def usage_event_resource(
    event: WireEvent, *, received_ms: int | None, status: Fate, voided: bool, replaced_by: str = ""
) -> UsageEventResource:
    """An event as it is answered."""
    return {
        "object": "usage_event",
        "id": event.id,
        "customer": event.customer,
        "meter": event.meter,
        "timestamp": EPOCH + event.timestamp_us * MICROSECOND,
        "received_at": None if received_ms is None else EPOCH + timedelta(milliseconds=received_ms),
        "value": None if event.value is None else plain_decimal(units(event.value)),
        "properties": dict(event.properties),
        "status": status,
        "voided": voided,
        "replaced_by": replaced_by or None,
    }
