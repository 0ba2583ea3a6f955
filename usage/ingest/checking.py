"""Each event of a request is checked by itself: what is good is grouped by partition, what is not is told."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from domain.metering.meter import MeterTerms
from domain.metering.usage_value import InvalidValue, nanos
from infra.card_numbers import SHORTEST, holds_card_number
from usage.ingest.known import Known, KnownCustomer, KnownMeter
from usage.ingest.sent import Failed, Sent, SentEvent
from usage.ingest.values import NAME_CHARS_MAX, InvalidProperties, are_plain, texts
from usage.wire import EVENT, WireEvent

LOOKED_AT_ONCE: Final = 10
"""Events that are looked at closely before others have their turn: long ones take milliseconds each."""
AHEAD_MAX: Final = timedelta(minutes=5)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S: Final = 86_400
_MINUTE: Final = timedelta(minutes=1)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_MAY_BE_A_CARD: Final = re.compile(r"[0-9](?:[^0-9A-Za-z]*+[0-9]){11}")
_APART: Final = "x"
"""Between texts that are looked through together, so that no number goes from one into the next."""


class Window(NamedTuple):
    """Which times events may say. `clock_id` is the test clock that it is of; None: of real time."""

    earliest: datetime
    latest: datetime
    clock_id: str | None

    @classmethod
    def at(cls, now: datetime, age_max: timedelta, clock_id: str | None = None) -> "Window":
        """The window of somebody for whom it is that time."""
        return cls(now - age_max, now + AHEAD_MAX, clock_id)

    @property
    def now(self) -> datetime:
        """What time it is for whom it is of."""
        return self.latest - AHEAD_MAX


class Checked(NamedTuple):
    """The good events of a request, by partition and there in their order, and what is wrong with the others."""

    by_partition: Mapping[int, Sequence[WireEvent]]
    errors: Sequence[Failed]
    accepted: int


class _Refused(Exception):
    """Why one event is not taken."""

    def __init__(self, param: str, code: str, message: str) -> None:
        self.param = param
        self.code = code
        self.message = message
        super().__init__(code)


async def check(
    tenant_id: str, sent: Sent, known: Known, *, now: datetime, age_max: timedelta, may_hide: bool
) -> Checked:
    """`may_hide`: whether texts may hold control characters, as the body has escapes or such characters."""
    events = [event for event in sent if type(event) is SentEvent]
    meters = await known.meters(tenant_id, {event.meter for event in events})
    customers = await known.customers(tenant_id, {event.customer for event in events})
    windows = await _windows(tenant_id, events, customers, known, now, age_max)
    return await _Check(meters, customers, windows, now).all(sent, looks_close=may_hide or _may_hold_card(events))


async def _windows(
    tenant_id: str,
    events: Sequence[SentEvent],
    customers: Mapping[str, KnownCustomer],
    known: Known,
    now: datetime,
    age_max: timedelta,
) -> Mapping[str | None, Window]:
    """The window of each clock that a customer is on; None is real time."""
    clock_ids = {
        customer.clock_id
        for customer_id in {event.customer for event in events}
        if (customer := customers.get(customer_id)) is not None and customer.clock_id is not None
    }
    if not clock_ids:
        return {None: Window.at(now, age_max)}
    clocks = await known.clocks(tenant_id, clock_ids)
    return {
        None: Window.at(now, age_max),
        **{clock_id: Window.at(frozen_at, age_max, clock_id) for clock_id, frozen_at in clocks.items()},
    }


def _may_hold_card(events: Sequence[SentEvent]) -> bool:
    """Whether the properties may hold a card number: one look at all of them, since hardly any do."""
    names: set[str] = set()
    found: list[str] = []
    for event in events:
        properties = event.properties
        names.update(properties)
        for value in properties.values():
            text = value if type(value) is str else _shown(value)
            if len(text) >= SHORTEST:
                found.append(text)
    together = _APART.join((*names, *found))
    return not together.isascii() or _MAY_BE_A_CARD.search(together) is not None


class _Check:
    """The check of one request's events."""

    def __init__(
        self,
        meters: Mapping[str, KnownMeter],
        customers: Mapping[str, KnownCustomer],
        windows: Mapping[str | None, Window],
        now: datetime,
    ) -> None:
        self._meters = meters
        self._customers = customers
        self._windows = windows
        self._now = now

    async def all(self, sent: Sent, *, looks_close: bool) -> Checked:
        by_partition: defaultdict[int, list[WireEvent]] = defaultdict(list)
        errors: list[Failed] = []
        for place, event in enumerate(sent):
            if isinstance(event, Failed):
                errors.append(event)
                continue
            if looks_close and place % LOOKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                partition, taken = self._taken(event)
                if looks_close:
                    _look_close(taken, self._read_of(event))
            except _Refused as refused:
                told = "" if _CONTROL.search(event.id) else event.id
                errors.append(Failed(place, told, refused.param, refused.code, refused.message))
            else:
                by_partition[partition].append(taken)
        return Checked(by_partition, errors, len(sent) - len(errors))

    def _taken(self, event: SentEvent) -> tuple[int, WireEvent]:
        """Its partition, and the event as it travels. Most events come through here, so it takes few steps."""
        customer = self._customers.get(event.customer)
        meter = self._meters.get(event.meter)
        if customer is None or meter is None or meter.is_archived:
            raise _unknown(customer, meter)
        at, properties = event.timestamp, event.properties
        partition, clock_id, is_deleted = customer
        window = self._windows.get(clock_id)
        if is_deleted or window is None:
            raise _Refused("customer", "customer_deleted", "The customer was deleted and uses nothing any more")
        earliest, latest, _ = window
        if not earliest <= at <= latest:
            raise _out_of(window, at)
        value = _value(meter.terms or meter.terms_at(at, self._now), properties)
        if not are_plain(properties):
            properties = _texts(properties)
        since = at - _EPOCH
        timestamp_us = (since.days * _DAY_S + since.seconds) * 1_000_000 + since.microseconds
        fields = (event.id, EVENT, event.customer, meter.meter_id, timestamp_us, value, properties, 0)
        return partition, tuple.__new__(WireEvent, fields)

    def _read_of(self, event: SentEvent) -> str | None:
        """The property that the meter reads as a number, if any."""
        meter = self._meters[event.meter]
        return (meter.terms or meter.terms_at(event.timestamp, self._now)).value_property


