"""The log itself: every event of the tenant, what became of each command, and a customer's story."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.facts import OF_IDENTITY, PostingResource, data_of, postings_of
from api.http.listing import (
    Cursor,
    Limit,
    ListResource,
    NoParameters,
    Parameters,
    list_example,
    list_resource,
    page_limit,
)
from api.http.operations import Operations
from api.http.problems import NOT_FOUND, Problem
from api.http.validation import form
from api.http.wire_positions import MAX_POSITION, Position
from api.resources.customers import CUSTOMERS
from domain.catalogue import STREAMS
from domain.customers.customer import CustomerNotFound
from domain.identity.permissions import Permission
from domain.kernel.identifiers import EVENT, decode, is_id
from infra.event_store.log import COLUMNS
from infra.event_store.port import Recorded
from projections.read_model import Projection

EVENTS: Final = Operations(
    tag="events", about="The log itself.", path_ids={"event_id": EVENT}, seen_with=Permission.EVENTS_READ
)
REQUEST: Final = "req_"
CORRELATED: Final = timedelta(days=1)
"""How long after a request its consequences are looked for: an id tells its time, and the log is indexed by that. An
index by correlation would cost each append a tenth more of the server's time (docs/decisions/0052)."""
CLOCK_SLACK: Final = timedelta(minutes=10)
"""How far an event's id, drawn when it was decided, may lie from when it was recorded."""

_STREAM_TYPES: Final = sorted(STREAMS)
_EVENT_TYPES: Final = sorted(event for stream in STREAMS.values() for event in stream.events)
_MAX_KEY_CHARS: Final = 255


