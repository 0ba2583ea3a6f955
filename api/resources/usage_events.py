"""Usage events: what customers used, as it comes in, one or a thousand at a time."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, RootModel, WithJsonSchema
from typing_extensions import TypedDict

from api.http import dry_runs
from api.http.call import Call
from api.http.card_guard import OpaqueId
from api.http.fields import TEXT_PATTERN, Body, CustomerId, Instant, text
from api.http.operations import Operations, RawBody
from api.http.problems import (
    CARD_NUMBER,
    INVALID_HEADER,
    MALFORMED_JSON,
    USAGE_BUSY,
    USAGE_ELSEWHERE,
    USAGE_REFUSED,
    USAGE_UNAVAILABLE,
    FieldError,
    Problem,
    invalid,
    retry_after,
)
from api.resources.meters import MeterCode
from domain.identity.permissions import Permission
from usage.ingest.checking import Checked
from usage.ingest.intake import Busy, NothingTaken
from usage.ingest.producer import BrokersAway
from usage.ingest.sent import EVENTS_MAX, ID_CHARS_MAX, Failed, Form, NotJson, WrongCount
from usage.ingest.values import NAME_CHARS_MAX, PROPERTIES_MAX, TEXT_CHARS_MAX

ALL_OR_NOTHING: Final = "Tallybook-All-Or-Nothing"
_HEADER: Final = ALL_OR_NOTHING.lower().encode()
FORMS: Final = {
    "application/json": Form.NATIVE,
    "application/cloudevents+json": Form.CLOUD_EVENT,
    "application/cloudevents-batch+json": Form.CLOUD_EVENTS,
}
_RETRY_S: Final = 1

Properties = Annotated[
    dict[str, str | int | float | bool],
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": PROPERTIES_MAX,
            "propertyNames": {"minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": TEXT_PATTERN},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "maxLength": TEXT_CHARS_MAX, "pattern": TEXT_PATTERN},
                    {"type": "number"},
                    {"type": "boolean"},
                ]
            },
            "examples": [{"bytes": "1048576", "region": "eu"}],
        }
    ),
]
EventId = Annotated[str, text(ID_CHARS_MAX), OpaqueId(), Field(examples=["req-4711"])]


class UsageEventBody(Body):
    """Something that a customer used. It counts once under its id, however often it is sent."""

    id: EventId
    meter: MeterCode
    customer: CustomerId
    timestamp: Instant
    properties: Properties = Field(default_factory=dict)


class UsageEventsBody(
    RootModel[UsageEventBody | Annotated[list[UsageEventBody], Field(min_length=1, max_length=EVENTS_MAX)]]
):
    """One event, or up to 1,000."""


class CloudEventBody(TypedDict):
    """An event as CloudEvents has it: the type is a meter's code, the subject a customer."""

    specversion: Literal["1.0"]
    id: EventId
    source: Annotated[str, text(ID_CHARS_MAX)]
    type: MeterCode
    subject: CustomerId
    time: Instant
    data: Properties


class CloudEventsBody(RootModel[Annotated[list[CloudEventBody], Field(min_length=1, max_length=EVENTS_MAX)]]):
    """Up to 1,000 of them."""


class UsageErrorResource(TypedDict):
    """Why one event is not taken: its place in the request, its id where it has one, and the field that it is about."""

    index: int
    id: str | None
    param: str
    code: str
    message: str


class UsageTakenResource(TypedDict):
    """How many events are taken, and why the others are not, in their order."""

    object: Literal["usage_events"]
    accepted: int
    errors: list[UsageErrorResource]


_EVENT: Final[dict[str, Any]] = {
    "id": "req-4711",
    "meter": "traffic",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "timestamp": "2026-01-31T12:00:00Z",
    "properties": {"bytes": "1048576", "direction": "out", "region": "eu"},
}
_CLOUD_EVENT: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "4711",
    "source": "/gateways/7",
    "type": "traffic",
    "subject": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "time": "2026-01-31T12:00:00Z",
    "data": {"bytes": 1048576, "direction": "out", "region": "eu"},
}

USAGE_EVENTS: Final = Operations(
    tag="usage",
    about="What customers use.",
    seen_with=Permission.USAGE_READ,
    changed_with=Permission.USAGE_WRITE,
)


@USAGE_EVENTS.takes_raw(
    "/v1/usage/events",
    raw=RawBody(
        {
            "application/json": (UsageEventsBody, [_EVENT]),
            "application/cloudevents+json": (CloudEventBody, _CLOUD_EVENT),
            "application/cloudevents-batch+json": (CloudEventsBody, [_CLOUD_EVENT]),
        },
        headers={
            ALL_OR_NOTHING: "Takes all of the events, or none.",
            dry_runs.NAME: "Checks the events, and takes none.",
        },
        is_usage=True,
    ),
    answers=UsageTakenResource,
    example={
        "object": "usage_events",
        "accepted": 1,
        "errors": [
            {
                "index": 1,
                "id": "req-4712",
                "param": "meter",
                "code": "unknown_meter",
                "message": "No meter has this code",
            }
        ],
    },
    status=202,
    problems=(USAGE_REFUSED, USAGE_BUSY, USAGE_UNAVAILABLE, USAGE_ELSEWHERE, CARD_NUMBER),
)
async def send_usage_events(call: Call, raw: bytes, media_type: str) -> UsageTakenResource:
    """Send usage events.

    One, or up to 1,000 as a list. What is answered with 202 is kept by the brokers; what is not taken is told event by
    event, and the others are taken. With `Tallybook-All-Or-Nothing: true`, or where none can be taken, it is a problem,
    and nothing is. No Idempotency-Key is needed: within a customer an event is told by its id and counts once, so send
    again whatever was not answered. With `Tallybook-Dry-Run: true` events are checked, and none is taken.
    """
    intake = call.parts.intake
    if intake is None:
        raise Problem(USAGE_ELSEWHERE)
    together = _all_or_nothing(call)
    try:
        checked = await intake.take(
            call.tenant_id, raw, FORMS[media_type], all_or_nothing=together, is_dry=call.is_dry_run
        )
    except NotJson:
        raise Problem(MALFORMED_JSON) from None
    except WrongCount:
        raise invalid([FieldError("", "wrong_length", f"A request holds 1 to {EVENTS_MAX} events")]) from None
    except NothingTaken as refused:
        raise _refused(refused.checked) from None
    except Busy:
        raise Problem(USAGE_BUSY, headers=retry_after(_RETRY_S)) from None
    except BrokersAway:
        raise Problem(USAGE_UNAVAILABLE, headers=retry_after(_RETRY_S)) from None
    return {"object": "usage_events", "accepted": checked.accepted, "errors": [_error(each) for each in checked.errors]}


def _all_or_nothing(call: Call) -> bool:
    sent = call.headers.get(_HEADER)
    if sent not in (None, b"true"):
        raise Problem(INVALID_HEADER, f"{ALL_OR_NOTHING} is `true`, or left out.", param=ALL_OR_NOTHING)
    return sent is not None


def _error(failed: Failed) -> UsageErrorResource:
    return {
        "index": failed.place,
        "id": failed.id or None,
        "param": failed.param,
        "code": failed.code,
        "message": failed.message,
    }


def _refused(checked: Checked) -> Problem:
    first = checked.errors[0]
    errors = [
        FieldError(f"{each.place}.{each.param}" if each.param else str(each.place), each.code, each.message)
        for each in checked.errors
    ]
    return Problem(USAGE_REFUSED, f"{errors[0].param}: {first.message}", param=errors[0].param, errors=errors)
