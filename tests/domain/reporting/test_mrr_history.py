"""MRR by day: what a customer's steps say, in whatever order they are told, and what moved on each day."""

from collections import defaultdict
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.currency import CurrencyCode
from domain.reporting.mrr import Movement
from domain.reporting.mrr_history import MrrStep, first_difference, movements_since, stepped

EUR = CurrencyCode("EUR")
FIRST = date(2026, 1, 1)
Told = list[tuple[int, str, int]]
"""Day, subscription and its MRR from then on, in the order in which they are told."""
told = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.integers(0, 3).map(lambda n: n * 100)))


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def steps_of(told: Told) -> tuple[MrrStep, ...]:
    steps: tuple[MrrStep, ...] = ()
    for day, subscription, amount in told:
        steps = stepped(steps, on(day), subscription, amount)
    return steps


def known_at(told: Told, day: int) -> dict[str, int]:
    """Slowly: what is told of a subscription holds from its day on, over whatever was told before."""
    found = {subscription: amount for at, subscription, amount in told if at <= day}
    return {key: amount for key, amount in found.items() if amount}


@given(told=told)
def test_the_movements_of_each_day_are_the_difference_to_the_day_before(told: Told) -> None:
    by_day = defaultdict(list)
    for movement in movements_since(steps_of(told), FIRST, EUR):
        by_day[movement.day].append(movement)
    has_paid = False
    for day in range(10):
        before, after = known_at(told, day - 1), known_at(told, day)
        moved = by_day.pop(on(day), [])
        assert sum(each.change for each in moved) == sum(after.values()) - sum(before.values())
        assert {each.subscription_id: each.change for each in moved} == {
            key: after.get(key, 0) - before.get(key, 0)
            for key in {*before, *after}
            if after.get(key, 0) != before.get(key, 0)
        }
        assert sum(each.subscriptions for each in moved) == len(after) - len(before)
        assert sum(each.customers for each in moved) == bool(after) - bool(before)
        kinds = {each.movement for each in moved}
        if moved and not before:
            assert kinds == {Movement.REACTIVATION if has_paid else Movement.NEW}
        elif moved and not after:
            assert kinds == {Movement.CHURN}
        else:
            assert all((each.movement is Movement.EXPANSION) is (each.change > 0) for each in moved)
            assert kinds <= {Movement.EXPANSION, Movement.CONTRACTION}
        has_paid = has_paid or bool(after)
    assert not by_day


@given(told=told, further=st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.integers(0, 300)))
def test_before_the_first_difference_nothing_moves_otherwise(told: Told, further: tuple[int, str, int]) -> None:
    before, after = steps_of(told), steps_of([*told, further])
    since = first_difference(before, after)
    if since is None:
        assert before is after or before == after
        return
    earlier = [[each for each in movements_since(steps, FIRST, EUR) if each.day < since] for steps in (before, after)]
    assert earlier[0] == earlier[1]


def test_a_step_to_what_holds_already_is_none_and_one_that_is_taken_back_on_its_day_is_gone() -> None:
    steps = stepped((), on(1), "a", 100)
    assert stepped(steps, on(5), "a", 100) is steps
    assert stepped(stepped(steps, on(5), "a", 300), on(5), "a", 100) == steps


def test_what_is_told_late_of_a_past_day_moves_what_followed() -> None:
    steps = steps_of([(1, "a", 100), (5, "b", 50), (3, "a", 0)])
    moved = [(each.day, each.movement, each.change) for each in movements_since(steps, FIRST, EUR)]
    assert moved == [
        (on(1), Movement.NEW, 100),
        (on(3), Movement.CHURN, -100),
        (on(5), Movement.REACTIVATION, 50),
    ]