class EventFilters(Parameters):
    """Which events, by position: newest first."""

    limit: Limit | None = None
    starting_after: Annotated[Position | None, Field(description="Only events before this position.")] = None
    type: Annotated[
        str | None,
        form(r"^[a-z_.]{1,64}$", "Must be a type of event like invoice.paid"),
        Field(json_schema_extra={"enum": _EVENT_TYPES}),
    ] = None
    stream: Annotated[
        Cursor | None,
        Field(description="Only those of one stream: an id, or `invoice/in_…` as in a record's `ce_subject`."),
    ] = None
    correlation_id: Annotated[
        str | None,
        form(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$", "Must be a request's id, as X-Request-Id answers it"),
        Field(
            description="Only what a request brought about, by its `X-Request-Id`. An id of ours tells its time: its "
            "first day is looked through, however long ago it was. An id that was the client's own tells none: only "
            "the last day is looked through, and older events are found by `stream`, which can be given as well.",
        ),
    ] = None


class TimelineParameters(Parameters):
    """Which part of a customer's story."""

    limit: Limit | None = None
    starting_after: Annotated[Position | None, Field(description="Only events before this position.")] = None


class EventResource(TypedDict):
    """A fact. `position` is its place in the log; `data` are its fields, with nothing personal in them."""

    id: str
    object: Literal["event"]
    type: str
    position: int
    stream_type: str
    stream: str
    stream_version: int
    effective_at: datetime
    recorded_at: datetime
    actor: str
    correlation_id: str
    causation_id: str | None
    data: dict[str, Any]
    postings: list[PostingResource]


class CommandResource(TypedDict):
    """What became of a command. `in_flight` while it is being done; then position and time are still unknown."""

    object: Literal["command"]
    idempotency_key: str
    status: Literal["accepted", "refused", "in_flight"]
    code: str | None
    position: int | None
    events: int
    decided_at: datetime | None


def event_resource(recorded: Recorded) -> EventResource:
    """An event as it is answered. A gateway's token is left out."""
    return {
        "id": recorded.event_id,
        "object": "event",
        "type": recorded.event_type,
        "position": recorded.position,
        "stream_type": recorded.stream_type,
        "stream": recorded.stream_id,
        "stream_version": recorded.stream_version,
        "effective_at": recorded.effective_at,
        "recorded_at": recorded.recorded_at,
        "actor": recorded.actor,
        "correlation_id": recorded.correlation_id,
        "causation_id": recorded.causation_id,
        "data": data_of(recorded),
        "postings": postings_of(recorded),
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": "evt_01m7ywe9z7e398x54gfbrtqnk7",
    "object": "event",
    "type": "invoice.voided",
    "position": 42,
    "stream_type": "invoice",
    "stream": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "stream_version": 2,
    "effective_at": "2026-01-01T00:00:00Z",
    "recorded_at": "2026-01-01T00:00:00.004Z",
    "actor": "api_key:key_01m7ywe9z7e398x54gfbrtqnk7",
    "correlation_id": "req_01m7ywe9z7e398x54gfbrtqnk7",
    "causation_id": None,
    "data": {"invoice_id": "in_01m7ywe9z7e398x54gfbrtqnk7", "voided_at": "2026-01-01T00:00:00Z"},
    "postings": [],
}

_SELECT: Final = f"SELECT {COLUMNS} FROM log.events WHERE tenant_id = $1 AND stream_type <> ALL ($2::text[])"  # noqa: S608  constants
_LIST: Final = f"{_SELECT} AND position < $3 AND ($4::text IS NULL OR event_type = $4) ORDER BY position DESC LIMIT $5"
_LIST_STREAM: Final = (
    f"{_SELECT} AND stream_type = ANY($6::text[]) AND stream_id = $7 AND position < $3 "
    "AND ($4::text IS NULL OR event_type = $4) AND ($8::text IS NULL OR correlation_id = $8) "
    "ORDER BY position DESC LIMIT $5"
)
_LIST_CORRELATED: Final = (
    f"{_SELECT} AND correlation_id = $6 AND recorded_at BETWEEN $7 AND $8 AND position < $3 "
    "AND ($4::text IS NULL OR event_type = $4) ORDER BY position DESC LIMIT $5"
)
BY_ID: Final = f"{_SELECT} AND event_id = $3 AND recorded_at BETWEEN $4 AND $5"
_TIMELINE: Final = f"""
WITH streams AS (
    SELECT 'customer' AS type, $2 AS id
    UNION ALL SELECT 'subscription', subscription_id FROM read.subscriptions WHERE tenant_id = $1 AND customer_id = $2
    UNION ALL SELECT 'invoice', invoice_id FROM read.invoices WHERE tenant_id = $1 AND customer_id = $2
    UNION ALL SELECT 'payment', payment_id FROM read.payments WHERE tenant_id = $1 AND customer_id = $2
    UNION ALL
    SELECT 'payment_method', payment_method_id FROM read.payment_methods WHERE tenant_id = $1 AND customer_id = $2
)
SELECT {COLUMNS} FROM streams s CROSS JOIN LATERAL (
    SELECT * FROM log.events e
    WHERE e.tenant_id = $1 AND e.stream_type = s.type AND e.stream_id = s.id AND e.position < $3
) AS found
ORDER BY position DESC LIMIT $4
"""  # noqa: S608  constants


def _hidden(call: Call) -> list[str]:
    """The types of streams whose events are not for whoever asks."""
    return [] if Permission.AUDIT_READ in call.principal.permissions else OF_IDENTITY


def _page(rows: Sequence[Any], limit: int) -> ListResource[EventResource]:
    data = [event_resource(Recorded(*row)) for row in rows[:limit]]
    cursor = str(data[-1]["position"]) if data else None
    return list_resource(data, has_more=len(rows) > limit, next_cursor=cursor)


@EVENTS.query("/v1/events", answers=ListResource[EventResource], example=list_example(EXAMPLE), parameters=EventFilters)
async def list_events(call: Call, asked: EventFilters) -> ListResource[EventResource]:
    """List the tenant's events, newest first.

    Pages go by position: `next_cursor` is one. Events of members, API keys and the tenant itself are shown to whoever
    may read the audit, too.
    """
    limit, hidden = page_limit(call, asked.limit), _hidden(call)
    before = MAX_POSITION if asked.starting_after is None else asked.starting_after
    async with call.reading() as connection:
        if asked.stream is not None:
            of_type, _, stream_id = asked.stream.rpartition("/")
            rows = await connection.fetch(
                _LIST_STREAM,
                call.tenant_id,
                hidden,
                before,
                asked.type,
                limit + 1,
                [of_type] if of_type else _STREAM_TYPES,
                stream_id,
                asked.correlation_id,
            )
        elif asked.correlation_id is not None:
            drawn = _drawn_at(asked.correlation_id, REQUEST) or datetime.now(UTC) - CORRELATED
            between = (drawn - CLOCK_SLACK, drawn + CORRELATED + CLOCK_SLACK)
            rows = await connection.fetch(
                _LIST_CORRELATED, call.tenant_id, hidden, before, asked.type, limit + 1, asked.correlation_id, *between
            )
        else:
            rows = await connection.fetch(_LIST, call.tenant_id, hidden, before, asked.type, limit + 1)
    return _page(rows, limit)


@EVENTS.query("/v1/events/{event_id}", answers=EventResource, example=EXAMPLE, parameters=NoParameters)
async def get_event(call: Call, _asked: NoParameters) -> EventResource:
    """Get an event by its id."""
    wanted = call.path["event_id"]
    drawn = _drawn_at(wanted)
    if drawn is None:
        raise Problem(NOT_FOUND)
    async with call.reading() as connection:
        row = await connection.fetchrow(
            BY_ID, call.tenant_id, _hidden(call), wanted, drawn - CLOCK_SLACK, drawn + CLOCK_SLACK
        )
    if row is None:
        raise Problem(NOT_FOUND)
    return event_resource(Recorded(*row))


def _drawn_at(an_id: str, prefix: str = EVENT) -> datetime | None:
    """When an id was drawn: the first 48 bits of a UUIDv7. None for what is no such id."""
    if not is_id(an_id, prefix):
        return None
    try:
        return datetime.fromtimestamp((decode(an_id.removeprefix(prefix)) >> 80) / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None


@EVENTS.query(
    "/v1/customers/{customer_id}/timeline",
    answers=ListResource[EventResource],
    example=list_example(EXAMPLE),
    parameters=TimelineParameters,
    refusals=(CustomerNotFound,),
    reads=(Projection.BILLING, Projection.PAYMENTS),
)
async def get_customer_timeline(call: Call, asked: TimelineParameters) -> ListResource[EventResource]:
    """Tell a customer's story: everything that happened to them, newest first.

    Subscriptions, invoices, payments, refunds and payment methods included. Pages go by position.
    """
    customer_id = CUSTOMERS.id_of(call)
    limit = page_limit(call, asked.limit)
    before = MAX_POSITION if asked.starting_after is None else asked.starting_after
    async with call.reading() as connection:
        await CUSTOMERS.row(call, connection, customer_id)
        rows = await connection.fetch(_TIMELINE, call.tenant_id, customer_id, before, limit + 1)
    return _page(rows, limit)


@EVENTS.query(
    "/v1/commands/{idempotency_key:path}",
    answers=CommandResource,
    example={
        "object": "command",
        "idempotency_key": "order-4711",
        "status": "accepted",
        "code": None,
        "position": 42,
        "events": 2,
        "decided_at": "2026-01-01T00:00:00.004Z",
    },
    parameters=NoParameters,
    opaque=("idempotency_key",),
)
async def get_command(call: Call, _asked: NoParameters) -> CommandResource:
    """Tell what became of a command, by its Idempotency-Key.

    To get its answer once more, repeat the request under the same key.
    """
    key = call.path["idempotency_key"]
    if len(key) > _MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise Problem(NOT_FOUND)
    async with call.reading() as connection:
        row = await connection.fetchrow(
            "SELECT refusal_code, position, events, decided_at FROM log.command_results "
            "WHERE tenant_id = $1 AND idempotency_key = $2",
            call.tenant_id,
            call.stored_key(key),
        )
    found = cast("Mapping[str, Any] | None", row)
    if found is None:
        if (call.tenant_id, call.stored_key(key)) not in call.parts.in_flight:
            raise Problem(NOT_FOUND)
        return _command(key, "in_flight", {"refusal_code": None, "position": None, "events": 0, "decided_at": None})
    return _command(key, "accepted" if found["refusal_code"] is None else "refused", found)


def _command(key: str, status: Literal["accepted", "refused", "in_flight"], row: Mapping[str, Any]) -> CommandResource:
    return {
        "object": "command",
        "idempotency_key": key,
        "status": status,
        "code": row["refusal_code"],
        "position": row["position"],
        "events": row["events"],
        "decided_at": row["decided_at"],
    }
