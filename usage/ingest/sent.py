"""Usage events as clients send them: our own JSON and CloudEvents, one or many.

A body is decoded whole, by a compiled decoder. Where one event in it has another form, each is decoded by itself, so
that it alone is refused. The decoder takes the last of two values under one name, so the names are counted: where there
are more than it found, each event is looked at by itself.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from infra.card_numbers import holds_card_number
from usage.ingest.values import NAME_CHARS_MAX

EVENTS_MAX: Final = 1_000
ID_CHARS_MAX: Final = 255
CLOUD_EVENTS_VERSION: Final = "1.0"

_REQUIRED: Final = re.compile(r"missing required field `([a-z]+)`")
_NAMES_END: Final = b'":'
_AT: Final = re.compile(r"at `\$\.([a-z]+)")


class Form(Enum):
    """How a body's events are written."""

    NATIVE = "native"
    CLOUD_EVENT = "cloud_event"
    CLOUD_EVENTS = "cloud_events"


class NotJson(ValueError):
    """The body is no JSON in UTF-8 at all."""


class WrongCount(ValueError):
    """The body holds no event, or more than a request may."""


class Failed(NamedTuple):
    """An event that is not taken: its place in the request, its id (empty where it has none), and what is wrong with
    which of its fields.
    """

    place: int
    id: str
    param: str
    code: str
    message: str


NO_PROPERTIES: Final[dict[str, Any]] = {}
"""Those of every event that was sent without any, and of none that was sent with an empty object: so it can be told."""


class SentEvent(Struct, forbid_unknown_fields=True, gc=False):
    """One event. `properties` hold texts, whole numbers, truth values; numbers with a point are the text they had."""

    id: Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)]
    meter: str
    customer: str
    timestamp: Annotated[datetime, Meta(tz=True)]
    properties: dict[str, Any] = msgspec.field(default_factory=lambda: NO_PROPERTIES)


class _CloudEvent(Struct, gc=False):
    """Attributes that are not named here are extensions, and mean nothing to us."""

    specversion: str
    id: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]
    type: str
    subject: str
    time: Annotated[datetime, Meta(tz=True)]
    data: dict[str, Any] = {}


# Numbers with a point stay as they were written: a float would not hold them all.
_EVENT: Final = msgspec.json.Decoder(SentEvent, float_hook=str)
_EVENTS: Final = msgspec.json.Decoder(list[SentEvent], float_hook=str)
_CLOUD_EVENT: Final = msgspec.json.Decoder(_CloudEvent, float_hook=str)
_APART: Final = msgspec.json.Decoder(list[Raw])
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any], float_hook=str)

Sent = Sequence[SentEvent | Failed]


