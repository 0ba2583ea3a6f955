"""A test clock: business time that stands still until somebody advances it. Only test tenants have any.

Advancing runs every timer of the clock's customers in the order of their due times, each at its own time: the runner
moves the clock to the earliest due instant, lets what that caused settle, then takes the next. Cancelling an advance
makes the instant that is reached its goal, so that what is due at it still runs and nothing is left overdue. Deleting
a clock ends what lives on it: no new business from that commit on, then subscriptions and customers one by one.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import DueWork, Finish, Schedule, Stream, Streams, Topic, WorkKind
from domain.kernel.tenant_mode import TenantMode


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTestClock:
    """`mode` is that of the tenant that asks."""

    clock_id: str
    name: str
    frozen_at: datetime
    mode: TenantMode
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvanceTestClock:
    clock_id: str
    to: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTestClock:
    """The runner's step: business time becomes `to`, at most the advance's goal.

    `advance` says which one it runs, so that a runner that was late does not drive the next.
    """

    clock_id: str
    advance: int
    to: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteTestClockAdvance:
    """Nothing more is due up to the goal."""

    clock_id: str
    advance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTestClockAdvance:
    """Go no further than the instant that is reached; what is due at it is still run."""

    clock_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTestClock:
    """End everything that lives on the clock, and the clock."""

    clock_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteTestClockDeletion:
    """Nothing lives on the clock any more."""

    clock_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockCreated:
    clock_id: str
    name: str
    metadata: Metadata = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockAdvanceCanceled:
    """The advance ends at the instant that it has reached."""

    clock_id: str
    frozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockDeletionStarted:
    clock_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockDeleted:
    """Its customers are deleted, their subscriptions ended, and nothing runs on it."""

    clock_id: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClockMetadataSet(MetadataSet):
    clock_id: str


TestClockEvent = (
    TestClockCreated
    | TestClockAdvanceStarted
    | TestClockMoved
    | TestClockAdvanced
    | TestClockAdvanceCanceled
    | TestClockDeletionStarted
    | TestClockDeleted
    | TestClockMetadataSet
)


class TestClockNotFound(Refusal):
    """There is no such test clock."""

    code = "test_clock_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "test_clock"


class TestClockAlreadyExists(Refusal):
    """A test clock of this id exists already."""

    code = "test_clock_already_exists"


class TestClockInLiveTenant(Refusal):
    """A live tenant has no test clocks, as all its numbers are real. Use a key of a test tenant (`tbk_test_…`)."""

    code = "test_clock_in_live_tenant"


class TestClockIsDeleted(Refusal):
    """The test clock was deleted, with everything on it. Create another."""

    code = "test_clock_deleted"
    param = "test_clock"


class TestClockBusy(Refusal):
    """The test clock is advancing; wait until its status is ready, or cancel the advance."""

    code = "test_clock_advancing"


class TestClockGoesForward(Refusal):
    """A test clock only moves forward."""

    code = "test_clock_not_forward"
    kind = RefusalKind.INVALID
    param = "frozen_time"


class TestClockNotAdvancing(Refusal):
    """The test clock is not advancing."""

    code = "test_clock_not_advancing"


class TestClockNotDeleting(Refusal):
    """The test clock is not being deleted: what lives on it goes on."""

    code = "test_clock_not_deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClock:
    """`advances` counts the advances that were begun; `advancing_to` is None while none is under way.

    From `is_deleting` on nothing new begins on the clock; `deleted_at` (real time) is when nothing was left.
    """

    clock_id: str
    name: str
    metadata: Metadata
    created_at: datetime
    frozen_at: datetime
    advances: int
    advancing_to: datetime | None
    is_deleting: bool
    deleted_at: datetime | None


def in_use(streams: Streams, clock_id: str) -> TestClock:
    """The clock, if it is there to be used: TestClockNotFound or TestClockIsDeleted otherwise."""
    clock = TEST_CLOCK.of(streams, clock_id)
    if clock.is_deleting:
        raise TestClockIsDeleted(test_clock=clock_id)
    return clock


def advancing(streams: Streams, clock_id: str, advance: int | None = None) -> tuple[TestClock, datetime]:
    """The clock and its goal, if it is advancing (in this advance): otherwise what `in_use` raises, or
    TestClockNotAdvancing.
    """
    clock = in_use(streams, clock_id)
    if clock.advancing_to is None or advance not in {None, clock.advances}:
        raise TestClockNotAdvancing(test_clock=clock_id)
    return clock, clock.advancing_to


def evolve(clock: TestClock | None, event: TestClockEvent) -> TestClock:
    if isinstance(event, TestClockCreated):
        return TestClock(
            clock_id=event.clock_id,
            name=event.name,
            metadata=event.metadata,
            created_at=event.frozen_at,
            frozen_at=event.frozen_at,
            advances=0,
            advancing_to=None,
            is_deleting=False,
            deleted_at=None,
        )
    assert clock is not None, "the first event of a test clock is test_clock.created"
    match event:
        case TestClockAdvanceStarted():
            return replace(clock, advances=clock.advances + 1, advancing_to=event.to)
        case TestClockMoved():
            return replace(clock, frozen_at=event.frozen_at)
        case TestClockAdvanced():
            return replace(clock, frozen_at=event.frozen_at, advancing_to=None)
        case TestClockAdvanceCanceled():
            return replace(clock, advancing_to=event.frozen_at)
        case TestClockDeletionStarted():
            return replace(clock, advancing_to=None, is_deleting=True)
        case TestClockDeleted():
            return replace(clock, deleted_at=event.deleted_at)
        case TestClockMetadataSet():
            return replace(clock, metadata=event.metadata)


def due_work(event: TestClockEvent, clock: TestClock) -> tuple[DueWork, ...]:
    """An advance is run by exactly one runner, whoever holds the lease of its row; so is a deletion, which ends it."""
    match event:
        case TestClockAdvanceStarted():
            return (Schedule(WorkKind.CLOCK_ADVANCE, event.clock_id, after_ms=0),)
        case TestClockAdvanced():
            return (Finish(WorkKind.CLOCK_ADVANCE, event.clock_id),)
        case TestClockDeletionStarted():
            return (
                Finish(WorkKind.CLOCK_ADVANCE, event.clock_id),
                Schedule(WorkKind.CLOCK_DELETION, event.clock_id, after_ms=0),
            )
        case TestClockDeleted():
            return (Finish(WorkKind.CLOCK_DELETION, event.clock_id),)
        case _:
            return ()


EVENTS: dict[str, type] = {
    "test_clock.created": TestClockCreated,
    "test_clock.advance_started": TestClockAdvanceStarted,
    "test_clock.moved": TestClockMoved,
    "test_clock.advanced": TestClockAdvanced,
    "test_clock.advance_canceled": TestClockAdvanceCanceled,
    "test_clock.deletion_started": TestClockDeletionStarted,
    "test_clock.deleted": TestClockDeleted,
    "test_clock.metadata_set": TestClockMetadataSet,
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
    metadata_set=TestClockMetadataSet,
    due_work=due_work,
)


def business_time(streams: Streams, clock_id: str | None, now: datetime) -> datetime:
    """The time on a clock, or `now` where there is none: what "now" means for whatever lives on that clock."""
    return now if clock_id is None else TEST_CLOCK.of(streams, clock_id).frozen_at
