"""The in-memory twin of the event store: the same port, the same checks, no durability. For tests and simulations.

A `MemoryStore` stands for the database; any number of writers, logs and queues may work on one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from domain.kernel.access import AccessChange, AccessKey, ApiKeyAccess, SecondFactorAccess, UserAccess, apply
from domain.kernel.stream import WorkKind
from infra.clock import Clock, system_clock
from infra.event_store.port import ENVELOPE_VALUES, CredentialKind, Outcome, Recorded, Work, WorkCount
from infra.event_store.storage import (
    AccessRow,
    Appended,
    ClaimKey,
    Conflict,
    CredentialMismatch,
    KeyRow,
    Loaded,
    PersonKeyMismatch,
    Reads,
    ResultKey,
    Session,
    Stale,
    StoredResult,
    StreamKey,
    Unwritable,
    Wanted,
    WorkKey,
    Write,
)
from infra.event_store.writer import stored_outcome

_Access = dict[AccessKey, AccessChange]
_Credentials = dict[tuple[CredentialKind, str], bytes]


@dataclass(slots=True)
class _WorkState:
    work: Work
    ready_at: datetime
    lease_until: datetime | None = None
    held: bool = False


@dataclass(slots=True)
class MemoryStore:
    """All tables. `head` is held while a batch is checked and written, as the head's row is in PostgreSQL."""

    clock: Clock = system_clock
    events: list[Recorded] = field(default_factory=list)
    streams: dict[StreamKey, list[Recorded]] = field(default_factory=dict)
    results: dict[ResultKey, StoredResult] = field(default_factory=dict)
    claims: dict[ClaimKey, str] = field(default_factory=dict)
    work: dict[WorkKey, _WorkState] = field(default_factory=dict)
    snapshots: dict[StreamKey, tuple[str, int, bytes]] = field(default_factory=dict)
    people: dict[tuple[str, str], KeyRow] = field(default_factory=dict)
    personal: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    terms: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    access: dict[AccessKey, AccessChange] = field(default_factory=dict)
    credentials: dict[tuple[CredentialKind, str], bytes] = field(default_factory=dict)
    recorded_at: datetime | None = None
    head: asyncio.Lock = field(default_factory=asyncio.Lock)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    def time(self) -> datetime:
        """The log's time; it never steps back."""
        now = self.clock()
        return now if self.recorded_at is None else max(self.recorded_at, now)


