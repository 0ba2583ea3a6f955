"""Payments as they are now, with every step of the way: what happened, when, and what caused it."""

from datetime import datetime
from typing import NamedTuple

from domain.payments.payment import PAYMENT, Payment
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.status_tally import status_tally
from projections.stream_rows import OutOfOrder


class Step(NamedTuple):
    """One event of a payment. `effective_at` is business time, `recorded_at` the log's; `causation_id` what asked."""

    event_type: str
    event_id: str
    effective_at: datetime
    recorded_at: datetime
    causation_id: str | None


class FoundPayment(NamedTuple):
    """A payment as of its last event, and its steps, oldest first."""

    state: Payment
    stream_version: int
    position: int
    updated_at: datetime
    steps: tuple[Step, ...]


_LAYOUT = layout(FoundPayment, Payment)


def apply(rows: Rows[FoundPayment], fact: Fact) -> None:
    """The payment's own fold, and one more step."""
    key = (fact.tenant_id, fact.stream_id)
    row = rows.get(key)
    version = 0 if row is None else row.stream_version
    if fact.stream_version != version + 1:
        raise OutOfOrder(f"payment {fact.stream_id}: version {fact.stream_version} after {version}")
    step = Step(fact.event_type, fact.event_id, fact.effective_at, fact.recorded_at, fact.causation_id)
    before, steps = (None, ()) if row is None else (row.state, row.steps)
    state = PAYMENT.evolve(before, fact.event)
    rows[key] = FoundPayment(state, fact.stream_version, fact.position, fact.effective_at, (*steps, step))


TABLE: ReadModel[FoundPayment] = ReadModel(
    name="payments",
    version=1,
    projection=Projection.PAYMENTS,
    columns=_LAYOUT.columns,
    texts=("description",),
    key=("tenant_id", "payment_id"),
    events=frozenset(PAYMENT.events),
    apply=apply,
    write=_LAYOUT.write,
    read=_LAYOUT.read,
    key_of=lambda fact: (fact.tenant_id, fact.stream_id),
    begins=lambda fact: fact.stream_version == 1,
    indexes=(
        "tenant_id, created_at, payment_id",
        "tenant_id, customer_id, created_at, payment_id",
        "tenant_id, invoice_id, created_at, payment_id",
    ),
    sorted_by="created_at",
    tally=status_tally(
        "payments",
        status=lambda payment: payment.status,
        money=lambda payment: payment.amount,
        flows=frozenset({"payment.captured", "payment.declined"}),
    ),
    tallied_by="payment_stats",
)
