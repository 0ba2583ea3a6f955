"""What the writer needs of a database, and the rows it hands over. PostgreSQL and the in-memory twin both offer it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from domain.kernel.access import AccessChange
from domain.kernel.accounts import Entry
from domain.kernel.stream import Event
from infra.event_store.port import Credential, Envelope

StreamKey = tuple[str, str, str]  # tenant, stream type, stream id
ResultKey = tuple[str, str]  # tenant, idempotency key
ClaimKey = tuple[str, str, str]  # tenant, kind, value
WorkKey = tuple[str, str, str]  # tenant, kind, subject


class Codec(Protocol):
    """Turns events and entries into the bytes of the log and back; `schemas.codec` offers it."""

    def encode_event(self, event: Event) -> tuple[str, int, bytes]:
        """An event's type, schema id and framed bytes."""
        ...

    def decode_event(self, payload: bytes) -> Event:
        """The event, upcast to the newest version of its class."""
        ...

    def encode_entry(self, entry: Entry) -> bytes:
        """A journal entry's bytes."""
        ...


class StreamRow(NamedTuple):
    """A stream's new version, and how many events the batch adds: expected is `version - change`."""

    tenant_id: str
    stream_type: str
    stream_id: str
    version: int
    change: int


class ReadRow(NamedTuple):
    """A stream that decisions rest on and the batch does not write; version 0: it does not exist."""

    tenant_id: str
    stream_type: str
    stream_id: str
    version: int


class ResultRow(NamedTuple):
    """A command's outcome; `upto` counts the batch's events up to and with this command's."""

    tenant_id: str
    idempotency_key: str
    request_hash: bytes
    refusal_code: str | None
    answer: bytes | None
    answer_person_id: str | None
    upto: int
    events: int


class ClaimRow(NamedTuple):
    """A claim and its owner."""

    tenant_id: str
    kind: str
    value: str
    owner: str


class WorkRow(NamedTuple):
    """Due work to write or move: exactly one of `due_at` and `after_ms` is given. `cause` is the event's place."""

    tenant_id: str
    kind: str
    subject: str
    due_at: datetime | None
    after_ms: int | None
    clock_id: str | None
    cause: int
    correlation_id: str


class KeyRow(NamedTuple):
    """A person's wrapped key, and the salt that their fields' salts come from."""

    tenant_id: str
    person_id: str
    wrapped_key: bytes
    salt: bytes


class PersonalRow(NamedTuple):
    """One revision of a person's sealed data."""

    tenant_id: str
    person_id: str
    reference: str
    sealed: bytes


class TermsRow(NamedTuple):
    """What a person is found by from now on: keyed digests."""

    tenant_id: str
    person_id: str
    digests: tuple[int, ...]


class AccessRow(NamedTuple):
    """A change of who may do what in a tenant."""

    tenant_id: str
    change: AccessChange


class CredentialRow(NamedTuple):
    """A digest, and the tenant whose command brought it."""

    tenant_id: str
    credential: Credential


@dataclass(slots=True)
class Write:
    """Everything one batch changes, to be written whole or not at all. An event's position is the batch's base plus
    its place, counted from 1. `decided_at` is by the writer's own clock."""

    decided_at: datetime
    streams: list[StreamRow] = field(default_factory=list)
    reads: list[ReadRow] = field(default_factory=list)
    results: list[ResultRow] = field(default_factory=list)
    events: list[Envelope] = field(default_factory=list)
    freed: list[ClaimRow] = field(default_factory=list)
    absent: list[ClaimKey] = field(default_factory=list)
    taken: list[ClaimRow] = field(default_factory=list)
    finished: list[WorkKey] = field(default_factory=list)
    scheduled: list[WorkRow] = field(default_factory=list)
    erased: list[tuple[str, str]] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)
    personal: list[PersonalRow] = field(default_factory=list)
    access: list[AccessRow | CredentialRow] = field(default_factory=list)
    terms: list[TermsRow] = field(default_factory=list)


class Wanted(NamedTuple):
    """A stream to load: its events after a version that is known already.

    After 0 a snapshot made by the code of this fingerprint may stand in for the first ones.
    """

    key: StreamKey
    after: int
    fingerprint: str = ""


class Loaded(NamedTuple):
    """A stream's events after the version asked for, oldest first, and the version they lead to.

    A snapshot stands in for those before the first of `payloads`.
    """

    version: int
    payloads: list[bytes]
    snapshot: bytes | None = None


class StoredResult(NamedTuple):
    """A command's stored outcome."""

    request_hash: bytes
    refusal_code: str | None
    answer: bytes | None
    answer_person_id: str | None
    position: int


class Appended(NamedTuple):
    """Where a batch went: its first event has position `base + 1`."""

    base: int
    recorded_at: datetime


class Stale(StrEnum):
    """What of a batch's ground has changed since it was decided."""

    STREAMS = "streams"
    READS = "reads"
    RESULTS = "results"
    CLAIMS = "claims"
    CLOCK = "clock"


class Conflict(Exception):
    """Another process wrote first, or the batch was decided at another time than the log's; nothing was written."""

    def __init__(self, stale: Stale) -> None:
        self.stale = stale
        super().__init__(stale.value)


class StoreLost(Exception):
    """The connection broke, timed out or was refused: whether the batch was written is unknown."""


class Unwritable(Exception):
    """The database refused the batch for what it holds; nothing was written. `__cause__` says why."""


class PersonKeyMismatch(Exception):
    """Data was sealed for a person whose key has been erased, or under a new key for a person who has one."""


class CredentialMismatch(Exception):
    """A digest is somebody's already, or its subject is not there; or a key's or user's id is another tenant's."""


class Reads(Protocol):
    """What a decision needs to know. Each may raise StoreLost."""

    async def load(self, wanted: Sequence[Wanted]) -> Sequence[Loaded]:
        """The streams' newer events, in the order asked for."""
        ...

    async def holders(self, claims: Sequence[ClaimKey]) -> Mapping[ClaimKey, str]:
        """The owners of those claims that are held."""
        ...


class Session(Reads, Protocol):
    """Reads, stored outcomes and the append. Each may raise StoreLost."""

    async def look_up(self, keys: Sequence[ResultKey]) -> Mapping[ResultKey, StoredResult]:
        """The stored outcomes of those keys that have one."""
        ...

    async def append(self, write: Write) -> Appended:
        """Write a batch and commit it (inside `locked`, the commit comes at its end).

        Raises Conflict or Unwritable with nothing written; StoreLost when that is unknown.
        """
        ...


class Storage(Session, Protocol):
    """A database that one writer appends to, one batch at a time."""

    async def time(self) -> datetime:
        """The log's time: what an append would record now. Raises StoreLost."""
        ...

    def locked(self) -> AbstractAsyncContextManager[Session]:
        """Hold the log's head: nobody else appends until the end of the block, which commits.

        An exception in the block undoes everything. Entering and leaving may raise StoreLost.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reads]:
        """What is committed now, unchanged until the end of the block: read apart from every append, which it neither
        waits for nor holds up. Entering may raise StoreLost.
        """
        ...

    def announce(self, position: int) -> None:
        """Tell whoever follows the log, soon and outside of any batch, that it has grown to this position."""
        ...

    def keep_snapshot(self, key: StreamKey, fingerprint: str, version: int, state: bytes) -> None:
        """Keep a stream's state as of a version, soon and outside of any batch. May be lost: it is only a cache."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
