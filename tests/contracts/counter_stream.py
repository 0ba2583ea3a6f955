"""A small stream for the event store's own tests: counters that can be opened, raised, moved between and closed.

It has everything that the writer must handle: refusals, claims, due work, money, several streams in one command.
"""

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from domain.kernel.accounts import CASH, EQUITY, Entry, transfer
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import (
    Change,
    Claim,
    Decision,
    DueWork,
    Event,
    Finish,
    Free,
    Handler,
    Schedule,
    Stream,
    Streams,
    Take,
    Topic,
    WorkKind,
)

EUR = CurrencyCode("EUR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    counter_id: str
    name: str | None = None  # unique in the tenant
    customer_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    counter_id: str
    by: int
    events: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Lower one counter and raise another, both or none."""

    source_id: str
    target_id: str
    by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseAsMuchAs:
    """Raise a counter by another's value, which is only read."""

    counter_id: str
    as_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseUnless:
    """Raise a counter by one unless another exists, which is only read."""

    counter_id: str
    other_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    counter_id: str
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remind:
    """Schedule due work, or finish it where neither time is given."""

    counter_id: str
    due_at: datetime | None = None
    after_ms: int | None = None
    clock_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemindAndRename:
    """Due work first, then a claim that may be refused."""

    counter_id: str
    due_at: datetime
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """Raise by one at an earlier business time, then by one now."""

    counter_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The handler raises what is no refusal."""

    counter_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Nothing happens, and that is accepted."""

    counter_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    counter_id: str
    name: str | None
    customer_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    counter_id: str
    by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    counter_id: str
    name: str | None
    old_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminded:
    counter_id: str
    due_at: datetime | None
    after_ms: int | None
    clock_id: str | None


class CounterExists(Refusal):
    """The counter is open already."""

    code = "counter_exists"


class CounterNotFound(Refusal):
    """There is no such counter."""

    code = "counter_not_found"
    kind = RefusalKind.NOT_FOUND


class BelowZero(Refusal):
    """A counter never falls below zero."""

    code = "below_zero"


class NameTaken(Refusal):
    """Another counter has this name."""

    code = "name_taken"


class Broken(Exception):
    """What a defect in the rules looks like."""


@dataclass(frozen=True, slots=True)
class Counter:
    counter_id: str
    value: int
    name: str | None
    customer_id: str | None


def evolve(counter: Counter | None, event: Event) -> Counter:
    match event:
        case Opened():
            return Counter(event.counter_id, 0, event.name, event.customer_id)
        case Raised():
            assert counter is not None
            return Counter(counter.counter_id, counter.value + event.by, counter.name, counter.customer_id)
        case Renamed():
            assert counter is not None
            return Counter(counter.counter_id, counter.value, event.name, counter.customer_id)
        case _:
            assert counter is not None
            return counter


def postings(event: Event, counter: Counter) -> Entry | None:
    if isinstance(event, Raised) and event.by > 0:
        return transfer(Money(event.by, EUR), debit_to=CASH, credit_to=EQUITY, customer_id=counter.customer_id)
    return None


def claims(event: Event, counter: Counter) -> tuple[Claim, ...]:
    found: list[Claim] = []
    if isinstance(event, Renamed) and event.old_name is not None:
        found.append(Free("counter.name", event.old_name, counter.counter_id))
    if isinstance(event, Opened | Renamed) and event.name is not None:
        name = event.name
        found.append(Take("counter.name", name, counter.counter_id, lambda: NameTaken(name=name)))
    return tuple(found)


def due_work(event: Event, counter: Counter) -> tuple[DueWork, ...]:
    if not isinstance(event, Reminded):
        return ()
    if event.due_at is None and event.after_ms is None:
        return (Finish(WorkKind.SAGA_DEADLINE, counter.counter_id),)
    return (Schedule(WorkKind.SAGA_DEADLINE, counter.counter_id, event.due_at, event.after_ms, event.clock_id),)


COUNTERS: Stream[Counter] = Stream(
    name="counter",
    id_field="counter_id",
    topic=Topic.BILLING,
    events={
        "counter.opened": Opened,
        "counter.raised": Raised,
        "counter.renamed": Renamed,
        "counter.reminded": Reminded,
    },
    evolve=evolve,
    customer_of=lambda counter: counter.customer_id,
    postings=postings,
    claims=claims,
    due_work=due_work,
)


def _existing(streams: Streams, counter_id: str) -> Counter:
    counter = streams.get(COUNTERS, counter_id)
    if counter is None:
        raise CounterNotFound(counter_id=counter_id)
    return counter


def _raised(streams: Streams, counter_id: str, by: int) -> Change:
    counter = _existing(streams, counter_id)
    if counter.value + by < 0:
        raise BelowZero(counter_id=counter_id, value=counter.value, by=by)
    return Change(COUNTERS, counter_id, Raised(counter_id=counter_id, by=by))


def handle(command: Any, streams: Streams, now: datetime) -> Decision:
    match command:
        case Open():
            if not streams.is_new(COUNTERS, command.counter_id):
                raise CounterExists(counter_id=command.counter_id)
            opened = Opened(counter_id=command.counter_id, name=command.name, customer_id=command.customer_id)
            return Decision(now, [Change(COUNTERS, command.counter_id, opened)])
        case Raise():
            return Decision(now, [_raised(streams, command.counter_id, command.by)] * command.events)
        case Move():
            return Decision(
                now,
                [_raised(streams, command.source_id, -command.by), _raised(streams, command.target_id, command.by)],
            )
        case RaiseAsMuchAs():
            return Decision(now, [_raised(streams, command.counter_id, _existing(streams, command.as_id).value)])
        case RaiseUnless():
            if streams.get(COUNTERS, command.other_id) is not None:
                return Decision(now, [])
            return Decision(now, [_raised(streams, command.counter_id, 1)])
        case Rename():
            old = _existing(streams, command.counter_id).name
            renamed = Renamed(counter_id=command.counter_id, name=command.name, old_name=old)
            return Decision(now, [Change(COUNTERS, command.counter_id, renamed)])
        case Remind():
            _existing(streams, command.counter_id)
            reminded = Reminded(
                counter_id=command.counter_id,
                due_at=command.due_at,
                after_ms=command.after_ms,
                clock_id=command.clock_id,
            )
            return Decision(now, [Change(COUNTERS, command.counter_id, reminded)])
        case RemindAndRename():
            remind = Remind(counter_id=command.counter_id, due_at=command.due_at)
            rename = Rename(counter_id=command.counter_id, name=command.name)
            return Decision(now, [*handle(remind, streams, now).changes, *handle(rename, streams, now).changes])
        case CatchUp():
            raised = _raised(streams, command.counter_id, 1)
            return Decision(now, [raised._replace(effective_at=command.at), raised])
        case Touch():
            _existing(streams, command.counter_id)
            return Decision(now, [])
        case _:
            raise Broken(command.counter_id)


COMMANDS = (Open, Raise, Move, RaiseAsMuchAs, RaiseUnless, Rename, Remind, RemindAndRename, CatchUp, Touch, Break)
HANDLERS: dict[type, Handler] = dict.fromkeys(COMMANDS, handle)


class CounterCodec:
    """The counters' events and their postings as JSON; the real codec has tests of its own."""

    def encode_event(self, event: Event) -> tuple[str, int, bytes]:
        name = next(name for name, kind in COUNTERS.events.items() if type(event) is kind)
        values = {field.name: getattr(event, field.name) for field in fields(event)}
        due_at = values.get("due_at")
        if due_at is not None:
            values["due_at"] = due_at.isoformat()
        return name, 1, json.dumps([name, values]).encode()

    def decode_event(self, payload: bytes) -> Event:
        name, values = json.loads(payload)
        if values.get("due_at") is not None:
            values["due_at"] = datetime.fromisoformat(values["due_at"])
        event: Event = COUNTERS.events[name](**values)
        return event

    def encode_entry(self, entry: Entry) -> bytes:
        return json.dumps(asdict(entry)).encode()
