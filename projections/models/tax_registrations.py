"""Tax registrations, ended ones among them. Their events belong to the tenant's one stream of tax settings."""

from datetime import datetime
from typing import NamedTuple

from domain.tax.settings import REGISTRATION_EVENTS, TaxRegistration, evolve_registration
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.stream_rows import OutOfOrder

BEGINNING = "tax_registration.created"


class FoundTaxRegistration(NamedTuple):
    """A registration as of its last event; `stream_version` is that event's in the tenant's stream."""

    state: TaxRegistration
    stream_version: int
    position: int
    updated_at: datetime


_LAYOUT = layout(FoundTaxRegistration, TaxRegistration)


def apply(rows: Rows[FoundTaxRegistration], fact: Fact) -> None:
    """The registration's own fold."""
    key = (fact.tenant_id, fact.event.registration_id)
    row = rows.get(key)
    if row is None and fact.event_type != BEGINNING:
        raise OutOfOrder(f"{fact.event_type} of {fact.event.registration_id}, which nobody created")
    state = evolve_registration(None if row is None else row.state, fact.event)
    rows[key] = FoundTaxRegistration(state, fact.stream_version, fact.position, fact.effective_at)


TABLE: ReadModel[FoundTaxRegistration] = ReadModel(
    name="tax_registrations",
    version=1,
    projection=Projection.BILLING,
    columns=_LAYOUT.columns,
    key=("tenant_id", "registration_id"),
    events=frozenset(REGISTRATION_EVENTS),
    apply=apply,
    write=_LAYOUT.write,
    read=_LAYOUT.read,
    key_of=lambda fact: (fact.tenant_id, fact.event.registration_id),
    begins=lambda fact: fact.event_type == BEGINNING,
    indexes=("tenant_id, created_at, registration_id", "tenant_id, country, created_at, registration_id"),
    sorted_by="created_at",
)
