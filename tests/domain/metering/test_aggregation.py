"""Usage: the figure of each aggregation over a window, voids and corrections, and the gauge against a naive sum."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from domain.metering.aggregation import (
    Aggregation,
    GroupUsage,
    PartialAggregate,
    Tally,
    UsageEvent,
    Window,
    aggregate,
    amounts_of,
    correction,
    level_at,
    merge,
    quantity_of,
    quantity_of_groups,
    settled,
    time_weighted_average,
    time_weighted_sum,
    void,
)
from testing.examples.half_up import amount_of
from testing.examples.pricing import NEW_YEAR, graduated, per_unit, usd
from testing.oracles import prices as oracle

HOUR = timedelta(hours=1)
DAY = Window(start=NEW_YEAR, end=NEW_YEAR + 24 * HOUR)


def event(name: str, hour: float, value: str | int, key: str = "") -> UsageEvent:
    return UsageEvent(event_id=name, at=NEW_YEAR + hour * HOUR, value=Decimal(value), key=key)


EVENTS = [event("a", 1, "2.5", "x"), event("b", 2, 7, "y"), event("c", 3, 4, "x"), event("d", 3, -1, "z")]


@pytest.mark.parametrize(
    ("aggregation", "quantity"),
    [
        (Aggregation.COUNT, "4"),
        (Aggregation.SUM, "12.5"),
        (Aggregation.AMOUNTS, "12.5"),
        (Aggregation.MAX, "7"),
        (Aggregation.LATEST, "-1"),
        (Aggregation.UNIQUE, "3"),
        (Aggregation.TIME_WEIGHTED_SUM, "-11.5"),
    ],
)
def test_each_aggregation_gives_its_figure(aggregation: Aggregation, quantity: str) -> None:
    assert Fraction(quantity_of(aggregate(aggregation, EVENTS), DAY)) == Fraction(quantity)


@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_nothing_comes_to_nothing(aggregation: Aggregation) -> None:
    assert quantity_of(aggregate(aggregation, []), DAY) == 0
    assert settled(aggregate(aggregation, [])) == PartialAggregate(aggregation=aggregation)


@pytest.mark.parametrize(
    ("aggregation", "without_b", "corrected"),
    [
        (Aggregation.COUNT, "3", "4"),
        (Aggregation.SUM, "5.5", "15.5"),
        (Aggregation.MAX, "4", "10"),
        (Aggregation.LATEST, "-1", "-1"),
        (Aggregation.UNIQUE, "2", "3"),
    ],
)
def test_a_void_and_a_correction_reach_the_figure(aggregation: Aggregation, without_b: str, corrected: str) -> None:
    whole = aggregate(aggregation, EVENTS)
    assert quantity_of(merge(whole, void(aggregation, EVENTS[1])), DAY) == Decimal(without_b)
    right = event("b", 2, 10, "y")
    assert quantity_of(merge(whole, correction(aggregation, EVENTS[1], right)), DAY) == Decimal(corrected)


def test_what_is_kept_is_no_more_than_the_figure_needs() -> None:
    repeated = [*EVENTS, event("e", 5, 7, "x")]
    assert aggregate(Aggregation.COUNT, repeated).tallies == ()
    assert aggregate(Aggregation.SUM, repeated).tallies == ()
    assert aggregate(Aggregation.MAX, repeated).tallies == tuple(
        Tally(value=Decimal(value), times=times) for value, times in (("-1", 1), ("2.5", 1), ("4", 1), ("7", 2))
    )
    assert aggregate(Aggregation.UNIQUE, repeated).tallies == tuple(
        Tally(key=key, times=times) for key, times in (("x", 3), ("y", 1), ("z", 1))
    )
    assert aggregate(Aggregation.LATEST, repeated).tallies[0] == Tally(
        at=NEW_YEAR + HOUR, event_id="a", value=Decimal("2.5"), times=1
    )
    assert (aggregate(Aggregation.MAX, repeated).count, aggregate(Aggregation.MAX, repeated).total) == (
        5,
        Decimal("19.5"),
    )


def test_an_event_that_was_voided_before_it_came_counts_for_nothing() -> None:
    for aggregation in (Aggregation.MAX, Aggregation.UNIQUE, Aggregation.LATEST, Aggregation.TIME_WEIGHTED_SUM):
        early = void(aggregation, EVENTS[1])
        assert quantity_of(early, DAY) == 0
        assert settled(early).tallies == ()
        assert merge(early, aggregate(aggregation, [EVENTS[1]])).tallies == ()


def test_counts_and_sums_may_fall_below_zero() -> None:
    assert quantity_of(void(Aggregation.COUNT, EVENTS[0]), DAY) == -1
    assert quantity_of(void(Aggregation.SUM, EVENTS[0]), DAY) == Decimal("-2.5")


def test_settling_keeps_the_greatest_and_the_last() -> None:
    assert [tally.value for tally in settled(aggregate(Aggregation.MAX, EVENTS)).tallies] == [Decimal(7)]
    assert [tally.event_id for tally in settled(aggregate(Aggregation.LATEST, EVENTS)).tallies] == ["d"]
    unique = aggregate(Aggregation.UNIQUE, EVENTS)
    assert settled(unique) == unique
    assert settled(aggregate(Aggregation.SUM, EVENTS)).total == Decimal("12.5")
    assert settled(aggregate(Aggregation.COUNT, EVENTS)).count == 4


def test_only_like_is_merged_with_like() -> None:
    with pytest.raises(ValueError, match="cannot merge max with sum"):
        merge(aggregate(Aggregation.MAX, []), aggregate(Aggregation.SUM, []))


def test_a_gauge_holds_from_its_event_and_starts_from_what_is_carried_in() -> None:
    gauge = aggregate(Aggregation.TIME_WEIGHTED_SUM, [event("a", 6, 4), event("b", 18, 1), event("z", 30, 99)])
    assert time_weighted_sum(gauge, DAY) == 12 * 4 + 6
    assert time_weighted_sum(gauge, DAY, Decimal(10)) == 6 * 10 + 12 * 4 + 6
    assert time_weighted_sum(gauge, DAY, Decimal(10), timedelta(minutes=30)) == 2 * (6 * 10 + 12 * 4 + 6)
    assert quantity_of(gauge, DAY, Decimal(10), timedelta(days=1)) == Fraction(19, 4)
    assert time_weighted_average(gauge, DAY, Decimal(10)) == Fraction(19, 4)
    later = Window(start=NEW_YEAR + 7 * HOUR, end=NEW_YEAR + 8 * HOUR)
    assert time_weighted_sum(gauge, later, Decimal(10)) == 4
    assert time_weighted_average(gauge, later) == 4
    third = Window(start=NEW_YEAR + 7 * HOUR, end=NEW_YEAR + 7 * HOUR + timedelta(minutes=5))
    assert quantity_of(gauge, third) == Fraction(1, 3)


def test_an_event_at_the_end_of_a_window_belongs_to_the_next() -> None:
    gauge = aggregate(Aggregation.TIME_WEIGHTED_SUM, [event("a", 0, 4), event("b", 24, 100)])
    assert time_weighted_sum(gauge, DAY, Decimal(9)) == 96
    assert level_at(gauge, DAY.start, Decimal(9)) == 9
    assert level_at(gauge, DAY.end, Decimal(9)) == 4
    assert level_at(gauge, DAY.end + timedelta(microseconds=1)) == 100


def test_the_greater_event_id_wins_at_one_instant() -> None:
    for aggregation in (Aggregation.LATEST, Aggregation.TIME_WEIGHTED_SUM):
        both = aggregate(aggregation, [event("b", 0, 2), event("a", 0, 1)])
        assert quantity_of(both, Window(start=NEW_YEAR, end=NEW_YEAR + HOUR)) == 2


def test_an_empty_window_weighs_nothing() -> None:
    gauge = aggregate(Aggregation.TIME_WEIGHTED_SUM, [event("a", 0, 4), event("b", 3, 4)])
    empty = Window(start=NEW_YEAR + HOUR, end=NEW_YEAR + HOUR)
    assert time_weighted_sum(gauge, empty) == 0
    backwards = Window(start=NEW_YEAR + 2 * HOUR, end=NEW_YEAR + HOUR)
    assert time_weighted_sum(gauge, backwards, Decimal(7)) == 0


def test_three_disks_are_three_levels_and_two_teams_two_numbers_of_seats() -> None:
    disks = [
        GroupUsage(partial=aggregate(Aggregation.TIME_WEIGHTED_SUM, [event("a", 0, 100)])),
        GroupUsage(partial=aggregate(Aggregation.TIME_WEIGHTED_SUM, [event("b", 6, 0)]), carried_in=Decimal(200)),
        GroupUsage(partial=aggregate(Aggregation.TIME_WEIGHTED_SUM, []), carried_in=Decimal(300)),
    ]
    assert quantity_of_groups(Aggregation.TIME_WEIGHTED_SUM, disks, DAY) == 24 * 100 + 6 * 200 + 24 * 300
    teams = [
        GroupUsage(partial=aggregate(Aggregation.LATEST, [event("a", 1, 7), event("c", 9, 5)])),
        GroupUsage(partial=aggregate(Aggregation.LATEST, [event("b", 2, "2.5")])),
    ]
    assert quantity_of_groups(Aggregation.LATEST, teams, DAY) == Decimal("7.5")
    assert quantity_of_groups(Aggregation.LATEST, [], DAY) == 0


def test_a_peak_is_that_of_all_groups_and_who_is_in_two_groups_counts_once() -> None:
    for aggregation, quantity in ((Aggregation.MAX, 7), (Aggregation.UNIQUE, 3)):
        groups = [GroupUsage(partial=aggregate(aggregation, each)) for each in (EVENTS[:2], EVENTS[2:])]
        assert quantity_of_groups(aggregation, groups, DAY) == quantity
    peak = GroupUsage(partial=aggregate(Aggregation.MAX, EVENTS))
    with pytest.raises(ValueError, match="cannot merge count with max"):
        quantity_of_groups(Aggregation.COUNT, [peak], DAY)


def test_amounts_are_those_of_the_events_that_count_in_the_order_of_their_times() -> None:
    whole = aggregate(Aggregation.AMOUNTS, [event("c", 3, 4), event("b", 1, 7), event("a", 1, "2.5"), event("d", 2, 9)])
    kept = merge(whole, void(Aggregation.AMOUNTS, event("d", 2, 9)))
    assert amounts_of(kept) == (Decimal("2.5"), Decimal(7), Decimal(4))
    assert amounts_of(settled(kept)) == amounts_of(kept)


def test_local_times_on_both_sides_of_a_fold_are_an_hour_apart() -> None:
    new_york = ZoneInfo("America/New_York")
    first = datetime(2024, 11, 3, 1, 30, tzinfo=new_york)
    second = first.replace(fold=1)
    gauge = aggregate(
        Aggregation.TIME_WEIGHTED_SUM,
        [
            UsageEvent(event_id="b", at=first, value=Decimal(1)),
            UsageEvent(event_id="a", at=second, value=Decimal(10)),
        ],
    )
    assert [tally.at for tally in gauge.tallies] == [
        datetime(2024, 11, 3, 5, 30, tzinfo=UTC),
        datetime(2024, 11, 3, 6, 30, tzinfo=UTC),
    ]
    window = Window(start=first, end=datetime(2024, 11, 3, 2, 30, tzinfo=new_york))
    assert time_weighted_sum(gauge, window) == 11
    assert time_weighted_average(gauge, window) == Fraction(11, 2)
    assert level_at(gauge, second) == 1


def test_the_gauge_agrees_with_a_sum_second_by_second() -> None:
    rng = random.Random(20260101)
    for _ in range(300):
        levels = sorted((rng.randint(-30, 90), rng.randint(0, 500)) for _ in range(rng.randint(0, 6)))
        gauge = aggregate(
            Aggregation.TIME_WEIGHTED_SUM,
            [
                UsageEvent(event_id=f"{n}", at=NEW_YEAR + timedelta(seconds=second), value=Decimal(level))
                for n, (second, level) in enumerate(levels)
            ],
        )
        window = Window(start=NEW_YEAR, end=NEW_YEAR + timedelta(seconds=60))
        naive = oracle.unit_seconds([(second, Fraction(level)) for second, level in levels], 0, 60, Fraction(3))
        assert time_weighted_sum(gauge, window, Decimal(3), timedelta(seconds=1)) == naive


def test_a_third_of_an_hour_is_priced_as_a_third_and_not_as_what_twelve_decimals_leave_of_it() -> None:
    gauge = aggregate(Aggregation.TIME_WEIGHTED_SUM, [event("a", 0, 7)])
    twenty_minutes = Window(start=NEW_YEAR, end=NEW_YEAR + timedelta(minutes=20))
    gigabyte_hours = quantity_of(gauge, twenty_minutes)
    assert gigabyte_hours == Fraction(7, 3)
    assert amount_of(per_unit("1.5"), gigabyte_hours) == usd(4)
    assert amount_of(graduated((None, "1.5", 0)), gigabyte_hours) == usd(4)


class Counted(tuple[Tally, ...]):
    """Entries that know how often they were looked at."""

    looks = 0

    def __iter__(self) -> Iterator[Tally]:
        for tally in super().__iter__():
            Counted.looks += 1
            yield tally


@pytest.mark.parametrize("hours", [10, 100, 1000])
def test_merging_many_parts_looks_at_each_entry_once(hours: int) -> None:
    parts = [aggregate(Aggregation.LATEST, [event(f"{hour}", hour, hour)]) for hour in range(hours)]
    Counted.looks = 0
    whole = merge(*[replace(part, tallies=Counted(part.tallies)) for part in parts])
    assert len(whole.tallies) == Counted.looks == hours
