"""Read models equal the domain: whatever the history, however it is cut into batches, every state comes back whole."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.catalogue import STREAMS
from infra.event_store.port import Recorded
from infra.kafka.topics import partition_of
from projections.catalogue import READ_MODELS, read_models_of
from projections.folding.facts import PROJECTION_OF_STREAM
from projections.folding.fold import CachedFold, Fold, Poison
from projections.read_model import Fact, Key, Projection, ReadModel
from schemas.codec import decode_entry, decode_event
from testing.histories import History
from testing.random_histories import scramble
from tests.lengths import LENGTH

TENANTS = ("acme", "other")
STREAM_OF_MODEL = {
    model.name: stream.name
    for model in READ_MODELS
    for stream in STREAMS.values()
    if model.events == set(stream.events) and model.key == ("tenant_id", stream.id_field)
}


def facts_of(events: list[Recorded], projection: Projection) -> list[Fact]:
    """A history as the facts of one projection."""
    found = []
    for event in events:
        if projection is Projection.LEDGER:
            decoded: Any = None if event.postings is None else decode_entry(event.postings)
        else:
            decoded = decode_event(event.payload) if PROJECTION_OF_STREAM.get(event.stream_type) is projection else None
        if decoded is None:
            continue
        shard = partition_of(event.partition_key.encode(), 12)
        found.append(
            Fact(
                decoded,
                event.event_type,
                event.tenant_id,
                event.stream_type,
                event.stream_id,
                event.stream_version,
                event.position,
                event.event_id,
                event.effective_at,
                event.recorded_at,
                event.causation_id,
                event.partition_key.removeprefix(f"{event.tenant_id}:"),
                shard,
            )
        )
    return found


class Tables:
    """Tables in memory that hold what was written, value by value, and nothing of the objects that it was made of."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[Key, dict[str, Any]]] = {}

    def upsert(self, model: ReadModel[Any], rows: dict[Key, Any]) -> None:
        table = self.rows.setdefault(model.name, {})
        for key, row in rows.items():
            values = dict(zip((column.name for column in model.columns), model.write(key, row), strict=True))
            assert tuple(values[name] for name in model.key) == key
            before = table.get(key)
            if before is not None:
                for name in model.sums:
                    values[name] += before[name]
            table[key] = values

    def load(self, model: ReadModel[Any], keys: list[Key]) -> list[tuple[Key, Any]]:
        table: Any = self.rows.get(model.name, {})
        return [(key, model.read(table[key])) for key in keys if key in table]


def in_one_go(events: list[Recorded]) -> Tables:
    """The fold of the whole history in memory."""
    tables = Tables()
    for projection in Projection:
        fold = Fold(read_models_of(projection))
        fold.apply([fact for fact in facts_of(events, projection) if fold.steps(fact.event_type)])
        for model in fold.models:
            if fold.rows[model.name]:
                tables.upsert(model, fold.rows[model.name])
    return tables


def in_batches(events: list[Recorded], sizes: list[int], *, cached_rows: int) -> Tables:
    """The fold of batches, one after another, over what the tables hold."""
    tables = Tables()
    for projection in Projection:
        models = {model.name: model for model in read_models_of(projection)}
        fold = CachedFold(tuple(models.values()), cached_rows=cached_rows)
        facts = [fact for fact in facts_of(events, projection) if fold.wants(fact.event_type)]
        turn = 0
        while facts:
            size = sizes[turn % len(sizes)]
            batch, facts = facts[:size], facts[size:]
            turn += 1
            for name, keys in fold.begin(batch).items():
                fold.load(name, tables.load(models[name], keys))
            fold.apply(batch)
            for name, rows in fold.changed().items():
                tables.upsert(models[name], rows)
            fold.keep()
    return tables


@settings(max_examples=LENGTH.scaled(10), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    cached_rows=st.sampled_from((0, 3, 1000)),
)
def test_any_history_in_any_batches_comes_to_the_same_rows(seed: int, sizes: list[int], cached_rows: int) -> None:
    history = scramble(History(seed), TENANTS, 60)
    assert in_batches(history.events, sizes, cached_rows=cached_rows).rows == in_one_go(history.events).rows


@settings(max_examples=LENGTH.scaled(8), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_row_gives_back_the_state_that_the_domain_has(seed: int) -> None:
    history = scramble(History(seed), TENANTS, 80)
    tables = in_one_go(history.events)
    for model in READ_MODELS:
        stream = STREAM_OF_MODEL.get(model.name)
        if stream is None:
            continue
        rows: Any = tables.rows.get(model.name, {})
        expected = {
            (event.tenant_id, event.stream_id): history.state(event.tenant_id, STREAMS[stream], event.stream_id)
            for event in history.events
            if event.stream_type == stream
        }
        assert {key: model.read(row).state for key, row in rows.items()} == expected


def test_the_histories_have_events_of_every_type() -> None:
    """Of three, as what is rare in one is in another, whichever commands were added."""
    missing = {each for name in PROJECTION_OF_STREAM for each in STREAMS[name].events}
    for seed in (1, 3, 6):
        missing -= {event.event_type for event in scramble(History(seed), TENANTS, 2_000).events}
    assert missing == set()


def test_every_stream_of_a_topic_that_is_folded_has_a_read_model() -> None:
    unread = {"invoice_numbering", "billing_settings", "tax_settings"}
    assert set(PROJECTION_OF_STREAM) - set(STREAM_OF_MODEL.values()) == unread


def test_an_event_out_of_order_is_refused_not_folded() -> None:
    history = scramble(History(1), TENANTS, 60)
    facts = [f for f in facts_of(history.events, Projection.BILLING) if f.stream_type == "customer"]
    updated = next(fact for fact in facts if fact.stream_version == 2)
    fold = Fold(read_models_of(Projection.BILLING))
    with pytest.raises(Poison):
        fold.apply([updated])
    created = next(fact for fact in facts if fact.stream_id == updated.stream_id and fact.stream_version == 1)
    fold = Fold(read_models_of(Projection.BILLING))
    fold.apply([created, updated])
    with pytest.raises(Poison):
        fold.apply([updated])
