"""What every event store must do. PostgreSQL and the in-memory twin each run all of it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import pytest

from infra.event_store.decision_record import ReadStream, decode
from infra.event_store.port import (
    Answer,
    Decided,
    DueWorkQueue,
    IdempotencyKeyReused,
    Log,
    Outcome,
    QueueFull,
    SealedPerson,
)
from infra.event_store.storage import PersonKeyMismatch
from infra.event_store.writer import GroupCommitWriter, WriterClosed
from infra.release import RELEASE, TIME_ZONE_DATA
from testing.requests import TENANT, request
from tests.contracts.counter_stream import (
    COUNTERS,
    Break,
    Broken,
    CatchUp,
    Counter,
    Move,
    Open,
    Raise,
    RaiseAsMuchAs,
    RaiseUnless,
    RemindAndRename,
    Rename,
    Touch,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Cell(Protocol):
    """One database, or what stands for it, with its parts."""

    @property
    def log(self) -> Log: ...

    @property
    def due_work(self) -> DueWorkQueue: ...

    def open_writer(self, **limits: int) -> GroupCommitWriter:
        """A writer of its own, as another process would have; closed at the end of the test."""
        ...

    async def person_rows(self, person_id: str) -> tuple[int, Sequence[str]]:
        """How many keys and which references the vault holds for a person."""
        ...


def value_of(decided: Decided) -> Answer:
    """An answer that shows the command's own counter as decided, or the refusal."""
    if decided.refusal is not None:
        return Answer(f"refused: {decided.refusal}".encode())
    counter = decided.streams.get(COUNTERS, decided.command.counter_id)  # type: ignore[attr-defined]  # each has one
    return Answer(f"value: {counter.value if counter else None}".encode())


def sealed(person_id: str, reference: str, *, new: bool) -> SealedPerson:
    """A person's rows; what they hold does not matter here."""
    return SealedPerson(person_id, b"wrapped" if new else None, b"salt" if new else None, reference, b"sealed")


