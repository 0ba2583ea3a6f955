"""Every stream of the domain can have snapshots: its state's class is known and has an exact form."""

from typing import Any

import pytest

from domain.catalogue import STREAMS
from domain.kernel.stream import Stream
from infra.event_store.snapshots import Snapshots, state_class
from schemas.encoder import compile_encoder
from schemas.shapes import shape_of
from tests.contracts.counter_stream import COUNTERS, Counter


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_the_state_of_every_stream_can_be_kept(stream: Stream[Any]) -> None:
    assert callable(compile_encoder(shape_of(state_class(stream))))
    assert len(Snapshots(every_events=10).fingerprint(stream)) == 32


def test_a_state_comes_back_as_it_was() -> None:
    snapshots = Snapshots(every_events=10)
    counter = Counter("c1", -7, None, "cus_1")
    encoded = snapshots.encode(COUNTERS, counter)
    assert encoded is not None
    assert snapshots.decode(COUNTERS, encoded) == counter


def test_what_is_not_the_streams_state_is_not_kept() -> None:
    assert Snapshots(every_events=10).encode(COUNTERS, {"c1": 1}) is None


@pytest.mark.parametrize(
    ("before", "after", "due"), [(0, 9, False), (9, 10, True), (10, 19, False), (5, 35, True), (10, 10, False)]
)
def test_a_snapshot_is_due_whenever_so_many_events_are_passed(before: int, after: int, *, due: bool) -> None:
    assert Snapshots(every_events=10).is_due(before, after) is due
