"""What time it is for a customer."""

from datetime import datetime

from api.http.call import Call
from domain.customers.customer import Customer
from domain.customers.test_clock import TEST_CLOCK
from projections.current import current
from projections.models import test_clocks


async def customer_now(call: Call, customer: Customer) -> datetime:
    """What the customer's test clock shows, or else the time that it is. Hold no connection meanwhile."""
    return await now_by(call, customer.test_clock_id)


async def now_by(call: Call, test_clock_id: str | None) -> datetime:
    """What a test clock shows, or else the time that it is. With a clock, hold no connection meanwhile."""
    if test_clock_id is not None:
        async with call.parts.reader.of(call.tenant_id) as reader:  # a customer does not see their clock
            clock = await current(reader, test_clocks.TABLE, TEST_CLOCK, call.tenant_id, test_clock_id)
        if clock is not None:
            return clock.state.frozen_at
    return call.parts.identity.clock()
