"""The list of usage events: what came in, and what became of each, for whoever asks why a figure is what it is."""

from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from api.http.call import Call
from api.http.card_guard import OpaqueId
from api.http.fields import CustomerId, Instant
from api.http.listing import Limit, ListResource, Parameters, list_example, list_resource, page_limit
from api.http.problems import USAGE_ELSEWHERE, USAGE_UNAVAILABLE, Problem, retry_after
from api.http.validation import form
from api.resources.meters import MeterCode
from api.resources.named_meters import meter_named
from api.resources.usage_event_resource import EXAMPLE, UsageEventResource, usage_event_resource
from api.resources.usage_events import USAGE_EVENTS, EventId
from domain.metering.meter import MeterNotFound
from infra.clock import system_clock
from projections.reading import UnknownCursor
from usage.event_list import Asked, ListedEvent, UnknownPlace, UsageEventList
from usage.lookup import CannotLook
from usage.partials import EPOCH, MICROSECOND

_MILLISECOND: Final = timedelta(milliseconds=1)

PageCursor: TypeAlias = Annotated[
    str,
    form("^[0-9._]{1,4000}$", "Must be the next_cursor of a page"),
    OpaqueId(),
    Field(description="The `next_cursor` of the page before."),
]


class UsageEventFilters(Parameters):
    """Which events, each filter narrowing the others."""

    customer: CustomerId | None = None
    id: Annotated[
        EventId | None, Field(description="Ids are a customer's: with both the event that counts is found.")
    ] = None
    meter: Annotated[MeterCode | None, Field(description="A meter's code or id.")] = None
    since: Annotated[Instant | None, Field(alias="from", description="By their own time: from this instant on.")] = None
    until: Annotated[Instant | None, Field(alias="to", description="By their own time: before this instant.")] = None
    received_from: Annotated[Instant | None, Field(description="By when they came in: from this instant on.")] = None
    received_to: Annotated[Instant | None, Field(description="By when they came in: before this instant.")] = None
    limit: Limit | None = None
    starting_after: PageCursor | None = None

    @field_validator("until", "received_to")
    @classmethod
    def _in_order(cls, end: datetime | None, info: ValidationInfo) -> datetime | None:
        start = info.data.get("since" if info.field_name == "until" else "received_from")
        if end is not None and start is not None and end <= start:
            raise PydanticCustomError("empty_period", "Must be after the time from which on")
        return end

    @property
    def names_one(self) -> bool:
        """Whether it names an event, and nothing besides."""
        return (
            self.customer is not None and self.model_fields_set <= {"customer", "id", "limit"} and self.id is not None
        )


def _events_of(call: Call) -> UsageEventList:
    found = call.parts.usage_event_list
    if found is None:
        raise Problem(USAGE_ELSEWHERE)
    return found


def unavailable() -> Problem:
    """No broker answers, or not in time."""
    return Problem(USAGE_UNAVAILABLE, headers=retry_after(1))


@USAGE_EVENTS.query(
    "/v1/usage/events",
    answers=ListResource[UsageEventResource],
    example=list_example(EXAMPLE),
    parameters=UsageEventFilters,
    problems=(USAGE_UNAVAILABLE, USAGE_ELSEWHERE),
)
async def list_usage_events(call: Call, asked: UsageEventFilters) -> object:
    """List usage events, the newest first by when they came in, each with what became of it.

    Those of the last 35 days. A page looks at 10,000 records of the topic at most, and for a second, so it may have few
    events, or none, and yet `has_more`: go on from its `next_cursor`. A customer makes it quick, and so do
    `received_from` and `received_to`. With a customer and an id alone it is the event that counts under that id, or
    else a correction under it that was too late, for as long as the topic keeps it.
    """
    events = _events_of(call)
    own = call.principal.customer_id
    try:
        if own not in (None, asked.customer or own):
            return list_resource([], has_more=False, next_cursor=None)
        if asked.names_one:
            assert asked.customer is not None, "it names one"
            assert asked.id is not None, "it names one"
            one = await events.named(call.tenant_id, asked.customer, asked.id)
            return list_resource([] if one is None else [_resource(one)], has_more=False, next_cursor=None)
        wanted = await _wanted(call, asked)
        if wanted is None:
            return list_resource([], has_more=False, next_cursor=None)
        now_ms = (system_clock() - EPOCH) // _MILLISECOND
        page = await events.page(
            wanted, limit=page_limit(call, asked.limit), cursor=asked.starting_after, now_ms=now_ms
        )
    except CannotLook:
        raise unavailable() from None
    except UnknownPlace as unknown:
        raise UnknownCursor(str(unknown)) from None
    data = [_resource(each) for each in page.events]
    return list_resource(data, has_more=page.cursor is not None, next_cursor=page.cursor)


async def _wanted(call: Call, asked: UsageEventFilters) -> Asked | None:
    """None where there is no such meter."""
    meters: frozenset[str] = frozenset()
    if asked.meter is not None:
        try:
            meter = await meter_named(call, asked.meter)
        except MeterNotFound:
            return None
        meters = frozenset({meter.meter_id, meter.code})
    return Asked(
        tenant_id=call.tenant_id,
        customer_id=call.principal.customer_id or asked.customer,
        event_id=asked.id,
        meters=meters,
        since_us=_since_epoch(asked.since, MICROSECOND),
        until_us=_since_epoch(asked.until, MICROSECOND),
        received_since_ms=_since_epoch(asked.received_from, _MILLISECOND),
        received_until_ms=_since_epoch(asked.received_to, _MILLISECOND),
    )


def _since_epoch(at: datetime | None, unit: timedelta) -> int | None:
    """In whole units, rounded up: what is before an instant is before the next unit, too."""
    return None if at is None else -((EPOCH - at) // unit)


def _resource(listed: ListedEvent) -> UsageEventResource:
    return usage_event_resource(
        listed.event,
        received_ms=listed.received_ms,
        status=listed.fate,
        voided=listed.is_voided,
        replaced_by=listed.instead_id,
    )
