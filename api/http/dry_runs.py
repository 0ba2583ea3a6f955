"""Dry runs: what a command would come to, told and forgotten. See docs/guides/dry-runs.md."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from pydantic_core import from_json
from typing_extensions import TypedDict

from api.http.facts import OF_IDENTITY, PostingResource, data_of, postings_of
from api.http.masking import masked_reply
from api.http.principal import Principal
from api.http.problems import DRY_RUN_NOT_POSSIBLE, INVALID_HEADER, Problem
from api.http.replies import Header, Reply, json_reply
from domain.identity.permissions import Permission
from infra.event_store.port import Envelope

NAME: Final = "Tallybook-Dry-Run"
WANTED: Final = "true"
_HEADER: Final = NAME.lower().encode()
_TOLD: Final[tuple[Header, ...]] = ((_HEADER, WANTED.encode()),)


class DryRunEvent(TypedDict):
    """An event that would be recorded: an event's fields, but for those that only recording gives."""

    type: str
    stream_type: str
    stream: str
    effective_at: datetime
    data: dict[str, Any]


class DryRun(TypedDict):
    """What the command would come to; nothing of it is kept. `status` and `result` are what it would answer: the
    resource, or the problem that it is refused with. `events` are null for whoever may not read events, `postings`
    for whoever may not read the ledger.
    """

    object: Literal["dry_run"]
    status: int
    result: dict[str, Any]
    events: list[DryRunEvent] | None
    postings: list[PostingResource] | None


EXAMPLE_EVENT: Final[dict[str, object]] = {
    "type": "invoice.voided",
    "stream_type": "invoice",
    "stream": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "effective_at": "2026-01-01T00:00:00Z",
    "data": {"invoice_id": "in_01m7ywe9z7e398x54gfbrtqnk7", "voided_at": "2026-01-01T00:00:00Z"},
}


def example(status: int, result: object) -> dict[str, object]:
    """A dry run as the documentation shows it."""
    return {"object": "dry_run", "status": status, "result": result, "events": [EXAMPLE_EVENT], "postings": []}


def wants_dry_run(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the request asks for one. Raises the 400 of a value that nobody can be sure of."""
    value = headers.get(_HEADER)
    if value is None:
        return False
    if value != WANTED.encode():
        raise Problem(INVALID_HEADER, f"{NAME} is `{WANTED}`, or left out.", param=NAME)
    return True


def not_possible() -> Problem:
    """The 400 of what cannot be tried."""
    return Problem(DRY_RUN_NOT_POSSIBLE, param=NAME)


def dry_run_reply(reply: Reply, events: Sequence[Envelope], principal: Principal) -> Reply:
    """The answer to a dry run whose command would be answered so, and record these."""
    sees = principal.permissions
    shown = [event for event in events if Permission.AUDIT_READ in sees or event.stream_type not in OF_IDENTITY]
    answer: DryRun = {
        "object": "dry_run",
        "status": reply.status,
        "result": from_json(reply.body),
        "events": [_event(each) for each in shown] if Permission.EVENTS_READ in sees else None,
        "postings": (
            [posting for each in events for posting in postings_of(each)] if Permission.LEDGER_READ in sees else None
        ),
    }
    told = json_reply(200, answer, _TOLD)
    return masked_reply(told) if principal.masked else told


def _event(event: Envelope) -> DryRunEvent:
    return {
        "type": event.event_type,
        "stream_type": event.stream_type,
        "stream": event.stream_id,
        "effective_at": event.effective_at,
        "data": data_of(event),
    }
