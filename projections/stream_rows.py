"""Read models whose rows are the states of one kind of stream, folded by the stream's own `evolve`.

So a read model cannot disagree with the domain: its columns are the state's fields, and the state can be made again
from a row to the last field.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from domain.kernel.stream import Stream
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows, Tally

State = TypeVar("State")


class OutOfOrder(Exception):
    """An event is not the next one of its stream: something before it is missing, or it was applied already."""


class Found(NamedTuple, Generic[State]):
    """A resource as of its last event: `stream_version` counts its events, `position` is the last one's in the log,
    `updated_at` is when that one took effect.
    """

    state: State
    stream_version: int
    position: int
    updated_at: datetime


def stream_model(
    stream: Stream[State],
    state: type[State],
    *,
    name: str,
    version: int,
    projection: Projection,
    indexes: tuple[str, ...] = (),
    tally: Tally | None = None,
    tallied_by: str | None = None,
    sorted_by: str = "created_at",
    texts: tuple[str, ...] = (),
) -> ReadModel[Found[State]]:
    """The read model of a kind of stream: a row per stream, which is its state."""
    found = layout(Found, state)
    evolve = stream.evolve

    def apply(rows: Rows[Found[State]], fact: Fact) -> None:
        key = (fact.tenant_id, fact.stream_id)
        row = rows.get(key)
        before, version = (None, 0) if row is None else (row.state, row.stream_version)
        if fact.stream_version != version + 1:
            raise OutOfOrder(f"{fact.stream_type} {fact.stream_id}: version {fact.stream_version} after {version}")
        rows[key] = Found(evolve(before, fact.event), fact.stream_version, fact.position, fact.effective_at)

    return ReadModel(
        name=name,
        version=version,
        projection=projection,
        columns=found.columns,
        key=("tenant_id", stream.id_field),
        events=frozenset(stream.events),
        apply=apply,
        write=found.write,
        read=found.read,
        key_of=lambda fact: (fact.tenant_id, fact.stream_id),
        begins=lambda fact: fact.stream_version == 1,
        indexes=(f"tenant_id, {sorted_by}, {stream.id_field}", *indexes),
        sorted_by=sorted_by,
        texts=texts,
        tally=tally,
        tallied_by=tallied_by,
    )


def part_model(
    state: type[State],
    evolve: Callable[[State | None, Any], State],
    *,
    name: str,
    version: int,
    projection: Projection,
    id_field: str,
    events: Iterable[str],
    beginning: str,
    indexes: tuple[str, ...] = (),
    sorted_by: str = "created_at",
) -> ReadModel[Found[State]]:
    """The read model of what one stream holds many of, each with events of its own: a row per part, folded by the
    part's `evolve`. An event names its part by `id_field`; `stream_version` is the event's in the whole stream.
    """
    found = layout(Found, state)

    def key_of(fact: Fact) -> tuple[str, str]:
        return fact.tenant_id, getattr(fact.event, id_field)

    def apply(rows: Rows[Found[State]], fact: Fact) -> None:
        key = key_of(fact)
        row = rows.get(key)
        if row is None and fact.event_type != beginning:
            raise OutOfOrder(f"{fact.event_type} of {key[1]}, which nobody created")
        after = evolve(None if row is None else row.state, fact.event)
        rows[key] = Found(after, fact.stream_version, fact.position, fact.effective_at)

    return ReadModel(
        name=name,
        version=version,
        projection=projection,
        columns=found.columns,
        key=("tenant_id", id_field),
        events=frozenset(events),
        apply=apply,
        write=found.write,
        read=found.read,
        key_of=key_of,
        begins=lambda fact: fact.event_type == beginning,
        indexes=(f"tenant_id, {sorted_by}, {id_field}", *indexes),
        sorted_by=sorted_by,
    )
