"""Test clocks: business time that stands still until somebody advances it."""

from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Instant, Line, TestClockId
from api.http.listing import (
    CreatedParameters,
    ListResource,
    NoParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from domain.customers.test_clock import (
    TEST_CLOCK,
    AdvanceTestClock,
    CreateTestClock,
    TestClock,
    TestClockBusy,
    TestClockGoesForward,
    TestClockNotFound,
)
from domain.kernel.identifiers import TEST_CLOCK as PREFIX
from domain.kernel.stream import Streams
from infra.ids import new_id
from projections.models import test_clocks as read
from projections.read_model import Projection

TEST_CLOCKS: Final = Operations(tag="test clocks", about="Business time for rehearsals.")
_ID: Final = "clock_01m7ywe9z7e398x54gfbrtqnk7"


class NewTestClock(Body):
    """A test clock to be, and the time that it shows."""

    name: Line
    frozen_time: Instant


class Advance(Body):
    """The time that the clock is to show."""

    frozen_time: Instant


class TestClockResource(TypedDict):
    """A test clock. While it is `advancing`, everything that falls due is run in order."""

    id: TestClockId
    object: Literal["test_clock"]
    name: str
    status: Literal["ready", "advancing"]
    frozen_time: datetime
    advancing_to: datetime | None
    created: datetime


def test_clock_resource(clock: TestClock) -> TestClockResource:
    """A test clock as it is answered."""
    return {
        "id": clock.clock_id,
        "object": "test_clock",
        "name": clock.name,
        "status": "ready" if clock.advancing_to is None else "advancing",
        "frozen_time": clock.frozen_at,
        "advancing_to": clock.advancing_to,
        "created": clock.created_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "test_clock",
    "name": "A year in a minute",
    "status": "ready",
    "frozen_time": "2026-01-01T00:00:00Z",
    "advancing_to": None,
    "created": "2026-01-01T00:00:00Z",
}


def _decided(streams: Streams, clock_id: str) -> TestClockResource:
    return test_clock_resource(TEST_CLOCK.of(streams, clock_id))


def _path_id(call: Call) -> str:
    return call.id("test_clock_id", PREFIX, TestClockNotFound)


@TEST_CLOCKS.command(
    "POST",
    "/v1/test-clocks",
    body=NewTestClock,
    body_example={"name": "A year in a minute", "frozen_time": "2026-01-01T00:00:00Z"},
    answers=TestClockResource,
    example=EXAMPLE,
    status=201,
)
async def create_test_clock(_call: Call, body: NewTestClock) -> Intention:
    """Create a test clock; customers may be created on it."""
    clock_id = new_id(PREFIX)
    return Intention(
        command=CreateTestClock(clock_id=clock_id, name=body.name, frozen_at=body.frozen_time),
        render=lambda streams: _decided(streams, clock_id),
        location=f"/v1/test-clocks/{clock_id}",
    )


@TEST_CLOCKS.command(
    "POST",
    "/v1/test-clocks/{test_clock_id}/advance",
    body=Advance,
    body_example={"frozen_time": "2026-02-01T00:00:00Z"},
    answers=TestClockResource,
    example=EXAMPLE | {"status": "advancing", "advancing_to": "2026-02-01T00:00:00Z"},
    refusals=(TestClockNotFound, TestClockBusy, TestClockGoesForward),
)
async def advance_test_clock(call: Call, body: Advance) -> Intention:
    """Advance a test clock.

    Every timer up to the time given runs in order, each at its own time; the clock is `ready` again when all is done.
    """
    clock_id = _path_id(call)
    return Intention(
        command=AdvanceTestClock(clock_id=clock_id, to=body.frozen_time),
        render=lambda streams: _decided(streams, clock_id),
    )


@TEST_CLOCKS.query(
    "/v1/test-clocks/{test_clock_id}",
    answers=TestClockResource,
    example=EXAMPLE,
    parameters=NoParameters,
    refusals=(TestClockNotFound,),
    reads=(Projection.BILLING,),
)
async def get_test_clock(call: Call, _asked: NoParameters) -> TestClockResource:
    """Get a test clock."""
    wanted = _path_id(call)
    async with call.reading() as connection:
        found = await read.get(connection, call.tenant_id, wanted)
    if found is None:
        raise TestClockNotFound(test_clock=wanted)
    return test_clock_resource(found.state)


@TEST_CLOCKS.query(
    "/v1/test-clocks",
    answers=ListResource[TestClockResource],
    example=list_example(EXAMPLE),
    parameters=CreatedParameters,
    reads=(Projection.BILLING,),
)
async def list_test_clocks(call: Call, asked: CreatedParameters) -> ListResource[TestClockResource]:
    """List test clocks, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        page = await read.page(connection, call.tenant_id, created=asked.created, request=request)
    return page_resource(page, request, [test_clock_resource(found.state) for found in page.items])
