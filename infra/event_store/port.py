"""The event store's port: what a command brings, what comes back, and what the log holds.

Two implementations pass one contract suite: PostgreSQL (`writer.py`, `log.py`) and an in-memory twin (`memory.py`).
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, Decision, Streams, WorkKind


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
    terms: tuple[int, ...] | None = None  # keyed digests that they are found by from now on; None: as before


class CredentialKind(StrEnum):
    """What somebody is known by, in the only form that is kept of it."""

    API_KEY = "api_key"  # the key's SHA-256
    PASSWORD = "password"  # noqa: S105  its hash, as argon2id writes it
    EMAIL = "email"  # a keyed digest of the address, by which log-in finds its user
    RECOVERY_CODES = "recovery_codes"  # keyed digests of a list, end to end; kept with the first second factor alone


class Credential(NamedTuple):
    """A digest that goes into the schema `access` in the command's own batch, and into no event.

    `subject` is the id of the API key or user, which the batch makes or which is there. It replaces the former one.
    A new password ends its user's sessions, but for the one that `keeps` names.
    """

    kind: CredentialKind
    subject: str
    digest: bytes
    keeps: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A command on its way to the log.

    `request_hash` (32 bytes) tells a repeat from another request under the same key. `seals` and `erases` change the
    vault in the same batch, `credentials` the schema `access`, and only if the command is accepted. `answer` runs
    synchronously, right after the decision.
    """

    tenant_id: str
    idempotency_key: str
    request_hash: bytes
    command: Command
    actor: str
    correlation_id: str
    causation_id: str | None = None
    seals: SealedPerson | None = None
    erases: str | None = None
    credentials: tuple[Credential, ...] = ()
    answer: Callable[[Decided], Answer] | None = None


class Outcome(NamedTuple):
    """What became of a command. `position` is its last event's, or the head it was refused at (never None once stored).

    `refusal_code` is None for an accepted command. `replayed` tells that the answer was stored by an earlier request.
    """

    refusal_code: str | None
    answer: Answer | None
    position: int
    replayed: bool


class Rehearsed(NamedTuple):
    """What a command would come to: its answer, and its events as they would be recorded. None where it is refused."""

    refusal_code: str | None
    answer: Answer | None
    events: Sequence["Envelope"]


class IdempotencyKeyReused(Exception):
    """The key was used before with another request body."""


class PartlyDone(Exception):
    """Of commands that are to be done together some were done before, without the others. Nothing was done now."""

    def __init__(self, idempotency_key: str) -> None:
        self.idempotency_key = idempotency_key
        super().__init__(idempotency_key)


class QueueFull(Exception):
    """The writer's queue is at its limit: try again after `retry_after_ms`."""

    def __init__(self, retry_after_ms: int) -> None:
        self.retry_after_ms = retry_after_ms
        super().__init__(f"the writer takes no more now; retry after {retry_after_ms} ms")


class TooManyRehearsals(QueueFull):
    """As many commands are being rehearsed as may be at once: try again after `retry_after_ms`."""


class StoreUnavailable(Exception):
    """The database cannot be reached within the writer's limits; retry with the same key."""


class ClockApart(StoreUnavailable):
    """This process's clock differs from the log's by more than it may: nothing is written until it is set right."""

    def __init__(self, apart_ms: float, max_ms: int) -> None:
        self.apart_ms = apart_ms
        super().__init__(
            f"this process's clock is {abs(apart_ms) / 1000:.3f} s {'ahead of' if apart_ms > 0 else 'behind'} the "
            f"database's, more than the {max_ms} ms of TALLYBOOK_WRITER_CLOCK_APART_MAX_MS: set the clock right (NTP)"
        )


@dataclass(slots=True)
class Envelope:
    """An event with all that was decided about it: what the writer hands over, and what every reader gets back.

    Not frozen, for the sake of the log's readers: a frozen one takes ten times as long to make. `payload` is
    Confluent-framed Avro, the same bytes that go to Kafka. `decision` says what the decision rested on
    (`decision_record.decode`); the first of a decision's events has it.
    """

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
    correlation_id: str
    causation_id: str | None
    actor: str
    decision: bytes | None


@dataclass(slots=True)
class Recorded(Envelope):
    """One event as the log holds it."""

    position: int
    recorded_at: datetime


ENVELOPE_VALUES: Final = attrgetter(*(field.name for field in fields(Envelope)))
"""An envelope's values, in the order of its fields."""


