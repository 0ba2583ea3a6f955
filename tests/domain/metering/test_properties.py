"""What holds for all usage, in whatever parts and order it comes."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from domain.metering.aggregation import (
    ZERO,
    Aggregation,
    GroupUsage,
    PartialAggregate,
    UsageEvent,
    Window,
    aggregate,
    correction,
    level_at,
    merge,
    quantity_of,
    quantity_of_groups,
    settled,
    time_weighted_sum,
    void,
)
from testing.examples.pricing import NEW_YEAR

aggregations = st.sampled_from(Aggregation)
MINUTE = timedelta(minutes=1)
DAY = Window(start=NEW_YEAR, end=NEW_YEAR + timedelta(days=1))


@st.composite
def usage(draw: st.DrawFn) -> list[UsageEvent]:
    rows = draw(st.lists(st.tuples(st.integers(-60, 1500), st.decimals(-50, 100, places=2), st.sampled_from("xyz"))))
    return [
        UsageEvent(event_id=f"e{index:03}", at=NEW_YEAR + timedelta(minutes=minute), value=value, key=key)
        for index, (minute, value, key) in enumerate(rows)
    ]


@given(aggregations, usage(), usage(), usage())
def test_merging_is_associative_and_commutative_and_has_a_neutral_element(
    aggregation: Aggregation, first: list[UsageEvent], second: list[UsageEvent], third: list[UsageEvent]
) -> None:
    a, b, c = (aggregate(aggregation, events) for events in (first, second, third))
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, PartialAggregate(aggregation=aggregation)) == a


@given(aggregations, usage(), st.integers(1, 7), st.randoms(use_true_random=False))
def test_parts_in_any_order_merge_to_the_whole(
    aggregation: Aggregation, events: list[UsageEvent], pieces: int, order: Random
) -> None:
    parts = [aggregate(aggregation, events[start::pieces]) for start in range(pieces)]
    order.shuffle(parts)
    one_by_one = PartialAggregate(aggregation=aggregation)
    for part in parts:
        one_by_one = merge(one_by_one, part)
    whole = aggregate(aggregation, events)
    assert merge(*parts) == one_by_one == whole
    assert quantity_of(settled(whole), DAY, Decimal(3)) == quantity_of(whole, DAY, Decimal(3))


@given(aggregations, usage(), usage(), st.booleans())
def test_a_void_undoes_its_event_even_when_it_comes_first(
    aggregation: Aggregation, kept: list[UsageEvent], voided: list[UsageEvent], early: bool
) -> None:
    expected = aggregate(aggregation, kept)
    result = expected
    for event in voided:
        both = [aggregate(aggregation, [event]), void(aggregation, event)]
        for partial in reversed(both) if early else both:
            result = merge(result, partial)
    assert result == expected


@given(aggregations, usage(), st.decimals(-50, 100, places=2))
def test_a_correction_is_as_if_the_right_event_had_been_sent(
    aggregation: Aggregation, events: list[UsageEvent], value: Decimal
) -> None:
    assume(events)
    wrong = events[0]
    right = UsageEvent(event_id=wrong.event_id, at=wrong.at, value=value, key="corrected")
    corrected = merge(aggregate(aggregation, events), correction(aggregation, wrong, right))
    assert corrected == aggregate(aggregation, [right, *events[1:]])


@given(usage(), st.decimals(0, 50, places=2), st.lists(st.integers(1, 1439), max_size=5))
def test_time_weighted_sums_of_adjacent_windows_add_up(
    events: list[UsageEvent], carried_in: Decimal, cuts: list[int]
) -> None:
    gauge = aggregate(Aggregation.TIME_WEIGHTED_SUM, events)
    edges = [DAY.start, *(DAY.start + timedelta(minutes=cut) for cut in sorted(set(cuts))), DAY.end]
    pieces = Fraction(0)
    for start, end in pairwise(edges):
        level = level_at(gauge, start, carried_in)
        inside = aggregate(Aggregation.TIME_WEIGHTED_SUM, [event for event in events if start <= event.at < end])
        pieces += time_weighted_sum(inside, Window(start=start, end=end), level)
    assert pieces == time_weighted_sum(gauge, DAY, carried_in)


def plainly(aggregation: Aggregation, groups: dict[str, list[UsageEvent]], levels: dict[str, Decimal]) -> Fraction:
    """What groups come to in a day, a minute at a time; events are on whole minutes."""
    events = [event for group in groups.values() for event in group]
    match aggregation:
        case Aggregation.COUNT:
            return Fraction(len(events))
        case Aggregation.SUM | Aggregation.AMOUNTS:
            return sum((Fraction(event.value) for event in events), Fraction(0))
        case Aggregation.MAX:
            return Fraction(max((event.value for event in events), default=ZERO))
        case Aggregation.UNIQUE:
            return Fraction(len({event.key for event in events}))
        case Aggregation.LATEST:
            return sum((Fraction(last(group)) for group in groups.values() if group), Fraction(0))
    held = Fraction(0)
    for name in groups.keys() | levels.keys():
        level = levels.get(name, ZERO)
        by_minute: dict[int, list[UsageEvent]] = {}
        for event in groups.get(name, ()):
            by_minute.setdefault((event.at - DAY.start) // MINUTE, []).append(event)
        for minute in range(min((*by_minute, 0)), 24 * 60):
            if minute in by_minute:
                level = last(by_minute[minute])
            if minute >= 0:
                held += Fraction(level)
    return held / 60


def last(events: list[UsageEvent]) -> Decimal:
    return max(events, key=lambda event: (event.at, event.event_id)).value


groups_of = st.dictionaries(st.sampled_from("abc"), usage())
levels_of = st.dictionaries(st.sampled_from("abcd"), st.decimals(0, 50, places=2))


@given(aggregations, groups_of, levels_of)
def test_groups_come_to_what_a_plain_model_says_minute_by_minute(
    aggregation: Aggregation, groups: dict[str, list[UsageEvent]], levels: dict[str, Decimal]
) -> None:
    used = [
        GroupUsage(partial=aggregate(aggregation, groups.get(name, [])), carried_in=levels.get(name, ZERO))
        for name in groups.keys() | levels.keys()
    ]
    assert quantity_of_groups(aggregation, used, DAY) == plainly(aggregation, groups, levels)


@given(groups_of, levels_of, st.integers(1, 24 * 60 - 1))
def test_levels_of_groups_go_on_into_the_window_that_follows(
    groups: dict[str, list[UsageEvent]], levels: dict[str, Decimal], cut: int
) -> None:
    kind, at = Aggregation.TIME_WEIGHTED_SUM, DAY.start + cut * MINUTE
    first, second = [], []
    for name in groups.keys() | levels.keys():
        events, level = groups.get(name, []), levels.get(name, ZERO)
        before = aggregate(kind, [event for event in events if event.at < at])
        first.append(GroupUsage(partial=before, carried_in=level))
        after = aggregate(kind, [event for event in events if event.at >= at])
        second.append(GroupUsage(partial=after, carried_in=level_at(before, at, level)))
    halves = (
        quantity_of_groups(kind, first, Window(start=DAY.start, end=at)),
        quantity_of_groups(kind, second, Window(start=at, end=DAY.end)),
    )
    assert sum((Fraction(half) for half in halves), Fraction(0)) == plainly(kind, groups, levels)
