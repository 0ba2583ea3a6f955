"""What every event store must do with commands that are decided together. PostgreSQL and the twin run all of it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from infra.event_store.decision_record import ReadStream, decode
from infra.event_store.port import Answer, IdempotencyKeyReused, Outcome, PartlyDone, Request
from testing.requests import TENANT, request
from tests.contracts.counter_stream import (
    Break,
    Broken,
    Move,
    Open,
    Raise,
    RaiseAsMuchAs,
    RemindAndRename,
    Rename,
    Touch,
)
from tests.contracts.event_store_contract import Cell, sealed, value_of
from tests.contracts.rehearsal_contract import RehearsingCell, tried, types

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def together(*commands: object, keys: str = "") -> Sequence[Request]:
    """Requests; each of `keys` is the key of one of them."""
    return [
        request(each, key=key or None, answer=value_of)  # type: ignore[arg-type]  # whatever there is a handler for
        for each, key in zip(commands, keys or [""] * len(commands), strict=True)
    ]


def codes(outcomes: Sequence[Outcome]) -> list[str | None]:
    return [each.refusal_code for each in outcomes]


class TogetherContract:
    """Subclasses give a `cell` fixture."""

    async def test_commands_that_are_decided_together_see_each_other_and_are_recorded_in_order(
        self, cell: Cell
    ) -> None:
        writer = cell.open_writer()
        outcomes = await writer.submit_together(
            together(Open(counter_id="c1"), Raise(counter_id="c1", by=3, events=2), Touch(counter_id="c1"))
        )
        assert outcomes == [
            Outcome(None, Answer(b"value: 0"), 1, replayed=False),
            Outcome(None, Answer(b"value: 6"), 3, replayed=False),
            Outcome(None, Answer(b"value: 6"), 3, replayed=False),
        ]

    async def test_where_one_of_those_decided_together_is_refused_none_is_done(self, cell: RehearsingCell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1", name="one")))
        commands = (
            Rename(counter_id="c1", name="two"),
            RemindAndRename(counter_id="c1", due_at=LONG_AGO, name="three"),
            Open(counter_id="c2", name="one"),
            Raise(counter_id="c1", by=-1),
            Raise(counter_id="c1", by=1),
        )
        requests = together(*commands, keys="abcde")
        outcomes = await writer.submit_together(requests)
        assert codes(outcomes) == ["other_refused"] * 3 + ["below_zero", "other_refused"]
        assert await cell.log.head() == 1
        assert await cell.due_work.counts() == []
        taken = await writer.submit(request(Open(counter_id="c3", name="two")))
        assert taken.refusal_code is None, "nobody holds what was taken back"
        for other in (writer, cell.open_writer()):
            assert await other.submit_together(requests) == [each._replace(replayed=True) for each in outcomes]

    async def test_what_was_decided_together_is_done_once(self, cell: Cell) -> None:
        writer, other = cell.open_writer(), cell.open_writer()
        requests = together(Open(counter_id="c1"), Raise(counter_id="c1", by=2), keys="ab")
        answers = await asyncio.gather(*(each.submit_together(requests) for each in (writer, other, writer, other)))
        assert {tuple(codes(each)) for each in answers} == {(None, None)}
        assert sum(not each[0].replayed for each in answers) == 1
        assert await cell.log.head() == 2

    async def test_keys_of_those_decided_together_are_each_their_own(self, cell: Cell) -> None:
        writer = cell.open_writer()
        opened, raised = together(Open(counter_id="c1"), Raise(counter_id="c1", by=2), keys="ab")
        await writer.submit_together([opened, raised])
        for again in (writer, cell.open_writer()):
            assert (await again.submit(raised)).replayed
            with pytest.raises(IdempotencyKeyReused):
                await again.submit_together([request(Open(counter_id="c2"), key="a")])
            with pytest.raises(PartlyDone):
                await again.submit_together([request(Touch(counter_id="c1"), key="c"), raised])
        assert await cell.log.head() == 2

    async def test_what_is_not_in_memory_is_loaded_for_all_that_are_decided_together(self, cell: Cell) -> None:
        first = cell.open_writer()
        names = [f"c{number}" for number in range(40)]
        await asyncio.gather(*(first.submit(request(Open(counter_id=name))) for name in names))
        await asyncio.gather(*(first.submit(request(Raise(counter_id=name, by=5))) for name in names))
        writer = cell.open_writer()
        moves = [request(Move(source_id=one, target_id=next_one, by=5)) for one, next_one in pairwise(names)]
        assert set(codes(await writer.submit_together(moves))) == {None}
        (last,) = await writer.submit_together(together(Raise(counter_id=names[-1], by=0)))
        assert last.answer == Answer(b"value: 10")

    async def test_one_that_crashes_fails_those_decided_together_with_it_and_no_other(self, cell: Cell) -> None:
        writer = cell.open_writer()
        crowd = asyncio.gather(
            writer.submit(request(Open(counter_id="c1"))),
            writer.submit_together(together(Open(counter_id="c2"), Break(counter_id="c2"))),
            writer.submit_together(together(Open(counter_id="c3"), Touch(counter_id="c3"))),
            return_exceptions=True,
        )
        alone, broken, others = await crowd
        assert isinstance(alone, Outcome)
        assert isinstance(broken, Broken)
        assert not isinstance(others, BaseException)
        assert codes(others) == [None, None]
        assert await cell.log.read_stream(TENANT, "counter", "c2") == []

    async def test_personal_data_of_those_decided_together_are_kept_with_all_of_them(self, cell: Cell) -> None:
        writer = cell.open_writer()
        kept = request(Open(counter_id="c1"), seals=sealed("p1", "pd_1", new=True))
        await writer.submit_together([kept, request(Raise(counter_id="c1", by=-1))])
        assert await cell.person_rows("p1") == (0, [])
        kept = request(Open(counter_id="c1"), seals=sealed("p1", "pd_1", new=True))
        await writer.submit_together([kept, request(Raise(counter_id="c1", by=1))])
        assert await cell.person_rows("p1") == (1, ["pd_1"])

    async def test_each_decision_says_what_it_rested_on_among_those_decided_together(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit_together(
            together(
                Open(counter_id="c1"),
                Raise(counter_id="c1", by=2),
                Open(counter_id="c2"),
                RaiseAsMuchAs(counter_id="c2", as_id="c1"),
            )
        )
        events = await cell.log.read(after=0, limit=10)
        records = [decode(each.decision) for each in events if each.decision is not None]
        assert [each.command for each in records] == ["Open", "Raise", "Open", "RaiseAsMuchAs"]
        assert records[-1].reads == (ReadStream("counter", "c1", 2),)

    async def test_those_decided_together_can_be_rehearsed(self, cell: RehearsingCell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1", name="one")))
        before = await cell.everything()
        opened, raised = await writer.rehearse_together(
            [tried(Open(counter_id="c2")), tried(Raise(counter_id="c2", by=2, events=2))]
        )
        assert types(opened) == [("counter.opened", "c2", 1)]
        assert types(raised) == [("counter.raised", "c2", 2), ("counter.raised", "c2", 3)]
        refused = await writer.rehearse_together(
            [tried(Open(counter_id="c2")), tried(Open(counter_id="c3", name="one"))]
        )
        assert [each.refusal_code for each in refused] == ["other_refused", "name_taken"]
        assert await cell.everything() == before