class Writer(Protocol):
    """Takes commands to the log, in batches."""

    async def submit(self, request: Request) -> Outcome:
        """Decide and record a command, exactly once per (tenant, idempotency key).

        Raises IdempotencyKeyReused, QueueFull, StoreUnavailable; a refusal is an Outcome, not an exception.
        """
        ...

    async def submit_together(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """Decide and record commands of one tenant in one commit, each on top of those before it: all, or none.

        Where one is refused, so are all: it by its own refusal, the others by OtherRefused; all of that is stored.
        Raises what `submit` does, and PartlyDone.
        """
        ...

    async def rehearse(self, request: Request) -> Rehearsed:
        """Decide a command on what is committed, as `submit` would, and forget it: nothing of it is kept anywhere.

        Its idempotency key means nothing. Raises TooManyRehearsals, StoreUnavailable; a refusal is no exception.
        """
        ...

    async def rehearse_together(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
        """Decide commands as `submit_together` would, and forget them."""
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

    async def owners(
        self, tenant_id: str, kind: str, *, value_prefix: str, limit: int, after: str = ""
    ) -> Sequence[str]:
        """Who owns the claimed values of this kind that begin so, in the order of the values; of those past `after`,
        which is what follows there, where it is given.
        """
        ...

    def follow(self, *, after: int) -> AsyncIterator[Sequence[Recorded]]:
        """Pages of events for ever, woken by notification and by a slow poll."""
        ...


class Work(NamedTuple):
    """One piece of due work. `due_at` is on its own clock; with kind and subject it makes the run's idempotency key.

    `runs_on_clock`: the test clock `clock_id` runs it. Otherwise it runs in real time, and a `clock_id` is the test
    clock that must not move on before it is finished. `attempts` counts this run; `failures` the runs before it that
    failed one after another. `first_run_at` is when it was first taken, in whatever run, and `claimed_at` when this run
    took it, both by the store's clock and before the run could do anything.
    """

    tenant_id: str
    kind: WorkKind
    subject: str
    due_at: datetime
    clock_id: str | None
    runs_on_clock: bool
    caused_by_position: int
    caused_by_event_id: str
    correlation_id: str
    attempts: int
    lease_owner: str | None
    last_error: str | None
    failures: int = 0
    first_run_at: datetime | None = None
    claimed_at: datetime | None = None

    @property
    def is_first_run(self) -> bool:
        """Whether nobody can have done anything for it before this run."""
        return self.first_run_at == self.claimed_at


class WorkCount(NamedTuple):
    """How much due work of a kind there is: not due yet, due and free to take, being run, given up."""

    kind: WorkKind
    waiting: int
    due: int
    leased: int
    held: int


class DueWorkQueue(Protocol):
    """Due work, taken by lease: what is not finished when its lease ends is somebody else's to take.

    Work is written, moved and finished by commands alone. A lease that was lost makes `retry_later` and `hold` do
    nothing and return False.
    """

    async def claim(self, limits: Mapping[WorkKind, int], *, owner: str, lease_ms: int) -> list[Work]:
        """Take work that is due in real time, at most so many of each kind, the longest due first."""
        ...

    async def earliest(self, tenant_id: str, clock_id: str, *, not_after: datetime) -> datetime | None:
        """When the test clock's next work is due, leased or not; None if there is none up to `not_after`."""
        ...

    async def claim_for_clock(
        self, tenant_id: str, clock_id: str, *, at: datetime, owner: str, lease_ms: int, limit: int
    ) -> list[Work]:
        """Take work that the test clock runs and that is due at or before `at`, in order of (due, kind, subject)."""
        ...

    async def timers(self, tenant_id: str, clock_id: str, *, limit: int, also: Collection[WorkKind] = ()) -> list[Work]:
        """Work that the test clock would run, whenever it is due, leased, held or neither, the earliest due first; and
        its work of the kinds `also`, which runs in real time.
        """
        ...

    async def outstanding(self, tenant_id: str, clock_id: str) -> int:
        """How much work running in real time keeps this test clock from moving on; what is held does not."""
        ...

    async def retry_later(
        self, work: Work, *, pause_ms: int, error: str, failed: bool = False, untouched: bool = False
    ) -> bool:
        """Let the work be taken again after a pause; `failed` counts this run as a failure, otherwise none are left.

        `untouched`: this run certainly did nothing outside, so if it was the first, the next one is the first again.
        """
        ...

    async def hold(self, work: Work, *, error: str) -> bool:
        """Give the work up until somebody releases it."""
        ...

    async def drop(self, work: Work) -> bool:
        """Remove work whose run came to nothing that would have finished or moved it."""
        ...

    async def hold_caused_by(self, event_id: str, kind: WorkKind, *, error: str) -> None:
        """Hold the work that this event scheduled: the event is a dead letter."""
        ...

    async def release_caused_by(self, event_id: str, kind: WorkKind) -> None:
        """Release what `hold_caused_by` held."""
        ...

    async def release_held(self, tenant_id: str, kind: WorkKind, subject: str) -> bool:
        """Let held work be taken again, its attempts counted anew. False if it is not held."""
        ...

    async def held(self, *, limit: int) -> list[Work]:
        """Work that was given up, the longest due first."""
        ...

    async def counts(self) -> list[WorkCount]:
        """Counts per kind that has any, for metrics."""
        ...
