"""Usage events that are looked at, taken away again, or replaced."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.card_guard import OpaqueId
from api.http.fields import Body, CustomerId, plain_decimal
from api.http.listing import ListResource, Parameters, list_example
from api.http.problems import (
    USAGE_ELSEWHERE,
    USAGE_EVENT_NOT_COUNTED,
    USAGE_EVENT_VOIDED,
    USAGE_REFUSED,
    USAGE_UNAVAILABLE,
    FieldError,
    Problem,
    invalid,
    retry_after,
)
from api.resources.usage_events import USAGE_EVENTS, EventId, UsageEventBody
from domain.identity.permissions import Permission
from domain.metering.usage_value import units
from usage.ingest.corrections import Corrections, IsVoided, NotCounted, SameId
from usage.ingest.intake import NothingTaken
from usage.ingest.producer import BrokersAway
from usage.ingest.sent import SentEvent
from usage.lookup import CannotLook, CountedEvent
from usage.wire import WireEvent

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PROBLEMS: Final = (USAGE_EVENT_NOT_COUNTED, USAGE_UNAVAILABLE, USAGE_ELSEWHERE)


class UsageEventName(Body):
    """Which event."""

    customer: CustomerId
    id: EventId


class UsageCorrection(UsageEventName):
    """Which event, and what comes in its place: under an id of its own, of the same customer."""

    instead: Annotated[UsageEventBody, OpaqueId()]


class UsageEventFilters(Parameters):
    """Which event: ids are a customer's."""

    customer: CustomerId
    id: EventId


class UsageEventResource(TypedDict):
    """An event as it was counted. `meter` is the meter's id; `value` what it reads, null where it only counts."""

    object: Literal["usage_event"]
    id: str
    customer: str
    meter: str
    timestamp: datetime
    value: str | None
    properties: dict[str, str]
    voided: bool


EXAMPLE: Final[dict[str, object]] = {
    "object": "usage_event",
    "id": "req-4711",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "meter": "mtr_01m7ywe9z7e398x54gfbrtqnk7",
    "timestamp": "2026-01-31T12:00:00Z",
    "value": "1.5",
    "properties": {"gigabytes": "1.5", "region": "eu"},
    "voided": False,
}
_NAME: Final = {"customer": "cus_01m7ywe9z7e398x54gfbrtqnk7", "id": "req-4711"}


def _resource(event: WireEvent, *, voided: bool) -> UsageEventResource:
    return {
        "object": "usage_event",
        "id": event.id,
        "customer": event.customer,
        "meter": event.meter,
        "timestamp": _EPOCH + timedelta(microseconds=event.timestamp_us),
        "value": None if event.value is None else plain_decimal(units(event.value)),
        "properties": dict(event.properties),
        "voided": voided,
    }


def _corrections(call: Call) -> Corrections:
    found = call.parts.corrections
    if found is None:
        raise Problem(USAGE_ELSEWHERE)
    return found


def _away() -> Problem:
    return Problem(USAGE_UNAVAILABLE, headers=retry_after(1))


@USAGE_EVENTS.query(
    "/v1/usage/events",
    answers=ListResource[UsageEventResource],
    example=list_example(EXAMPLE),
    parameters=UsageEventFilters,
    problems=(USAGE_UNAVAILABLE, USAGE_ELSEWHERE),
)
async def find_usage_events(call: Call, asked: UsageEventFilters) -> object:
    """Find a usage event by its customer and id.

    It is there once the role `metering` has counted it, and for as long as the topic keeps it.
    """
    if call.principal.customer_id not in (None, asked.customer):
        found: CountedEvent | None = None
    else:
        try:
            found = await _corrections(call).find(call.tenant_id, asked.customer, asked.id)
        except CannotLook:
            raise _away() from None
    data = [] if found is None else [_resource(found.event, voided=found.is_voided)]
    return {"object": "list", "data": data, "has_more": False, "next_cursor": None}


@USAGE_EVENTS.unstored(
    "POST",
    "/v1/usage/events/void",
    body=UsageEventName,
    body_example=_NAME,
    answers=UsageEventResource,
    example=EXAMPLE | {"voided": True},
    status=202,
    problems=_PROBLEMS,
    needs=Permission.USAGE_WRITE,
)
async def void_usage_event(call: Call, body: UsageEventName) -> UsageEventResource:
    """Take a usage event away again.

    The figures lose it once its void is counted; what a closed period has billed of it is given back by the next
    closing. No Idempotency-Key is needed: an event is taken away once. Its id is used up.
    """
    try:
        found = await _corrections(call).void(call.tenant_id, body.customer, body.id)
    except NotCounted:
        raise Problem(USAGE_EVENT_NOT_COUNTED, param="id") from None
    except (BrokersAway, CannotLook):
        raise _away() from None
    return _resource(found.event, voided=True)


@USAGE_EVENTS.unstored(
    "POST",
    "/v1/usage/events/correct",
    body=UsageCorrection,
    body_example={
        **_NAME,
        "instead": {
            **_NAME,
            "id": "req-4711-corrected",
            "meter": "traffic",
            "timestamp": "2026-01-31T12:00:00Z",
            "properties": {"gigabytes": "1.25", "region": "eu"},
        },
    },
    answers=UsageEventResource,
    example=EXAMPLE | {"id": "req-4711-corrected", "value": "1.25"},
    status=202,
    problems=(*_PROBLEMS, USAGE_REFUSED, USAGE_EVENT_VOIDED),
    needs=Permission.USAGE_WRITE,
)
async def correct_usage_event(call: Call, body: UsageCorrection) -> UsageEventResource:
    """Put another usage event in the place of one.

    It has an id of its own, is the same customer's, and is checked as any event is. Both are counted together. To send
    the same again does no more.
    """
    if body.instead.customer != body.customer:
        raise invalid([FieldError("instead.customer", "other_customer", "It must be the same customer's")])
    other = body.instead
    instead = SentEvent(other.id, other.meter, other.customer, other.timestamp, dict(other.properties))
    try:
        event = await _corrections(call).correct(call.tenant_id, body.customer, body.id, instead)
    except SameId:
        raise invalid([FieldError("instead.id", "same_id", "It needs an id of its own")]) from None
    except NotCounted:
        raise Problem(USAGE_EVENT_NOT_COUNTED, param="id") from None
    except IsVoided:
        raise Problem(USAGE_EVENT_VOIDED, param="id") from None
    except NothingTaken as refused:
        errors = [
            FieldError(f"instead.{each.param}" if each.param else "instead", each.code, each.message)
            for each in refused.checked.errors
        ]
        raise Problem(USAGE_REFUSED, param=errors[0].param, errors=errors) from None
    except (BrokersAway, CannotLook):
        raise _away() from None
    return _resource(event, voided=False)
