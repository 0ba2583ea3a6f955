"""Where ingest finds meters, customers and test clocks: the read models, and the log for what they lack."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from api.http.reading import TenantReader
from domain.customers.customer import CUSTOMER
from domain.customers.test_clock import TEST_CLOCK
from domain.metering.meter import CODE_CLAIM, METER, Meter
from projections.current import current
from projections.models import customers as customers_read
from projections.models import meters as meters_read
from projections.models import test_clocks as clocks_read
from usage.ingest.known import CustomerFacts

_METERS: Final = "SELECT value, owner FROM log.claims WHERE tenant_id = $1 AND kind = $2 AND value = ANY($3::text[])"
_CUSTOMERS: Final = """
SELECT s.stream_id, r.customer_id, r.test_clock_id, r.deleted_at FROM log.streams s
LEFT JOIN read.customers r ON r.tenant_id = s.tenant_id AND r.customer_id = s.stream_id
WHERE s.tenant_id = $1 AND s.stream_type = $2 AND s.stream_id = ANY($3::text[])
"""


class UsageDirectory:
    """A `usage.ingest.known.Source`. What was made a moment ago is found in the log, before it is projected."""

    def __init__(self, reader: TenantReader) -> None:
        self._reader = reader

    async def meters(self, tenant_id: str, codes: Collection[str]) -> Mapping[str, Meter]:
        """The tenant's meters with these codes."""
        found: dict[str, Meter] = {}
        async with self._reader.of(tenant_id) as connection:
            for code, meter_id in await connection.fetch(_METERS, tenant_id, CODE_CLAIM, list(codes)):
                row = await current(connection, meters_read.TABLE, METER, tenant_id, meter_id)
                assert row is not None, "a claim's owner is in the log"
                found[code] = row.state
        return found

    async def customers(self, tenant_id: str, customer_ids: Collection[str]) -> Sequence[CustomerFacts]:
        """The tenant's customers with these ids."""
        found: list[CustomerFacts] = []
        async with self._reader.of(tenant_id) as connection:
            for record in await connection.fetch(_CUSTOMERS, tenant_id, CUSTOMER.name, list(customer_ids)):
                customer_id, clock_id, deleted_at = record["stream_id"], record["test_clock_id"], record["deleted_at"]
                if record["customer_id"] is None:
                    row = await current(connection, customers_read.TABLE, CUSTOMER, tenant_id, customer_id)
                    assert row is not None, "its stream is in the log"
                    clock_id, deleted_at = row.state.test_clock_id, row.state.deleted_at
                found.append(CustomerFacts(customer_id, clock_id, deleted_at is not None))
        return found

    async def clocks(self, tenant_id: str, clock_ids: Collection[str]) -> Mapping[str, datetime]:
        """What time it is on the tenant's test clocks; those that are being deleted have none."""
        found: dict[str, datetime] = {}
        async with self._reader.of(tenant_id) as connection:
            for clock_id in clock_ids:
                row = await current(connection, clocks_read.TABLE, TEST_CLOCK, tenant_id, clock_id)
                if row is not None and not row.state.is_deleting:
                    found[clock_id] = row.state.frozen_at
        return found
