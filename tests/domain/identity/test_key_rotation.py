"""When a signing key is published, signs, verifies and is gone."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.identity.key_rotation import KeyLimits, KeyState, KeyTimes, due, state_of

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
LIMITS = KeyLimits(life=90 * DAY, notice=DAY, token_life=timedelta(hours=1))
KEYS = [KeyTimes(number=1, signs_from=START), KeyTimes(number=2, signs_from=START + 90 * DAY)]


def states(keys: list[KeyTimes], now: datetime) -> list[KeyState]:
    return [state_of(key.number, keys, now, LIMITS) for key in keys]


def test_a_key_is_next_then_active_then_retired_then_gone() -> None:
    handed_over = START + 90 * DAY
    assert states(KEYS, handed_over - TICK) == [KeyState.ACTIVE, KeyState.NEXT]
    assert states(KEYS, handed_over) == [KeyState.RETIRED, KeyState.ACTIVE]
    assert states(KEYS, handed_over + LIMITS.token_life - TICK) == [KeyState.RETIRED, KeyState.ACTIVE]
    assert states(KEYS, handed_over + LIMITS.token_life) == [KeyState.GONE, KeyState.ACTIVE]


def test_a_distrusted_key_is_gone_at_once() -> None:
    keys = [KeyTimes(number=1, signs_from=START, distrusted_at=START + DAY), KeyTimes(number=2, signs_from=START + DAY)]
    assert states(keys, START + DAY) == [KeyState.GONE, KeyState.ACTIVE]


def test_the_first_key_signs_at_once_and_the_next_is_published_a_day_before() -> None:
    assert due([], START, LIMITS) == START
    assert due(KEYS[:1], START + 89 * DAY - TICK, LIMITS) is None
    assert due(KEYS[:1], START + 89 * DAY, LIMITS) == START + 90 * DAY
    assert due(KEYS, START + 89 * DAY, LIMITS) is None


def test_a_key_that_nobody_followed_in_time_signs_until_its_follower_is_known() -> None:
    late = START + 200 * DAY
    assert state_of(1, KEYS[:1], late, LIMITS) is KeyState.ACTIVE
    assert due(KEYS[:1], late, LIMITS) == late + DAY


def test_where_no_key_is_trusted_one_is_due_at_once() -> None:
    assert due([KeyTimes(number=1, signs_from=START, distrusted_at=START)], START + DAY, LIMITS) == START + DAY


@given(st.lists(st.integers(0, 60), max_size=40))
def test_however_seldom_somebody_looks_one_key_signs_and_what_it_signed_verifies_to_its_end(pauses: list[int]) -> None:
    now, keys = START, [KeyTimes(number=1, signs_from=START)]
    signed: list[tuple[int, datetime]] = []
    for pause in pauses:
        now += pause * DAY / 2
        active = [key.number for key in keys if state_of(key.number, keys, now, LIMITS) is KeyState.ACTIVE]
        assert len(active) == 1
        signed.append((active[0], now))
        for number, at in signed:
            if now < at + LIMITS.token_life:
                assert state_of(number, keys, now, LIMITS) in (KeyState.ACTIVE, KeyState.RETIRED)
        signs_from = due(keys, now, LIMITS)
        if signs_from is not None:
            assert signs_from >= now + LIMITS.notice
            keys.append(KeyTimes(number=len(keys) + 1, signs_from=signs_from))
