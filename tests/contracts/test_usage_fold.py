"""What is folded of records is what the domain's rules say, wherever polls are cut; an id counts once."""

import dataclasses
import random
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.metering.aggregation import Aggregation, PartialAggregate, Tally
from domain.metering.usage_value import NANOS, units
from testing.usage import EPOCH, START_US, TENANTS, Sent, Stream, counted_by, meter, tenants_meters
from tests.lengths import LENGTH
from usage.aggregation.dedupe import NEVER, REMEMBERED_DAYS, SeenIds, day_of, entries_of, entry, id_hash, id_prefix
from usage.aggregation.fold import BUCKET_US, Closed, PartitionState, RefusedUsage, fold, read, series_of
from usage.aggregation.meters import Adoption, version_from
from usage.aggregation.store import PARTS, sum_rows, tally_rows
from usage.partials import bucket_of
from usage.wire import EVENT, INSTEAD, ORIGINAL_APPENDED, VOID, MalformedUsage, WireEvent, encode, headers_of

APPENDED_MS: Final = START_US // 1000 + 3_600_000


@dataclasses.dataclass
class Record:
    """A record as a client hands it over."""

    offset: int
    value: bytes | None
    headers: Any
    timestamp: int = APPENDED_MS
    partition: int = 0
    topic: str = "usage.events.v1"
    key: bytes | None = None


def state_of(partition: int = 0, partitions: int = 1) -> PartitionState:
    state = PartitionState(partition, partitions, 0)
    state.adopt(Adoption(tenant_id, version, 0) for tenant_id, version in tenants_meters())
    return state


def record_of(offset: int, sent: Sent, **changes: Any) -> Record:
    return Record(offset, encode(sent.events), headers_of(sent.tenant_id), **changes)


def written(folds: list[tuple[PartitionState, Any]]) -> dict[Any, PartialAggregate]:
    """What PostgreSQL would hold, as the domain's partial aggregates."""
    sums: dict[Any, list[int]] = {}
    tallies: dict[Any, dict[Any, int]] = {}
    series: dict[bytes, Any] = {}
    for state, folded in folds:
        series |= folded.series
        for name, bucket, late, _, n, high, low in map(tuple[Any, ...], sum_rows(state, folded)):
            kept = sums.setdefault((name, bucket, late), [0, 0])
            kept[0] += n
            kept[1] += high * PARTS + low
        for *place, at_us, event_id, high, low, member, _, times in map(tuple[Any, ...], tally_rows(state, folded)):
            held = tallies.setdefault(tuple(place), {})
            key = (at_us, event_id, high * PARTS + low, member)
            held[key] = held.get(key, 0) + times
    versions = {(tenant, each.meter_id, each.version): each for tenant, each in tenants_meters()}
    found = {}
    for (name, bucket, late), (n, total) in sums.items():
        each = series[name]
        kind = versions[each.tenant_id, each.meter_id, each.version].aggregation
        own = tuple(
            _tally(kind, key, times) for key, times in sorted(tallies.get((name, bucket, late), {}).items()) if times
        )
        if n or total or own:
            found[each.tenant_id, each.customer_id, each.meter_id, each.version, each.groups, bucket] = (
                PartialAggregate(aggregation=kind, count=n, total=units(total), tallies=own)
            )
    return found


def _tally(kind: Aggregation, key: tuple[int, str, int, str], times: int) -> Tally:
    at_us, event_id, value, member = key
    if kind is Aggregation.UNIQUE:
        return Tally(key=member, times=times)
    if kind is Aggregation.MAX:
        return Tally(value=units(value), times=times)
    at = EPOCH + timedelta(microseconds=at_us)
    return Tally(at=at, event_id=event_id, value=units(value), times=times)


@settings(deadline=None, max_examples=LENGTH.scaled(60))
@given(seed=st.integers(0, 10**6), events=st.integers(1, 300))
def test_what_is_folded_is_what_the_domain_says_wherever_polls_are_cut(seed: int, events: int) -> None:
    chance = random.Random(seed)
    records = Stream(seed, customers=3, partitions=1).records(events, most=12)
    state, folds, at = state_of(), [], 0
    conflicts = duplicates = 0
    while at < len(records):
        size = chance.randint(1, 5)
        found = read(record_of(at + nth, each) for nth, each in enumerate(records[at : at + size]))
        folded = fold(state, found, at + len(found))
        folds.append((state, folded))
        conflicts += len(folded.conflicts)
        duplicates += folded.duplicates
        folded.commit(state)
        at += size
    model = counted_by(tenants_meters(), records)
    assert written(folds) == model.merged()
    assert (conflicts, duplicates) == (model.conflicts, model.duplicates)
    assert state.seen.count == len(model.counted)
    assert state.next_offset == len(records)


