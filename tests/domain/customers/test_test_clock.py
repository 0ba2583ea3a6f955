"""Specifications of test clocks: business time that stands still until somebody advances it."""

from datetime import datetime

import pytest

from domain.customers import test_clock as clocks
from domain.customers.test_clock import (
    TEST_CLOCK,
    AdvanceTestClock,
    CompleteTestClockAdvance,
    CreateTestClock,
    MoveTestClock,
)
from domain.kernel.stream import Finish, Schedule, WorkKind
from testing.examples.streams import CLOCK_ID, frozen_clock
from testing.moments import utc
from testing.specification import NOW, given

GOAL = utc("2026-03-01")
ADVANCE = AdvanceTestClock(clock_id=CLOCK_ID, to=GOAL)
COMPLETE = CompleteTestClockAdvance(clock_id=CLOCK_ID)
ADVANCING = Schedule(WorkKind.CLOCK_ADVANCE, CLOCK_ID, after_ms=0)


def move(to: str) -> MoveTestClock:
    return MoveTestClock(clock_id=CLOCK_ID, to=utc(to))


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


@pytest.mark.parametrize("command", [move("2026-02-10"), COMPLETE])
def test_a_clock_at_rest_does_not_move(command: MoveTestClock | CompleteTestClockAdvance) -> None:
    given(frozen_clock()).when(command).then_refused(clocks.TestClockNotAdvancing, test_clock=CLOCK_ID)


@pytest.mark.parametrize("command", [ADVANCE, move("2026-02-10"), COMPLETE])
def test_an_unknown_clock_is_not_found(
    command: AdvanceTestClock | MoveTestClock | CompleteTestClockAdvance,
) -> None:
    given().when(command).then_refused(clocks.TestClockNotFound, test_clock=CLOCK_ID)


def test_a_clocks_own_events_are_effective_in_real_time() -> None:
    given().when(CreateTestClock(clock_id=CLOCK_ID, name="", frozen_at=utc("2040-01-01"))).then_at(NOW)
