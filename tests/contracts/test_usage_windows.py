"""Which closing a quarter hour belongs to, in whatever order periods are closed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from usage.closings import Closing, Wanted, counted_pieces, following, pieces_of
from usage.partials import bucket_of

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
        for bucket in range(bucket_of(since), bucket_of(until - timedelta(microseconds=1)) + 1):
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