class MemoryStorage:
    """A `storage.Storage` on a MemoryStore."""

    def __init__(self, store: MemoryStore, *, clock_apart_max_ms: int = 5_000) -> None:
        self._store = store
        self._clock_apart_max = timedelta(milliseconds=clock_apart_max_ms)
        self._announcing: set[asyncio.Task[None]] = set()

    async def load(self, wanted: Sequence[Wanted]) -> Sequence[Loaded]:
        """See `storage.Session`."""
        await asyncio.sleep(0)
        return [self._load(want) for want in wanted]

    def _load(self, want: Wanted) -> Loaded:
        events = self._store.streams.get(want.key, [])
        kept = self._store.snapshots.get(want.key)
        snapshot = None
        after = want.after
        if after == 0 and kept is not None and kept[0] == want.fingerprint:
            snapshot = kept[2]
            after = kept[1]
        return Loaded(max(len(events), want.after), [event.payload for event in events[after:]], snapshot)

    async def look_up(self, keys: Sequence[ResultKey]) -> Mapping[ResultKey, StoredResult]:
        """See `storage.Session`."""
        await asyncio.sleep(0)
        results = self._store.results
        return {key: results[key] for key in keys if key in results}

    async def holders(self, claims: Sequence[ClaimKey]) -> Mapping[ClaimKey, str]:
        """See `storage.Session`."""
        await asyncio.sleep(0)
        held = self._store.claims
        return {claim: held[claim] for claim in claims if claim in held}

    async def append(self, write: Write) -> Appended:
        """See `storage.Session`."""
        async with self._store.head:
            await asyncio.sleep(0)
            self._check(write)
            return self._record(write)

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[Session]:
        """See `storage.Storage`."""
        async with self._store.head:
            yield _Locked(self)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reads]:
        """See `storage.Storage`."""
        store = self._store
        streams = {key: list(events) for key, events in store.streams.items()}
        yield MemoryStorage(MemoryStore(streams=streams, claims=dict(store.claims), snapshots=dict(store.snapshots)))

    def announce(self, position: int) -> None:
        """See `storage.Storage`."""
        task = asyncio.get_running_loop().create_task(self._announce())
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def _announce(self) -> None:
        async with self._store.grown:
            self._store.grown.notify_all()

    def keep_snapshot(self, key: StreamKey, fingerprint: str, version: int, state: bytes) -> None:
        """See `storage.Storage`."""
        self._store.snapshots[key] = (fingerprint, version, state)

    async def close(self) -> None:
        """See `storage.Storage`."""
        await asyncio.gather(*self._announcing)

    async def time(self) -> datetime:
        """See `storage.Storage`."""
        return self._store.time()

    def _check(self, write: Write) -> None:
        store = self._store
        if abs(store.time() - write.decided_at) > self._clock_apart_max:
            raise Conflict(Stale.CLOCK)
        for row in write.streams:
            if len(store.streams.get(row[:3], ())) != row.version - row.change:
                raise Conflict(Stale.STREAMS)
        for read in write.reads:
            if len(store.streams.get(read[:3], ())) != read.version:
                raise Conflict(Stale.READS)
        if any(result[:2] in store.results for result in write.results):
            raise Conflict(Stale.RESULTS)
        freed = {row[:3] for row in write.freed if store.claims.get(row[:3]) == row.owner}
        for claim in [*write.absent, *(row[:3] for row in write.taken)]:
            if claim in store.claims and claim not in freed:
                raise Conflict(Stale.CLAIMS)
        people = {key for key in store.people if key not in write.erased}
        for key in write.keys:
            if key[:2] in people:
                raise Unwritable from PersonKeyMismatch("a person has a key already")
            people.add(key[:2])
        if any(row[:2] not in people for row in write.personal):
            raise Unwritable from PersonKeyMismatch("a person has no key")
        if write.access:
            self._changed_access(write)

    def _changed_access(self, write: Write) -> tuple[_Access, _Credentials]:
        """Who may do what after the batch. Raises CredentialMismatch."""
        rows, credentials = dict(self._store.access), dict(self._store.credentials)
        for row in write.access:
            if isinstance(row, AccessRow):
                _check_owner(rows, row)
                apply(rows, row.tenant_id, row.change)
                if isinstance(row.change, UserAccess) and row.change.status == "erased":
                    for kind in (CredentialKind.PASSWORD, CredentialKind.EMAIL):
                        credentials.pop((kind, row.change.user_id), None)
                if isinstance(row.change, SecondFactorAccess) and not _factors(rows, row.change.user_id):
                    credentials.pop((CredentialKind.RECOVERY_CODES, row.change.user_id), None)
                continue
            kind, subject, digest, _ = row.credential
            place = ("api_keys", row.tenant_id, subject) if kind is CredentialKind.API_KEY else ("users", subject)
            if place not in rows:
                raise Unwritable from CredentialMismatch("its subject is not there")
            if kind is CredentialKind.RECOVERY_CODES:
                factors = _factors(rows, subject)
                if not factors:
                    raise Unwritable from CredentialMismatch("it stands in for nothing")
                if factors > 1:
                    continue
            if kind is not CredentialKind.PASSWORD and any(
                each == digest for key, each in credentials.items() if key[0] is kind and key[1] != subject
            ):
                raise Unwritable from CredentialMismatch("it is somebody's already")
            credentials[kind, subject] = digest
        return rows, credentials

    def _record(self, write: Write) -> Appended:
        store = self._store
        base = len(store.events)
        now = store.clock()
        recorded_at = store.recorded_at = now if store.recorded_at is None else max(now, store.recorded_at)
        for place, row in enumerate(write.events, start=1):
            values: list[Any] = [*ENVELOPE_VALUES(row), base + place, recorded_at]
            event = Recorded(*values)
            store.events.append(event)
            store.streams.setdefault((row.tenant_id, row.stream_type, row.stream_id), []).append(event)
        for result in write.results:
            tenant_id, key, request_hash, refusal_code, answer, person_id, upto, _ = result
            stored = StoredResult(request_hash, refusal_code, answer, person_id, base + upto)
            store.results[tenant_id, key] = stored
        for claim in write.freed:
            if store.claims.get(claim[:3]) == claim.owner:
                del store.claims[claim[:3]]
        store.claims.update({claim[:3]: claim.owner for claim in write.taken})
        for done in write.finished:
            store.work.pop(done, None)
        for due in write.scheduled:
            before = store.work.get(due[:3])
            at = due.due_at or now + timedelta(milliseconds=due.after_ms or 0)
            work = Work(
                due.tenant_id,
                WorkKind(due.kind),
                due.subject,
                at,
                due.clock_id,
                due.clock_id is not None and due.after_ms is None,
                base + due.cause,
                write.events[due.cause - 1].event_id,
                due.correlation_id,
                0,
                None,
                None,
                first_run_at=None if before is None else before.work.first_run_at,
            )
            store.work[due[:3]] = _WorkState(work, at)
        for person in write.erased:
            store.people.pop(person, None)
            store.terms.pop(person, None)
            for revision in [revision for revision in store.personal if revision[:2] == person]:
                del store.personal[revision]
        store.people.update({key[:2]: key for key in write.keys})
        store.personal.update({revision[:3]: revision.sealed for revision in write.personal})
        store.terms.update({row[:2]: row.digests for row in write.terms})
        if write.access:
            store.access, store.credentials = self._changed_access(write)
        return Appended(base, recorded_at)


