"""Test clocks as they stand now."""

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
