"""The writer's rules when things go wrong, over a store that fails on demand."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest

from infra.event_store.memory import MemoryStorage, MemoryStore
from infra.event_store.port import Answer, Decided, Outcome, Request, StoreUnavailable
from infra.event_store.states import Versioned
from infra.event_store.storage import (
    Appended,
    Conflict,
    Loaded,
    Session,
    Stale,
    StoreLost,
    StreamKey,
    Unwritable,
    Wanted,
    Write,
)
from infra.event_store.writer import GroupCommitWriter
from infra.settings import WriterSettings
from testing.requests import TENANT, request
from tests.contracts.counter_stream import COUNTERS, HANDLERS, Counter, CounterCodec, Open, Raise

LIMITS = {"reconnect_max_tries": 3, "reconnect_pause_ms": 0}


class FailingStorage(MemoryStorage):
    """Before and after each append a plan may raise; `attempts` are the idempotency keys of every append tried."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.before: Callable[[Write], None] = lambda _: None
        self.after: Callable[[Write], None] = lambda _: None
        self.attempts: list[list[str]] = []
        self.locks = 0
        self.loaded: list[StreamKey] = []

    async def load(self, wanted: Sequence[Wanted]) -> Sequence[Loaded]:
        self.loaded += [want.key for want in wanted]
        return await super().load(wanted)

    async def append(self, write: Write) -> Appended:
        self.attempts.append([result.idempotency_key for result in write.results])
        await asyncio.sleep(0)  # the batch is on its way
        self.before(write)
        appended = await super().append(write)
        self.after(write)
        return appended

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[Session]:
        self.locks += 1
        async with super().locked() as session:
            yield session


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def storage(store: MemoryStore) -> FailingStorage:
    return FailingStorage(store)


@pytest.fixture
async def writer(storage: FailingStorage) -> AsyncIterator[GroupCommitWriter]:
    settings = WriterSettings(**LIMITS)
    writer = GroupCommitWriter(storage, handlers=HANDLERS, codec=CounterCodec(), settings=settings)
    yield writer
    await writer.close()


def fails(times: int, error: Exception) -> Callable[[Write], None]:
    left = times

    def fail(_: Write) -> None:
        nonlocal left
        if left:
            left -= 1
            raise error

    return fail


async def crowd(writer: GroupCommitWriter, count: int) -> list[Outcome | BaseException]:
    return await asyncio.gather(
        *(writer.submit(request(Open(counter_id=f"c{n}"), key=f"k{n}")) for n in range(count)), return_exceptions=True
    )


async def test_a_batch_lost_after_its_commit_is_answered_from_what_was_stored(
    writer: GroupCommitWriter, storage: FailingStorage, store: MemoryStore
) -> None:
    storage.after = fails(1, StoreLost("cut"))
    outcomes = await crowd(writer, 5)
    assert outcomes == [Outcome(None, None, n + 1, replayed=False) for n in range(5)]
    assert len(store.events) == 5
    assert len(storage.attempts) == 1


async def test_a_batch_lost_before_its_commit_is_written_again(
    writer: GroupCommitWriter, storage: FailingStorage, store: MemoryStore
) -> None:
    storage.before = fails(2, StoreLost("cut"))
    assert [isinstance(outcome, Outcome) for outcome in await crowd(writer, 5)] == [True] * 5
    assert len(store.events) == 5
    assert len(storage.attempts) == 3


async def test_states_in_memory_are_dropped_with_the_connection(
    writer: GroupCommitWriter, storage: FailingStorage
) -> None:
    await writer.submit(request(Open(counter_id="c1")))
    assert writer.held((TENANT, COUNTERS.name, "c1")) == Versioned(Counter("c1", 0, None, None), 1)
    storage.after = fails(1, StoreLost("cut"))
    # Written, but its states never reached the writer's memory: the next command must load what is there now.
    await writer.submit(request(Raise(counter_id="c1", by=4)))
    assert (await writer.submit(request(Raise(counter_id="c1", by=-4)))).refusal_code is None


async def test_a_store_that_stays_away_is_told_to_the_caller_who_may_try_again(
    writer: GroupCommitWriter, storage: FailingStorage, store: MemoryStore
) -> None:
    storage.before = fails(100, StoreLost("cut"))
    with pytest.raises(StoreUnavailable):
        await writer.submit(request(Open(counter_id="c1"), key="k"))
    assert len(storage.attempts) == 4
    storage.before = lambda _: None
    assert (await writer.submit(request(Open(counter_id="c1"), key="k"))).position == 1


