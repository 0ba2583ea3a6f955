"""The event store's port: what a command brings, what comes back, and what the log holds.

Two implementations pass one contract suite: PostgreSQL (`writer.py`, `log.py`) and an in-memory twin (`memory.py`).
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.refusal import Refusal
from domain.stream import Command, Decision, Streams, WorkKind


class Decided(NamedTuple):
    """What was decided, for whoever renders the answer: exactly one of `decision` and `refusal` is given.

    `streams` shows the states with the decision's events folded in.
    """

    command: Command
    decision: Decision | None
    refusal: Refusal | None
    streams: Streams


class Answer(NamedTuple):
    """The bytes to store as the command's answer and to repeat for ever.

    Where they hold personal data they are sealed under the key of the person named, so erasure reaches them.
    """

    body: bytes
    person_id: str | None = None


class SealedPerson(NamedTuple):
    """A person's sealed data, to be written to the vault in the command's own batch: ciphertext and salt."""

    person_id: str
    wrapped_key: bytes | None  # None: the person has a key already
    salt: bytes | None
    reference: str  # the revision of the data, `pd_…`, as the event names it
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A command on its way to the log.

    `request_hash` (32 bytes) tells a repeat from another request under the same key. `finishes` names due work that
    this command settles whatever its outcome. `seals` and `erases` change the vault in the same batch, and only if the
    command is accepted. `answer` runs synchronously, right after the decision.
    """

    tenant_id: str
    idempotency_key: str
    request_hash: bytes
    command: Command
    actor: str
    correlation_id: str
    causation_id: str | None = None
    finishes: tuple[WorkKind, str] | None = None
    seals: SealedPerson | None = None
    erases: str | None = None
    answer: Callable[[Decided], Answer] | None = None


class Outcome(NamedTuple):
    """What became of a command. `position` is its last event's, or the head it was refused at (never None once stored).

    `refusal_code` is None for an accepted command. `replayed` tells that the answer was stored by an earlier request.
    """

    refusal_code: str | None
    answer: Answer | None
    position: int
    replayed: bool


class IdempotencyKeyReused(Exception):
    """The key was used before with another request body."""


class QueueFull(Exception):
    """The writer's queue is at its limit: try again after `retry_after_ms`."""

    def __init__(self, retry_after_ms: int) -> None:
        self.retry_after_ms = retry_after_ms
        super().__init__(f"the writer's queue is full; retry after {retry_after_ms} ms")


class StoreUnavailable(Exception):
    """The database cannot be reached within the writer's limits; retry with the same key."""


class Recorded(NamedTuple):
    """One event as the log holds it. `payload` is Confluent-framed Avro, the same bytes that go to Kafka."""

    position: int
    event_id: str
    tenant_id: str
    stream_type: str
    stream_id: str
    stream_version: int
    event_type: str
    schema_id: int
    payload: bytes
    postings: bytes | None
    partition_key: str
    effective_at: datetime
    recorded_at: datetime
    correlation_id: str
    causation_id: str | None
    actor: str


class Writer(Protocol):
    """Takes commands to the log, in batches."""

    async def submit(self, request: Request) -> Outcome:
        """Decide and record a command, exactly once per (tenant, idempotency key).

        Raises IdempotencyKeyReused, QueueFull, StoreUnavailable; a refusal is an Outcome, not an exception.
        """
        ...


class Log(Protocol):
    """Reads the log. Reads are short: `read` never holds a snapshot longer than one page."""

    async def head(self) -> int:
        """The position of the last committed event; 0 for an empty log."""
        ...

    async def read(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Up to `limit` events with position > `after`, in position order."""
        ...

    async def read_stream(self, tenant_id: str, stream_type: str, stream_id: str) -> Sequence[Recorded]:
        """All events of a stream in version order."""
        ...

    def follow(self, *, after: int) -> AsyncIterator[Sequence[Recorded]]:
        """Pages of events for ever, woken by notification and by a slow poll."""
        ...