def decode(raw: bytes, form: Form) -> Sent:
    """The events of a body in their order, and in the place of each that has another form, what is wrong with it.

    Raises NotJson, WrongCount.
    """
    try:
        if form is Form.NATIVE and raw.lstrip(b" \t\r\n")[:1] == b"[":
            return _many(raw)
        if form is Form.CLOUD_EVENTS:
            return [_cloud_event(place, bytes(each)) for place, each in enumerate(_bounded(_APART.decode(raw)))]
        return [_event(0, raw) if form is Form.NATIVE else _cloud_event(0, raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from None


def _many(raw: bytes) -> Sent:
    try:
        events = _bounded(_EVENTS.decode(raw))
    except msgspec.ValidationError:
        events = []
    if events and not _may_repeat(raw, sum([_names(event) for event in events])):
        return events
    return [_event(place, bytes(each)) for place, each in enumerate(_bounded(_APART.decode(raw)))]


def _names(event: SentEvent) -> int:
    """How many names an event has."""
    properties = event.properties
    return 4 if properties is NO_PROPERTIES else 5 + len(properties)


def _may_repeat(raw: bytes, names: int) -> bool:
    """Whether a name may stand twice in an object of a text in which so many different ones were found. Each name ends
    in a quote and a colon, and texts may hold these too; so equal numbers say that all were found, unless a space
    stands between.
    """
    return (
        raw.count(_NAMES_END) != names
        or (b" " in raw and b" :" in raw)
        or (b"\n" in raw and b"\n:" in raw)
        or (b"\t" in raw and b"\t:" in raw)
        or (b"\r" in raw and b"\r:" in raw)
    )


class _Twice(ValueError):
    """A name stands twice in one object."""


def _repeats(raw: bytes) -> bool:
    """Whether a name does stand twice in an object."""
    try:
        json.loads(raw.decode(), object_pairs_hook=_once, parse_int=str, parse_float=str)
    except _Twice:
        return True
    return False


def _once(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _Twice


def _twice(place: int, event_id: str) -> Failed:
    return Failed(place, event_id[:ID_CHARS_MAX], "", "duplicate_name", "A name stands twice in it")


def _bounded(events: list[Any]) -> list[Any]:
    if not 0 < len(events) <= EVENTS_MAX:
        raise WrongCount(f"{len(events)} events")
    return events


def _event(place: int, raw: bytes) -> SentEvent | Failed:
    try:
        event = _EVENT.decode(raw)
    except msgspec.ValidationError as error:
        return _failed(place, raw, str(error))
    if _may_repeat(raw, _names(event)) and _repeats(raw):
        return _twice(place, event.id)
    return event


def _cloud_event(place: int, raw: bytes) -> SentEvent | Failed:
    """The event of a CloudEvent: its type is the meter's code, its subject the customer. A source and an id are unique
    together; no source holds a space.
    """
    try:
        sent = _CLOUD_EVENT.decode(raw)
    except msgspec.ValidationError as error:
        return _failed(place, raw, str(error))
    if _may_repeat(raw, len(_OBJECT.decode(raw)) + len(sent.data)) and _repeats(raw):
        return _twice(place, sent.id)
    event_id = f"{sent.source} {sent.id}"
    if sent.specversion != CLOUD_EVENTS_VERSION:
        return Failed(place, sent.id, "specversion", "unknown_version", "There is specversion 1.0")
    if len(event_id) > ID_CHARS_MAX or " " in sent.source:
        told = f"Source and id are {ID_CHARS_MAX} characters together at most, and no source holds a space"
        return Failed(place, sent.id[:ID_CHARS_MAX], "source", "invalid_id", told)
    return SentEvent(event_id, sent.type, sent.subject, sent.time, sent.data)


def _failed(place: int, raw: bytes, why: str) -> Failed:
    """What is wrong, in words of our own: the decoder's may repeat what was sent.

    Raises msgspec.DecodeError for what is no JSON, which is another thing than JSON of another form.
    """
    msgspec.json.decode(raw, type=Raw)
    event_id = _id_of(raw)
    required = _REQUIRED.search(why)
    if required is not None:
        return Failed(place, event_id, required[1], "required", "It must be given")
    if "unknown field" in why:
        *some, last = SentEvent.__struct_fields__
        told = f"An event has {', '.join(some)} and {last}: what else there is to say goes into {last}"
        return Failed(place, event_id, _unknown_in(raw), "unknown_name", told)
    where = _AT.search(why)
    param = "" if where is None else where[1]
    if param in ("timestamp", "time"):
        told = "Not a time of RFC 3339 with an offset, like 2026-01-31T00:00:00Z"
        return Failed(place, event_id, param, "invalid_timestamp", told)
    if param == "id":
        return Failed(place, event_id, param, "invalid_id", f"An id is a text of 1 to {ID_CHARS_MAX} characters")
    message = "It is no JSON object" if not param else "It is not of the type that it must be"
    return Failed(place, event_id, param, "wrong_type", message)


def _unknown_in(raw: bytes) -> str:
    """The first field that events do not have; empty where it may be what nobody should read again."""
    name = next((name for name in _OBJECT.decode(raw) if name not in SentEvent.__struct_fields__), "")
    return name if len(name) <= NAME_CHARS_MAX and name.isprintable() and not holds_card_number(name) else ""


def _id_of(raw: bytes) -> str:
    """The id that somebody finds the event by; empty where it has none that could be one."""
    try:
        found = _OBJECT.decode(raw).get("id")
    except msgspec.ValidationError:
        return ""
    return found if isinstance(found, str) and len(found) <= ID_CHARS_MAX else ""
