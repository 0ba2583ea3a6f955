"""Tax rates, archived ones among them. Their events belong to the tenant's one stream of tax settings."""

from datetime import datetime
from typing import NamedTuple

from domain.tax.settings import RATE_EVENTS, ListedTaxRate, evolve_rate
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.stream_rows import OutOfOrder

BEGINNING = "tax_rate.created"


class FoundTaxRate(NamedTuple):
    """A rate as of its last event; `stream_version` is that event's in the tenant's stream."""

    state: ListedTaxRate
    stream_version: int
    position: int
    updated_at: datetime


_LAYOUT = layout(FoundTaxRate, ListedTaxRate)


def apply(rows: Rows[FoundTaxRate], fact: Fact) -> None:
    """The rate's own fold."""
    key = (fact.tenant_id, fact.event.rate_id)
    row = rows.get(key)
    if row is None and fact.event_type != BEGINNING:
        raise OutOfOrder(f"{fact.event_type} of {fact.event.rate_id}, which nobody created")
    state = evolve_rate(None if row is None else row.state, fact.event)
    rows[key] = FoundTaxRate(state, fact.stream_version, fact.position, fact.effective_at)


TABLE: ReadModel[FoundTaxRate] = ReadModel(
    name="tax_rates",
    version=1,
    projection=Projection.BILLING,
    columns=_LAYOUT.columns,
    key=("tenant_id", "rate_id"),
    events=frozenset(RATE_EVENTS),
    apply=apply,
    write=_LAYOUT.write,
    read=_LAYOUT.read,
    key_of=lambda fact: (fact.tenant_id, fact.event.rate_id),
    begins=lambda fact: fact.event_type == BEGINNING,
    indexes=("tenant_id, created_at, rate_id", "tenant_id, country, created_at, rate_id"),
    sorted_by="created_at",
)