class EventStoreContract:
    """Subclasses give a `cell` fixture."""

    async def history(self, cell: Cell, counter_id: str) -> list[str]:
        return [event.event_type for event in await cell.log.read_stream(TENANT, "counter", counter_id)]

    async def test_an_accepted_command_is_recorded_with_its_position_and_answer(self, cell: Cell) -> None:
        writer = cell.open_writer()
        opened = await writer.submit(request(Open(counter_id="c1"), answer=value_of))
        raised = await writer.submit(request(Raise(counter_id="c1", by=3, events=2), answer=value_of))
        assert opened == Outcome(None, Answer(b"value: 0"), 1, replayed=False)
        assert raised == Outcome(None, Answer(b"value: 6"), 3, replayed=False)
        assert await self.history(cell, "c1") == ["counter.opened", "counter.raised", "counter.raised"]

    async def test_an_event_may_be_effective_before_the_rest_of_its_decision(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1")))
        await writer.submit(request(CatchUp(counter_id="c1", at=LONG_AGO)))
        opened, caught_up, raised = [
            event.effective_at for event in await cell.log.read_stream(TENANT, "counter", "c1")
        ]
        assert caught_up == LONG_AGO
        assert LONG_AGO < opened <= raised

    async def test_what_a_command_makes_is_found_by_one_that_lacked_it_in_the_same_batch(self, cell: Cell) -> None:
        writer = cell.open_writer()
        commands = (Raise(counter_id="c1", by=1), Open(counter_id="c1"), Touch(counter_id="c1"))
        raised, opened, _ = await asyncio.gather(*(writer.submit(request(command)) for command in commands))
        assert opened.refusal_code is None
        later = await writer.submit(request(Raise(counter_id="c1", by=1)))
        assert later.refusal_code is None
        events = await cell.log.read_stream(TENANT, "counter", "c1")
        assert [event.stream_version for event in events] == [1, 2, 3][: 2 + (raised.refusal_code is None)]

    async def test_a_repeat_gets_the_first_answer_and_writes_nothing(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1")))
        command = request(Raise(counter_id="c1", by=3), key="k", answer=value_of)
        first = await writer.submit(command)
        await writer.submit(request(Raise(counter_id="c1", by=100)))
        for other in (writer, cell.open_writer()):
            assert await other.submit(command) == first._replace(replayed=True)
        assert await cell.log.head() == 3

    async def test_a_refusal_is_stored_and_repeated_byte_for_byte(self, cell: Cell) -> None:
        writer = cell.open_writer()
        command = request(Raise(counter_id="c1", by=1), key="k", answer=value_of)
        first = await writer.submit(command)
        assert first.refusal_code == "counter_not_found"
        assert first.answer == Answer(b"refused: There is no such counter. (counter_id=c1)")
        # By now the command would be accepted; its key keeps the first answer all the same.
        await writer.submit(request(Open(counter_id="c1")))
        assert await cell.open_writer().submit(command) == first._replace(replayed=True)
        assert await self.history(cell, "c1") == ["counter.opened"]

    async def test_a_key_belongs_to_one_request_body(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1"), key="k"))
        with pytest.raises(IdempotencyKeyReused):
            await writer.submit(request(Open(counter_id="c2"), key="k"))
        both = await asyncio.gather(
            writer.submit(request(Open(counter_id="c3"), key="k2")),
            writer.submit(request(Open(counter_id="c4"), key="k2")),
            return_exceptions=True,
        )
        assert isinstance(both[0], Outcome)
        assert isinstance(both[1], IdempotencyKeyReused)
        assert await cell.log.head() == 2

    async def test_a_key_is_one_tenants_own(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1"), key="k"))
        other = await writer.submit(request(Open(counter_id="c1"), key="k", tenant_id="other"))
        assert other == Outcome(None, None, 2, replayed=False)

    async def test_the_same_key_at_once_is_one_command(self, cell: Cell) -> None:
        first, second = cell.open_writer(), cell.open_writer()
        command = request(Open(counter_id="c1"), key="k", answer=value_of)
        outcomes = await asyncio.gather(*((first, second)[n % 2].submit(command) for n in range(20)))
        assert {outcome._replace(replayed=True) for outcome in outcomes} == {outcomes[0]._replace(replayed=True)}
        assert sum(not outcome.replayed for outcome in outcomes) == 1
        assert await cell.log.head() == 1

    async def test_commands_of_one_batch_see_each_other(self, cell: Cell) -> None:
        writer = cell.open_writer()
        outcomes = await asyncio.gather(
            writer.submit(request(Open(counter_id="c1"))),
            writer.submit(request(Raise(counter_id="c1", by=2))),
            writer.submit(request(Raise(counter_id="c1", by=-3))),
            writer.submit(request(Raise(counter_id="c1", by=-2), answer=value_of)),
        )
        assert [outcome.refusal_code for outcome in outcomes] == [None, None, "below_zero", None]
        assert [outcome.position for outcome in outcomes] == [1, 2, 2, 3]
        assert outcomes[3].answer == Answer(b"value: 0")

    async def test_a_command_over_two_streams_lands_whole_or_not_at_all(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1")))
        await writer.submit(request(Open(counter_id="c2")))
        await writer.submit(request(Raise(counter_id="c1", by=5)))
        moved = await writer.submit(request(Move(source_id="c1", target_id="c2", by=4)))
        refused = await writer.submit(request(Move(source_id="c1", target_id="c2", by=4)))
        missing = await writer.submit(request(Move(source_id="c1", target_id="c3", by=1)))
        assert (moved.refusal_code, moved.position) == (None, 5)
        assert (refused.refusal_code, missing.refusal_code) == ("below_zero", "counter_not_found")
        assert await cell.log.head() == 5

    async def test_what_another_writer_wrote_is_seen(self, cell: Cell) -> None:
        first, second = cell.open_writer(), cell.open_writer()
        await first.submit(request(Open(counter_id="c1")))
        await first.submit(request(Open(counter_id="c2")))
        assert (await second.submit(request(Raise(counter_id="c1", by=-1)))).refusal_code == "below_zero"
        await first.submit(request(Raise(counter_id="c1", by=5)))
        # The second writer's memory says 0, by a stream that it writes, one that it only reads, and a refusal.
        raised = await second.submit(request(RaiseAsMuchAs(counter_id="c2", as_id="c1"), answer=value_of))
        assert raised.answer == Answer(b"value: 5")
        await first.submit(request(Raise(counter_id="c1", by=1)))
        lowered = await second.submit(request(Raise(counter_id="c1", by=-6), answer=value_of))
        assert (lowered.refusal_code, lowered.answer) == (None, Answer(b"value: 0"))
        assert (await first.submit(request(Raise(counter_id="c1", by=-1)))).refusal_code == "below_zero"

    async def test_that_a_stream_does_not_exist_is_checked_too(self, cell: Cell) -> None:
        first, second = cell.open_writer(), cell.open_writer()
        assert (await second.submit(request(Touch(counter_id="c1")))).refusal_code == "counter_not_found"
        await first.submit(request(Open(counter_id="c1")))
        assert (await second.submit(request(Touch(counter_id="c1")))).refusal_code is None
        assert (await second.submit(request(Open(counter_id="c1")))).refusal_code == "counter_exists"

    async def test_an_accepted_command_may_have_no_events(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1")))
        touched = await writer.submit(request(Touch(counter_id="c1"), key="k"))
        assert touched == Outcome(None, None, 1, replayed=False)
        assert await writer.submit(request(Touch(counter_id="c1"), key="k")) == touched._replace(replayed=True)

    async def test_a_claim_is_held_once_in_its_tenant(self, cell: Cell) -> None:
        first, second = cell.open_writer(), cell.open_writer()
        await first.submit(request(Open(counter_id="c1", name="n")))
        for writer in (first, second):
            taken = await writer.submit(request(Open(counter_id="c2", name="n"), answer=value_of))
            assert taken.refusal_code == "name_taken"
            assert taken.answer == Answer(b"refused: Another counter has this name. (name=n)")
        elsewhere = await second.submit(request(Open(counter_id="c2", name="n"), tenant_id="other"))
        assert elsewhere.refusal_code is None
        assert await self.history(cell, "c2") == []

    async def test_a_freed_claim_can_be_taken_again(self, cell: Cell) -> None:
        first, second = cell.open_writer(), cell.open_writer()
        await first.submit(request(Open(counter_id="c1", name="n")))
        await first.submit(request(Open(counter_id="c2", name="m")))
        assert (await second.submit(request(Rename(counter_id="c2", name="n")))).refusal_code == "name_taken"
        await first.submit(request(Rename(counter_id="c1", name=None)))
        assert (await second.submit(request(Rename(counter_id="c2", name="n")))).refusal_code is None
        assert (await first.submit(request(Open(counter_id="c3", name="m")))).refusal_code is None

    async def test_owners_are_found_by_how_their_claims_begin(self, cell: Cell) -> None:
        writer = cell.open_writer()
        for counter_id, name in (("c1", "a/2"), ("c2", "a/1"), ("c3", "a/ö"), ("c4", "a0"), ("c5", "a")):
            await writer.submit(request(Open(counter_id=counter_id, name=name)))
        await writer.submit(request(Open(counter_id="c1", name="a/3"), tenant_id="other"))

        async def owners(prefix: str, limit: int = 10, after: str = "") -> list[str]:
            found = await cell.log.owners(TENANT, "counter.name", value_prefix=prefix, limit=limit, after=after)
            return list(found)

        assert await owners("a/") == ["c2", "c1", "c3"]
        assert await owners("a/", limit=1) == ["c2"]
        assert await owners("a/", after="1") == ["c1", "c3"]
        assert await owners("a/", after="2", limit=1) == ["c3"]
        assert await owners("a/", after="ö") == []
        await writer.submit(request(Rename(counter_id="c2", name=None)))
        assert await owners("a/") == ["c1", "c3"]
        assert await cell.log.owners(TENANT, "another", value_prefix="a/", limit=10) == []

    async def test_claims_of_one_batch_are_decided_in_order(self, cell: Cell) -> None:
        writer = cell.open_writer()
        outcomes = await asyncio.gather(
            writer.submit(request(Open(counter_id="c1", name="n"))),
            writer.submit(request(Open(counter_id="c2", name="n"))),
            writer.submit(request(Rename(counter_id="c1", name="m"))),
            writer.submit(request(Open(counter_id="c3", name="n"))),
            writer.submit(request(Rename(counter_id="c3", name="n"))),  # frees it and takes it again
            writer.submit(request(Rename(counter_id="c1", name=None))),
            writer.submit(request(Open(counter_id="c4", name="m"))),
            writer.submit(request(Open(counter_id="c5", name="n"))),
        )
        codes = [outcome.refusal_code for outcome in outcomes]
        assert codes == [None, "name_taken", None, None, None, None, None, "name_taken"]

    async def test_a_claim_taken_and_freed_in_one_batch_was_free_before(self, cell: Cell) -> None:
        first, second = cell.open_writer(), cell.open_writer()
        await first.submit(request(Open(counter_id="c1", name="n")))
        outcomes = await asyncio.gather(
            second.submit(request(Open(counter_id="c2", name="n"))),
            second.submit(request(Rename(counter_id="c2", name=None))),
        )
        assert [outcome.refusal_code for outcome in outcomes] == ["name_taken", "counter_not_found"]

    async def test_a_command_that_crashes_fails_alone_and_may_be_tried_again(self, cell: Cell) -> None:
        writer = cell.open_writer()
        results = await asyncio.gather(
            writer.submit(request(Open(counter_id="c1"))),
            writer.submit(request(Break(counter_id="c1"), key="k")),
            writer.submit(request(Raise(counter_id="c1", by=1))),
            return_exceptions=True,
        )
        assert isinstance(results[1], Broken)
        assert [r.position for r in results if isinstance(r, Outcome)] == [1, 2]
        with pytest.raises(Broken):
            await writer.submit(request(Break(counter_id="c1"), key="k"))

    async def test_an_answer_that_cannot_be_rendered_leaves_nothing_behind(self, cell: Cell) -> None:
        def unrenderable(decided: Decided) -> Answer:
            raise Broken

        writer = cell.open_writer()
        with pytest.raises(Broken):
            await writer.submit(request(Open(counter_id="c1", name="n"), answer=unrenderable))
        assert await cell.log.head() == 0
        assert (await writer.submit(request(Open(counter_id="c2", name="n")))).refusal_code is None

    async def test_a_repeat_that_would_crash_gets_its_stored_answer(self, cell: Cell) -> None:
        crashes = False

        def fragile(decided: Decided) -> Answer:
            if crashes:
                raise Broken
            return Answer(b"rendered")

        writer = cell.open_writer()
        command = request(Open(counter_id="c1"), key="k", answer=fragile)
        first = await writer.submit(command)
        crashes = True
        assert await writer.submit(command) == first._replace(replayed=True)

    async def test_personal_data_is_kept_only_with_an_accepted_command(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1"), seals=sealed("p1", "pd_1", new=True)))
        await writer.submit(request(Open(counter_id="c1"), seals=sealed("p2", "pd_2", new=True)))
        await writer.submit(request(Touch(counter_id="c1"), seals=sealed("p1", "pd_3", new=False)))
        await writer.submit(request(Raise(counter_id="c1", by=-1), erases="p1"))
        assert await cell.person_rows("p1") == (1, ["pd_1", "pd_3"])
        assert await cell.person_rows("p2") == (0, [])
        await writer.submit(request(Touch(counter_id="c1"), erases="p1"))
        assert await cell.person_rows("p1") == (0, [])

    async def test_data_sealed_for_an_erased_person_fails_its_command_alone(self, cell: Cell) -> None:
        writer = cell.open_writer()
        results = await asyncio.gather(
            writer.submit(request(Open(counter_id="c1"))),
            writer.submit(request(Open(counter_id="c2"), seals=sealed("p1", "pd_1", new=False))),
            writer.submit(request(Open(counter_id="c3"))),
            return_exceptions=True,
        )
        assert isinstance(results[1], PersonKeyMismatch)
        assert [r.position for r in results if isinstance(r, Outcome)] == [1, 2]
        assert await self.history(cell, "c2") == []

    async def test_a_decisions_first_event_says_what_the_decision_rested_on(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1")))
        await writer.submit(request(Open(counter_id="c2")))
        await writer.submit(request(Raise(counter_id="c1", by=2, events=2)))
        await writer.submit(request(RaiseAsMuchAs(counter_id="c2", as_id="c1"), answer=value_of))
        await writer.submit(request(RaiseUnless(counter_id="c2", other_id="c3")))
        await writer.submit(request(Move(source_id="c1", target_id="c2", by=1)))
        found = [event.decision for event in await cell.log.read(after=0, limit=100)]
        # What a decision wrote is told by its own events' versions; what it only read is told here.
        assert [None if each is None else decode(each)[:2] + decode(each).reads for each in found] == [
            (1, "Open"),
            (1, "Open"),
            (2, "Raise"),
            None,
            (1, "RaiseAsMuchAs", ("counter", "c1", 3)),
            (1, "RaiseUnless", ("counter", "c3", 0)),
            (2, "Move"),
            None,
        ]
        assert {decode(each)[2:4] for each in found if each} == {(RELEASE, TIME_ZONE_DATA)}

    async def test_a_decision_rests_on_what_its_own_batch_decided_before_it(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await asyncio.gather(
            writer.submit(request(Open(counter_id="c1"))),
            writer.submit(request(Open(counter_id="c2"))),
            writer.submit(request(Raise(counter_id="c1", by=2))),
            writer.submit(request(RaiseAsMuchAs(counter_id="c2", as_id="c1"))),
            writer.submit(request(Raise(counter_id="c1", by=2))),
        )
        by_type = [event for event in await cell.log.read(after=0, limit=100) if event.stream_id == "c2"]
        assert by_type[1].decision is not None
        assert decode(by_type[1].decision).reads == (ReadStream("counter", "c1", 2),)

    async def test_a_refusal_after_some_events_were_decided_leaves_none_of_their_effects(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1", name="n")))
        await writer.submit(request(Open(counter_id="c2", name="m")))
        seen: list[Counter | None] = []

        def look(decided: Decided) -> Answer:
            seen.append(decided.streams.get(COUNTERS, "c2"))
            return Answer(b"")

        command = RemindAndRename(counter_id="c2", due_at=datetime(2026, 1, 1, tzinfo=UTC), name="n")
        assert (await writer.submit(request(command, answer=look))).refusal_code == "name_taken"
        assert seen[-1] == Counter("c2", 0, "m", None), "an answer to a refusal shows the state without the command"
        assert await cell.due_work.counts() == []
        assert await self.history(cell, "c2") == ["counter.opened"]

    async def test_positions_are_gapless_and_versions_count_up_under_contention(self, cell: Cell) -> None:
        writers = [cell.open_writer(batch_max_commands=7, batch_max_events=4) for _ in range(3)]
        for counter in range(4):
            await writers[0].submit(request(Open(counter_id=f"c{counter}")))
        outcomes = await asyncio.gather(
            *(writers[n % 3].submit(request(Raise(counter_id=f"c{n % 4}", by=n % 5 - 2))) for n in range(200))
        )
        accepted = [outcome.position for outcome in outcomes if outcome.refusal_code is None]
        events = await cell.log.read(after=0, limit=1_000)
        assert [event.position for event in events] == list(range(1, len(accepted) + 5))
        assert sorted(accepted) == list(range(5, len(accepted) + 5))
        assert len({event.event_id for event in events}) == len(events)
        assert [e.recorded_at for e in events] == sorted(e.recorded_at for e in events)
        for counter in range(4):
            stream = await cell.log.read_stream(TENANT, "counter", f"c{counter}")
            assert [event.stream_version for event in stream] == list(range(1, len(stream) + 1))

    async def test_batches_are_capped_and_all_commands_land(self, cell: Cell) -> None:
        writer = cell.open_writer(batch_max_events=10, batch_max_commands=50)
        await writer.submit(request(Open(counter_id="c1")))
        outcomes = await asyncio.gather(
            *(writer.submit(request(Raise(counter_id="c1", by=1, events=4))) for _ in range(40))
        )
        assert [outcome.position for outcome in outcomes] == [1 + 4 * (n + 1) for n in range(40)]

    async def test_nothing_kept_in_memory_changes_nothing(self, cell: Cell) -> None:
        writer = cell.open_writer(cached_streams=0)
        await writer.submit(request(Open(counter_id="c1")))
        outcomes = [await writer.submit(request(Raise(counter_id="c1", by=2), answer=value_of)) for _ in range(3)]
        assert outcomes[2].answer == Answer(b"value: 6")

    async def test_a_long_stream_is_loaded_as_it_was(self, cell: Cell) -> None:
        writer = cell.open_writer(snapshot_every_events=10)
        await writer.submit(request(Open(counter_id="c1", name="n", customer_id="cus_1")))
        for _ in range(12):
            await writer.submit(request(Raise(counter_id="c1", by=2)))
        raised = await cell.open_writer().submit(request(Raise(counter_id="c1", by=1), answer=value_of))
        assert raised.answer == Answer(b"value: 25")
        assert (await cell.log.read_stream(TENANT, "counter", "c1"))[-1].partition_key == f"{TENANT}:cus_1"

    async def test_a_full_queue_turns_callers_away(self, cell: Cell) -> None:
        writer = cell.open_writer(queue_max_commands=3)
        results = await asyncio.gather(
            *(writer.submit(request(Open(counter_id=f"c{n}"))) for n in range(5)), return_exceptions=True
        )
        assert [isinstance(result, QueueFull) for result in results] == [False, False, False, True, True]
        assert await cell.log.head() == 3

    async def test_closing_finishes_what_waits_and_takes_no_more(self, cell: Cell) -> None:
        writer = cell.open_writer(batch_max_commands=2)
        waiting = [asyncio.create_task(writer.submit(request(Open(counter_id=f"c{n}")))) for n in range(9)]
        await asyncio.sleep(0)
        await writer.close()
        assert [(await task).position for task in waiting] == list(range(1, 10))
        with pytest.raises(WriterClosed):
            await writer.submit(request(Open(counter_id="late")))

    async def test_a_caller_who_gives_up_does_not_take_the_command_back(self, cell: Cell) -> None:
        writer = cell.open_writer()
        command = request(Open(counter_id="c1"), key="k")
        caller = asyncio.create_task(writer.submit(command))
        await asyncio.sleep(0)
        caller.cancel()
        assert (await writer.submit(command)).position == 1
        assert await cell.log.head() == 1

    async def test_the_log_can_be_followed_from_any_position(self, cell: Cell) -> None:
        writer = cell.open_writer()
        await asyncio.gather(*(writer.submit(request(Open(counter_id=f"c{n}"))) for n in range(5)))
        seen: list[int] = []

        async def follow() -> None:
            async for page in cell.log.follow(after=2):
                seen.extend(event.position for event in page)
                if len(seen) == 5:
                    return

        async with asyncio.timeout(90):
            follower = asyncio.create_task(follow())
            await asyncio.gather(*(writer.submit(request(Open(counter_id=f"d{n}"))) for n in range(2)))
            await follower
        assert seen == [3, 4, 5, 6, 7]
