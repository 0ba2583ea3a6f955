"""Specifications of the streams, to be read as English: given what happened, when a command comes, then this follows.

    (given(customer_created(), invoice_finalized(usd(500)))
        .when(void())
        .then(invoice_voided())
        .then_posts(debit(DEFERRED_REVENUE, usd(500)), credit(RECEIVABLE, usd(500))))

Each `then…` names everything of its sort, no more and no less; a refusal must leave no trace. What holds for every
command is checked on the way: the same inputs decide the same, an event survives the wire, an entry is balanced, a
claimed value has one owner, and a stream replayed from its first event is in the state that it had.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pprint import pformat
from typing import Any, NamedTuple, Self

from domain.catalogue import STREAMS
from domain.commands import HANDLERS, decide
from domain.kernel.access import AccessChange
from domain.kernel.accounts import Entry, Posting
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Change, Command, Decision, Event, Finish, Schedule, State, Stream, Take, WorkKind
from domain.sagas import due_work
from schemas.codec import decode_entry, decode_event, encode_entry, encode_event
from testing.moments import utc

NOW = utc("2026-01-31T10:00")

_STREAM_OF = {event_type: stream for stream in STREAMS.values() for event_type in stream.events.values()}

StreamKey = tuple[str, str]
ClaimKey = tuple[str, str]
WorkKey = tuple[WorkKind, str]


class Claimed(NamedTuple):
    """A claim that was taken or given back."""

    kind: str
    value: str
    owner: str


class Done(NamedTuple):
    """What one accepted command came to."""

    effective_at: datetime
    changes: list[Change]
    entries: list[Entry | None]
    taken: list[Claimed]
    freed: list[Claimed]
    scheduled: list[Schedule]
    finished: list[Finish]
    access: list[AccessChange]

    @property
    def events(self) -> list[Event]:
        return [change.event for change in self.changes]

    @property
    def postings(self) -> list[Posting]:
        return [posting for entry in self.entries if entry is not None for posting in entry.postings]


@dataclass
class Books:
    """A tenant in memory: streams, claims and due work, by the rules of the store. A `domain.kernel.stream.Streams`."""

    states: dict[StreamKey, Any] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    claims: dict[ClaimKey, str] = field(default_factory=dict)
    due: dict[WorkKey, Schedule] = field(default_factory=dict)

    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        state: State | None = self.states.get((stream.name, stream_id))
        return state

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        return (stream.name, stream_id) not in self.states

    def record(self, event: Event) -> None:
        """Let a fact have happened, whoever decided it."""
        self._land(Decision(NOW, [change_of(event)]))

    def do(self, command: Command, at: datetime) -> Done:
        """Decide a command, and let what it decides happen: all of it, or nothing where it is refused."""
        decision = decide(command, self, at)
        assert decide(command, self, at) == decision, "the same command on the same states decides the same"
        return self._land(decision)

    def _land(self, decision: Decision) -> Done:
        states, claims, due = dict(self.states), dict(self.claims), dict(self.due)
        done = Done(decision.effective_at, decision.changes, [], [], [], [], [], [])
        work: dict[WorkKey, Schedule | Finish] = {}
        for stream, stream_id, event, _ in decision.changes:
            _survives_the_wire(event)
            assert (stream, stream_id, event) == change_of(event)[:3], "an event is in its own stream"
            key = (stream.name, stream_id)
            before = states.get(key)
            state = states[key] = stream.evolve(before, event)
            assert stream.evolve(before, event) == state, "the same event on the same state evolves the same"
            entry = stream.postings(event, state)
            assert entry is None or decode_entry(encode_entry(entry)) == entry
            done.entries.append(entry)
            for claim in stream.claims(event, state):
                holder = claims.get((claim.kind, claim.value))
                claimed = Claimed(claim.kind, claim.value, claim.owner)
                if isinstance(claim, Take):
                    if holder is not None:
                        raise claim.refused(holder)
                    claims[claim.kind, claim.value] = claim.owner
                    done.taken.append(claimed)
                elif holder == claim.owner:
                    del claims[claim.kind, claim.value]
                    done.freed.append(claimed)
            if stream.access is not None:
                done.access.extend(stream.access(event, state))
            for effect in due_work(stream, event, state):
                if isinstance(effect, Schedule):
                    assert (effect.due_at is None) != (effect.after_ms is None), "one of due_at and after_ms"
                work[effect.kind, effect.subject] = effect
        for work_key, effect in work.items():
            if isinstance(effect, Schedule):
                due[work_key] = effect
                done.scheduled.append(effect)
            elif due.pop(work_key, None) is not None:
                done.finished.append(effect)
        self.states, self.claims, self.due = states, claims, due
        self.log += decision.changes
        self.entries += [entry for entry in done.entries if entry is not None]
        return done


def replayed(log: Iterable[Change]) -> dict[StreamKey, Any]:
    """The states after a log, from nothing."""
    states: dict[StreamKey, Any] = {}
    for stream, stream_id, event, _ in log:
        states[stream.name, stream_id] = stream.evolve(states.get((stream.name, stream_id)), event)
    return states


def change_of(event: Event) -> Change:
    """An event in its stream."""
    return _STREAM_OF[type(event)].change(event)


def _same(actual: object, wanted: object) -> None:
    if actual != wanted:
        lines = difflib.ndiff(pformat(wanted, width=160).splitlines(), pformat(actual, width=160).splitlines())
        raise AssertionError("- wanted, + got\n" + "\n".join(lines))


def _survives_the_wire(event: Event) -> None:
    event_type, _schema_id, payload = encode_event(event)
    assert _STREAM_OF[type(event)].events[event_type] is type(event)
    assert decode_event(payload) == event


class Given:
    """A history, told in events or in commands that are accepted."""

    def __init__(self, books: Books) -> None:
        self.books = books

    def and_then(self, *facts: Event | Command, at: datetime = NOW) -> "Given":
        """What happened next, at that time."""
        for fact in facts:
            if type(fact) in HANDLERS:
                self.books.do(fact, at)
            else:
                self.books.record(fact)
        return self

    def when(self, command: Command, at: datetime = NOW) -> "Result":
        """The command that is specified, at that time by the real clock."""
        before = (dict(self.books.states), dict(self.books.claims), dict(self.books.due), list(self.books.log))
        try:
            done = self.books.do(command, at)
        except Refusal as refusal:
            after = (self.books.states, self.books.claims, self.books.due, self.books.log)
            assert after == before, "a refusal leaves no trace"
            return Result(self.books, refusal)
        assert replayed(self.books.log) == self.books.states, "a replay from the first event comes to the same states"
        return Result(self.books, done)


def given(*facts: Event | Command, at: datetime = NOW) -> Given:
    """A history so far; nothing, where nothing is given."""
    return Given(Books()).and_then(*facts, at=at)


class Result(Given):
    """What the command came to. A specification may go on from it with another `when`."""

    def __init__(self, books: Books, result: Done | Refusal) -> None:
        super().__init__(books)
        self._result = result

    @property
    def done(self) -> Done:
        """What was done. Raises the refusal."""
        if isinstance(self._result, Refusal):
            raise self._result
        return self._result

    def then(self, *events: Event) -> Self:
        """Exactly these events, in this order."""
        _same(self.done.events, list(events))
        return self

    def then_nothing(self) -> Self:
        """Accepted, and nothing is left to do: no event, no posting, no claim, no due work, no right."""
        _same(self.done, Done(self.done.effective_at, [], [], [], [], [], [], []))
        return self

    def then_refused(self, refusal: type[Refusal], **details: str | int | None) -> Self:
        """Refused with exactly this type; `details` are some of the values that it explains itself with."""
        assert isinstance(self._result, Refusal), f"accepted: {self._result}"
        assert type(self._result) is refusal
        _same({name: self._result.details.get(name) for name in details}, details)
        return self

    def then_is_about(self, path: str | None) -> Self:
        """Refused for the field at this path."""
        assert isinstance(self._result, Refusal), f"accepted: {self._result}"
        _same(self._result.param, path)
        return self

    def then_tells(self, words: str) -> Self:
        """Refused in a sentence with these words."""
        assert isinstance(self._result, Refusal), f"accepted: {self._result}"
        assert words in self._result.describe(), self._result.describe()
        return self

    def then_at(self, instant: datetime) -> Self:
        """Effective at this business time."""
        _same(self.done.effective_at, instant)
        return self

    def then_posts(self, *postings: Posting) -> Self:
        """Exactly these postings, in the order of the events; without any, no money moves."""
        _same(self.done.postings, list(postings))
        return self

    def then_claims(self, *claimed: Claimed) -> Self:
        """Exactly these claims are taken."""
        _same(self.done.taken, list(claimed))
        return self

    def then_frees(self, *claimed: Claimed) -> Self:
        """Exactly these claims are given back."""
        _same(self.done.freed, list(claimed))
        return self

    def then_schedules(self, *work: Schedule) -> Self:
        """Exactly this due work is written or moved."""
        _same(self.done.scheduled, list(work))
        return self

    def then_finishes(self, *work: Finish) -> Self:
        """Exactly this due work, which was there, is removed."""
        _same(self.done.finished, list(work))
        return self

    def then_lets(self, *changes: AccessChange) -> Self:
        """Exactly these changes of who may do what."""
        _same(self.done.access, list(changes))
        return self

    def then_shows(self, stream: Stream[Any], stream_id: str, **values: object) -> Self:
        """These values of a stream's state."""
        state = self.books.states[stream.name, stream_id]
        _same({name: getattr(state, name) for name in values}, values)
        return self
