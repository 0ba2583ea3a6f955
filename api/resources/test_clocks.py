"""Test clocks: business time that stands still until somebody advances it; in test tenants only."""

from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Instant, Line, New, NoBody, TestClockId
from api.http.operations import Intention
from api.http.resource import Resource
from domain.customers.test_clock import (
    TEST_CLOCK,
    AdvanceTestClock,
    CancelTestClockAdvance,
    CreateTestClock,
    DeleteTestClock,
    TestClock,
    TestClockBusy,
    TestClockGoesForward,
    TestClockInLiveTenant,
    TestClockIsDeleted,
    TestClockNotAdvancing,
)
from domain.identity.permissions import Permission
from domain.kernel.identifiers import TEST_CLOCK as PREFIX
from infra.ids import new_id
from projections.models import test_clocks as read

_ID: Final = "clock_01m7ywe9z7e398x54gfbrtqnk7"


class NewTestClock(New):
    """A test clock to be, and the time that it shows."""

    name: Line
    frozen_time: Instant


class Advance(Body):
    """The time that the clock is to show."""

    frozen_time: Instant


class TestClockResource(TypedDict):
    """A test clock. While it is `advancing`, everything that falls due is run in order; while it is `deleting`, what
    lives on it is ended."""

    id: TestClockId
    object: Literal["test_clock"]
    name: str
    status: Literal["ready", "advancing", "deleting", "deleted"]
    frozen_time: datetime
    advancing_to: datetime | None
    metadata: dict[str, str]
    created: datetime
    deleted_at: datetime | None


def test_clock_resource(clock: TestClock) -> TestClockResource:
    """A test clock as it is answered."""
    return {
        "id": clock.clock_id,
        "object": "test_clock",
        "name": clock.name,
        "status": _status(clock),
        "frozen_time": clock.frozen_at,
        "advancing_to": clock.advancing_to,
        "metadata": dict(clock.metadata),
        "created": clock.created_at,
        "deleted_at": clock.deleted_at,
    }


def _status(clock: TestClock) -> Literal["ready", "advancing", "deleting", "deleted"]:
    if clock.is_deleting:
        return "deleting" if clock.deleted_at is None else "deleted"
    return "ready" if clock.advancing_to is None else "advancing"


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "test_clock",
    "name": "A year in a minute",
    "status": "ready",
    "frozen_time": "2026-01-01T00:00:00Z",
    "advancing_to": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "deleted_at": None,
}

TEST_CLOCKS: Final = Resource(
    tag="test clocks",
    about="Business time for rehearsals.",
    stream=TEST_CLOCK,
    table=read.TABLE,
    path="/v1/test-clocks",
    prefix=PREFIX,
    seen_with=Permission.TEST_CLOCKS_READ,
    changed_with=Permission.TEST_CLOCKS_WRITE,
    shows=TestClockResource,
    render=test_clock_resource,
    example=EXAMPLE,
)


@TEST_CLOCKS.creates(
    body=NewTestClock,
    body_example={"name": "A year in a minute", "frozen_time": "2026-01-01T00:00:00Z"},
    refusals=(TestClockInLiveTenant,),
)
async def create_test_clock(call: Call, body: NewTestClock) -> Intention:
    """Create a test clock; customers may be created on it.

    Only a test tenant has test clocks (its keys begin with `tbk_test_`), so that a live tenant's numbers are real.
    """
    clock_id = new_id(PREFIX)
    command = CreateTestClock(
        clock_id=clock_id, name=body.name, frozen_at=body.frozen_time, mode=call.mode, metadata=body.kept
    )
    return TEST_CLOCKS.created(clock_id, command)


TEST_CLOCKS.changes_metadata()


@TEST_CLOCKS.changes(
    "POST",
    "advance",
    body=Advance,
    body_example={"frozen_time": "2026-02-01T00:00:00Z"},
    example={"status": "advancing", "advancing_to": "2026-02-01T00:00:00Z"},
    refusals=(TestClockBusy, TestClockGoesForward, TestClockIsDeleted),
)
async def advance_test_clock(call: Call, body: Advance) -> Intention:
    """Advance a test clock.

    Every timer up to the time given runs in order, each at its own time; the clock is `ready` again when all is done.
    """
    clock_id = TEST_CLOCKS.id_of(call)
    return TEST_CLOCKS.changed(clock_id, AdvanceTestClock(clock_id=clock_id, to=body.frozen_time))


@TEST_CLOCKS.changes(
    "POST",
    "cancel-advance",
    body=NoBody,
    example={"status": "advancing", "advancing_to": "2026-01-01T00:00:00Z"},
    refusals=(TestClockNotAdvancing, TestClockIsDeleted),
)
async def cancel_test_clock_advance(call: Call, _body: NoBody) -> Intention:
    """Cancel the advance that is under way.

    The clock stays at the instant that it has reached. What is due at that instant still runs, so that nothing is left
    overdue; then the clock is `ready`.
    """
    clock_id = TEST_CLOCKS.id_of(call)
    return TEST_CLOCKS.changed(clock_id, CancelTestClockAdvance(clock_id=clock_id))


@TEST_CLOCKS.changes("DELETE", body=NoBody, example={"status": "deleting"})
async def delete_test_clock(call: Call, _body: NoBody) -> Intention:
    """Delete a test clock with everything on it.

    An advance that is under way ends. From now on nothing new begins on the clock. Its subscriptions end without
    another invoice, its customers are deleted, and once no charge is under way any more it is `deleted`. Lists leave
    out what was on it, unless they are asked for it by `test_clock`; by id everything can still be read.
    """
    clock_id = TEST_CLOCKS.id_of(call)
    return TEST_CLOCKS.changed(clock_id, DeleteTestClock(clock_id=clock_id))
