"""What is under way: charges, renewals and refunds, with their state, deadline and steps.

Derived from events alone. A charge is an invoice being collected, a renewal is a period being billed and paid, a
refund is money on its way back. What the gateway said step by step stands in the payment.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from domain.invoicing.invoice import CHARGE_DEADLINE_MS, CollectionMethod
from domain.payments.refund import EVENTS as REFUND_EVENTS
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.reading import FIRST_PAGE, Page, PageRequest, Reader, UnknownCursor


class SagaState(StrEnum):
    """`waiting`: for the gateway, or for somebody to pay. `unknown`: the gateway has to be asked what happened."""

    WAITING = "waiting"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class SagaStep(NamedTuple):
    """One event that moved a saga."""

    event_type: str
    event_id: str
    effective_at: datetime
    recorded_at: datetime


class Saga(NamedTuple):
    """`subject` is the invoice, the refund, or the period (`subscription/index`) where no invoice bills it.

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

    state: Saga
    position: int


CHARGE: Final = "charge"
RENEWAL: Final = "renewal"
REFUND: Final = "refund"

_OUTCOMES: Final[Mapping[str, SagaState]] = {
    "invoice.paid": SagaState.SUCCEEDED,
    "invoice.collection_failed": SagaState.FAILED,
    "invoice.voided": SagaState.CANCELED,
    "refund.outcome_unknown": SagaState.UNKNOWN,
    "refund.succeeded": SagaState.SUCCEEDED,
    "refund.failed": SagaState.FAILED,
}
_INVOICE_OUTCOMES: Final = frozenset({"invoice.paid", "invoice.collection_failed", "invoice.voided"})


def _step(fact: Fact) -> SagaStep:
    return SagaStep(fact.event_type, fact.event_id, fact.effective_at, fact.recorded_at)


def _start(rows: Rows[FoundSaga], fact: Fact, saga: str, subject: str, deadline_ms: int | None = None) -> None:
    saga_id = f"{saga}:{subject}"
    deadline_at = None if deadline_ms is None else fact.recorded_at + timedelta(milliseconds=deadline_ms)
    state = Saga(
        saga_id,
        saga,
        subject,
        fact.subject,
        SagaState.WAITING,
        fact.effective_at,
        deadline_at,
        None,
        (_step(fact),),
    )
    rows[fact.tenant_id, saga_id] = FoundSaga(state, fact.position)


def _move(rows: Rows[FoundSaga], fact: Fact, saga: str, subject: str) -> None:
    """To the outcome that the event stands for; nothing where no saga was started, as for one-off invoices."""
    key = (fact.tenant_id, f"{saga}:{subject}")
    row = rows.get(key)
    if row is None:
        return
    outcome = _OUTCOMES[fact.event_type]
    ended_at = None if outcome is SagaState.UNKNOWN else fact.effective_at
    state = row.state._replace(state=outcome, ended_at=ended_at, steps=(*row.state.steps, _step(fact)))
    rows[key] = FoundSaga(state, fact.position)


def apply_charge(rows: Rows[FoundSaga], fact: Fact) -> None:
    """An invoice that is collected automatically is charged until it is paid, given up or voided."""
    event = fact.event
    if fact.event_type == "invoice.finalized":
        if event.collection is CollectionMethod.CHARGE_AUTOMATICALLY and event.total.amount:
            _start(rows, fact, CHARGE, event.invoice_id, CHARGE_DEADLINE_MS)
    else:
        _move(rows, fact, CHARGE, event.invoice_id)


