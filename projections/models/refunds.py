"""Refunds as they are now. Their events belong to their payment's stream; `domain.payments.refund` folds them."""

from datetime import datetime
from typing import NamedTuple

from domain.payments import refund as refunds
from domain.payments.refund import Refund
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.status_tally import status_tally
from projections.stream_rows import OutOfOrder


class FoundRefund(NamedTuple):
    """A refund as of its last event; `stream_version` is that event's in the payment's stream."""

    state: Refund
    payment_id: str
    customer_id: str
    stream_version: int
    position: int
    updated_at: datetime


_LAYOUT = layout(FoundRefund, Refund)


def apply(rows: Rows[FoundRefund], fact: Fact) -> None:
    """The refund's own fold."""
    key = (fact.tenant_id, fact.event.refund_id)
    row = rows.get(key)
    if row is None and fact.event_type != BEGINNING:
        raise OutOfOrder(f"{fact.event_type} of {fact.event.refund_id}, which nobody requested")
    (state,) = refunds.evolve(() if row is None else (row.state,), fact.event)
    rows[key] = FoundRefund(state, fact.stream_id, fact.subject, fact.stream_version, fact.position, fact.effective_at)


BEGINNING = "refund.requested"
TABLE: ReadModel[FoundRefund] = ReadModel(
    name="refunds",
    version=1,
    projection=Projection.PAYMENTS,
    columns=_LAYOUT.columns,
    key=("tenant_id", "refund_id"),
    events=frozenset(refunds.EVENTS),
    apply=apply,
    write=_LAYOUT.write,
    read=_LAYOUT.read,
    key_of=lambda fact: (fact.tenant_id, fact.event.refund_id),
    begins=lambda fact: fact.event_type == BEGINNING,
    indexes=(
        "tenant_id, requested_at, refund_id",
        "tenant_id, payment_id, requested_at, refund_id",
        "tenant_id, customer_id, requested_at, refund_id",
    ),
    sorted_by="requested_at",
    tally=status_tally(
        "refunds", status=lambda refund: refund.status, money=lambda refund: refund.amount, flows=frozenset()
    ),
    tallied_by="payment_stats",
)
