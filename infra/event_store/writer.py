"""The writer: group commit. While one batch commits, the next one gathers; so a lone command pays one commit and a
crowd shares one.

Per batch: load the streams that are not in memory, decide the commands one on top of another, and write everything in
one call that is also the check. When another process wrote first: lock the head, load what is newer in a later
statement, decide again, write, and stay lock-first for some batches. One batch is in flight at a time: the next one's
decisions rest on it.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.stream import Handler, Stream
from infra.clock import Clock, system_clock
from infra.event_store import metrics
from infra.event_store.deciding import Batch, NotLoaded
from infra.event_store.port import Answer, IdempotencyKeyReused, Outcome, QueueFull, Request, StoreUnavailable
from infra.event_store.snapshots import Snapshots
from infra.event_store.states import States, Versioned
from infra.event_store.storage import (
    Appended,
    ClaimKey,
    Codec,
    Conflict,
    Loaded,
    ResultKey,
    Session,
    Stale,
    Storage,
    StoredResult,
    StoreLost,
    StreamKey,
    Unwritable,
    Wanted,
)
from infra.ids import EventIds
from infra.settings import WriterSettings

REQUEST_HASH_BYTES: Final = 32


class WriterClosed(StoreUnavailable):
    """The writer is stopping and takes no more commands."""


class Pending:
    """A request on its way, and everybody who waits for its outcome: the first, and repeats under the same key."""

    __slots__ = ("key", "request", "submitted_at", "waiters")

    def __init__(self, request: Request, key: ResultKey) -> None:
        self.request = request
        self.key = key
        self.submitted_at = time.perf_counter()
        self.waiters: list[asyncio.Future[Outcome]] = []

    def resolve(self, outcome: Outcome) -> None:
        """Give the outcome to all; those who came later with the same key have it replayed."""
        for place, waiter in enumerate(self.waiters):
            if not waiter.done():
                waiter.set_result(outcome if place == 0 else outcome._replace(replayed=True))

    def fail(self, error: Exception) -> None:
        """Give everybody the error."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)