async def test_an_unknown_outcome_that_was_written_is_found_by_the_same_key(
    writer: GroupCommitWriter, storage: FailingStorage, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.after = fails(1, StoreLost("cut"))
    look_up = storage.look_up

    async def unreachable(*_: object) -> None:
        raise StoreLost("still cut")

    monkeypatch.setattr(storage, "look_up", unreachable)
    with pytest.raises(StoreUnavailable):
        await writer.submit(request(Open(counter_id="c1"), key="k"))
    monkeypatch.setattr(storage, "look_up", look_up)
    assert await writer.submit(request(Open(counter_id="c1"), key="k")) == Outcome(None, None, 1, replayed=True)
    assert len(store.events) == 1


async def test_a_command_that_cannot_be_written_is_found_and_the_others_land(
    writer: GroupCommitWriter, storage: FailingStorage, store: MemoryStore
) -> None:
    def refuse(write: Write) -> None:
        if any(result.idempotency_key in ("k3", "k8") for result in write.results):
            raise Unwritable from ValueError("no such byte")

    storage.before = refuse
    outcomes = await crowd(writer, 16)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ValueError)] == [3, 8]
    assert sum(isinstance(outcome, Outcome) for outcome in outcomes) == 14
    assert len(store.events) == 14
    assert len(storage.attempts) < 16, "by halves, not one by one"


async def test_after_a_conflict_some_batches_lock_first(
    writer: GroupCommitWriter, storage: FailingStorage, store: MemoryStore
) -> None:
    storage.before = fails(1, Conflict(Stale.STREAMS))
    for n in range(30):
        await writer.submit(request(Open(counter_id=f"c{n}")))
    assert storage.locks == WriterSettings().lock_first_batches
    assert len(store.events) == 30


async def test_what_a_command_makes_is_not_looked_for_and_found_all_the_same_where_it_is_there(
    writer: GroupCommitWriter, storage: FailingStorage, store: MemoryStore
) -> None:
    other = GroupCommitWriter(MemoryStorage(store), handlers=HANDLERS, codec=CounterCodec(), settings=WriterSettings())
    there = [await other.submit(request(Open(counter_id="c1"), key="k1"))]
    assert (await writer.submit(request(Open(counter_id="c0")))).refusal_code is None
    assert storage.loaded == []
    outcomes = await asyncio.gather(
        writer.submit(request(Open(counter_id="c1"), key="another")),
        writer.submit(request(Open(counter_id="c1"), key="k1")),
        writer.submit(request(Open(counter_id="c2"))),
        writer.submit(request(Raise(counter_id="c2", by=3))),
    )
    assert [outcome.refusal_code for outcome in outcomes] == ["counter_exists", None, None, None]
    assert outcomes[1] == there[0]._replace(replayed=True)
    assert [(event.stream_id, event.stream_version) for event in store.events] == [
        ("c1", 1),
        ("c0", 1),
        ("c2", 1),
        ("c2", 2),
    ]
    await other.close()


