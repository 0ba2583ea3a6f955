"""Specifications of test clocks: business time that stands still until somebody advances it."""

from datetime import datetime

import pytest

from domain.customers import test_clock as clocks
from domain.customers.test_clock import (
    TEST_CLOCK,
    AdvanceTestClock,
    CancelTestClockAdvance,
    CompleteTestClockAdvance,
    CreateTestClock,
    MoveTestClock,
)
from domain.kernel.stream import Finish, Schedule, WorkKind
from domain.kernel.tenant_mode import TenantMode
from testing.examples.streams import CLOCK_ID, frozen_clock
from testing.moments import utc
from testing.specification import NOW, given

GOAL = utc("2026-03-01")
ADVANCE = AdvanceTestClock(clock_id=CLOCK_ID, to=GOAL)
COMPLETE = CompleteTestClockAdvance(clock_id=CLOCK_ID, advance=1)
CANCEL = CancelTestClockAdvance(clock_id=CLOCK_ID)
ADVANCING = Schedule(WorkKind.CLOCK_ADVANCE, CLOCK_ID, after_ms=0)


def move(to: str, *, advance: int = 1) -> MoveTestClock:
    return MoveTestClock(clock_id=CLOCK_ID, advance=advance, to=utc(to))


def test_a_clock_is_created_once() -> None:
    created = clocks.TestClockCreated(clock_id=CLOCK_ID, name="a year in seconds", frozen_at=NOW)
    (
        given()
        .when(frozen_clock())
        .then(created)
        .then_schedules()
        .when(frozen_clock())
        .then_refused(clocks.TestClockAlreadyExists, test_clock=CLOCK_ID)
    )


def test_an_advance_goes_step_by_step_to_its_goal() -> None:
    (
        given(frozen_clock())
        .when(ADVANCE)
        .then(clocks.TestClockAdvanceStarted(clock_id=CLOCK_ID, to=GOAL))
        .then_schedules(ADVANCING)
        .when(move("2026-02-10"))
        .then(clocks.TestClockMoved(clock_id=CLOCK_ID, frozen_at=utc("2026-02-10")))
        .then_schedules()
        .then_shows(TEST_CLOCK, CLOCK_ID, frozen_at=utc("2026-02-10"), advancing_to=GOAL)
        .when(move("2026-02-10"))
        .then_nothing()
        .when(move("2026-02-09"))
        .then_nothing()
        .when(move("2027-01-01"))
        .then(clocks.TestClockMoved(clock_id=CLOCK_ID, frozen_at=GOAL))
        .when(COMPLETE)
        .then(clocks.TestClockAdvanced(clock_id=CLOCK_ID, frozen_at=GOAL))
        .then_finishes(Finish(WorkKind.CLOCK_ADVANCE, CLOCK_ID))
        .then_shows(TEST_CLOCK, CLOCK_ID, frozen_at=GOAL, advancing_to=None)
    )


def test_an_advance_over_which_nothing_falls_due_jumps_to_its_goal() -> None:
    given(frozen_clock(), ADVANCE).when(COMPLETE).then_shows(TEST_CLOCK, CLOCK_ID, frozen_at=GOAL, advancing_to=None)


def test_one_advance_at_a_time() -> None:
    given(frozen_clock(), ADVANCE).when(ADVANCE).then_refused(clocks.TestClockBusy, test_clock=CLOCK_ID)


@pytest.mark.parametrize("to", [NOW, utc("2020-01-01")])
def test_a_clock_only_goes_forward(to: datetime) -> None:
    backwards = AdvanceTestClock(clock_id=CLOCK_ID, to=to)
    given(frozen_clock()).when(backwards).then_refused(clocks.TestClockGoesForward)


@pytest.mark.parametrize("command", [move("2026-02-10"), COMPLETE, CANCEL])
def test_a_clock_at_rest_does_not_move(
    command: MoveTestClock | CompleteTestClockAdvance | CancelTestClockAdvance,
) -> None:
    given(frozen_clock()).when(command).then_refused(clocks.TestClockNotAdvancing, test_clock=CLOCK_ID)


@pytest.mark.parametrize("command", [ADVANCE, move("2026-02-10"), COMPLETE, CANCEL])
def test_an_unknown_clock_is_not_found(
    command: AdvanceTestClock | MoveTestClock | CompleteTestClockAdvance | CancelTestClockAdvance,
) -> None:
    given().when(command).then_refused(clocks.TestClockNotFound, test_clock=CLOCK_ID)


def test_a_clocks_own_events_are_effective_in_real_time() -> None:
    given().when(
        CreateTestClock(clock_id=CLOCK_ID, name="", frozen_at=utc("2040-01-01"), mode=TenantMode.TEST)
    ).then_at(NOW)


def test_a_live_tenant_has_no_test_clocks() -> None:
    live = CreateTestClock(clock_id=CLOCK_ID, name="", frozen_at=NOW, mode=TenantMode.LIVE)
    given().when(live).then_refused(clocks.TestClockInLiveTenant)


def test_a_cancelled_advance_ends_at_the_instant_that_it_has_reached_once_what_is_due_there_has_run() -> None:
    reached = utc("2026-02-10")
    (
        given(frozen_clock(), ADVANCE, move("2026-02-10"))
        .when(CANCEL)
        .then(clocks.TestClockAdvanceCanceled(clock_id=CLOCK_ID, frozen_at=reached))
        .then_schedules()
        .then_finishes()
        .then_shows(TEST_CLOCK, CLOCK_ID, frozen_at=reached, advancing_to=reached)
        .when(CANCEL)
        .then_nothing()
        .when(ADVANCE)
        .then_refused(clocks.TestClockBusy)
        .when(COMPLETE)
        .then(clocks.TestClockAdvanced(clock_id=CLOCK_ID, frozen_at=reached))
        .then_finishes(Finish(WorkKind.CLOCK_ADVANCE, CLOCK_ID))
        .then_shows(TEST_CLOCK, CLOCK_ID, frozen_at=reached, advancing_to=None)
    )


def test_a_step_that_the_runner_had_in_hand_when_its_advance_was_cancelled_goes_nowhere() -> None:
    given(frozen_clock(), ADVANCE, move("2026-02-10"), CANCEL).when(move("2026-02-20")).then_nothing()


@pytest.mark.parametrize("late", [move("2026-03-20"), COMPLETE])
def test_a_late_runner_of_one_advance_does_not_drive_the_next(late: MoveTestClock | CompleteTestClockAdvance) -> None:
    further = AdvanceTestClock(clock_id=CLOCK_ID, to=utc("2026-04-01"))
    (
        given(frozen_clock(), ADVANCE, COMPLETE, further)
        .when(late)
        .then_refused(clocks.TestClockNotAdvancing)
        .when(move("2026-03-20", advance=2))
        .then(clocks.TestClockMoved(clock_id=CLOCK_ID, frozen_at=utc("2026-03-20")))
    )
