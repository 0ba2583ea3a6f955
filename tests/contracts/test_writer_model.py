"""Random histories, told to the writers and to a model that could not be simpler: both must say the same.

Commands go out in waves over several writers on one store. Within a wave their order is open, so the model takes them
in the order of the log: it checks every answer against what its command should say at that point.
"""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.kernel.stream import Command
from infra.event_store.memory import MemoryLog, MemoryStorage, MemoryStore
from infra.event_store.port import Outcome
from infra.event_store.storage import Appended, StoreLost, Write
from infra.event_store.writer import GroupCommitWriter
from infra.settings import WriterSettings
from testing.requests import TENANT, request
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Move, Open, Raise, RaiseAsMuchAs, Rename, Touch
from tests.lengths import LENGTH

COUNTERS = st.sampled_from(["c0", "c1", "c2"])
NAMES = st.sampled_from([None, "n", "m"])
AMOUNTS = st.integers(-3, 3)
COMMANDS = st.one_of(
    st.builds(Open, counter_id=COUNTERS, name=NAMES),
    st.builds(Raise, counter_id=COUNTERS, by=AMOUNTS, events=st.integers(1, 3)),
    st.builds(Move, source_id=COUNTERS, target_id=COUNTERS, by=AMOUNTS),
    st.builds(RaiseAsMuchAs, counter_id=COUNTERS, as_id=COUNTERS),
    st.builds(Rename, counter_id=COUNTERS, name=NAMES),
    st.builds(Touch, counter_id=COUNTERS),
)
# A wave: commands, each with a small number as its key (so that keys repeat) and the writer that gets it.
WAVES = st.lists(st.lists(st.tuples(COMMANDS, st.integers(0, 30), st.integers(0, 2)), max_size=12), max_size=6)


class LossyStorage(MemoryStorage):
    """Loses its connection now and then: before the batch is written, or after."""

    def __init__(self, store: MemoryStore, losses: list[int]) -> None:
        super().__init__(store)
        self._losses = losses  # how many appends go well before each loss; odd: it is lost after the commit

    async def append(self, write: Write) -> Appended:
        loss = self._next_loss()
        if loss == 0:
            raise StoreLost("before")
        appended = await super().append(write)
        if loss == 1:
            raise StoreLost("after")
        return appended

    def _next_loss(self) -> int | None:
        if not self._losses:
            return None
        if self._losses[0] > 1:
            self._losses[0] -= 2
            return None
        return self._losses.pop(0)


@dataclass
class Model:
    """Counters as plain dictionaries."""

    values: dict[str, int] = field(default_factory=dict)
    names: dict[str, str | None] = field(default_factory=dict)
    events: int = 0

    def take(self, command: Command) -> str | None:
        """The refusal code, or None; the counters and the number of events afterwards."""
        match command:
            case Open(counter_id=counter_id, name=name):
                if counter_id in self.values:
                    return "counter_exists"
                if name is not None and name in self.names.values():
                    return "name_taken"
                self.values[counter_id], self.names[counter_id] = 0, name
                self.events += 1
                return None
            case Raise(counter_id=counter_id, by=by, events=events):
                refused = self._raise([(counter_id, by)])
                if refused is None:  # the handler decides all of its events on the counter as it was
                    self.values[counter_id] += by * (events - 1)
                    self.events += events - 1
                return refused
            case Move(source_id=source_id, target_id=target_id, by=by):
                return self._raise([(source_id, -by), (target_id, by)])
            case RaiseAsMuchAs(counter_id=counter_id, as_id=as_id):
                if as_id not in self.values:
                    return "counter_not_found"
                return self._raise([(counter_id, self.values[as_id])])
            case Rename(counter_id=counter_id, name=name):
                if counter_id not in self.values:
                    return "counter_not_found"
                if name is not None and any(n == name for c, n in self.names.items() if c != counter_id):
                    return "name_taken"
                self.names[counter_id] = name
                self.events += 1
                return None
            case _:
                assert isinstance(command, Touch)
                return None if command.counter_id in self.values else "counter_not_found"

    def _raise(self, changes: list[tuple[str, int]]) -> str | None:
        for counter_id, by in changes:
            if counter_id not in self.values:
                return "counter_not_found"
            if self.values[counter_id] + by < 0:
                return "below_zero"
        for counter_id, by in changes:
            self.values[counter_id] += by
            self.events += 1
        return None


@settings(max_examples=LENGTH.scaled(100), deadline=None)
@given(
    waves=WAVES,
    losses=st.lists(st.integers(0, 9), max_size=4),
    batch=st.integers(1, 5),
    cached=st.integers(0, 4),
    crowd=st.integers(1, 3),
)
def test_writers_and_model_agree(
    waves: list[list[tuple[Command, int, int]]], losses: list[int], batch: int, cached: int, crowd: int
) -> None:
    asyncio.run(_agree(waves, losses, batch, cached, crowd))


async def _agree(
    waves: list[list[tuple[Command, int, int]]], losses: list[int], batch: int, cached: int, crowd: int
) -> None:
    store = MemoryStore()
    limits = WriterSettings(
        batch_max_commands=batch,
        crowd_commands=crowd,
        cached_streams=cached,
        reconnect_pause_ms=0,
        reconnect_max_tries=9,
        lock_first_batches=2,
    )
    writers = [
        GroupCommitWriter(LossyStorage(store, losses), handlers=HANDLERS, codec=CounterCodec(), settings=limits)
        for _ in range(3)
    ]
    first: dict[str, tuple[Command, Outcome]] = {}
    for wave in waves:
        # One body per key: what is sent under a key again is the same request.
        bodies: dict[str, Command] = {}
        calls = []
        for command, number, place in wave:
            key = f"k{number}"
            body = first[key][0] if key in first else bodies.setdefault(key, command)
            calls.append((key, body, writers[place]))
        outcomes = await asyncio.gather(*(writer.submit(request(body, key=key)) for key, body, writer in calls))
        for (key, body, _), outcome in zip(calls, outcomes, strict=True):
            known = first.setdefault(key, (body, outcome))[1]
            assert outcome._replace(replayed=True) == known._replace(replayed=True), "a repeat got another answer"
    for writer in writers:
        await writer.close()

    # The store's results stand in the order they were decided in.
    model = Model()
    for tenant_id, key in store.results:
        body, outcome = first[key]
        assert model.take(body) == outcome.refusal_code, (key, body)
        assert outcome.position == model.events, (key, body)
        assert tenant_id == TENANT
    assert len(store.results) == len(first)
    assert await MemoryLog(store).head() == model.events
    held = {key[2]: owner for key, owner in store.claims.items()}
    assert held == {name: counter_id for counter_id, name in model.names.items() if name is not None}