def event(nth: int = 1, **changes: Any) -> WireEvent:
    plain = WireEvent(f"e{nth}", EVENT, "cus_1", "sum", START_US, 2 * NANOS, {})
    return plain._replace(**changes)


def folded_of(state: PartitionState, *events: WireEvent, timestamp: int = APPENDED_MS) -> Any:
    sent = Sent(TENANTS[0], 0, events)
    offset = state.next_offset
    result = fold(state, read([record_of(offset, sent, timestamp=timestamp)]), offset + 1)
    result.commit(state)
    return result


def test_an_event_behind_a_closing_is_late() -> None:
    state = state_of()
    at = EPOCH + timedelta(microseconds=START_US)
    series = series_of("acme", "cus_1", "mtr_sum", 1, ())
    state.closed[series.closing_key] = Closed(seq=3, bucket=bucket_of(at) + 1)
    rows = sum_rows(state, folded_of(state, event(1), event(2, timestamp_us=START_US + BUCKET_US)))
    assert [row[1:3] for row in rows] == [(bucket_of(at), 3), (bucket_of(at) + 1, 0)]


def test_a_void_of_what_was_not_counted_or_was_counted_otherwise_is_refused() -> None:
    state = state_of()
    folded_of(state, event(1))
    for wrong in (event(2, kind=VOID), event(1, kind=VOID, value=NANOS)):
        refused = folded_of(state, wrong)
        assert (refused.counted, len(refused.refused)) == (0, 1)
        assert isinstance(refused.refused[0][1], RefusedUsage)
    taken = folded_of(state, event(1, kind=VOID), event(1, kind=VOID))
    assert (taken.counted, taken.duplicates) == (1, 1)
    assert [(row[4], row[6]) for row in sum_rows(state, taken)] == [(-1, PARTS - 2 * NANOS)]


DAY_MS: Final = 86_400_000
SETTLING_MS: Final = 60_000


@settings(deadline=None, max_examples=LENGTH.scaled(100))
@given(data=st.data(), says=st.booleans(), together=st.booleans())
def test_a_void_takes_away_what_its_event_added_whatever_was_added_to_the_meter_meanwhile(
    data: st.DataObject, says: bool, together: bool
) -> None:
    """Customers of a test clock may be ahead, so a version can begin before events that are counted."""
    first_ms = APPENDED_MS // DAY_MS * DAY_MS
    times_ms = st.integers(first_ms, first_ms + 3 * DAY_MS)
    added_ms, appended_ms = data.draw(times_ms), data.draw(times_ms)
    voided_ms = data.draw(st.integers(appended_ms, first_ms + 4 * DAY_MS))
    plain = meter(Aggregation.SUM)
    state = PartitionState(0, 1, 0)
    revised = dataclasses.replace(
        plain, version=2, effective_us=START_US, added_us=added_ms * 1000, group_by=("region",)
    )
    state.adopt(Adoption("acme", version, 0) for version in (plain, revised))
    original, taken_back = Sent("acme", 0, (event(1),)), Sent("acme", 0, (event(1, kind=VOID),))
    headers = headers_of("acme", appended_ms if says else None)
    records = [
        record_of(0, original, timestamp=appended_ms),
        dataclasses.replace(record_of(1, taken_back, timestamp=voided_ms), headers=headers),
    ]
    found = read(records)
    folds = []
    for part in [found] if together else [found[:1], found[1:]]:
        folds.append(fold(state, part, part[-1].record.offset + 1))
        folds[-1].commit(state)
    refused = [each for folded in folds for each in folded.refused]
    sums: dict[bytes, int] = {}
    for folded in folds:
        for (name, _), (n, _) in folded.sums.items():
            sums[name] = sums.get(name, 0) + n
    if not refused:
        assert set(sums.values()) == {0}
        return
    assert list(sums.values()) == [1]
    assert not says
    assert ORIGINAL_APPENDED in str(refused[0][1])
    begins_ms = added_ms + SETTLING_MS
    assert day_of(begins_ms) == day_of(appended_ms), "what is remembered tells it apart on every other day"
    assert begins_ms <= voided_ms


