"""What is under way: sagas with their state and steps."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import CustomerId
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
from domain import sagas as catalogue
from domain.identity.permissions import Permission
from domain.kernel.saga import SagaState
from projections.models import sagas as read
from projections.models.sagas import FoundSaga
from projections.read_model import Projection
from projections.reading import PageRequest

SAGAS: Final = Operations(tag="sagas", about="What is under way.", seen_with=Permission.EVENTS_READ)
_MAX_ID_CHARS: Final = 100
_NAMES: Final = sorted(saga.name for saga in catalogue.SAGAS)


class SagaFilters(Parameters):
    """Which sagas."""

    limit: Limit | None = None
    starting_after: Cursor | None = None
    saga: Annotated[
        str | None,
        form(f"^(?:{'|'.join(_NAMES)})$", f"Must be one of {', '.join(_NAMES)}"),
        Field(json_schema_extra={"enum": _NAMES}),
    ] = None
    state: SagaState | None = None
    customer: CustomerId | None = None


class SagaStepResource(TypedDict):
    """One event that moved a saga."""

    type: str
    at: datetime
    recorded_at: datetime
    event: str


class SagaResource(TypedDict):
    """A saga. `subject` is the invoice or payment it is about; after `deadline_at` it is driven again."""

    id: str
    object: Literal["saga"]
    saga: str
    subject: str
    customer: str
    state: SagaState
    started_at: datetime
    deadline_at: datetime | None
    ended_at: datetime | None
    steps: Annotated[list[SagaStepResource], Field(description="Oldest first.")]


def saga_resource(found: FoundSaga) -> SagaResource:
    """A saga as it is answered."""
    saga = found.state
    return {
        "id": saga.saga_id,
        "object": "saga",
        "saga": saga.saga,
        "subject": saga.subject,
        "customer": saga.customer_id,
        "state": saga.state,
        "started_at": saga.started_at,
        "deadline_at": saga.deadline_at,
        "ended_at": saga.ended_at,
        "steps": [
            {
                "type": step.event_type,
                "at": step.effective_at,
                "recorded_at": step.recorded_at,
                "event": step.event_id,
            }
            for step in saga.steps
        ],
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": "charge:in_01m7ywe9z7e398x54gfbrtqnk7",
    "object": "saga",
    "saga": "charge",
    "subject": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "state": "waiting",
    "started_at": "2026-01-01T00:00:00Z",
    "deadline_at": "2026-01-01T00:00:15Z",
    "ended_at": None,
    "steps": [
        {
            "type": "invoice.finalized",
            "at": "2026-01-01T00:00:00Z",
            "recorded_at": "2026-01-01T00:00:00.004Z",
            "event": "evt_01m7ywe9z7e398x54gfbrtqnk7",
        }
    ],
}


@SAGAS.query(
    "/v1/sagas",
    answers=ListResource[SagaResource],
    example=list_example(EXAMPLE),
    parameters=SagaFilters,
    reads=(Projection.BILLING, Projection.PAYMENTS),
)
async def list_sagas(call: Call, asked: SagaFilters) -> ListResource[SagaResource]:
    """List sagas, the last started first."""
    limit = page_limit(call, asked.limit)
    async with call.reading() as connection:
        page = await read.page(
            connection,
            call.tenant_id,
            saga=asked.saga,
            state=asked.state,
            customer_id=asked.customer,
            request=PageRequest(limit=limit, starting_after=asked.starting_after),
        )
    data = [saga_resource(found) for found in page.items]
    return list_resource(data, has_more=page.has_more, next_cursor=data[-1]["id"] if data else None)


@SAGAS.query(
    "/v1/sagas/{saga_id}",
    answers=SagaResource,
    example=EXAMPLE,
    parameters=NoParameters,
    reads=(Projection.BILLING, Projection.PAYMENTS),
)
async def get_saga(call: Call, _asked: NoParameters) -> SagaResource:
    """Get a saga: `charge:` or `renewal:` and an invoice's id, or `refund:` and the payment's that nobody needed."""
    wanted = call.path["saga_id"]
    if len(wanted) > _MAX_ID_CHARS or not wanted.isprintable():
        raise Problem(NOT_FOUND)
    async with call.reading() as connection:
        found = await read.get(connection, call.tenant_id, wanted)
    if found is None:
        raise Problem(NOT_FOUND)
    return saga_resource(found)
