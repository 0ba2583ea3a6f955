"""A test clock: business time that stands still until somebody advances it.

Advancing runs every timer of the clock's customers in the order of their due times, each at its own time: the runner
moves the clock to the earliest due instant, lets what that caused settle, then takes the next.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.customers.customer import Customer
from domain.kernel.frozen import replace
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import DueWork, Finish, Schedule, Stream, Streams, Topic, WorkKind


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTestClock:
    clock_id: str
    name: str
    frozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvanceTestClock:
    clock_id: str
    to: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTestClock:
    """The runner's step: business time becomes `to`, at most the advance's goal."""

    clock_id: str
    to: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteTestClockAdvance:
    """Nothing more is due up to the goal."""

    clock_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockCreated:
    clock_id: str
    name: str
    frozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockAdvanceStarted:
    clock_id: str
    to: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockMoved:
    clock_id: str
    frozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockAdvanced:
    clock_id: str
    frozen_at: datetime


TestClockEvent = TestClockCreated | TestClockAdvanceStarted | TestClockMoved | TestClockAdvanced


class TestClockNotFound(Refusal):
    """There is no such test clock."""

    code = "test_clock_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "test_clock"


class TestClockAlreadyExists(Refusal):
    """A test clock of this id exists already."""

    code = "test_clock_already_exists"


class TestClockBusy(Refusal):
    """The test clock is advancing; wait until its status is ready."""

    code = "test_clock_advancing"


class TestClockGoesForward(Refusal):
    """A test clock only moves forward."""

    code = "test_clock_not_forward"
    kind = RefusalKind.INVALID
    param = "frozen_time"


class TestClockNotAdvancing(Refusal):
    """The test clock is not advancing."""

    code = "test_clock_not_advancing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClock:
    """`advancing_to` is None while the clock is ready."""

    clock_id: str
    name: str
    created_at: datetime
    frozen_at: datetime
    advancing_to: datetime | None


def advancing(streams: Streams, clock_id: str) -> tuple[TestClock, datetime]:
    """The clock and its goal, if it is advancing: TestClockNotFound or TestClockNotAdvancing otherwise."""
    clock = TEST_CLOCK.of(streams, clock_id)
    if clock.advancing_to is None:
        raise TestClockNotAdvancing(test_clock=clock_id)
    return clock, clock.advancing_to


def evolve(clock: TestClock | None, event: TestClockEvent) -> TestClock:
    if isinstance(event, TestClockCreated):
        return TestClock(
            clock_id=event.clock_id,
            name=event.name,
            created_at=event.frozen_at,
            frozen_at=event.frozen_at,
            advancing_to=None,
        )
    assert clock is not None, "the first event of a test clock is test_clock.created"
    match event:
        case TestClockAdvanceStarted():
            return replace(clock, advancing_to=event.to)
        case TestClockMoved():
            return replace(clock, frozen_at=event.frozen_at)
        case TestClockAdvanced():
            return replace(clock, frozen_at=event.frozen_at, advancing_to=None)


def due_work(event: TestClockEvent, clock: TestClock) -> tuple[DueWork, ...]:
    """An advance is run by exactly one runner, whoever holds the lease of this row."""
    match event:
        case TestClockAdvanceStarted():
            return (Schedule(WorkKind.CLOCK_ADVANCE, event.clock_id, after_ms=0),)
        case TestClockAdvanced():
            return (Finish(WorkKind.CLOCK_ADVANCE, event.clock_id),)
        case _:
            return ()


EVENTS: dict[str, type] = {
    "test_clock.created": TestClockCreated,
    "test_clock.advance_started": TestClockAdvanceStarted,
    "test_clock.moved": TestClockMoved,
    "test_clock.advanced": TestClockAdvanced,
}

TEST_CLOCK: Stream[TestClock] = Stream(
    name="test_clock",
    id_field="clock_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda clock: None,
    not_found=TestClockNotFound,
    already_exists=TestClockAlreadyExists,
    due_work=due_work,
)


def business_time(streams: Streams, clock_id: str | None, now: datetime) -> datetime:
    """The time on a clock, or `now` where there is none: what "now" means for whatever lives on that clock."""
    return now if clock_id is None else TEST_CLOCK.of(streams, clock_id).frozen_at


def customer_time(streams: Streams, customer: Customer, now: datetime) -> datetime:
    """What "now" means for a customer."""
    return business_time(streams, customer.test_clock_id, now)
