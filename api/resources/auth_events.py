"""The auth log: what was tried in the tenant, or by its people, and where it came from. It has an end."""

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field
from typing_extensions import TypedDict

from api.http.access_rows import page_by_id
from api.http.call import Call
from api.http.listing import (
    CreatedParameters,
    ListResource,
    list_example,
    page_request,
    page_resource,
)
from api.http.masking import masked
from api.http.operations import Operations
from api.http.replies import Reply
from api.http.validation import form
from domain.identity.auth_event import AuthEventKind
from domain.identity.permissions import Permission
from domain.kernel.identifiers import AUTH_EVENT, USER
from projections.read_model import Record
from projections.reading import Page, PageRequest
from projections.reports.csv_rows import escaped, instant

EXPORT_ROWS: Final = 1_000
"""Of an export, in memory at once."""
_ID: Final = "aev_01m7ywe9z7e398x54gfbrtqnk7"
_USER: Final = f"{USER}01m7ywe9z7e398x54gfbrtqnk7"

Actor = Annotated[
    str,
    form(
        r"^[a-z_]{1,20}:[A-Za-z0-9_]{1,64}( for [a-z0-9-]{1,63})?$",
        "Must be an actor like user:user_… or api_key:key_…",
    ),
]


class AuthEventFilters(CreatedParameters):
    """Which attempts: of a kind, of one user, of one credential, of a time."""

    kind: AuthEventKind | None = None
    user: Annotated[str | None, form(rf"^{USER}[A-Za-z0-9]{{1,64}}$", "Must be a user's id")] = None
    actor: Annotated[Actor | None, Field(description="Who asked, as events name them.")] = None


class AuthEventResource(TypedDict):
    """An attempt, or `times` of the same within a moment. `code` is why it was refused, as the answer said; `session`
    is the one that began, or that asked.
    """

    id: str
    object: Literal["auth_event"]
    kind: AuthEventKind
    times: int
    created: datetime
    user: str | None
    actor: str | None
    session: str | None
    code: str | None
    route: str | None
    address: str | None
    user_agent: str | None
    request: str | None


_EXAMPLE: Final = {
    "id": _ID,
    "object": "auth_event",
    "kind": "log_in_failed",
    "times": 3,
    "created": "2026-01-31T12:00:00Z",
    "user": _USER,
    "actor": None,
    "session": None,
    "code": "wrong_credentials",
    "route": "/v1/auth/login",
    "address": "192.0.2.7",
    "user_agent": "curl/8.5.0",
    "request": "req_01m7ywe9z7e398x54gfbrtqnk7",
}
_FIELDS: Final = tuple(name for name in _EXAMPLE if name != "object")

AUTH_EVENTS: Final = Operations(
    tag="auth log",
    about="Failed log-ins, refused requests, and where they came from.",
    path_ids={"auth_event_id": AUTH_EVENT},
    seen_with=Permission.AUDIT_READ,
)
_SELECT: Final = """
SELECT event_id, kind, times, happened_at, user_id, actor, session_id, code, route, address, user_agent, request_id
FROM access.auth_events
"""


@AUTH_EVENTS.query(
    "/v1/auth-events",
    answers=cast("Any", ListResource)[AuthEventResource],
    example=list_example(_EXAMPLE),
    parameters=AuthEventFilters,
)
async def list_auth_events(call: Call, asked: AuthEventFilters) -> object:
    """List what was tried, newest first.

    What was changed is an event of the log, and is not here: keys, members and roles in `GET /v1/events?stream=…`.
    A session that began is told by both: the log says that it did, this from where (`logged_in`).
    """
    request = page_request(call, asked)
    found = await _found(call, _where(call, asked), request)
    return page_resource(found, request, [_resource(row) for row in found.items])


@AUTH_EVENTS.query(
    "/v1/auth-events/export",
    answers=str,
    example="id,kind,times,created,user,actor,session,code,route,address,user_agent,request\r\n",
    parameters=AuthEventFilters,
    media_type="text/csv",
)
async def export_auth_events(call: Call, asked: AuthEventFilters) -> Reply:
    """Export what was tried, newest first, as CSV with a header: all of it, however much there is.

    Filters are those of the list; `limit` is not looked at. An answer that was broken off has no end, as clients tell;
    `starting_after` the last whole row's id goes on. A text that a spreadsheet would take for a formula begins with an
    apostrophe.
    """
    first = PageRequest(limit=EXPORT_ROWS, starting_after=asked.starting_after, ending_before=None)
    where = {**_where(call, asked), "event_id >": asked.ending_before}
    found = await _found(call, where, first)
    headers = (
        (b"content-type", b"text/csv; charset=utf-8"),
        (b"content-disposition", b'attachment; filename="auth-events.csv"'),
    )
    return Reply(200, headers, _csv([_FIELDS]) + _rows(call, found), _rest(call, where, found))


async def _rest(call: Call, where: Mapping[str, object], found: Page[Record]) -> AsyncGenerator[bytes, None]:
    """Page after page, each on a connection of its own: a slow client holds none, and no more than a page in memory.

    A month that is dropped meanwhile may take the row with it that a page ended with: its id still says where it was.
    """
    while found.has_more:
        request = PageRequest(limit=EXPORT_ROWS, starting_after=None, ending_before=None)
        found = await _found(call, {**where, "event_id <": found.items[-1]["event_id"]}, request)
        yield _rows(call, found)


def _rows(call: Call, found: Page[Record]) -> bytes:
    shown: list[Any] = [_resource(row) for row in found.items]
    each_shown = masked(shown) if call.principal.masked else shown
    return _csv([_cell(each[name]) for name in _FIELDS] for each in each_shown)


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _where(call: Call, asked: AuthEventFilters) -> Mapping[str, object]:
    created = asked.created
    return {
        "tenant_id": call.tenant_id,
        "kind": asked.kind,
        "user_id": asked.user,
        "actor": asked.actor,
        "happened_at >=": created.gte,
        "happened_at >": created.gt,
        "happened_at <=": created.lte,
        "happened_at <": created.lt,
    }


async def _found(call: Call, where: Mapping[str, object], request: PageRequest) -> Page[Record]:
    async with call.reading() as connection:
        return await page_by_id(connection, _SELECT, "event_id", where, request)


def _resource(row: Record) -> AuthEventResource:
    return {
        "id": row["event_id"],
        "object": "auth_event",
        "kind": AuthEventKind(row["kind"]),
        "times": row["times"],
        "created": row["happened_at"],
        "user": row["user_id"],
        "actor": row["actor"],
        "session": row["session_id"],
        "code": row["code"],
        "route": row["route"],
        "address": row["address"],
        "user_agent": row["user_agent"],
        "request": row["request_id"],
    }


def _cell(value: object) -> object:
    """A cell as it is written. What a client sent of itself is not to be run by whoever opens the file."""
    if isinstance(value, datetime):
        return instant(value)
    return escaped(value) if isinstance(value, str) else value
