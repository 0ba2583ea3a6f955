"""What a refresh token comes to, row by row, at every edge of time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity.refreshing import Family, Refreshing, is_over, refreshing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=10)
TICK = timedelta(microseconds=1)


def family(
    *,
    generation: int = 5,
    rotated: timedelta = timedelta(0),
    idle_left: timedelta = timedelta(days=7),
    left: timedelta = timedelta(days=30),
    ended: bool = False,
) -> Family:
    return Family(
        generation=generation,
        rotated_at=NOW - rotated,
        idle_ends_at=NOW + idle_left,
        ends_at=NOW + left,
        ended_at=NOW if ended else None,
    )


@pytest.mark.parametrize(
    ("presented", "session", "outcome"),
    [
        (5, family(), Refreshing.NEXT),
        (5, family(rotated=timedelta(days=6)), Refreshing.NEXT),
        (4, family(), Refreshing.AGAIN),
        (4, family(rotated=GRACE - TICK), Refreshing.AGAIN),
        (4, family(rotated=GRACE), Refreshing.REUSED),
        (3, family(), Refreshing.REUSED),
        (1, family(rotated=timedelta(days=6)), Refreshing.REUSED),
        (6, family(), Refreshing.OVER),
        (5, family(ended=True), Refreshing.OVER),
        (3, family(ended=True), Refreshing.OVER),
        (5, family(idle_left=TICK), Refreshing.NEXT),
        (5, family(idle_left=timedelta(0)), Refreshing.OVER),
        (5, family(left=TICK), Refreshing.NEXT),
        (5, family(left=timedelta(0)), Refreshing.OVER),
    ],
)
def test_each_row_of_the_table(presented: int, session: Family, outcome: Refreshing) -> None:
    assert refreshing(presented, session, NOW, GRACE) is outcome


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 20), st.integers(-1, 1), st.integers(-1, 1), st.booleans())
def test_a_session_goes_on_only_for_its_newest_tokens(
    presented: int, current: int, rotated_s: int, idle_left: int, left: int, ended: bool
) -> None:
    session = family(
        generation=current,
        rotated=timedelta(seconds=rotated_s),
        idle_left=timedelta(days=idle_left),
        left=timedelta(days=left),
        ended=ended,
    )
    outcome = refreshing(presented, session, NOW, GRACE)
    if outcome in (Refreshing.NEXT, Refreshing.AGAIN):
        assert not is_over(session, NOW)
        assert presented in (current, current - 1)
    if outcome is Refreshing.REUSED:
        assert presented < current