def apply_renewal(rows: Rows[FoundSaga], fact: Fact) -> None:
    """A period that has begun is billed; the renewal ends when its invoice is paid, or at once with nothing to bill."""
    event = fact.event
    if fact.event_type != "subscription.period_started":
        _move(rows, fact, RENEWAL, event.invoice_id)
    elif event.invoice_id is not None:
        _start(rows, fact, RENEWAL, event.invoice_id)
    else:
        subject = f"{event.subscription_id}/{event.index}"
        _start(rows, fact, RENEWAL, subject)
        row = rows[fact.tenant_id, f"{RENEWAL}:{subject}"]
        ended = row.state._replace(state=SagaState.SUCCEEDED, ended_at=fact.effective_at)
        rows[fact.tenant_id, f"{RENEWAL}:{subject}"] = FoundSaga(ended, fact.position)


def apply_refund(rows: Rows[FoundSaga], fact: Fact) -> None:
    """A refund goes from its request to the gateway's answer."""
    if fact.event_type == "refund.requested":
        _start(rows, fact, REFUND, fact.event.refund_id)
    else:
        _move(rows, fact, REFUND, fact.event.refund_id)


def _model(
    saga: str,
    projection: Projection,
    *,
    begins_with: str,
    events: frozenset[str],
    subject: Callable[[Fact], str],
    apply: Callable[[Rows[FoundSaga], Fact], None],
) -> ReadModel[FoundSaga]:
    found = layout(FoundSaga, Saga)
    return ReadModel(
        name=f"{saga}_sagas",
        version=1,
        projection=projection,
        columns=found.columns,
        key=("tenant_id", "saga_id"),
        events=events | {begins_with},
        apply=apply,
        write=found.write,
        read=found.read,
        key_of=lambda fact: (fact.tenant_id, f"{saga}:{subject(fact)}"),
        begins=lambda fact: fact.event_type == begins_with,
        indexes=("tenant_id, started_at, saga_id",),
        sorted_by="started_at",
    )


CHARGES: Final = _model(
    CHARGE,
    Projection.BILLING,
    begins_with="invoice.finalized",
    events=_INVOICE_OUTCOMES,
    subject=lambda fact: fact.event.invoice_id,
    apply=apply_charge,
)
RENEWALS: Final = _model(
    RENEWAL,
    Projection.BILLING,
    begins_with="subscription.period_started",
    events=_INVOICE_OUTCOMES,
    subject=lambda fact: fact.event.invoice_id,
    apply=apply_renewal,
)
REFUNDS: Final = _model(
    REFUND,
    Projection.PAYMENTS,
    begins_with="refund.requested",
    events=frozenset(REFUND_EVENTS),
    subject=lambda fact: fact.event.refund_id,
    apply=apply_refund,
)
_COLUMNS: Final = ", ".join(column.name for column in CHARGES.columns)
_ALL: Final = " UNION ALL ".join(
    f"SELECT {_COLUMNS} FROM read.{model.name} WHERE tenant_id = $1"  # noqa: S608  our names
    for model in (CHARGES, RENEWALS, REFUNDS)
)


class SagaCount(NamedTuple):
    """How many sagas of a kind are in a state, and when the oldest of them started (business time)."""

    saga: str
    state: SagaState
    sagas: int
    oldest_started_at: datetime


async def get(connection: Reader, tenant_id: str, saga_id: str) -> FoundSaga | None:
    """The saga: `charge:` or `renewal:` and an invoice's id, `refund:` and a refund's."""
    record = await connection.fetchrow(f"SELECT * FROM ({_ALL}) AS s WHERE saga_id = $2", tenant_id, saga_id)  # noqa: S608
    return None if record is None else CHARGES.read(record)


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
    return Page([CHARGES.read(record) for record in records[: request.limit]], len(records) > request.limit)


async def counts(connection: Reader, tenant_id: str) -> list[SagaCount]:
    """How many sagas of each kind are in each state."""
    records = await connection.fetch(
        f"SELECT saga, state, count(*), min(started_at) FROM ({_ALL}) AS s GROUP BY saga, state ORDER BY 1, 2",  # noqa: S608
        tenant_id,
    )
    return [SagaCount(record[0], SagaState(record[1]), record[2], record[3]) for record in records]
