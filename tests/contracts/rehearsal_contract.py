"""What every event store must do with a command that is only tried. PostgreSQL and the in-memory twin run all of it."""

import asyncio
from typing import Protocol

import pytest

from infra.event_store.port import Credential as Digest
from infra.event_store.port import CredentialKind, Rehearsed, Request, TooManyRehearsals
from testing.requests import TENANT, request
from tests.contracts.counter_stream import Break, Broken, Move, Open, Raise, RaiseUnless, Remind, Rename
from tests.contracts.event_store_contract import Cell, sealed, value_of


class RehearsingCell(Cell, Protocol):
    """A cell whose tables can be compared."""

    async def everything(self) -> object:
        """All that is kept, whatever it is; equal where nothing has changed."""
        ...


def tried(command: object) -> Request:
    """A request that is to be tried: it has no key."""
    return Request(
        tenant_id=TENANT,
        idempotency_key="",
        request_hash=b"",
        command=command,  # type: ignore[arg-type]  # whatever there is a handler for
        actor="key_test",
        correlation_id="corr",
        answer=value_of,
    )


def types(rehearsed: Rehearsed) -> list[tuple[str, str, int]]:
    return [(event.event_type, event.stream_id, event.stream_version) for event in rehearsed.events]


class RehearsalContract:
    """Subclasses give a `cell` fixture."""

    async def test_a_rehearsal_tells_what_the_command_would_come_to_and_keeps_nothing(
        self, cell: RehearsingCell
    ) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1", name="one")))
        before = await cell.everything()
        for _ in range(2):
            rehearsed = await writer.rehearse(tried(Raise(counter_id="c1", by=3, events=2)))
            assert rehearsed.refusal_code is None
            assert rehearsed.answer is not None
            assert rehearsed.answer.body == b"value: 6"
            assert types(rehearsed) == [("counter.raised", "c1", 2), ("counter.raised", "c1", 3)]
        assert await cell.everything() == before
        real = await writer.submit(request(Raise(counter_id="c1", by=3, events=2), answer=value_of))
        assert real.answer == rehearsed.answer
        recorded = (await cell.log.read_stream(TENANT, "counter", "c1"))[1:]
        assert [(e.event_type, e.payload, e.postings) for e in recorded] == [
            (e.event_type, e.payload, e.postings) for e in rehearsed.events
        ]

    async def test_no_claim_due_work_vault_row_or_credential_of_a_rehearsal_is_kept(self, cell: RehearsingCell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1", name="one")))
        before = await cell.everything()
        whole = request(
            Open(counter_id="c2", name="two"),
            seals=sealed("per_1", "pd_1", new=True),
            credentials=(Digest(CredentialKind.API_KEY, "key_1", b"d" * 32),),
            erases="per_2",
        )
        for each in (whole, tried(Remind(counter_id="c1", after_ms=1)), tried(Rename(counter_id="c1", name="free"))):
            assert (await writer.rehearse(each)).refusal_code is None
        assert await cell.everything() == before
        assert (await writer.submit(request(Open(counter_id="c3", name="two")))).refusal_code is None

    async def test_a_refusal_is_told_and_not_stored(self, cell: RehearsingCell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1", name="one")))
        await writer.submit(request(Open(counter_id="c2", name="two")))
        before = await cell.everything()
        for command, code in (
            (Raise(counter_id="nothing", by=1), "counter_not_found"),
            (Raise(counter_id="c1", by=-1), "below_zero"),
            (Open(counter_id="c1"), "counter_exists"),
            (Open(counter_id="c3", name="two"), "name_taken"),
            (Rename(counter_id="c1", name="two"), "name_taken"),
        ):
            for of in (writer, cell.open_writer()):
                rehearsed = await of.rehearse(tried(command))
                assert (rehearsed.refusal_code, rehearsed.events) == (code, [])
                assert rehearsed.answer is not None
                assert rehearsed.answer.body.startswith(b"refused: ")
        assert await cell.everything() == before

    async def test_a_rehearsal_rests_on_what_is_committed_not_on_what_a_writer_remembers(
        self, cell: RehearsingCell
    ) -> None:
        first, second = cell.open_writer(), cell.open_writer()
        await first.submit(request(Open(counter_id="c1")))
        await first.submit(request(Open(counter_id="c2")))
        await second.submit(request(Raise(counter_id="c1", by=5)))
        answer = (await first.rehearse(request(Move(source_id="c1", target_id="c2", by=5)))).refusal_code
        assert answer is None
        # And what is rehearsed is no ground for what comes after.
        await first.rehearse(tried(Raise(counter_id="c1", by=100)))
        refused = await first.submit(request(Move(source_id="c1", target_id="c2", by=6)))
        assert refused.refusal_code == "below_zero"

    async def test_a_defect_in_the_rules_is_the_rehearsals_own(self, cell: RehearsingCell) -> None:
        writer = cell.open_writer()
        with pytest.raises(Broken):
            await writer.rehearse(tried(Break(counter_id="c1")))
        assert (await writer.rehearse(tried(Open(counter_id="c1")))).refusal_code is None

    async def test_so_many_rehearsals_run_at_once_and_no_more(self, cell: RehearsingCell) -> None:
        writer = cell.open_writer(rehearsals_max=2)
        await writer.submit(request(Open(counter_id="c1")))
        found = await asyncio.gather(
            *(writer.rehearse(tried(Raise(counter_id="c1", by=n))) for n in range(5)), return_exceptions=True
        )
        assert [type(each) for each in found] == [Rehearsed] * 2 + [TooManyRehearsals] * 3
        # One that is through, refused or crashed gives its place up.
        for command in (Break(counter_id="c1"), Raise(counter_id="nothing", by=1)) * 3:
            await asyncio.gather(writer.rehearse(tried(command)), return_exceptions=True)
        assert (await writer.rehearse(tried(Raise(counter_id="c1", by=1)))).refusal_code is None

    async def test_rehearsals_beside_appends_change_none_of_them(self, cell: RehearsingCell) -> None:
        writer = cell.open_writer()
        await writer.submit(request(Open(counter_id="c1")))
        stop = asyncio.Event()

        async def trying() -> int:
            count = 0
            while not stop.is_set() or not count:
                rehearsed = await writer.rehearse(tried(RaiseUnless(counter_id="c1", other_id="c9")))
                assert [event.event_type for event in rehearsed.events] == ["counter.raised"]
                count += 1
            return count

        tries = asyncio.create_task(trying())
        outcomes = await asyncio.gather(*(writer.submit(request(Raise(counter_id="c1", by=1))) for _ in range(50)))
        stop.set()
        assert await tries > 0
        assert sorted(outcome.position for outcome in outcomes) == list(range(2, 52))
        assert await cell.log.head() == 51
