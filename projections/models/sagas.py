"""What is under way: every saga with its state, deadline and steps, derived from events alone.

A table per saga of `domain/sagas.py`. What the gateway said step by step stands in the payment.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from domain.kernel.saga import Saga, SagaState
from domain.sagas import SAGAS
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.reading import FIRST_PAGE, Page, PageRequest, Reader, UnknownCursor


class SagaStep(NamedTuple):
    """One event that moved a saga."""

    event_type: str
    event_id: str
    effective_at: datetime
    recorded_at: datetime


class SagaProgress(NamedTuple):
    """`subject` is what its saga says: the invoice, the payment, or the period where no invoice bills it.

    `started_at` and `ended_at` are business time; `deadline_at` is real time, when the sweeper takes it up.
    """

    saga_id: str
    saga: str
    subject: str
    customer_id: str
    state: SagaState
    started_at: datetime
    deadline_at: datetime | None
    ended_at: datetime | None
    steps: tuple[SagaStep, ...]


class FoundSaga(NamedTuple):
    """A saga as of its last event."""

    state: SagaProgress
    position: int


def _step(fact: Fact) -> SagaStep:
    return SagaStep(fact.event_type, fact.event_id, fact.effective_at, fact.recorded_at)


def _start(saga: Saga, fact: Fact, state: SagaState) -> SagaProgress:
    deadline = saga.deadline
    return SagaProgress(
        saga_id=saga.id_of(fact.event),
        saga=saga.name,
        subject=saga.subject(fact.event),
        customer_id=fact.subject,
        state=state,
        started_at=fact.effective_at,
        deadline_at=None if deadline is None else fact.recorded_at + timedelta(milliseconds=deadline.after_ms),
        ended_at=fact.effective_at if state.is_over else None,
        steps=(_step(fact),),
    )


_UNDER_WAY: Final = "ended_at IS NULL"


def _table(saga: Saga) -> ReadModel[FoundSaga]:
    """The read model of one saga."""
    started_by, states = saga.started_by, saga.states

    def apply(rows: Rows[FoundSaga], fact: Fact) -> None:
        key = (fact.tenant_id, saga.id_of(fact.event))
        if fact.event_type == started_by:
            begun = saga.begins(fact.event)
            if begun is not None:
                rows[key] = FoundSaga(_start(saga, fact, begun), fact.position)
        elif (row := rows.get(key)) is not None:  # none was started, as for an invoice that is paid by hand
            state = states[fact.event_type]
            ended_at = fact.effective_at if state.is_over else None
            moved = row.state._replace(state=state, ended_at=ended_at, steps=(*row.state.steps, _step(fact)))
            rows[key] = FoundSaga(moved, fact.position)

    found = layout(FoundSaga, SagaProgress)
    return ReadModel(
        name=f"{saga.name}_sagas",
        version=1,
        projection=next(each for each in Projection if each.topic.value == saga.topic.value),
        columns=found.columns,
        key=("tenant_id", "saga_id"),
        events=frozenset({started_by, *states}),
        apply=apply,
        write=found.write,
        read=found.read,
        key_of=lambda fact: (fact.tenant_id, saga.id_of(fact.event)),
        begins=lambda fact: fact.event_type == started_by,
        indexes=("tenant_id, started_at, saga_id",),
        partial_indexes=(("tenant_id, state, started_at", _UNDER_WAY),),
        sorted_by="started_at",
    )


TABLES: Final = tuple(_table(saga) for saga in SAGAS)
_COLUMNS: Final = ", ".join(column.name for column in TABLES[0].columns)
_ALL: Final = " UNION ALL ".join(
    f"SELECT {_COLUMNS} FROM read.{model.name} WHERE tenant_id = $1"  # noqa: S608  our names
    for model in TABLES
)


class SagaCount(NamedTuple):
    """How many sagas of a kind are under way in a state, and when the oldest of them started (business time)."""

    saga: str
    state: SagaState
    sagas: int
    oldest_started_at: datetime


async def get(connection: Reader, tenant_id: str, saga_id: str) -> FoundSaga | None:
    """The saga of an id: its name and its subject."""
    record = await connection.fetchrow(f"SELECT * FROM ({_ALL}) AS s WHERE saga_id = $2", tenant_id, saga_id)  # noqa: S608
    return None if record is None else TABLES[0].read(record)


async def page(
    connection: Reader,
    tenant_id: str,
    *,
    saga: str | None = None,
    state: str | None = None,
    customer_id: str | None = None,
    request: PageRequest = FIRST_PAGE,
) -> Page[FoundSaga]:
    """Sagas, the last started first; forwards only. Raises UnknownCursor."""
    after = None
    if request.starting_after is not None:
        after = await get(connection, tenant_id, request.starting_after)
        if after is None:
            raise UnknownCursor(request.starting_after)
    records = await connection.fetch(
        f"""SELECT * FROM ({_ALL}) AS s
            WHERE ($2::text IS NULL OR saga = $2) AND ($3::text IS NULL OR state = $3)
                AND ($4::text IS NULL OR customer_id = $4)
                AND ($5::timestamptz IS NULL OR (started_at, saga_id) < ($5, $6))
            ORDER BY started_at DESC, saga_id DESC LIMIT $7""",  # noqa: S608  our names
        tenant_id,
        saga,
        state,
        customer_id,
        None if after is None else after.state.started_at,
        None if after is None else after.state.saga_id,
        request.limit + 1,
    )
    return Page([TABLES[0].read(record) for record in records[: request.limit]], len(records) > request.limit)


async def counts(connection: Reader, tenant_id: str) -> list[SagaCount]:
    """How many sagas of each kind are under way, by state."""
    records = await connection.fetch(
        f"""SELECT saga, state, count(*), min(started_at) FROM ({_ALL}) AS s
            WHERE {_UNDER_WAY} GROUP BY saga, state ORDER BY 1, 2""",  # noqa: S608  our names
        tenant_id,
    )
    return [SagaCount(record[0], SagaState(record[1]), record[2], record[3]) for record in records]
