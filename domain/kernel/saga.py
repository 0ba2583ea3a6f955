"""A saga: what one event starts, which events bring it on, and which commands it asks for.

Everything else about sagas follows from these values, listed in `domain/sagas.py`: what travels to them by Kafka, the
deadline by which the sweeper takes them up, the read model of what is under way, and the audit's unfinished ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from domain.kernel.stream import Command, DueWork, Event, Finish, Schedule, Stream, Topic, WorkKind

React = Callable[[str, Any], list[tuple[str, Command]]]
"""Of an event's id and the event: the next commands, each with its step's name. The same event asks for the same."""


class SagaState(StrEnum):
    """`waiting`: for the gateway, or for somebody to pay. `unknown`: the gateway has to be asked what happened."""

    WAITING = "waiting"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self not in {SagaState.WAITING, SagaState.UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Within `after_ms` (real time) the stream processors have brought the saga to where nobody must drive it.

    `must_go_on` tells that from its stream's state; None where the stream has no such saga.
    """

    after_ms: int
    must_go_on: Callable[[Any], bool | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Saga:
    """`begins` tells in which state a `starts` event starts one, None if it starts none. `moves` are the events that
    bring it on, and to where; those before its start mean nothing to it. `subject` is what it is about.

    All its events are of `streams`, which share a topic. Where there is a deadline, they are of one stream. One that
    reacts to nothing is moved by others; it is there to be shown.
    """

    name: str
    streams: tuple[Stream[Any], ...]
    starts: type
    begins: Callable[[Any], SagaState | None]
    moves: Mapping[type, SagaState]
    subject: Callable[[Any], str]
    react: React | None = None
    deadline: Deadline | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise TypeError(f"saga {self.name}: its read model's table needs a name of letters, digits and underscores")
        known = {event for stream in self.streams for event in stream.events.values()}
        if foreign := {self.starts, *self.moves} - known:
            raise TypeError(f"saga {self.name}: {foreign} are not of its streams")
        if len({stream.topic for stream in self.streams}) != 1 or (self.deadline and len(self.streams) != 1):
            raise TypeError(f"saga {self.name}: its streams have several topics, or its deadline several streams")

    @property
    def topic(self) -> Topic:
        """Where its events are published."""
        return self.streams[0].topic

    @property
    def started_by(self) -> str:
        """The business name of the event that starts it."""
        return self._names()[self.starts]

    @property
    def states(self) -> Mapping[str, SagaState]:
        """`moves`, by the events' business names."""
        names = self._names()
        return {names[event]: state for event, state in self.moves.items()}

    def id_of(self, event: Event) -> str:
        """Its name and subject: its id among the sagas, and the subject of its deadline."""
        return f"{self.name}:{self.subject(event)}"

    def due_work(self, event: Event, state: Any) -> tuple[DueWork, ...]:
        """Its deadline, in the batch of the event: set by the start, met once nobody must drive it any more."""
        if self.deadline is None or (must_go_on := self.deadline.must_go_on(state)) is None:
            return ()
        kind, subject = WorkKind.SAGA_DEADLINE, self.id_of(event)
        if not must_go_on:
            return (Finish(kind, subject),)
        if type(event) is not self.starts:
            return ()
        return (Schedule(kind, subject, after_ms=self.deadline.after_ms, clock_id=state.test_clock_id),)

    def _names(self) -> dict[type, str]:
        return {event: name for stream in self.streams for name, event in stream.events.items()}
