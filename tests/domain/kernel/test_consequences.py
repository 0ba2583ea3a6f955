"""What follows from an event in another stream: found in every decision, wherever the event comes from."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from domain.kernel.consequences import After, together, with_consequences
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Change, Decision, State, Stream, Streams, Topic
from testing.specification import NOW


@dataclass(frozen=True)
class Pushed:
    domino: str


@dataclass(frozen=True)
class Swept:
    domino: str


class DominoNotFound(Refusal):
    """There is no such domino."""

    param = "domino"


class DominoExists(Refusal):
    """A domino stands there."""


@dataclass(frozen=True)
class Domino:
    domino: str
    falls: int = 0
    swept: int = 0


def evolve(domino: Domino | None, event: Pushed | Swept) -> Domino:
    before = domino or Domino(event.domino)
    if isinstance(event, Pushed):
        return replace(before, falls=before.falls + 1)
    return replace(before, swept=before.swept + 1)


DOMINO: Stream[Domino] = Stream(
    name="domino",
    id_field="domino",
    topic=Topic.BILLING,
    events={"domino.pushed": Pushed, "domino.swept": Swept},
    evolve=evolve,
    customer_of=lambda domino: None,
    not_found=DominoNotFound,
    already_exists=DominoExists,
)


class Nothing:
    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        return None

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        return True


def push(command: tuple[str, ...], streams: Streams, now: datetime) -> Decision:
    return Decision(now, [DOMINO.change(Pushed(domino)) for domino in command])


def the_next_falls(event: Pushed, streams: Streams, at: datetime) -> list[Change]:
    assert at == NOW
    following = {"a": "b", "b": "c"}.get(event.domino)
    fallen = DOMINO.of(streams, event.domino)
    return [] if following is None or fallen.falls > 1 else [DOMINO.change(Pushed(following))]


def events(decision: Decision) -> list[Any]:
    return [change.event for change in decision.changes]


def test_consequences_come_right_behind_what_they_follow_from_and_have_consequences_themselves() -> None:
    decide = with_consequences(push, {Pushed: the_next_falls})
    assert events(decide(("a", "z"), Nothing(), NOW)) == [Pushed("a"), Pushed("b"), Pushed("c"), Pushed("z")]


def test_a_consequence_sees_the_states_after_its_event_and_none_after_later_ones() -> None:
    decide = with_consequences(push, {Pushed: the_next_falls})
    assert events(decide(("a", "a"), Nothing(), NOW)) == [Pushed("a"), Pushed("b"), Pushed("c"), Pushed("a")]


def test_a_decision_without_such_events_is_left_as_it_is() -> None:
    decide = with_consequences(push, {Swept: the_next_falls})
    assert events(decide(("a",), Nothing(), NOW)) == [Pushed("a")]


def test_several_contexts_may_speak_of_one_event_and_each_sees_the_states_right_after_it() -> None:
    seen: list[int] = []

    def is_swept(event: Pushed, streams: Streams, at: datetime) -> list[Change]:
        seen.append(DOMINO.of(streams, event.domino).swept)
        return [DOMINO.change(Swept(event.domino))]

    decide = with_consequences(push, together({Pushed: the_next_falls}, {}, {Pushed: is_swept}))
    assert events(decide(("b",), Nothing(), NOW)) == [Pushed("b"), Pushed("c"), Swept("c"), Swept("b")]
    assert seen == [0, 0]


def test_states_after_changes_lie_over_those_before() -> None:
    before = After(Nothing(), [DOMINO.change(Pushed("a"))])
    after = After(before, [DOMINO.change(Pushed("a")), DOMINO.change(Swept("b"))])
    assert (DOMINO.of(before, "a").falls, DOMINO.of(after, "a").falls, DOMINO.of(after, "b").swept) == (1, 2, 1)
    assert before.get(DOMINO, "b") is None


def test_a_stream_refuses_for_an_id_that_is_unknown_or_taken() -> None:
    streams = After(Nothing(), [DOMINO.change(Pushed("a"))])
    with pytest.raises(DominoNotFound) as unknown:
        DOMINO.of(streams, "b")
    assert unknown.value.details == {"domino": "b"}
    with pytest.raises(DominoExists) as taken:
        DOMINO.check_new(streams, "a")
    assert taken.value.details == {"domino": "a"}
    DOMINO.check_new(streams, "b")


def test_an_event_that_does_not_say_whose_it_is_fails_at_start() -> None:
    with pytest.raises(TypeError, match=r"domino\.pushed .* has no board"):
        Stream(
            name="domino",
            id_field="board",
            topic=Topic.BILLING,
            events={"domino.pushed": Pushed},
            evolve=evolve,
            customer_of=lambda domino: None,
        )