class GroupCommitWriter:
    """The writer of one process. Everything runs on one event loop; `submit` may be called by any number of tasks."""

    def __init__(
        self,
        storage: Storage,
        *,
        handlers: Mapping[type, Handler],
        codec: Codec,
        settings: WriterSettings,
        clock: Clock = system_clock,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._storage = storage
        self._handlers = handlers
        self._codec = codec
        self._settings = settings
        self._clock = clock
        self._snapshots = snapshots or Snapshots(every_events=settings.snapshot_every_events)
        self._ids = EventIds()
        self._states = States(settings.cached_streams)
        self._queue: deque[Pending] = deque()
        self._inflight: dict[ResultKey, Pending] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._lock_first_batches = 0
        self._look_up_batches = 0
        self._task = asyncio.get_running_loop().create_task(self._run(), name="event-store-writer")

    async def submit(self, request: Request) -> Outcome:
        """Decide and record a command, exactly once per (tenant, idempotency key). See `port.Writer`.

        A caller that is cancelled gives up waiting, not the command: it is recorded all the same.
        """
        key = (request.tenant_id, request.idempotency_key)
        pending = self._inflight.get(key)
        if pending is None:
            if self._closing:
                raise WriterClosed("the writer is stopping")
            if len(request.request_hash) != REQUEST_HASH_BYTES:
                raise ValueError(f"a request's hash has {REQUEST_HASH_BYTES} bytes")
            if len(self._queue) >= self._settings.queue_max_commands:
                metrics.QUEUE_FULL.inc()
                raise QueueFull(self._settings.retry_after_s * 1000)
            pending = self._inflight[key] = Pending(request, key)
            self._queue.append(pending)
            self._wake.set()
        elif pending.request.request_hash != request.request_hash:
            raise IdempotencyKeyReused(request.idempotency_key)
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        pending.waiters.append(waiter)
        return await waiter

    def held(self, key: StreamKey) -> Versioned | None:
        """The state in memory, if there is one. It may be outdated: whatever is decided on it is checked again."""
        return self._states.get(key)

    async def close(self) -> None:
        """Take no more commands, finish those in the queue, let go of the connections."""
        self._closing = True
        self._wake.set()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._storage.close()

    async def _run(self) -> None:
        queue = self._queue
        while queue or not self._closing:
            if not queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [queue.popleft() for _ in range(min(len(queue), self._settings.batch_max_commands))]
            metrics.QUEUE_DEPTH.set(len(queue))
            try:
                await self._settle(batch)
            except Exception as error:  # a defect of ours: these callers are told, the writer goes on
                self._states.clear()
                for pending in batch:
                    if self._inflight.get(pending.key) is pending and pending not in queue:
                        self._fail(pending, error)
            # Whoever has just been answered gets to ask again before the next batch is cut.
            await asyncio.sleep(0)

    async def _settle(self, batch: list[Pending]) -> None:
        """Get a batch answered, whatever it takes: written, refused, replayed, failed, or put back into the queue."""
        settings = self._settings
        conflicts = losses = 0
        locking = False
        claims: list[ClaimKey] = []
        while batch:
            try:
                if self._look_up_batches:
                    self._look_up_batches -= 1
                    batch = await self._answer_known(batch, replayed=losses == 0)
                locking = locking or self._lock_first_batches > 0
                decided = await self._decide(batch, self._storage)
                claims += decided.batch.claims
                if locking:
                    self._lock_first_batches = max(0, self._lock_first_batches - 1)
                    decided, appended = await self._append_locked(decided, claims)
                else:
                    appended = await self._append(self._storage, decided.batch)
            except Conflict as conflict:
                conflicts += 1
                metrics.CONFLICTS.labels(conflict.stale.value).inc()
                if conflicts > settings.conflict_max_retries:
                    self._fail_all(batch, StoreUnavailable("other writers were first, again and again"))
                    return
                if conflict.stale is Stale.RESULTS:
                    # Stored outcomes never change, so they are looked up without the lock; repeats come in swarms.
                    self._look_up_batches = settings.look_up_batches
                else:
                    locking = True
                    if conflict.stale is not Stale.CLAIMS:
                        self._lock_first_batches = settings.lock_first_batches
            except StoreLost as lost:
                losses += 1
                metrics.LOSSES.inc()
                # Whether the batch was written is unknown: what was in memory may be wrong, the keys tell.
                self._states.clear()
                self._look_up_batches = max(self._look_up_batches, 1)
                if losses > settings.reconnect_max_tries:
                    self._fail_all(batch, StoreUnavailable(str(lost)))
                    return
                pause_s = settings.reconnect_pause_ms * 2 ** (losses - 1) / 1000
                await asyncio.sleep(min(pause_s, settings.reconnect_max_s))
            except Unwritable as unwritable:
                if len(batch) == 1:
                    cause = unwritable.__cause__
                    self._fail(batch[0], cause if isinstance(cause, Exception) else unwritable)
                    return
                metrics.BISECTIONS.inc()
                half = len(batch) // 2
                await self._settle(batch[:half])
                await self._settle(batch[half:])
                return
            else:
                await self._finish(decided, appended)
                # What did not fit goes back to the head of the queue.
                self._queue.extendleft(reversed(decided.deferred))
                return

    async def _append(self, session: Session, batch: Batch) -> Appended | None:
        if not batch.settled:
            return None
        started = time.perf_counter()
        appended = await session.append(batch.write())
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - started)
        return appended

    async def _append_locked(
        self, decided: "_Decided", claims: Sequence[ClaimKey]
    ) -> tuple["_Decided", Appended | None]:
        """Lock the head; only then, in later statements, load what is newer; decide again if anything is; write."""
        before = decided.batch
        async with self._storage.locked() as session:
            keys = list(before.base)
            news = await session.load([Wanted(key, before.base[key].version) for key in keys])
            held = await session.holders(list(dict.fromkeys(claims))) if claims else {}
            fresh: dict[StreamKey, Versioned] = {}
            for key, loaded in zip(keys, news, strict=True):
                base = before.base[key]
                if loaded.version == base.version:
                    fresh[key] = base
                    continue
                self._states.drop(key)
                # What cannot be folded is left to the load that deciding again will ask for.
                with contextlib.suppress(Exception):
                    fresh[key] = self._fold(before.kinds[key[1]], base, loaded)
                    self._states.put(key, fresh[key])
            if held or any(fresh.get(key) is not before.base[key] for key in keys):
                deferred = decided.deferred
                decided = await self._decide(decided.members, session, fresh, held)
                decided.deferred += deferred
            return decided, await self._append(session, decided.batch)

    async def _decide(
        self,
        members: Sequence[Pending],
        session: Session,
        pinned: Mapping[StreamKey, Versioned] | None = None,
        held: Mapping[ClaimKey, str] | None = None,
    ) -> "_Decided":
        """Decide as many as fit, loading what is not in memory; the rest are deferred to the next batch.

        A command that lacks a stream steps back behind the others until one load has brought what they all lack.
        """
        settings = self._settings
        known = self._states.get if not pinned else lambda key: pinned.get(key) or self._states.get(key)
        batch = Batch(
            handlers=self._handlers, codec=self._codec, ids=self._ids, now=self._clock(), known=known, held=held
        )
        decided = _Decided(batch)
        waiting = list(members)
        left_s = settings.batch_decide_ms / 1000
        while waiting:
            started = time.perf_counter()
            missing: dict[StreamKey, Stream[Any]] = {}
            lacking: list[Pending] = []
            for place, pending in enumerate(waiting):
                full = batch.events >= settings.batch_max_events or time.perf_counter() - started > left_s
                if full and decided.members:
                    # What is put off is loaded all the same: else it would be put off again for lack of it.
                    if missing:
                        await self._load(None, missing, session)
                    decided.deferred = lacking + waiting[place:]
                    return decided
                try:
                    batch.decide(pending.request)
                except NotLoaded as gap:
                    missing[gap.key] = gap.stream
                    lacking.append(pending)
                except Exception as error:  # whatever the rules raise is this command's own
                    decided.crashed.append((pending, error))
                    decided.members.append(pending)
                else:
                    decided.written.append(pending)
                    decided.members.append(pending)
            left_s -= time.perf_counter() - started
            if missing:
                await self._load(batch, missing, session)
            waiting = lacking
        return decided

    async def _load(self, batch: Batch | None, missing: Mapping[StreamKey, Stream[Any]], session: Session) -> None:
        """Bring streams into memory, and into a batch that shall rest on them.

        One that cannot be read or folded fails those who need it, not the rest.
        """
        trusting = True
        while missing:
            wanted = [Wanted(key, 0, self._snapshots.fingerprint(missing[key]) if trusting else "") for key in missing]
            again: dict[StreamKey, Stream[Any]] = {}
            for (key, _, _), loaded in zip(wanted, await session.load(wanted), strict=True):
                stream = missing[key]
                try:
                    versioned = self._fold(stream, Versioned(None, 0), loaded)
                except Exception as error:
                    if loaded.snapshot is not None:
                        again[key] = stream  # the snapshot may be what is wrong: once more, from the events alone
                    elif batch is not None:
                        batch.unreadable[key] = error
                else:
                    self._states.put(key, versioned)
                    if batch is not None:
                        batch.pin(key, versioned, stream)
            missing = again
            trusting = False

    def _fold(self, stream: Stream[Any], base: Versioned, loaded: Loaded) -> Versioned:
        state = base.state
        if loaded.snapshot is not None:
            state = self._snapshots.decode(stream, loaded.snapshot)
        for payload in loaded.payloads:
            state = stream.evolve(state, self._codec.decode_event(payload))
        return Versioned(state, loaded.version)

    async def _answer_known(self, batch: Sequence[Pending], *, replayed: bool = True) -> list[Pending]:
        """Answer those whose keys have a stored outcome; returns the others.

        `replayed` is false after a lost connection: what is found is most likely this very batch's own work.
        """
        stored = await self._storage.look_up([pending.key for pending in batch])
        unknown: list[Pending] = []
        for pending in batch:
            result = stored.get(pending.key)
            if result is None:
                unknown.append(pending)
            elif result.request_hash != pending.request.request_hash:
                self._fail(pending, IdempotencyKeyReused(pending.request.idempotency_key))
            else:
                metrics.OUTCOMES.labels("replayed").inc()
                self._resolve(pending, stored_outcome(result)._replace(replayed=replayed))
        return unknown

    async def _finish(self, decided: "_Decided", appended: Appended | None) -> None:
        """The batch is committed: remember its states, answer its callers."""
        batch = decided.batch
        if appended is not None:
            for key, versioned in batch.current.items():
                self._states.put(key, versioned)
                if self._snapshots.is_due(batch.base[key].version, versioned.version):
                    self._keep_snapshot(batch.kinds[key[1]], key, versioned)
            refused = 0
            for pending, (_, refusal_code, answer, upto) in zip(decided.written, batch.settled, strict=True):
                refused += refusal_code is not None
                self._resolve(pending, Outcome(refusal_code, answer, appended.base + upto, False))  # noqa: FBT003
            metrics.OUTCOMES.labels("refused").inc(refused)
            metrics.OUTCOMES.labels("accepted").inc(len(batch.settled) - refused)
            metrics.BATCH_COMMANDS.observe(len(batch.settled))
            if batch.events:
                self._storage.announce(appended.base + batch.events)
        if decided.crashed:
            await self._fail_crashed(decided.crashed)

    def _keep_snapshot(self, stream: Stream[Any], key: StreamKey, versioned: Versioned) -> None:
        state = self._snapshots.encode(stream, versioned.state)
        if state is not None:
            self._storage.keep_snapshot(key, self._snapshots.fingerprint(stream), versioned.version, state)

    async def _fail_crashed(self, crashed: Sequence[tuple[Pending, Exception]]) -> None:
        """A repeat of a recorded command may crash where the first did not: the stored outcome goes first."""
        try:
            unknown = set(await self._answer_known([pending for pending, _ in crashed]))
        except StoreLost:
            unknown = {pending for pending, _ in crashed}
        for pending, error in crashed:
            if pending in unknown:
                self._fail(pending, error)

    def _resolve(self, pending: Pending, outcome: Outcome) -> None:
        del self._inflight[pending.key]
        pending.resolve(outcome)

    def _fail(self, pending: Pending, error: Exception) -> None:
        metrics.OUTCOMES.labels("failed").inc()
        del self._inflight[pending.key]
        pending.fail(error)

    def _fail_all(self, batch: Sequence[Pending], error: Exception) -> None:
        for pending in batch:
            self._fail(pending, error)


class _Decided:
    """A batch and its members (those to be written, and those whose rules raised), and who has to wait."""

    __slots__ = ("batch", "crashed", "deferred", "members", "written")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.members: list[Pending] = []
        self.written: list[Pending] = []
        self.crashed: list[tuple[Pending, Exception]] = []
        self.deferred: list[Pending] = []


def stored_outcome(result: StoredResult) -> Outcome:
    """A stored outcome as the answer to a repeat."""
    answer = None if result.answer is None else Answer(result.answer, result.answer_person_id)
    return Outcome(result.refusal_code, answer, result.position, replayed=True)
