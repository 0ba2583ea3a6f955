"""Test clocks as they stand now."""

from domain.customers.test_clock import TEST_CLOCK, TestClock
from projections import reading
from projections.current import current
from projections.read_model import Projection
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.stream_rows import Found, stream_model

TABLE = stream_model(
    TEST_CLOCK,
    TestClock,
    name="test_clocks",
    version=1,
    projection=Projection.BILLING,
)


async def get(connection: Reader, tenant_id: str, clock_id: str) -> Found[TestClock] | None:
    """The clock."""
    return await current(connection, TABLE, TEST_CLOCK, tenant_id, clock_id)


async def page(
    connection: Reader, tenant_id: str, *, created: Between = ANY_TIME, request: PageRequest = FIRST_PAGE
) -> Page[Found[TestClock]]:
    """Clocks, the one with the latest start first."""
    return await reading.page(connection, TABLE, tenant_id, where={}, created=created, request=request)
