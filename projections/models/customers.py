"""Customers as they are now. Names and addresses stay in the vault: they are joined when they are asked for."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.customers.customer import CUSTOMER, Customer
from domain.kernel.money import Money
from infra.commitments import Person
from infra.vault import Vault
from projections.read_model import Projection
from projections.reading import Reader
from projections.status_tally import status_tally
from projections.stream_rows import Found, stream_model

TABLE = stream_model(
    CUSTOMER,
    Customer,
    name="customers",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, external_id",),
    tally=status_tally(
        "customers",
        status=lambda customer: "active" if customer.deleted_at is None else "deleted",
        money=lambda customer: Money(0, customer.currency),
    ),
    tallied_by="billing_stats",
)


class Known(NamedTuple):
    """A customer, with the personal data that the vault still has."""

    found: Found[Customer]
    person: Person | None


async def with_person(
    connection: Reader, vault: Vault, tenant_id: str, customers: Sequence[Found[Customer]]
) -> list[Known]:
    """The customers with their personal data, in one query of the vault; None for who has none or was erased."""
    wanted = [
        (found.state.customer_id, found.state.personal.reference)
        for found in customers
        if found.state.personal is not None
    ]
    people = await vault.open_many(connection, tenant_id, wanted)
    return [
        Known(
            found,
            None
            if found.state.personal is None
            else people.get((found.state.customer_id, found.state.personal.reference)),
        )
        for found in customers
    ]