def _unknown(customer: KnownCustomer | None, meter: KnownMeter | None) -> _Refused:
    if meter is None:
        return _Refused("meter", "unknown_meter", "No meter has this code")
    if customer is None:
        return _Refused("customer", "unknown_customer", "There is no such customer")
    return _Refused("meter", "meter_archived", "The meter is archived and takes no events")


def _out_of(window: Window, at: datetime) -> _Refused:
    """Which time it may be, by whose clock, and what to do."""
    whose = "now" if window.clock_id is None else f"which the customer's test clock {window.clock_id} shows"
    now = f"{_told(window.now)}, {whose}"
    if at > window.latest:
        then = "send it once it is that time" if window.clock_id is None else "advance the clock first"
        message = f"It is after {_told(window.latest)}, {AHEAD_MAX // _MINUTE} minutes ahead of {now}: {then}"
        return _Refused("timestamp", "timestamp_ahead", message)
    days = (window.now - window.earliest).days
    message = f"It is before {_told(window.earliest)}, {days} days back from {now}: a one-off invoice bills older usage"
    return _Refused("timestamp", "timestamp_too_old", message)


def _told(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _property(name: str) -> str:
    """A property as the field that is wrong; not where it may be what nobody should read again."""
    is_safe = name.isprintable() and 0 < len(name) <= NAME_CHARS_MAX and not holds_card_number(name)
    return f"properties.{name}" if is_safe else "properties"


def _value(terms: MeterTerms, properties: Mapping[str, Any]) -> int | None:
    """What the meter sums, compares or holds, in units of 10⁻⁹; None where it only counts."""
    name = terms.value_property
    if name is None:
        unique = terms.unique_property
        if unique is not None and unique not in properties:
            message = f"It lacks the property {unique}, whose different values the meter counts"
            raise _Refused(_property(unique), "property_missing", message)
        return None
    value = properties.get(name)
    if value is None:
        message = f"It lacks the property {name}, which the meter reads"
        raise _Refused(_property(name), "property_missing", message)
    if type(value) is not str and type(value) is not int:
        raise _Refused(_property(name), "invalid_value", f"The meter reads {name}: Not a decimal like 0.25")
    try:
        return nanos(value)
    except InvalidValue as error:
        raise _Refused(_property(name), "invalid_value", f"The meter reads {name}: {error}") from None


def _texts(properties: Mapping[str, Any]) -> dict[str, str]:
    try:
        return texts(properties)
    except InvalidProperties as error:
        raise _Refused(_property(error.name), "invalid_property", str(error)) from None


def _shown(value: object) -> str:
    """A number as a text; what is neither is refused later."""
    return str(value) if type(value) is int else ""


def _look_close(event: WireEvent, read: str | None) -> None:
    """Control characters and card numbers. An id is another system's, and the property `read` a number: either may look
    like a card number.
    """
    if _CONTROL.search(event.id):
        raise _Refused("id", "invalid_id", "An id holds no control characters")
    for name, value in event.properties.items():
        for text in (name,) if name == read else (name, value):
            if _CONTROL.search(text):
                raise _Refused(_property(name), "invalid_property", "Properties hold no control characters")
            if holds_card_number(text):
                raise _Refused(_property(name), "card_number_refused", "It holds a payment card number")