def _factors(rows: _Access, user_id: str) -> int:
    return sum(isinstance(row, SecondFactorAccess) and row.user_id == user_id for row in rows.values())


def _check_owner(rows: _Access, row: AccessRow) -> None:
    """An API key's id is one tenant's."""
    change = row.change
    if isinstance(change, ApiKeyAccess) and any(
        isinstance(each, ApiKeyAccess) and key[1] != row.tenant_id and each.key_id == change.key_id
        for key, each in rows.items()
    ):
        raise Unwritable from CredentialMismatch("the API key is another tenant's")


class _Locked:
    """The session of somebody who holds the head."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.load = storage.load
        self.look_up = storage.look_up
        self.holders = storage.holders
        self._storage = storage

    async def append(self, write: Write) -> Appended:
        self._storage._check(write)
        return self._storage._record(write)


class MemoryLog:
    """A `port.Log` on a MemoryStore."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def head(self) -> int:
        """See `port.Log`."""
        return len(self._store.events)

    async def read(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """See `port.Log`."""
        return self._store.events[after : after + limit]

    async def read_stream(self, tenant_id: str, stream_type: str, stream_id: str) -> Sequence[Recorded]:
        """See `port.Log`."""
        return list(self._store.streams.get((tenant_id, stream_type, stream_id), ()))

    async def outcome(self, tenant_id: str, idempotency_key: str) -> Outcome | None:
        """What became of a command; None if no command with this key was ever recorded."""
        stored = self._store.results.get((tenant_id, idempotency_key))
        return None if stored is None else stored_outcome(stored)

    async def owners(
        self, tenant_id: str, kind: str, *, value_prefix: str, limit: int, after: str = ""
    ) -> Sequence[str]:
        """See `port.Log`."""
        past = value_prefix + after if after else ""
        found = sorted(
            (value, owner)
            for (tenant, each, value), owner in self._store.claims.items()
            if (tenant, each) == (tenant_id, kind) and value.startswith(value_prefix) and value > past
        )
        return [owner for _, owner in found[:limit]]

    async def follow(self, *, after: int) -> AsyncIterator[Sequence[Recorded]]:
        """See `port.Log`."""
        while True:
            async with self._store.grown:
                while len(self._store.events) <= after:
                    await self._store.grown.wait()
            page = self._store.events[after:]
            after = page[-1].position
            yield page


class MemoryDueWork:
    """A `port.DueWorkQueue` on a MemoryStore; real time is the store's clock."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def claim(self, limits: Mapping[WorkKind, int], *, owner: str, lease_ms: int) -> list[Work]:
        """See `port.DueWorkQueue`."""
        now = self._store.clock()
        taken: list[Work] = []
        for kind, limit in limits.items():
            due = [
                state
                for state in self._store.work.values()
                if state.work.kind is kind and not state.work.runs_on_clock and not state.held and state.ready_at <= now
            ]
            due.sort(key=lambda state: state.ready_at)
            taken += [self._lease(state, owner, lease_ms, now) for state in due[:limit]]
        return sorted(taken, key=lambda work: work.due_at)

    def _lease(self, state: _WorkState, owner: str, lease_ms: int, now: datetime) -> Work:
        state.lease_until = now + timedelta(milliseconds=lease_ms)
        if not state.work.runs_on_clock:
            state.ready_at = state.lease_until
        state.work = state.work._replace(
            lease_owner=owner,
            attempts=state.work.attempts + 1,
            claimed_at=now,
            first_run_at=state.work.first_run_at or now,
        )
        return state.work

    def _timers(self, tenant_id: str, clock_id: str, also: Collection[WorkKind] = ()) -> list[_WorkState]:
        found = [
            state
            for state in self._store.work.values()
            if (state.work.tenant_id, state.work.clock_id) == (tenant_id, clock_id)
            and (state.work.runs_on_clock or state.work.kind in also)
        ]
        return sorted(found, key=lambda state: (state.work.due_at, state.work.kind, state.work.subject))

    def _on_clock(self, tenant_id: str, clock_id: str, at: datetime) -> list[_WorkState]:
        return [s for s in self._timers(tenant_id, clock_id) if not s.held and s.work.due_at <= at]

    async def earliest(self, tenant_id: str, clock_id: str, *, not_after: datetime) -> datetime | None:
        """See `port.DueWorkQueue`."""
        found = self._on_clock(tenant_id, clock_id, not_after)
        return found[0].work.due_at if found else None

    async def claim_for_clock(
        self, tenant_id: str, clock_id: str, *, at: datetime, owner: str, lease_ms: int, limit: int
    ) -> list[Work]:
        """See `port.DueWorkQueue`."""
        now = self._store.clock()
        free = [s for s in self._on_clock(tenant_id, clock_id, at) if s.lease_until is None or s.lease_until <= now]
        return [self._lease(state, owner, lease_ms, now) for state in free[:limit]]

    async def timers(self, tenant_id: str, clock_id: str, *, limit: int, also: Collection[WorkKind] = ()) -> list[Work]:
        """See `port.DueWorkQueue`."""
        return [state.work for state in self._timers(tenant_id, clock_id, also)[:limit]]

    async def outstanding(self, tenant_id: str, clock_id: str) -> int:
        """See `port.DueWorkQueue`."""
        return sum(
            (state.work.tenant_id, state.work.clock_id) == (tenant_id, clock_id)
            and not state.work.runs_on_clock
            and not state.held
            for state in self._store.work.values()
        )

    def _mine(self, work: Work) -> _WorkState | None:
        state = self._store.work.get((work.tenant_id, work.kind.value, work.subject))
        if state is None or state.held:
            return None
        same = (state.work.due_at, state.work.lease_owner, state.work.attempts)
        return state if same == (work.due_at, work.lease_owner, work.attempts) else None

    async def retry_later(
        self, work: Work, *, pause_ms: int, error: str, failed: bool = False, untouched: bool = False
    ) -> bool:
        """See `port.DueWorkQueue`."""
        state = self._mine(work)
        if state is None:
            return False
        state.lease_until = self._store.clock() + timedelta(milliseconds=pause_ms)
        if not work.runs_on_clock:
            state.ready_at = state.lease_until
        state.work = state.work._replace(
            lease_owner=None,
            last_error=error,
            failures=work.failures + 1 if failed else 0,
            first_run_at=None if untouched and work.is_first_run else work.first_run_at,
        )
        return True

    async def hold(self, work: Work, *, error: str) -> bool:
        """See `port.DueWorkQueue`."""
        state = self._mine(work)
        if state is None:
            return False
        state.held, state.lease_until = True, None
        state.work = state.work._replace(lease_owner=None, last_error=error)
        return True

    async def drop(self, work: Work) -> bool:
        """See `port.DueWorkQueue`."""
        if self._mine(work) is None:
            return False
        del self._store.work[work.tenant_id, work.kind.value, work.subject]
        return True

    async def hold_caused_by(self, event_id: str, kind: WorkKind, *, error: str) -> None:
        """See `port.DueWorkQueue`."""
        for state in self._caused_by(event_id, kind):
            state.held, state.lease_until = True, None
            state.work = state.work._replace(lease_owner=None, last_error=error)

    async def release_caused_by(self, event_id: str, kind: WorkKind) -> None:
        """See `port.DueWorkQueue`."""
        for state in self._caused_by(event_id, kind):
            if state.held:
                state.held, state.ready_at = False, state.work.due_at
                state.work = state.work._replace(attempts=0, failures=0)

    def _caused_by(self, event_id: str, kind: WorkKind) -> list[_WorkState]:
        return [s for s in self._store.work.values() if (s.work.caused_by_event_id, s.work.kind) == (event_id, kind)]

    async def release_held(self, tenant_id: str, kind: WorkKind, subject: str) -> bool:
        """See `port.DueWorkQueue`."""
        state = self._store.work.get((tenant_id, kind.value, subject))
        if state is None or not state.held:
            return False
        state.held, state.ready_at = False, state.work.due_at
        state.work = state.work._replace(attempts=0, failures=0)
        return True

    async def held(self, *, limit: int) -> list[Work]:
        """See `port.DueWorkQueue`."""
        works = [state.work for state in self._store.work.values() if state.held]
        return sorted(works, key=lambda work: work.due_at)[:limit]

    async def counts(self) -> list[WorkCount]:
        """See `port.DueWorkQueue`."""
        now = self._store.clock()
        found: dict[WorkKind, list[int]] = {}
        for state in self._store.work.values():
            count = found.setdefault(state.work.kind, [0, 0, 0, 0])
            late = not state.work.runs_on_clock and state.ready_at <= now
            count[3 if state.held else 1 if late else 0 if state.work.lease_owner is None else 2] += 1
        return [WorkCount(kind, *found[kind]) for kind in sorted(found)]
