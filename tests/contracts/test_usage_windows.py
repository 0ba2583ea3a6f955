"""Which closing a quarter hour belongs to, in whatever order periods are closed, and which period an event is of."""

import random
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from usage.closing import Closing
from usage.closings import Wanted, counted_pieces, following, pieces_of
from usage.partials import Buckets, bucket_of, buckets_of, left_of, start_of

START = datetime(2026, 5, 28, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

WINDOWS = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 300)), max_size=7)
"""Minutes after START, and how many."""
CHARGES = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 300), st.sampled_from(["a", "b", None])), max_size=9)
"""The same, and to which charge each belongs."""


@given(WINDOWS)
def test_each_is_of_the_first_closing_whose_period_it_is_in(windows: list[tuple[int, int]]) -> None:
    closings: list[Closing] = []
    owner: dict[int, int] = {}
    for nth, (begin, minutes) in enumerate(windows, start=1):
        since, until = START + begin * MINUTE, START + (begin + minutes) * MINUTE
        wanted = Wanted(
            tenant_id="acme", customer_id="cus_1", meter_id="mtr_1", since=since, until=until, reference=str(nth)
        )
        closings.append(following(closings, wanted, 0, nth))
        for bucket in range(bucket_of(since), bucket_of(until) + 1):
            if since <= start_of(bucket) < until:
                owner.setdefault(bucket, nth)

    for closing in closings:
        pieces = pieces_of(closings, closing)
        taken = [bucket for piece in pieces for bucket in range(piece.first, piece.end)]
        assert taken == sorted(bucket for bucket, nth in owner.items() if nth == closing.seq)
        assert all(one.end < other.first for one, other in pairwise(pieces)), "pieces are whole"
        ends = [each.bucket for each in closings[: closing.seq]]
        assert closing.bucket == max(ends), "what was closed once stays closed"


@given(CHARGES)
def test_a_closing_counts_what_all_of_its_charge_took_by_then(windows: list[tuple[int, int, str | None]]) -> None:
    closings: list[Closing] = []
    for nth, (begin, minutes, charge) in enumerate(windows, start=1):
        since, until = START + begin * MINUTE, START + (begin + minutes) * MINUTE
        wanted = Wanted(
            tenant_id="acme",
            customer_id="cus_1",
            meter_id="mtr_1",
            since=since,
            until=until,
            reference=str(nth),
            charge=charge,
            is_last=False,
        )
        closings.append(following(closings, wanted, 0, nth))

    for closing in closings:
        by_then = closings[: closing.seq]
        own = [
            each for each in by_then if each is closing or (each.charge is not None and each.charge == closing.charge)
        ]
        taken = {bucket for each in own for piece in pieces_of(closings, each) for bucket in range(*piece)}
        pieces = counted_pieces(closings, closing)
        assert [bucket for piece in pieces for bucket in range(*piece)] == sorted(taken)
        assert all(one.end < other.first for one, other in pairwise(pieces)), "pieces are whole"


SECOND = timedelta(seconds=1)
STRETCHES = st.lists(st.tuples(st.integers(1, 9_000), st.booleans()), min_size=1, max_size=8)
"""Stretches of time that follow each other, so many seconds long each, and whether what is used in it is billed: in a
trial, a pause or before a start it is not.
"""


@given(STRETCHES, st.lists(st.integers(-2_000, 80_000), max_size=30), st.randoms(use_true_random=False))
def test_each_event_is_of_the_period_in_which_its_quarter_hour_begins_and_of_no_other(
    stretches: list[tuple[int, bool]], events: list[int], chance: random.Random
) -> None:
    edges = [START + passed * SECOND for passed in accumulate((length for length, _ in stretches), initial=137)]
    periods = [(since, until) for (since, until), (_, billed) in zip(pairwise(edges), stretches, strict=True) if billed]
    chance.shuffle(periods)
    closings: list[Closing] = []
    for nth, (since, until) in enumerate(periods, start=1):
        wanted = Wanted(
            tenant_id="acme", customer_id="cus_1", meter_id="mtr_1", since=since, until=until, reference=str(nth)
        )
        closings.append(following(closings, wanted, 0, nth))

    for at in (START + passed * SECOND for passed in events):
        begun = datetime.fromtimestamp(at.timestamp() // 900 * 900, UTC)
        owners = [period for period in periods if period[0] <= begun < period[1]]
        bucket = bucket_of(at)
        closed_by = [
            (each.since, each.until)
            for each in closings
            if any(piece.first <= bucket < piece.end for piece in pieces_of(closings, each))
        ]
        assert closed_by == owners, "in whatever order they are closed"
        counted_in = [each for each in periods if buckets_of(*each).first <= bucket < buckets_of(*each).end]
        assert counted_in == owners, "and so are limits, alerts and what is shown"


@given(st.integers(0, 9), st.integers(0, 9), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5))
def test_what_is_left_is_what_is_in_none_of_the_others(first: int, end: int, taken: list[tuple[int, int]]) -> None:
    others = [Buckets(*each) for each in taken]
    pieces = left_of(Buckets(first, end), others)
    left = [bucket for piece in pieces for bucket in range(*piece)]
    assert left == [bucket for bucket in range(first, end) if all(bucket not in range(*each) for each in others)]
