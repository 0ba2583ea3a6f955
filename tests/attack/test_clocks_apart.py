"""Machines whose clocks are hours apart: what decides by a wrong clock writes nothing and says so."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from domain.kernel.identifiers import EVENT, decode
from infra.clock import Clock, clock_apart_ms, system_clock
from infra.event_store.memory import MemoryStorage, MemoryStore
from infra.event_store.opening import open_writer
from infra.event_store.port import ClockApart
from infra.event_store.writer import GroupCommitWriter
from infra.settings import WriterSettings
from testing.requests import request
from testing.services import FreshDatabase
from tests.attack.target import Target
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Open, Raise
from tests.e2e.api_process import ApiProcess

APART = timedelta(hours=2)
BOUND_MS = 2_000
SETTINGS = WriterSettings(clock_apart_max_ms=BOUND_MS)

SHIFTED = """
from datetime import timedelta
import infra.clock
right = infra.clock.system_clock
infra.clock.system_clock = lambda: right() + timedelta(hours=2)
"""
"""What makes a process's clock wrong: run before anything of ours is imported."""

START_LIMIT_S = 60.0
POLL_S = 0.05

OpenWriter = Callable[[Clock], GroupCommitWriter]


def apart(by: timedelta) -> Clock:
    """A clock that is wrong by so much."""
    return lambda: system_clock() + by


def wrong_at_first(by: timedelta, *, readings: int) -> Clock:
    """A clock that is wrong for its first readings: as of a process that stood still before it could write."""
    left = readings

    def read() -> datetime:
        nonlocal left
        left -= 1
        return system_clock() + (by if left >= 0 else timedelta())

    return read


@pytest.fixture(params=["postgresql", "memory"])
async def writer_with(request: pytest.FixtureRequest, database: FreshDatabase) -> AsyncIterator[OpenWriter]:
    """Writers on one store, each with the clock of its machine."""
    store = MemoryStore()
    writers: list[GroupCommitWriter] = []

    def build(clock: Clock) -> GroupCommitWriter:
        if request.param == "memory":
            storage = MemoryStorage(store, clock_apart_max_ms=BOUND_MS)
            writer = GroupCommitWriter(storage, handlers=HANDLERS, codec=CounterCodec(), settings=SETTINGS, clock=clock)
        else:
            writer = open_writer(database.dsn, SETTINGS, handlers=HANDLERS, codec=CounterCodec(), clock=clock)
        writers.append(writer)
        return writer

    yield build
    for writer in writers:
        await writer.close()


@pytest.mark.parametrize(("by", "word"), [(APART, "ahead of"), (-APART, "behind")])
async def test_a_wrong_clock_writes_nothing_and_says_so(writer_with: OpenWriter, by: timedelta, word: str) -> None:
    wrong, right = writer_with(apart(by)), writer_with(system_clock)
    opening = request(Open(counter_id="c1"), key="k1")
    with pytest.raises(ClockApart, match=f"7[12][0-9]{{2}}\\.[0-9]+ s {word} the database's") as refused:
        await wrong.submit(opening)
    assert "TALLYBOOK_WRITER_CLOCK_APART_MAX_MS" in str(refused.value)
    assert (await right.submit(opening)).position == 1, "the key is free: nothing was written under it"
    with pytest.raises(ClockApart):
        await wrong.submit(request(Raise(counter_id="c1", by=1)))
    assert (await right.submit(request(Raise(counter_id="c1", by=1)))).position == 2


@pytest.mark.parametrize("by_ms", [-BOUND_MS // 2, BOUND_MS // 2])
async def test_a_clock_within_the_bound_writes(writer_with: OpenWriter, by_ms: int) -> None:
    writer = writer_with(apart(timedelta(milliseconds=by_ms)))
    assert (await writer.submit(request(Open(counter_id="c1")))).position == 1


async def test_a_batch_that_was_decided_too_long_ago_is_decided_again(writer_with: OpenWriter) -> None:
    writer = writer_with(wrong_at_first(-APART, readings=1))
    assert (await writer.submit(request(Open(counter_id="c1")))).position == 1


async def test_ids_follow_a_clock_that_was_set_right(database: FreshDatabase) -> None:
    """Nothing of two hours ahead may stay in the ids that come after: by their times events are found."""
    clock = wrong_at_first(APART, readings=3)
    writer = open_writer(database.dsn, SETTINGS, handlers=HANDLERS, codec=CounterCodec(), clock=clock)
    with pytest.raises(ClockApart):
        await writer.submit(request(Open(counter_id="c1")))
    await writer.submit(request(Open(counter_id="c1")))
    await writer.close()
    connection = await asyncpg.connect(database.dsn)
    row = await connection.fetchrow("SELECT event_id, recorded_at FROM log.events")
    await connection.close()
    assert row is not None
    made_ms = decode(row["event_id"][len(EVENT) :]) >> 80
    assert abs(made_ms - row["recorded_at"].timestamp() * 1000) <= BOUND_MS


async def test_an_api_whose_machine_is_two_hours_ahead_answers_why_it_writes_nothing(
    target: Target, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SHIFTED)
    python_path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    wrong = ApiProcess(target.dsn, tmp_path, PYTHONPATH=python_path)
    wrong.launch()
    there = replace(target, process=wrong)
    head = await target.head_position()
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while True:
                with contextlib.suppress(OSError):
                    ready = await there.send("GET", "/health/ready", headers=())
                    break
                await asyncio.sleep(POLL_S)
        clock = next(part for part in ready.json["parts"] if part["name"] == "clock")
        assert (ready.status, clock["ok"]) == (503, False)
        assert "ahead of the database's" in clock["detail"]
        refused = await there.send("POST", "/v1/products", b'{"name":"P"}')
        assert (refused.status, refused.code) == (503, "clock_apart")
        assert refused.headers["retry-after"] == "1"
        assert "TALLYBOOK_WRITER_CLOCK_APART_MAX_MS" in refused.json["detail"]
    finally:
        wrong.kill()
    assert await target.head_position() == head, "nothing was written"
    made = await target.made("/v1/products", {"name": "P"})
    event = await target.send("GET", "/v1/events?limit=1")
    assert event.json["data"][0]["stream"] == made["id"]
    found = await target.send("GET", f"/v1/events/{event.json['data'][0]['id']}")
    assert found.status == 200, "an event is found by its id"


def test_what_a_reading_between_two_of_ours_proves() -> None:
    noon = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
    second = timedelta(seconds=1)
    assert clock_apart_ms(noon, noon, noon + second) == 0
    assert clock_apart_ms(noon, noon + second, noon + second) == 0
    assert clock_apart_ms(noon, noon - second, noon + second) == 1000
    assert clock_apart_ms(noon, noon + 3 * second, noon + second) == -2000
