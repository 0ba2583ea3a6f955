"""Deciding a batch: commands one on top of another, and the rows to write for them. Synchronous, no I/O.

The same code runs over PostgreSQL and over the in-memory twin. Nothing that a batch decides is known outside of it
before it is written: the writer merges `current` into its cache after the commit.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from domain.kernel.refusal import Refusal
from domain.kernel.stream import Decision, Handler, State, Stream
from domain.sagas import due_work
from infra.event_store.decision_record import encoded
from infra.event_store.effects import BatchWork, Claims
from infra.event_store.port import Answer, Decided, Envelope, Request
from infra.event_store.states import Versioned
from infra.event_store.storage import (
    AccessRow,
    ClaimKey,
    Codec,
    CredentialRow,
    KeyRow,
    PersonalRow,
    ReadRow,
    ResultRow,
    StreamKey,
    StreamRow,
    TermsRow,
    Write,
)
from infra.ids import EventIds
from infra.release import RELEASE, TIME_ZONE_DATA

NEW: Final = Versioned(None, 0)
"""A stream that nobody has written to."""


class NotLoaded(BaseException):
    """A decision needs a stream that is not in memory. Not an Exception, so that no handler swallows it."""

    def __init__(self, key: StreamKey, stream: Stream[Any]) -> None:
        self.key = key
        self.stream = stream
        super().__init__(key)


class UnknownCommand(Exception):
    """No handler is listed for this type of command."""


class NotAtHome(Exception):
    """A command of one tenant decides what is written in another: it may only read there."""


class DecidedRequest(NamedTuple):
    """A decided request; `upto` counts the batch's events up to and with its own."""

    request: Request
    refusal_code: str | None
    answer: Answer | None
    upto: int


class View:
    """The states that one command sees: the batch's, with the command's own events on top.

    `read` holds each stream that was asked for, and its version then.
    """

    __slots__ = ("_batch", "_tenant_id", "own", "read")

    def __init__(self, batch: "Batch", tenant_id: str) -> None:
        self._batch = batch
        self._tenant_id = tenant_id
        self.own: dict[StreamKey, Versioned] = {}
        self.read: dict[StreamKey, int] = {}

    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        """The state of a stream; None if it does not exist. See `domain.kernel.stream.Streams`."""
        key = (stream.home or self._tenant_id, stream.name, stream_id)
        versioned = self.own.get(key)
        if versioned is None:
            versioned = self._batch.at(key, stream)
            self.read[key] = versioned.version
        state: State | None = versioned.state
        return state

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        """Whether there is no stream of this id. See `domain.kernel.stream.Streams`."""
        key = (stream.home or self._tenant_id, stream.name, stream_id)
        versioned = self.own.get(key)
        if versioned is None:
            versioned = self._batch.at(key, stream, made=True)
            self.read[key] = versioned.version
        return versioned.state is None