def test_a_void_that_says_another_day_than_its_events_is_refused() -> None:
    state = state_of()
    folded_of(state, event(1, meter="revised", properties={"region": "eu"}))
    void = Sent("acme", 0, (event(1, kind=VOID, meter="revised", properties={"region": "eu"}),))
    headers = headers_of("acme", APPENDED_MS + DAY_MS)
    refused = fold(state, read([dataclasses.replace(record_of(1, void), headers=headers)]), 2)
    assert "another day" in str(refused.refused[0][1])


def total_of(*folds: Any) -> int:
    """Of a meter that sums, in whole units."""
    return int(sum(sum(total for _, total in folded.sums.values()) for folded in folds) // NANOS)


def correction(nth: int, value: int, *, of: int = 1) -> tuple[WireEvent, WireEvent]:
    return event(of, kind=VOID), event(nth, kind=INSTEAD, value=value * NANOS)


@pytest.mark.parametrize("cut", [True, False])
def test_of_two_corrections_of_one_event_the_first_alone_counts(cut: bool) -> None:
    """In one poll or in two; each may come again, and the one that lost is shown."""
    state = state_of()
    first, other = correction(2, 10), correction(3, 100)
    if cut:
        folds = [folded_of(state, *events) for events in ((event(1),), first, other, first, other)]
    else:
        folds = [folded_of(state, event(1), *first, *other, *first, *other)]
    assert total_of(*folds) == 10
    assert sum(each.counted for each in folds) == 3
    conflicts = [(each.kind, each.event_id) for folded in folds for each in folded.conflicts]
    assert conflicts == [(VOID, "e1"), (INSTEAD, "e3")] * 2
    assert not any(each.refused for each in folds)
    assert total_of(folded_of(state, event(3, value=100 * NANOS))) == 100, "by itself it is an event like any other"


def test_what_comes_behind_a_void_that_stands_alone_does_not_count() -> None:
    state = state_of()
    folds = [folded_of(state, event(1)), folded_of(state, event(1, kind=VOID)), folded_of(state, *correction(2, 10))]
    assert total_of(*folds) == 0
    assert [(each.kind, each.event_id) for each in folds[-1].conflicts] == [(VOID, "e1"), (INSTEAD, "e2")]


def test_what_stands_in_for_an_event_is_itself_corrected_and_sent_again() -> None:
    state = state_of()
    void, instead = correction(2, 10)
    again = (instead._replace(kind=VOID), event(3, kind=INSTEAD, value=5 * NANOS))
    folds = [folded_of(state, event(1), void, instead), folded_of(state, *again), folded_of(state, void, instead)]
    assert total_of(*folds) == 5
    assert (folds[-1].duplicates, folds[-1].conflicts) == (2, [])


def test_what_stands_in_for_nothing_is_refused_until_its_void_counts() -> None:
    state = state_of()
    void, instead = correction(2, 10)
    stranger = event(1, kind=VOID, customer="cus_2")
    for events in ((instead,), (event(5), instead), (stranger, instead), (void, instead)):
        refused = folded_of(state, *events)
        assert "no void that was counted" in str(refused.refused[0][1])
    assert total_of(folded_of(state, event(1), void, instead)) == 10


def test_what_its_meter_refused_counts_once_it_can() -> None:
    """The void of its record counted then, and is known to be its own."""
    state = state_of()
    void, instead = event(1, kind=VOID), event(2, kind=INSTEAD, meter="later", value=10 * NANOS)
    folds = [folded_of(state, event(1)), folded_of(state, void, instead)]
    assert len(folds[-1].refused) == 1
    state.adopt([Adoption("acme", meter(Aggregation.SUM, meter_id="mtr_later", code="later"), 2)])
    folds.append(folded_of(state, void, instead))
    assert total_of(*folds) == 10


def test_a_refused_event_may_come_again_once_its_meter_is_known() -> None:
    state = PartitionState(0, 1, 0)
    assert folded_of(state, event(1)).counted == 0
    state.adopt([Adoption("acme", meter(Aggregation.SUM), 1)])
    assert folded_of(state, event(1)).counted == 1


def test_an_event_of_another_partitions_customer_is_refused() -> None:
    state = state_of(partition=0, partitions=2)
    taken = folded_of(state, *(event(nth, customer=f"cus_{nth}") for nth in range(40)))
    assert 0 < taken.counted < 40
    assert "another partition" in str(taken.refused[0][1])


def test_a_record_that_is_none_is_refused_and_the_next_one_counts() -> None:
    state = state_of()
    good = record_of(1, Sent("acme", 0, (event(1),)))
    found = read([Record(0, b"\x00nonsense", headers_of("acme")), good, Record(2, good.value, [])])
    folded = fold(state, found, 3)
    assert folded.counted == 1
    assert [(each[0].offset, type(each[1])) for each in folded.refused] == [(0, MalformedUsage), (2, MalformedUsage)]


def test_an_id_is_forgotten_by_the_brokers_time() -> None:
    state, day_ms = state_of(), 86_400_000
    folded_of(state, event(1))
    assert folded_of(state, event(1), timestamp=APPENDED_MS + REMEMBERED_DAYS * day_ms).duplicates == 1
    assert folded_of(state, event(1), timestamp=APPENDED_MS + (REMEMBERED_DAYS + 1) * day_ms).counted == 1


def test_a_version_survives_its_json() -> None:
    for _, version in tenants_meters():
        assert version_from(version.as_json()) == version


@settings(deadline=None, max_examples=LENGTH.scaled(40))
@given(data=st.data())
def test_the_set_of_ids_is_a_set(data: st.DataObject) -> None:
    seen = SeenIds(slots=16)
    model: dict[int, tuple[int, int]] = {}
    for _ in range(data.draw(st.integers(1, 6))):
        names = data.draw(st.sets(st.integers(0, 400), max_size=120))
        day = data.draw(st.integers(100, 110))
        offered = [(name, data.draw(st.integers(0, 2**32 - 1))) for name in sorted(names)]
        block = b"".join(entry(id_hash(b"", str(name)), checksum) for name, checksum in offered)
        days, checksums = seen.look_up(entries_of(block))
        expected = [model.get(name) for name, _ in offered]
        assert [None if on == NEVER else (on, int(held)) for on, held in zip(days, checksums, strict=True)] == expected
        seen.load(block, day)
        model |= {name: (day, checksum) for name, checksum in offered}
        assert seen.count == len(model)


def test_a_large_set_forgets_nothing() -> None:
    seen, chance = SeenIds(), np.random.default_rng(1)
    entries = chance.integers(0, 2**64, size=(200_000, 2), dtype=np.uint64)
    for part in np.split(entries, 20):
        seen.add(part, 20_000)
    days, checksums = seen.look_up(entries)
    assert seen.count == 200_000
    assert (days == 20_000).all()
    assert (checksums == entries[:, 1] >> np.uint64(32)).all()
    assert (seen.look_up(chance.integers(0, 2**64, size=(1000, 2), dtype=np.uint64))[0] == NEVER).all()
    assert seen.memory_bytes < 45 * 1_000_000


def test_a_set_of_ids_is_no_larger_than_what_is_remembered_needs() -> None:
    seen, chance = SeenIds(), np.random.default_rng(2)
    largest = 0
    for day in range(20_000, 20_000 + 6 * REMEMBERED_DAYS):
        entries = chance.integers(0, 2**64, size=(1_000, 2), dtype=np.uint64)
        seen.add(entries, day)
        assert (seen.look_up(entries)[0] == day).all()
        if day < 20_000 + 2 * REMEMBERED_DAYS:
            largest = max(largest, seen.memory_bytes)
    assert seen.memory_bytes <= largest


@pytest.mark.parametrize("kind", [EVENT, VOID])
def test_the_parts_of_an_identity_do_not_run_together(kind: str) -> None:
    assert id_hash(id_prefix("a", "bc", kind), "d") != id_hash(id_prefix("ab", "c", kind), "d")
    assert day_of(APPENDED_MS) == APPENDED_MS // 86_400_000
