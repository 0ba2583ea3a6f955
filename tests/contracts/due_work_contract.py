"""What every store must do with due work. PostgreSQL and the in-memory twin each run all of it."""

import asyncio
from datetime import UTC, datetime, timedelta

from domain.kernel.stream import WorkKind
from infra.event_store.port import Work
from infra.event_store.writer import GroupCommitWriter
from testing.requests import TENANT, request
from tests.contracts.counter_stream import Open, Remind
from tests.contracts.event_store_contract import Cell

KIND = WorkKind.SAGA_DEADLINE
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2999, 1, 1, tzinfo=UTC)


async def remind(
    writer: GroupCommitWriter,
    counter_id: str,
    due_at: datetime | None = None,
    *,
    after_ms: int | None = None,
    clock_id: str | None = None,
) -> int:
    await writer.submit(request(Open(counter_id=counter_id)))
    command = Remind(counter_id=counter_id, due_at=due_at, after_ms=after_ms, clock_id=clock_id)
    return (await writer.submit(request(command))).position


async def claim(cell: Cell, *, limit: int = 10, lease_ms: int = 60_000, owner: str = "me") -> list[Work]:
    return await cell.due_work.claim({KIND: limit}, owner=owner, lease_ms=lease_ms)


class DueWorkContract:
    """Subclasses give a `cell` fixture."""

    async def test_work_that_is_due_is_claimed_with_what_caused_it(self, cell: Cell) -> None:
        position = await remind(cell.open_writer(), "c1", LONG_AGO)
        await remind(cell.open_writer(), "c2", FAR_AHEAD)
        (work,) = await claim(cell)
        event = (await cell.log.read_stream(TENANT, "counter", "c1"))[-1]
        assert work.is_first_run
        assert work._replace(first_run_at=None, claimed_at=None) == Work(
            TENANT, KIND, "c1", LONG_AGO, None, False, position, event.event_id, "corr", 1, "me", None
        )
        assert await claim(cell) == []

    async def test_each_kind_has_its_limit_and_the_longest_due_go_first(self, cell: Cell) -> None:
        writer = cell.open_writer()
        for n in (2, 0, 1):
            await remind(writer, f"c{n}", LONG_AGO + timedelta(days=n))
        assert [work.subject for work in await claim(cell, limit=2)] == ["c0", "c1"]
        assert await claim(cell, limit=0) == []
        assert await cell.due_work.claim({WorkKind.CLOCK_ADVANCE: 5}, owner="me", lease_ms=1) == []
        assert [work.subject for work in await claim(cell, limit=2)] == ["c2"]

    async def test_a_lease_that_runs_out_is_somebody_elses(self, cell: Cell) -> None:
        await remind(cell.open_writer(), "c1", LONG_AGO)
        (mine,) = await claim(cell, lease_ms=1)
        async with asyncio.timeout(90):
            while not (theirs := await claim(cell, owner="other")):
                await asyncio.sleep(0.001)
        assert (theirs[0].lease_owner, theirs[0].attempts) == ("other", 2)
        assert not await cell.due_work.retry_later(mine, pause_ms=0, error="late")
        assert not await cell.due_work.hold(mine, error="late")

    async def test_work_is_retried_after_a_pause_with_its_error(self, cell: Cell) -> None:
        await remind(cell.open_writer(), "c1", LONG_AGO)
        (work,) = await claim(cell)
        assert await cell.due_work.retry_later(work, pause_ms=60_000, error="no answer")
        assert await claim(cell) == []
        await remind(cell.open_writer(), "c2", LONG_AGO)
        (work,) = await claim(cell)
        assert await cell.due_work.retry_later(work, pause_ms=0, error="no answer")
        (again,) = await claim(cell)
        assert (again.subject, again.attempts, again.last_error) == ("c2", 2, "no answer")

    async def test_held_work_waits_for_its_release(self, cell: Cell) -> None:
        await remind(cell.open_writer(), "c1", LONG_AGO)
        (work,) = await claim(cell)
        assert await cell.due_work.hold(work, error="gave up")
        assert await claim(cell) == []
        assert [held.last_error for held in await cell.due_work.held(limit=5)] == ["gave up"]
        assert await cell.due_work.release_held(TENANT, KIND, "c1")
        assert not await cell.due_work.release_held(TENANT, KIND, "c1")
        assert [again.attempts for again in await claim(cell)] == [1]

    async def test_work_caused_by_a_dead_letter_is_held_until_it_is_replayed(self, cell: Cell) -> None:
        await remind(cell.open_writer(), "c1", LONG_AGO)
        await remind(cell.open_writer(), "c2", LONG_AGO)
        event_id = (await cell.log.read_stream(TENANT, "counter", "c1"))[-1].event_id
        await cell.due_work.hold_caused_by(event_id, KIND, error="dead letter")
        assert [work.subject for work in await claim(cell)] == ["c2"]
        assert [held.last_error for held in await cell.due_work.held(limit=5)] == ["dead letter"]
        await cell.due_work.release_caused_by(event_id, KIND)
        assert [work.subject for work in await claim(cell)] == ["c1"]

    async def test_work_dropped_by_whoever_runs_it_is_gone(self, cell: Cell) -> None:
        await remind(cell.open_writer(), "c1", LONG_AGO)
        (late,) = await claim(cell, lease_ms=1)
        async with asyncio.timeout(90):
            while not (found := await claim(cell, owner="other")):
                await asyncio.sleep(0.001)
        assert not await cell.due_work.drop(late)
        assert await cell.due_work.drop(found[0])
        assert await cell.due_work.counts() == []

    async def test_scheduling_again_moves_the_work_and_takes_it_from_whoever_runs_it(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await remind(writer, "c1", LONG_AGO)
        (work,) = await claim(cell)
        await writer.submit(request(Remind(counter_id="c1", due_at=LONG_AGO + timedelta(days=1))))
        assert not await cell.due_work.retry_later(work, pause_ms=0, error="late")
        (moved,) = await claim(cell)
        assert (moved.due_at, moved.attempts) == (LONG_AGO + timedelta(days=1), 1)

    async def test_the_time_of_the_first_run_stays_with_the_work_whatever_becomes_of_it(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await remind(writer, "c1", LONG_AGO)
        (first,) = await claim(cell)
        assert await cell.due_work.retry_later(first, pause_ms=0, error="no answer")
        (again,) = await claim(cell)
        assert await cell.due_work.hold(again, error="gave up")
        assert await cell.due_work.release_held(TENANT, KIND, "c1")
        (released,) = await claim(cell)
        await writer.submit(request(Remind(counter_id="c1", due_at=LONG_AGO + timedelta(days=1))))
        (moved,) = await claim(cell)
        assert {work.first_run_at for work in (again, released, moved)} == {first.first_run_at}
        assert not any(work.is_first_run for work in (again, released, moved))
        await writer.submit(request(Remind(counter_id="c1")))
        await writer.submit(request(Remind(counter_id="c1", due_at=LONG_AGO)))
        (anew,) = await claim(cell)
        assert anew.is_first_run

    async def test_a_first_run_that_did_nothing_outside_is_none(self, cell: Cell) -> None:
        await remind(cell.open_writer(), "c1", LONG_AGO)
        for _ in range(2):
            (work,) = await claim(cell)
            assert work.is_first_run
            assert await cell.due_work.retry_later(work, pause_ms=0, error="turned away", untouched=True)
        (work,) = await claim(cell)
        assert await cell.due_work.retry_later(work, pause_ms=0, error="no answer")
        (work,) = await claim(cell)
        assert await cell.due_work.retry_later(work, pause_ms=0, error="turned away", untouched=True)
        (work,) = await claim(cell)
        assert not work.is_first_run

    async def test_work_is_finished_by_its_event(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await remind(writer, "c1", LONG_AGO)
        await writer.submit(request(Remind(counter_id="c1")))
        assert await claim(cell) == []

    async def test_the_last_effect_of_a_batch_counts(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1")))
        await asyncio.gather(
            writer.submit(request(Remind(counter_id="c1", due_at=FAR_AHEAD))),
            writer.submit(request(Remind(counter_id="c1"))),
            writer.submit(request(Remind(counter_id="c1", due_at=LONG_AGO))),
        )
        assert [work.due_at for work in await claim(cell)] == [LONG_AGO]

    async def test_work_after_a_while_is_due_then(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await remind(writer, "c1", after_ms=3_600_000)
        await remind(writer, "c2", after_ms=1)
        async with asyncio.timeout(90):
            while not (found := await claim(cell)):
                await asyncio.sleep(0.001)
        assert [work.subject for work in found] == ["c2"]

    async def test_a_test_clock_runs_its_own_work_in_order(self, cell: Cell) -> None:
        writer = cell.open_writer()
        for n in (3, 1, 2):
            await remind(writer, f"c{n}", LONG_AGO + timedelta(days=n), clock_id="clock_1")
        await remind(writer, "d1", LONG_AGO, clock_id="clock_2")
        assert await claim(cell) == []
        due = cell.due_work
        assert await due.earliest(TENANT, "clock_1", not_after=LONG_AGO) is None
        at = await due.earliest(TENANT, "clock_1", not_after=LONG_AGO + timedelta(days=2))
        assert at == LONG_AGO + timedelta(days=1)
        until = LONG_AGO + timedelta(days=2)
        found = await due.claim_for_clock(TENANT, "clock_1", at=until, owner="me", lease_ms=60_000, limit=10)
        assert [(work.subject, work.runs_on_clock) for work in found] == [("c1", True), ("c2", True)]
        assert await due.claim_for_clock(TENANT, "clock_1", at=until, owner="me", lease_ms=60_000, limit=10) == []
        # Leased work is still the next: the clock waits for it.
        assert await due.earliest(TENANT, "clock_1", not_after=until) == at
        assert await due.outstanding(TENANT, "clock_1") == 0

    async def test_all_timers_of_a_test_clock_are_found_whatever_becomes_of_them(self, cell: Cell) -> None:
        writer, due = cell.open_writer(), cell.due_work
        for n in (3, 1, 2):
            await remind(writer, f"c{n}", LONG_AGO + timedelta(days=n), clock_id="clock_1")
        await remind(writer, "c4", after_ms=0, clock_id="clock_1")
        await remind(writer, "d1", LONG_AGO, clock_id="clock_2")
        until = LONG_AGO + timedelta(days=2)
        held, _ = await due.claim_for_clock(TENANT, "clock_1", at=until, owner="me", lease_ms=60_000, limit=2)
        await due.hold(held, error="gave up")
        assert [work.subject for work in await due.timers(TENANT, "clock_1", limit=10)] == ["c1", "c2", "c3"]
        assert [work.subject for work in await due.timers(TENANT, "clock_1", limit=2)] == ["c1", "c2"]
        assert await due.timers("another", "clock_1", limit=10) == []
        also = await due.timers(TENANT, "clock_1", limit=10, also=(KIND,))
        assert [work.subject for work in also] == ["c1", "c2", "c3", "c4"]
        assert len(await due.timers(TENANT, "clock_1", limit=10, also=(WorkKind.CLOCK_ADVANCE,))) == 3

    async def test_work_in_real_time_keeps_its_test_clock_from_moving_on(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await remind(writer, "c1", after_ms=0, clock_id="clock_1")
        due = cell.due_work
        assert await due.outstanding(TENANT, "clock_1") == 1
        assert await due.outstanding(TENANT, "clock_2") == 0
        assert await due.earliest(TENANT, "clock_1", not_after=FAR_AHEAD) is None
        (work,) = await claim(cell)
        assert (work.runs_on_clock, work.clock_id) == (False, "clock_1")
        assert await due.outstanding(TENANT, "clock_1") == 1
        await remind(writer, "c1")
        assert await due.outstanding(TENANT, "clock_1") == 0

    async def test_counts_tell_what_waits_is_due_runs_and_was_given_up(self, cell: Cell) -> None:
        writer = cell.open_writer()
        for n in range(4):
            await remind(writer, f"c{n}", LONG_AGO + timedelta(days=n))
        await remind(writer, "c9", FAR_AHEAD)
        first, _ = await claim(cell, limit=2)
        await cell.due_work.hold(first, error="gave up")
        assert await cell.due_work.counts() == [(KIND, 1, 2, 1, 1)]
