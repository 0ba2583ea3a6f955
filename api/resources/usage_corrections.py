"""Usage events that are taken away again, or replaced."""

from typing import Annotated, Any, Final, cast

from api.http.call import Call
from api.http.card_guard import OpaqueId
from api.http.fields import Body, CustomerId
from api.http.json_bodies import Written
from api.http.problems import (
    USAGE_ELSEWHERE,
    USAGE_EVENT_NOT_COUNTED,
    USAGE_EVENT_VOIDED,
    USAGE_REFUSED,
    USAGE_UNAVAILABLE,
    FieldError,
    Problem,
    invalid,
)
from api.resources.usage_event_list import unavailable
from api.resources.usage_event_resource import EXAMPLE, UsageEventResource, usage_event_resource
from api.resources.usage_events import USAGE_EVENTS, EventId, UsageEventBody
from domain.identity.permissions import Permission
from usage.fates import Fate
from usage.ingest.corrections import Corrections, IdTaken, IsVoided, NotCounted, SameId
from usage.ingest.intake import NothingTaken
from usage.ingest.producer import BrokersAway
from usage.ingest.sent import SentEvent
from usage.lookup import CannotLook

_PROBLEMS: Final = (USAGE_EVENT_NOT_COUNTED, USAGE_UNAVAILABLE, USAGE_ELSEWHERE)


class UsageEventName(Body):
    """Which event."""

    customer: CustomerId
    id: EventId


class UsageReplacement(UsageEventBody):
    """What comes in an event's place. Its customer need not be said again."""

    customer: CustomerId | None = None  # type: ignore[assignment]  # it is the corrected event's


class UsageCorrection(UsageEventName):
    """Which event, and what comes in its place: under an id of its own, of the same customer."""

    instead: Annotated[UsageReplacement, OpaqueId()]


_NAME: Final = {"customer": "cus_01m7ywe9z7e398x54gfbrtqnk7", "id": "req-4711"}


def _corrections(call: Call) -> Corrections:
    found = call.parts.corrections
    if found is None:
        raise Problem(USAGE_ELSEWHERE)
    return found


def _told(voided: IsVoided) -> str:
    if not voided.instead_id:
        return USAGE_EVENT_VOIDED.title
    return f"The event was replaced before, by {voided.instead_id}: correct that one."


def _properties(sent: object) -> dict[str, Any]:
    """Those of what comes in an event's place, with numbers as they were written: a value is kept exactly."""
    properties = cast("dict[str, Any]", sent)["instead"].get("properties", {})
    return {name: value.text if isinstance(value, Written) else value for name, value in properties.items()}


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
        found, fate = await _corrections(call).void(call.tenant_id, body.customer, body.id)
    except NotCounted:
        raise Problem(USAGE_EVENT_NOT_COUNTED, param="id") from None
    except (BrokersAway, CannotLook):
        raise unavailable() from None
    return usage_event_resource(
        found.event, received_ms=found.appended_ms, status=fate, voided=True, replaced_by=found.instead_id
    )


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
    example=EXAMPLE | {"id": "req-4711-corrected", "received_at": None, "value": "1.25", "status": "pending"},
    status=202,
    problems=(*_PROBLEMS, USAGE_REFUSED, USAGE_EVENT_VOIDED),
    needs=Permission.USAGE_WRITE,
)
async def correct_usage_event(call: Call, body: UsageCorrection) -> UsageEventResource:
    """Put another usage event in the place of one.

    It has an id of its own, is the same customer's, and is checked as any event is. Both are counted together. To send
    the same again does no more. Of several corrections of one event at the same time the first counts: `GET
    /v1/usage/events` with the customer and the new id says whether it is yours (`counted`), or not (`conflict`).
    """
    if body.instead.customer not in (None, body.customer):
        raise invalid([FieldError("instead.customer", "other_customer", "It must be the same customer's")])
    other = body.instead
    instead = SentEvent(other.id, other.meter, body.customer, other.timestamp, _properties(call.sent))
    try:
        event = await _corrections(call).correct(call.tenant_id, body.customer, body.id, instead)
    except SameId:
        raise invalid([FieldError("instead.id", "same_id", "It needs an id of its own")]) from None
    except IdTaken:
        message = "An event with another content counts under this id: give what comes in its place a new one"
        raise invalid([FieldError("instead.id", "id_taken", message)]) from None
    except NotCounted:
        raise Problem(USAGE_EVENT_NOT_COUNTED, param="id") from None
    except IsVoided as voided:
        raise Problem(USAGE_EVENT_VOIDED, _told(voided), param="id") from None
    except NothingTaken as refused:
        errors = [
            FieldError(f"instead.{each.param}" if each.param else "instead", each.code, each.message)
            for each in refused.checked.errors
        ]
        raise Problem(USAGE_REFUSED, param=errors[0].param, errors=errors) from None
    except (BrokersAway, CannotLook):
        raise unavailable() from None
    return usage_event_resource(event, received_ms=None, status=Fate.PENDING, voided=False)
