"""Test clocks as they stand now."""

from typing import Final

from domain.customers.test_clock import TEST_CLOCK, TestClock
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    TEST_CLOCK,
    TestClock,
    name="test_clocks",
    version=1,
    projection=Projection.BILLING,
)

COLUMN: Final = "test_clock_id"
"""The column, of other read models, that names the clock that a resource lives on."""

GONE: Final = f"{COLUMN} IN (SELECT clock_id FROM read.test_clocks WHERE tenant_id = $1 AND is_deleting)"  # noqa: S608
"""The condition, in a list of a tenant's resources, of those whose clock was deleted."""
