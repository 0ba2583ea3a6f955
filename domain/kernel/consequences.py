"""What an event of one stream brings about in another: a rule per type of event, whatever command it comes from.

A command decides what it asks for and nothing more. Whatever follows from its events in other streams is added to its
decision here, right behind the event that it follows from, so that no command can forget it and no context needs to
know those above it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from domain.kernel.stream import Change, Decision, Event, Handler, State, Stream, Streams

Consequence = Callable[[Any, Streams, datetime], Iterable[Change]]
"""What follows from an event: of the event, the states after it, and the business time of the decision."""


class After:
    """The states as they will be after changes that are decided and not yet recorded. A `Streams`."""

    def __init__(self, streams: Streams, changes: Iterable[Change] = ()) -> None:
        self._streams = streams
        self._states: dict[tuple[str, str], Any] = {}
        self._to_fold: dict[tuple[str, str], list[Event]] = {}
        self.add(*changes)

    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        key = (stream.name, stream_id)
        state: State | None = self._states[key] if key in self._states else self._streams.get(stream, stream_id)
        # Folded when somebody asks: most streams of a decision are not looked back at.
        for event in self._to_fold.pop(key, ()):
            state = self._states[key] = stream.evolve(state, event)
        return state

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        key = (stream.name, stream_id)
        return key not in self._states and key not in self._to_fold and self._streams.is_new(stream, stream_id)

    def add(self, *changes: Change) -> None:
        """Let changes have happened."""
        for change in changes:
            self._to_fold.setdefault((change.stream.name, change.stream_id), []).append(change.event)


def together(*contexts: Mapping[type, Consequence]) -> dict[type, Consequence]:
    """What several contexts say. Of an event that more than one speaks of, all see the states right after it."""
    said: dict[type, list[Consequence]] = {}
    for rules in contexts:
        for event_type, rule in rules.items():
            said.setdefault(event_type, []).append(rule)
    return {event_type: rules[0] if len(rules) == 1 else _each(rules) for event_type, rules in said.items()}


def _each(rules: Sequence[Consequence]) -> Consequence:
    return lambda event, streams, at: [change for rule in rules for change in rule(event, streams, at)]


def with_consequences(handler: Handler, rules: Mapping[type, Consequence]) -> Handler:
    """The handler, whose decisions carry what follows from them. A consequence may have consequences."""

    def decide(command: Any, streams: Streams, now: datetime) -> Decision:
        decision = handler(command, streams, now)
        if rules.keys().isdisjoint([type(change.event) for change in decision.changes]):
            return decision
        changes: list[Change] = []
        after = After(streams)
        ahead = deque(decision.changes)
        while ahead:
            change = ahead.popleft()
            after.add(change)
            changes.append(change)
            rule = rules.get(type(change.event))
            if rule is not None:
                at = change.effective_at or decision.effective_at
                following = [
                    each._replace(effective_at=each.effective_at or at) for each in rule(change.event, after, at)
                ]
                ahead.extendleft(reversed(following))
        return Decision(decision.effective_at, changes)

    return decide
