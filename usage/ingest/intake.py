"""One request's usage on its way: decoded, checked, and appended to the topic, within bounded memory."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Counter, Gauge

from infra.settings import UsageSettings
from usage.ingest.checking import Checked, check
from usage.ingest.known import Known
from usage.ingest.producer import UsageProducer
from usage.ingest.sent import Form, decode

EVENTS = Counter("tallybook_usage_events_total", "Usage events that came in, by what became of them", ["outcome"])
IN_FLIGHT = Gauge("tallybook_usage_in_flight_bytes", "Bodies of usage that are being taken")
ACCEPTED: Final = EVENTS.labels("accepted")

OUTCOMES: Final = frozenset(
    {"unknown_meter", "unknown_customer", "timestamp_too_old", "timestamp_ahead", "meter_archived", "customer_deleted"}
)
"""Reasons that have a series of their own; all others are counted as `invalid`."""


class Busy(Exception):
    """As much usage as fits into memory is being taken."""


class NothingTaken(Exception):
    """None of the events can be taken, or not all of those that were to be taken together; it says why."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        super().__init__(f"{len(checked.errors)} events are refused")


class Intake:
    """What one process takes."""

    def __init__(
        self,
        known: Known,
        producer: UsageProducer,
        settings: UsageSettings,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._known = known
        self._producer = producer
        self._settings = settings
        self._clock = clock
        self._age_max = timedelta(days=settings.age_max_days)
        self._in_flight_bytes = 0
        IN_FLIGHT.set_function(lambda: self._in_flight_bytes)

    async def take(self, tenant_id: str, raw: bytes, form: Form, *, all_or_nothing: bool, is_dry: bool) -> Checked:
        """What became of a body's events, once the brokers have the good ones; in a dry run they get none.

        Raises NotJson, WrongCount, NothingTaken, Busy, BrokersAway. A caller who gives up waiting takes nothing
        back: what was handed over may be there.
        """
        length = len(raw)
        if self._in_flight_bytes + length > self._settings.in_flight_max_bytes:
            raise Busy
        self._in_flight_bytes += length
        try:
            checked = await check(
                tenant_id,
                decode(raw, form),
                self._known,
                now=self._clock(),
                age_max=self._age_max,
                may_hide=b"\\" in raw or b"\x7f" in raw,
            )
            if checked.errors and (all_or_nothing or not checked.accepted):
                _count(checked, 0)
                raise NothingTaken(checked)
            if not is_dry:
                await self._producer.append(tenant_id, checked.by_partition)
                _count(checked, checked.accepted)
            return checked
        finally:
            self._in_flight_bytes -= length


def _count(checked: Checked, accepted: int) -> None:
    ACCEPTED.inc(accepted)
    for error in checked.errors:
        EVENTS.labels(error.code if error.code in OUTCOMES else "invalid").inc()
