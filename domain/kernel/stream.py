"""What every stream has in common: how commands become changes, and what a change brings along.

A stream's own file holds, top to bottom: commands, events, refusals, the state, `evolve`, and where they apply
`postings` (money), `claims` (uniqueness), `due_work` (timers and calls to the outside) and `access` (who may do what).
The last four are pure functions of an event and the state after it, so the writer records their results in the event's
own batch.
Its context's `commands.py` decides: one function per command, listed in `HANDLERS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from domain.kernel.access import AccessChange
from domain.kernel.accounts import Entry
from domain.kernel.metadata import MetadataSet
from domain.kernel.refusal import Refusal

State = TypeVar("State")


class Event(Protocol):
    """Any event: a frozen dataclass, listed by its business name in its stream's `EVENTS`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Command(Protocol):
    """Any command: a frozen dataclass that asks for something, listed in `domain.commands.HANDLERS`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Topic(StrEnum):
    """The family of topics a stream's events are published to; infra adds the cell's prefix."""

    BILLING = "billing.events.v1"
    PAYMENTS = "payments.events.v1"
    IDENTITY = "identity.events.v1"


class WorkKind(StrEnum):
    """Kinds of due work. Each has a bounded number of runs at once and one file in `processors/`."""

    SUBSCRIPTION_RENEWAL = "subscription.renewal"
    INVOICE_FINALIZATION = "invoice.finalize"
    INVOICE_USAGE = "invoice.usage"
    INVOICE_TAX = "invoice.tax"
    PLAN_MIGRATION = "plan.migration"
    PAYMENT_GATEWAY_CALL = "payment.gateway_call"
    REFUND_GATEWAY_CALL = "refund.gateway_call"
    REFUND_RETRY = "refund.retry"
    PAYMENT_METHOD_DELETION = "payment_method.deletion"
    CLOCK_ADVANCE = "clock.advance"
    CLOCK_DELETION = "clock.deletion"
    APPROVAL_EXPIRY = "approval.expiry"
    SAGA_DEADLINE = "saga.deadline"


class Take(NamedTuple):
    """Claim a value for an owner, once in its tenant; `refusal` is what a later taker is told, with who has the value
    under the name `tells_owner_as`, if there is one.
    """

    kind: str
    value: str
    owner: str
    refusal: Callable[[], Refusal]
    tells_owner_as: str | None = None

    def refused(self, owner: str) -> Refusal:
        """What somebody is told who takes what that owner has."""
        refused = self.refusal()
        return (
            refused if self.tells_owner_as is None else type(refused)(**refused.details, **{self.tells_owner_as: owner})
        )


class Free(NamedTuple):
    """Give a claimed value back, if this owner holds it."""

    kind: str
    value: str
    owner: str


Claim = Take | Free


class Schedule(NamedTuple):
    """Write (or move) the due work of this kind and subject.

    Exactly one of `due_at` (an instant on the subject's own clock: the test clock where it has one) and `after_ms`
    (real time from now) is given. `clock_id` is the test clock that must not move on while this is outstanding.
    """

    kind: WorkKind
    subject: str
    due_at: datetime | None = None
    after_ms: int | None = None
    clock_id: str | None = None


class Finish(NamedTuple):
    """Remove the due work of this kind and subject, done or no longer wanted."""

    kind: WorkKind
    subject: str


DueWork = Schedule | Finish


def no_postings(event: Any, state: Any) -> Entry | None:
    """The rule of a stream whose events move no money."""
    return None


def no_claims(event: Any, state: Any) -> tuple[Claim, ...]:
    """The rule of a stream whose events claim nothing."""
    return ()


def no_due_work(event: Any, state: Any) -> tuple[DueWork, ...]:
    """The rule of a stream whose events cause no due work."""
    return ()


@dataclass(frozen=True, slots=True, eq=False)
class Stream(Generic[State]):
    """A kind of stream: its name, its events by business name, and its pure rules.

    Every event and the state carry the stream's id in `id_field`. `not_found` and `already_exists` are what a command
    is told; None where nobody names the stream in a command. `customer_of` tells from the state whose events these
    are: they share one partition key, so that anybody sees one customer's facts in order. None: the stream's own id is
    the key. `access` is None in a stream that says nothing of who may do what, as most do. `metadata_set` is the event
    by which the metadata of a resource change; None where they never do. `home` is the one tenant in which all
    streams of the kind lie, whoever's command reads them; None: they lie in the command's own.
    """

    name: str
    id_field: str
    topic: Topic
    events: Mapping[str, type]
    evolve: Callable[[State | None, Any], State]
    customer_of: Callable[[State], str | None]
    not_found: type[Refusal] | None = None
    already_exists: type[Refusal] | None = None
    postings: Callable[[Any, State], Entry | None] = no_postings
    claims: Callable[[Any, State], tuple[Claim, ...]] = no_claims
    due_work: Callable[[Any, State], tuple[DueWork, ...]] = no_due_work
    access: Callable[[Any, State], tuple[AccessChange, ...]] | None = None
    metadata_set: type[MetadataSet] | None = None
    home: str | None = None

    def __post_init__(self) -> None:
        for name, event in self.events.items():
            if self.id_field not in {field.name for field in fields(event)}:
                raise TypeError(f"{name} does not say which {self.name} it is about: it has no {self.id_field}")

    def of(self, streams: "Streams", stream_id: str) -> State:
        """The state of a stream that must be there. Raises its `not_found`."""
        state = streams.get(self, stream_id)
        if state is None:
            raise self.missing(stream_id)
        return state

    def missing(self, stream_id: str) -> Refusal:
        """The refusal of a stream that is not there: its `not_found`, with the id."""
        return self._refused(self.not_found, stream_id)

    def check_new(self, streams: "Streams", stream_id: str) -> None:
        """Raises its `already_exists` where there is a stream of this id."""
        if not streams.is_new(self, stream_id):
            raise self._refused(self.already_exists, stream_id)

    def change(self, event: Event) -> "Change":
        """The event, in the stream that it names."""
        return Change(self, getattr(event, self.id_field), event)

    def _refused(self, refusal: type[Refusal] | None, stream_id: str) -> Refusal:
        if refusal is None or self.not_found is None or self.not_found.param is None:
            raise TypeError(f"no command names a {self.name}")
        return refusal(**{self.not_found.param: stream_id})


class Streams(Protocol):
    """The states a decision may rest on. The writer checks every stream that was read, not only those written."""

    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        """The state of a stream, with the events decided before in the same batch; None if it does not exist."""
        ...

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        """Whether there is no stream of this id. The writer may take one that it does not know for new without looking:
        its check of what was read finds out, and then it decides again."""
        ...


class Change(NamedTuple):
    """One event for one stream; `effective_at` where that is another business time than its decision's (UTC)."""

    stream: Stream[Any]
    stream_id: str
    event: Event
    effective_at: datetime | None = None


class Decision(NamedTuple):
    """What a command does: its events in order, and the business time they are effective at (UTC)."""

    effective_at: datetime
    changes: list[Change]


Handler = Callable[[Any, Streams, datetime], Decision]
