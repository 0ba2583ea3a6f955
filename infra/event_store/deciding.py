"""Deciding a batch: commands one on top of another, and the rows to write for them. Synchronous, no I/O.

The same code runs over PostgreSQL and over the in-memory twin. Nothing that a batch decides is known outside of it
before it is written: the writer merges `current` into its cache after the commit.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from domain.kernel.refusal import OtherRefused, Refusal
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
    """A decision needs streams that are not in memory. Not an Exception, so that no handler swallows it."""

    def __init__(self, missing: Mapping[StreamKey, Stream[Any]]) -> None:
        self.missing = missing
        super().__init__(*missing)


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


class _Part(NamedTuple):
    """A request that was decided: its events, and its answer."""

    request: Request
    rows: list[Envelope]
    answer: Answer | None


class View:
    """The states that one command sees: the batch's, with those that commands decided together with it leave behind,
    and the command's own events, on top.

    `read` holds each stream that was asked for, and its version then.
    """

    __slots__ = ("_batch", "_earlier", "_tenant_id", "own", "read")

    def __init__(self, batch: "Batch", tenant_id: str, earlier: Mapping[StreamKey, Versioned]) -> None:
        self._batch = batch
        self._tenant_id = tenant_id
        self._earlier = earlier
        self.own: dict[StreamKey, Versioned] = {}
        self.read: dict[StreamKey, int] = {}

    def before(self, key: StreamKey, stream: Stream[Any], *, made: bool = False) -> Versioned:
        """The stream as it is without the command's own events."""
        return self._earlier.get(key) or self._batch.at(key, stream, made=made)

    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        """The state of a stream; None if it does not exist. See `domain.kernel.stream.Streams`."""
        key = (stream.home or self._tenant_id, stream.name, stream_id)
        versioned = self.own.get(key)
        if versioned is None:
            versioned = self.before(key, stream)
            self.read[key] = versioned.version
        state: State | None = versioned.state
        return state

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        """Whether there is no stream of this id. See `domain.kernel.stream.Streams`."""
        key = (stream.home or self._tenant_id, stream.name, stream_id)
        versioned = self.own.get(key)
        if versioned is None:
            versioned = self.before(key, stream, made=True)
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
                    raise self.unreadable.get(key) or NotLoaded({key: stream})
                versioned = NEW
            self.pin(key, versioned, stream)
        return versioned

    def pin(self, key: StreamKey, versioned: Versioned, stream: Stream[Any]) -> None:
        """Let the batch rest on this version of a stream."""
        self.current[key] = versioned
        self.base[key] = versioned
        self.kinds[stream.name] = stream

    def decide(self, requests: Sequence[Request]) -> None:
        """Decide one request on top of the batch, or several together, each on top of those before it: all are
        accepted, or none. Raises NotLoaded, or whatever but a Refusal its rules raise.
        """
        if self._access:
            self._access = []
        states: dict[StreamKey, Versioned] = {}
        work = self._work.stage(requests[0])
        claims = self._claims.stage(requests[0].tenant_id)
        parts: list[_Part] = []
        events = len(self._write.events)
        try:
            for request in requests:
                part = self._part(request, states, work, claims, events)
                events += len(part.rows)
                parts.append(part)
        except Refusal as refusal:
            self._refuse(requests, len(parts), refusal)
            return
        except NotLoaded as gap:
            raise self._all_missing(gap, requests[len(parts) + 1 :], states, work, claims) from None
        # From here on nothing raises: the requests are in, whole.
        self.current.update(states)
        self._claims.merge(claims)
        self._work.merge(work)
        if self._access:
            self._write.access += self._access
        for part in parts:
            request = part.request
            self._write.events.extend(part.rows)
            self._keep_personal_data(request)
            if request.credentials:
                self._write.access += [CredentialRow(request.tenant_id, each) for each in request.credentials]
            self._settle(request, None, part.answer, len(part.rows))

    def _part(
        self,
        request: Request,
        states: dict[StreamKey, Versioned],
        work: "BatchWork.Staged",
        claims: "Claims.Staged",
        place: int,
    ) -> "_Part":
        """One request decided and answered; the states after it go into `states`."""
        handler = self._handlers.get(type(request.command))
        if handler is None:
            raise UnknownCommand(type(request.command).__qualname__)
        view = View(self, request.tenant_id, states)
        decision = handler(request.command, view, self._now)
        rows = self._fold(request, decision, view, work, claims, place)
        answer = _answer(request, Decided(request.command, decision, None, view))
        states.update(view.own)
        return _Part(request, rows, answer)

    def _refuse(self, requests: Sequence[Request], place: int, refusal: Refusal) -> None:
        """Settle a request as refused, and those with it; they see the batch as it was."""
        for number, request in enumerate(requests):
            view = View(self, request.tenant_id, {})
            told = refusal if number == place else OtherRefused()
            self._settle(request, told.code, _answer(request, Decided(request.command, None, told, view)), 0)

    def _all_missing(
        self,
        gap: NotLoaded,
        rest: Sequence[Request],
        states: dict[StreamKey, Versioned],
        work: "BatchWork.Staged",
        claims: "Claims.Staged",
    ) -> NotLoaded:
        """What the rest of the requests lack, too, so that all of it is loaded at once. What else comes of them tells
        nothing: they are tried without the one that lacked something.
        """
        missing = dict(gap.missing)
        for request in rest:
            try:
                self._part(request, states, work, claims, 0)
            except NotLoaded as more:
                missing.update(more.missing)
            except Exception:  # noqa: S112  it is decided again, and raises then what there is to raise
                continue
        return NotLoaded(missing)

    def _fold(
        self,
        request: Request,
        decision: Decision,
        view: View,
        work: "BatchWork.Staged",
        claims: "Claims.Staged",
        place: int,
    ) -> list[Envelope]:
        """The rows of a decision's events; the states after them go into `view.own`, their effects are staged."""
        tenant_id = request.tenant_id
        own = view.own
        rows: list[Envelope] = []
        for stream, stream_id, event, at in decision.changes:
            if stream.home not in (None, tenant_id):
                raise NotAtHome(f"{stream.name} lies in {stream.home}, not in {tenant_id}")
            key = (tenant_id, stream.name, stream_id)
            before = own.get(key)
            if before is None:
                before = view.before(key, stream)
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