async def test_conflicts_without_end_are_told_to_the_caller(
    writer: GroupCommitWriter, storage: FailingStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.asynccontextmanager
    async def overtaken() -> AsyncIterator[Session]:
        storage.locks += 1
        yield storage
        raise Conflict(Stale.STREAMS)

    monkeypatch.setattr(storage, "locked", overtaken)
    storage.before = fails(1_000, Conflict(Stale.STREAMS))
    with pytest.raises(StoreUnavailable):
        await writer.submit(request(Open(counter_id="c1")))
    assert storage.locks == WriterSettings().conflict_max_retries


async def test_a_stream_that_cannot_be_read_fails_only_those_who_need_it(store: MemoryStore) -> None:
    first = GroupCommitWriter(MemoryStorage(store), handlers=HANDLERS, codec=CounterCodec(), settings=WriterSettings())
    await crowd(first, 3)
    await first.close()
    key = (TENANT, "counter", "c1")
    store.streams[key] = [replace(event, payload=b"not an event") for event in store.streams[key]]

    writer = GroupCommitWriter(MemoryStorage(store), handlers=HANDLERS, codec=CounterCodec(), settings=WriterSettings())
    outcomes = await asyncio.gather(
        *(writer.submit(request(Raise(counter_id=f"c{n}", by=1))) for n in range(3)), return_exceptions=True
    )
    assert [isinstance(outcome, Outcome) for outcome in outcomes] == [True, False, True]
    await writer.close()


async def test_a_snapshot_that_cannot_be_read_is_passed_over(store: MemoryStore) -> None:
    settings = WriterSettings(snapshot_every_events=2)
    first = GroupCommitWriter(MemoryStorage(store), handlers=HANDLERS, codec=CounterCodec(), settings=settings)
    await first.submit(request(Open(counter_id="c1")))
    await first.submit(request(Raise(counter_id="c1", by=7)))
    await first.close()
    key = (TENANT, "counter", "c1")
    fingerprint, version, state = store.snapshots[key]
    assert version == 2

    for snapshot in (b"not a state", state):
        store.snapshots[key] = (fingerprint, version, snapshot)
        writer = GroupCommitWriter(MemoryStorage(store), handlers=HANDLERS, codec=CounterCodec(), settings=settings)
        assert (await writer.submit(request(Raise(counter_id="c1", by=-8)))).refusal_code == "below_zero"
        assert writer.held((TENANT, COUNTERS.name, "c1")) == Versioned(Counter("c1", 7, None, None), 2)
        await writer.close()


async def test_a_snapshot_of_other_code_is_passed_over(store: MemoryStore) -> None:
    settings = WriterSettings(snapshot_every_events=1)
    first = GroupCommitWriter(MemoryStorage(store), handlers=HANDLERS, codec=CounterCodec(), settings=settings)
    await first.submit(request(Open(counter_id="c1")))
    await first.close()
    key = (TENANT, "counter", "c1")
    store.snapshots[key] = ("another fingerprint", 1, b"not to be looked at")
    second = GroupCommitWriter(MemoryStorage(store), handlers=HANDLERS, codec=CounterCodec(), settings=settings)
    assert (await second.submit(request(Raise(counter_id="c1", by=1)))).refusal_code is None
    await second.close()


async def test_a_request_hash_has_32_bytes(writer: GroupCommitWriter) -> None:
    command = request(Open(counter_id="c1"))
    with pytest.raises(ValueError, match="32 bytes"):
        await writer.submit(dataclasses.replace(command, request_hash=b"short"))


class Halves:
    """Eight callers who raise one counter, of whom half are decided while the other half is being written."""

    def __init__(self, writer: GroupCommitWriter, storage: FailingStorage) -> None:
        self._writer = writer
        self._storage = storage
        self.decided: list[int] = []
        self.ahead: list[int] = []  # how many had been decided when an append ended

    async def run(
        self, *, before: Callable[[Write], None] = lambda _: None, after: Callable[[Write], None] = lambda _: None
    ) -> list[Outcome | BaseException]:
        await self._writer.submit(request(Open(counter_id="c")))
        self._storage.attempts.clear()

        def end(write: Write) -> None:
            self.ahead.append(len(self.decided))
            after(write)

        self._storage.before, self._storage.after = before, end
        return await asyncio.gather(*(self._writer.submit(self._raise(n)) for n in range(8)), return_exceptions=True)

    def _raise(self, n: int) -> Request:
        def answer(decided: Decided) -> Answer:
            counter = decided.streams.get(COUNTERS, "c")
            assert counter is not None
            self.decided.append(n)
            return Answer(str(counter.value).encode())

        return request(Raise(counter_id="c", by=1), key=f"k{n}", answer=answer)


@pytest.fixture
async def halves(storage: FailingStorage) -> AsyncIterator[Halves]:
    settings = WriterSettings(**LIMITS, crowd_commands=2)
    writer = GroupCommitWriter(storage, handlers=HANDLERS, codec=CounterCodec(), settings=settings)
    yield Halves(writer, storage)
    await writer.close()


async def test_half_of_a_crowd_is_decided_while_the_other_half_is_written(
    halves: Halves, storage: FailingStorage
) -> None:
    outcomes = await halves.run()
    assert outcomes == [Outcome(None, Answer(b"%d" % (n + 1)), n + 2, replayed=False) for n in range(8)]
    assert storage.attempts == [["k0", "k1", "k2", "k3"], ["k4", "k5", "k6", "k7"]]
    assert halves.decided == list(range(8)), "each was decided once"
    assert halves.ahead == [8, 8]


@pytest.mark.parametrize("error", [Conflict(Stale.STREAMS), Conflict(Stale.RESULTS), StoreLost("cut")], ids=repr)
async def test_what_was_decided_on_a_batch_that_failed_is_decided_again(
    halves: Halves, storage: FailingStorage, store: MemoryStore, error: Exception
) -> None:
    outcomes = await halves.run(before=fails(1, error))
    assert outcomes == [Outcome(None, Answer(b"%d" % (n + 1)), n + 2, replayed=False) for n in range(8)]
    assert [event.stream_version for event in store.events] == list(range(1, 10))
    assert [key for _, key in store.results][1:] == [f"k{n}" for n in range(8)]
    assert storage.attempts[0] == ["k0", "k1", "k2", "k3"]
    assert halves.decided[:8] == list(range(8)), "the second half was decided while the first was on its way"
    assert halves.decided[-4:] == [4, 5, 6, 7], "and then once more"
    assert len(halves.decided) > 8


async def test_what_was_decided_on_a_batch_lost_after_its_commit_is_decided_again(
    halves: Halves, storage: FailingStorage, store: MemoryStore
) -> None:
    outcomes = await halves.run(after=fails(1, StoreLost("cut")))
    assert outcomes == [Outcome(None, Answer(b"%d" % (n + 1)), n + 2, replayed=False) for n in range(8)]
    assert [event.stream_version for event in store.events] == list(range(1, 10))
    assert halves.decided == [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]


async def test_what_was_decided_on_a_command_that_cannot_be_written_is_decided_again(
    halves: Halves, storage: FailingStorage, store: MemoryStore
) -> None:
    def refuse(write: Write) -> None:
        if any(result.idempotency_key == "k1" for result in write.results):
            raise Unwritable from ValueError("no such byte")

    outcomes = await halves.run(before=refuse)
    assert isinstance(outcomes.pop(1), ValueError)
    assert outcomes == [Outcome(None, Answer(b"%d" % (n + 1)), n + 2, replayed=False) for n in range(7)]
    assert [event.stream_version for event in store.events] == list(range(1, 9))