class Batch:
    """Requests decided in order. `decide` takes one in whole, or leaves the batch as it was and raises."""

    def __init__(
        self,
        *,
        handlers: Mapping[type, Handler],
        codec: Codec,
        ids: EventIds,
        now: datetime,
        known: Callable[[StreamKey], Versioned | None],
        held: Mapping[ClaimKey, str] | None = None,
        trusting: bool = True,
    ) -> None:
        self._trusting = trusting
        self._handlers = handlers
        self._encode_event = codec.encode_event
        self._encode_entry = codec.encode_entry
        self._ids = ids
        self._now = now
        self._known = known
        self._claims = Claims(held or {})
        self._work = BatchWork()
        self._write = Write(decided_at=now)
        self._access: list[AccessRow] = []  # of the command that is being decided
        self.current: dict[StreamKey, Versioned] = {}
        self.base: dict[StreamKey, Versioned] = {}
        self.kinds: dict[str, Stream[Any]] = {}
        self.unreadable: dict[StreamKey, Exception] = {}
        self.settled: list[DecidedRequest] = []
        ids.start_block(now)

    @property
    def events(self) -> int:
        """How many events the batch holds so far."""
        return len(self._write.events)

    @property
    def claims(self) -> list[ClaimKey]:
        """Every claim that the batch asks about, to be looked up under the lock."""
        return self._claims.asked

    def at(self, key: StreamKey, stream: Stream[Any], *, made: bool = False) -> Versioned:
        """The stream as the batch has it so far. Raises NotLoaded, or why the stream cannot be read.

        One that is to be `made` and is not in memory is taken to be new, where the batch is `trusting`.
        """
        versioned = self.current.get(key)
        if versioned is None:
            versioned = self._known(key)
            if versioned is None:
                if not (made and self._trusting) or key in self.unreadable:
                    raise self.unreadable.get(key) or NotLoaded(key, stream)
                versioned = NEW
            self.pin(key, versioned, stream)
        return versioned

    def pin(self, key: StreamKey, versioned: Versioned, stream: Stream[Any]) -> None:
        """Let the batch rest on this version of a stream."""
        self.current[key] = versioned
        self.base[key] = versioned
        self.kinds[stream.name] = stream

    def decide(self, request: Request) -> None:
        """Decide one request on top of the batch. Raises NotLoaded, or whatever but a Refusal its rules raise."""
        handler = self._handlers.get(type(request.command))
        if handler is None:
            raise UnknownCommand(type(request.command).__qualname__)
        view = View(self, request.tenant_id)
        if self._access:
            self._access = []
        work = self._work.stage(request)
        claims = self._claims.stage(request.tenant_id)
        try:
            decision = handler(request.command, view, self._now)
            rows = self._fold(request, decision, view, work, claims)
        except Refusal as refusal:
            view.own.clear()
            answer = _answer(request, Decided(request.command, None, refusal, view))
            self._settle(request, refusal.code, answer, 0)
            return
        answer = _answer(request, Decided(request.command, decision, None, view))
        # From here on nothing raises: the request is in, whole.
        self._write.events.extend(rows)
        self.current.update(view.own)
        self._claims.merge(claims)
        self._work.merge(work)
        self._keep_personal_data(request)
        if self._access or request.credentials:
            self._write.access += self._access
            self._write.access += [CredentialRow(request.tenant_id, each) for each in request.credentials]
        self._settle(request, None, answer, len(rows))

    def _fold(
        self, request: Request, decision: Decision, view: View, work: "BatchWork.Staged", claims: "Claims.Staged"
    ) -> list[Envelope]:
        """The rows of a decision's events; the states after them go into `view.own`, their effects are staged."""
        tenant_id = request.tenant_id
        own = view.own
        place = len(self._write.events)
        rows: list[Envelope] = []
        for stream, stream_id, event, at in decision.changes:
            if stream.home not in (None, tenant_id):
                raise NotAtHome(f"{stream.name} lies in {stream.home}, not in {tenant_id}")
            key = (tenant_id, stream.name, stream_id)
            before = own.get(key)
            if before is None:
                before = self.at(key, stream)
            state = stream.evolve(before.state, event)
            version = before.version + 1
            own[key] = Versioned(state, version)
            place += 1
            entry = stream.postings(event, state)
            for claim in stream.claims(event, state):
                claims.apply(claim)
            for effect in due_work(stream, event, state):
                work.apply(effect, place)
            if stream.access is not None:
                self._access += [AccessRow(tenant_id, change) for change in stream.access(event, state)]
            event_type, schema_id, payload = self._encode_event(event)
            rows.append(
                Envelope(
                    self._ids.next(),
                    tenant_id,
                    stream.name,
                    stream_id,
                    version,
                    event_type,
                    schema_id,
                    payload,
                    None if entry is None else self._encode_entry(entry),
                    f"{tenant_id}:{stream.customer_of(state) or stream_id}",
                    at or decision.effective_at,
                    request.correlation_id,
                    request.causation_id,
                    request.actor,
                    None,
                )
            )
        if rows:
            # What a decision wrote is told by its own events' versions; this tells what it only read.
            only_read = [(key[1], key[2], version) for key, version in view.read.items() if key not in own]
            command = type(request.command).__name__
            rows[0].decision = encoded(len(rows), command, RELEASE, TIME_ZONE_DATA, only_read)
        return rows

    def _settle(self, request: Request, refusal_code: str | None, answer: Answer | None, events: int) -> None:
        upto = len(self._write.events)
        self._write.results.append(
            ResultRow(
                request.tenant_id,
                request.idempotency_key,
                request.request_hash,
                refusal_code,
                None if answer is None else answer.body,
                None if answer is None else answer.person_id,
                upto,
                events,
            )
        )
        self.settled.append(DecidedRequest(request, refusal_code, answer, upto))

    def _keep_personal_data(self, request: Request) -> None:
        write = self._write
        if request.erases is not None:
            write.erased.append((request.tenant_id, request.erases))
        seals = request.seals
        if seals is not None:
            if seals.wrapped_key is not None and seals.salt is not None:
                write.keys.append(KeyRow(request.tenant_id, seals.person_id, seals.wrapped_key, seals.salt))
            write.personal.append(PersonalRow(request.tenant_id, seals.person_id, seals.reference, seals.sealed))
            if seals.terms is not None:
                write.terms.append(TermsRow(request.tenant_id, seals.person_id, seals.terms))

    def write(self) -> Write:
        """Everything to be written for the requests decided so far."""
        write = self._write
        base = self.base
        write.streams.clear()
        write.reads.clear()
        for key, versioned in self.current.items():
            expected = base[key].version
            if versioned.version > expected:
                write.streams.append(StreamRow(*key, versioned.version, versioned.version - expected))
            else:
                write.reads.append(ReadRow(*key, expected))
        write.freed, write.absent, write.taken = self._claims.rows()
        write.finished, write.scheduled = self._work.rows()
        return write


def _answer(request: Request, decided: Decided) -> Answer | None:
    return None if request.answer is None else request.answer(decided)
