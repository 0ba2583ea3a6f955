"""The writer: group commit. While one batch commits, the next one gathers; so a lone command pays one commit and a
crowd shares one.

Per batch: load the streams that are not in memory, decide the commands one on top of another, and write everything in
one call that is also the check. When another process wrote first: lock the head, load what is newer in a later
statement, decide again, write, and stay lock-first for some batches. One batch is in flight at a time: the next one's
decisions rest on it. Of a crowd half is in flight while the other half is decided; it is sent once the first is
confirmed, and decided again if that fails.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from domain.kernel.stream import Handler, Stream
from infra.clock import Clock, clock_apart_ms, system_clock
from infra.event_store import metrics
from infra.event_store.deciding import Batch
from infra.event_store.forming import BatchBuilder, Formed, Pending, key_of
from infra.event_store.port import (
    Answer,
    ClockApart,
    IdempotencyKeyReused,
    Outcome,
    PartlyDone,
    QueueFull,
    Rehearsed,
    Request,
    StoreUnavailable,
)
from infra.event_store.rehearsing import Rehearsals
from infra.event_store.snapshots import Snapshots
from infra.event_store.states import Versioned
from infra.event_store.storage import (
    Appended,
    ClaimKey,
    Codec,
    Conflict,
    ResultKey,
    Session,
    Stale,
    Storage,
    StoredResult,
    StoreLost,
    StreamKey,
    Unwritable,
)
from infra.settings import WriterSettings

REQUEST_HASH_BYTES: Final = 32


class WriterClosed(StoreUnavailable):
    """The writer is stopping and takes no more commands."""


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
        self._settings = settings
        self._clock = clock
        self._snapshots = snapshots or Snapshots(every_events=settings.snapshot_every_events)
        new_builder = partial(
            BatchBuilder, handlers=handlers, codec=codec, settings=settings, clock=clock, snapshots=self._snapshots
        )
        self._builder = new_builder()
        self._states = self._builder.states
        self._rehearsals = Rehearsals(storage, new_builder=new_builder, settings=settings)
        self._queue: deque[Pending] = deque()
        self._inflight: dict[ResultKey, Pending] = {}
        self._ahead: Formed | None = None  # the next batch, while the last one's callers are being answered
        self._wake = asyncio.Event()
        self._closing = False
        self._lock_first_batches = 0
        self._look_up_batches = 0
        self._task = asyncio.get_running_loop().create_task(self._run(), name="event-store-writer")

    async def submit(self, request: Request) -> Outcome:
        """Decide and record a command, exactly once per (tenant, idempotency key). See `port.Writer`.

        A caller that is cancelled gives up waiting, not the command: it is recorded all the same.
        """
        return (await self.submit_together([request]))[0]

    async def submit_together(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """Decide and record commands together, all or none. See `port.Writer`."""
        pending = self._pending(requests)
        if pending is None:
            if self._closing:
                raise WriterClosed("the writer is stopping")
            if any(len(request.request_hash) != REQUEST_HASH_BYTES for request in requests):
                raise ValueError(f"a request's hash has {REQUEST_HASH_BYTES} bytes")
            if len(self._queue) >= self._settings.queue_max_commands:
                metrics.QUEUE_FULL.inc()
                raise QueueFull(self._settings.retry_after_s * 1000)
            pending = Pending(requests)
            if len(set(pending.keys)) < len(pending.keys):
                raise ValueError("requests that are decided together have a key each")
            self._inflight.update(dict.fromkeys(pending.keys, pending))
            self._queue.append(pending)
            self._wake.set()
        waiter: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()
        pending.waiters.append(waiter)
        return await waiter

    def _pending(self, requests: Sequence[Request]) -> Pending | None:
        """What these are a repeat of, if that is on its way. Some of what is to be done together may be, alone."""
        for request in requests:
            pending = self._inflight.get(key_of(request))
            if pending is None:
                continue
            if pending.keys != [key_of(each) for each in requests]:
                raise PartlyDone(request.idempotency_key)
            for mine, theirs in zip(requests, pending.requests, strict=True):
                if mine.request_hash != theirs.request_hash:
                    raise IdempotencyKeyReused(mine.idempotency_key)
            return pending
        return None

    async def rehearse(self, request: Request) -> Rehearsed:
        """Decide a command and forget it. See `port.Writer`."""
        return (await self._rehearsals.rehearse([request]))[0]

    async def rehearse_together(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
        """Decide commands together and forget them. See `port.Writer`."""
        return await self._rehearsals.rehearse(requests)

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
        while queue or self._ahead is not None or not self._closing:
            formed, self._ahead = self._ahead, None
            if formed is None and not queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._cut() if formed is None else formed.members
            try:
                await self._settle(batch, formed)
            except Exception as error:  # a defect of ours: these callers are told, the writer goes on
                self._states.clear()
                for pending in batch:
                    if self._inflight.get(pending.keys[0]) is pending and pending not in queue:
                        self._fail(pending, error)
            if self._ahead is None:
                # Whoever has just been answered gets to ask again before the next batch is cut.
                await asyncio.sleep(0)

    def _cut(self, in_flight: int = 0) -> list[Pending]:
        """The next batch's commands: all that wait, or half of a crowd: its other half is in flight meanwhile."""
        queue = self._queue
        count = len(queue)
        if count + in_flight >= 2 * self._settings.crowd_commands:
            count = min(count, (count + in_flight + 1) // 2)
        batch = [queue.popleft() for _ in range(min(count, self._settings.batch_max_commands))]
        metrics.QUEUE_DEPTH.set(len(queue))
        return batch

    async def _settle(self, batch: list[Pending], formed: Formed | None = None, *, part: bool = False) -> None:
        """Get a batch answered, whatever it takes: written, refused, replayed, failed, or put back into the queue.

        `formed` is the batch if it was formed ahead. While a `part` of a batch is settled none is formed ahead.
        """
        settings = self._settings
        conflicts = losses = 0
        locking = False
        claims: list[ClaimKey] = []
        while batch:
            decided, formed = formed, None
            try:
                if decided is None:
                    if self._look_up_batches:
                        self._look_up_batches -= 1
                        batch = await self._answer_known(batch, replayed=losses == 0)
                    decided = self._builder.start(batch)
                locking = locking or self._lock_first_batches > 0
                await self._builder.complete(decided, self._storage)
                claims += decided.batch.claims
                if locking:
                    self._lock_first_batches = max(0, self._lock_first_batches - 1)
                    decided, appended = await self._append_locked(decided, claims)
                elif part or self._look_up_batches:
                    appended = await self._append(self._storage, decided.batch)
                else:
                    appended = await self._append_and_form_next(decided)
            except Conflict as conflict:
                conflicts += 1
                metrics.CONFLICTS.labels(conflict.stale.value).inc()
                if conflict.stale is Stale.CLOCK and (apart := await self._clock_apart()) is not None:
                    self._fail_all(batch, apart)
                    return
                if conflicts > settings.conflict_max_retries:
                    self._fail_all(batch, StoreUnavailable("other writers were first, again and again"))
                    return
                if conflict.stale is Stale.RESULTS:
                    # Stored outcomes never change, so they are looked up without the lock; repeats come in swarms.
                    self._look_up_batches = settings.look_up_batches
                elif conflict.stale is not Stale.CLOCK:  # that one only took too long, and is decided again
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
                await self._settle(batch[:half], part=True)
                await self._settle(batch[half:], part=True)
                return
            else:
                # This one is confirmed: the next may go. Crashed commands are looked up on the connection first.
                if self._ahead is not None and self._ahead.complete and not decided.crashed:
                    self._send(self._ahead)
                await self._finish(decided, appended)
                # What did not fit goes back to the head of the queue.
                self._queue.extendleft(reversed(decided.deferred))
                return

    async def _clock_apart(self) -> ClockApart | None:
        """Whether this process's clock differs too much from the log's, by however much the asking took."""
        before = self._clock()
        try:
            theirs = await self._storage.time()
        except StoreLost:
            return None  # the next append tells
        apart_ms = clock_apart_ms(before, theirs, self._clock())
        max_ms = self._settings.clock_apart_max_ms
        return ClockApart(apart_ms, max_ms) if abs(apart_ms) > max_ms else None

    async def _append(self, session: Session, batch: Batch) -> Appended | None:
        if not batch.settled:
            return None
        started = time.perf_counter()
        appended = await session.append(batch.write())
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - started)
        return appended

    async def _append_locked(self, decided: Formed, claims: Sequence[ClaimKey]) -> tuple[Formed, Appended | None]:
        """Lock the head; only then, in later statements, load what is newer; decide again if anything is; write."""
        async with self._storage.locked() as session:
            decided = await self._builder.refresh(decided, session, claims)
            return decided, await self._append(session, decided.batch)

    async def _append_and_form_next(self, decided: Formed) -> Appended | None:
        """Append; where a crowd waits, form the next batch meanwhile, on the states as if this one had succeeded.

        If it does not, the next one's decisions are thrown away, and its commands are back in the queue.
        """
        crowd = self._settings.crowd_commands
        sending = decided.sending
        if sending is None:
            if max(len(decided.taken), len(self._queue)) < crowd:
                return await self._append(self._storage, decided.batch)
            sending = self._send(decided)
        ahead: Formed | None = None
        try:
            await asyncio.sleep(0)  # the append goes out, and whoever has just been answered gets to ask again
            if len(self._queue) >= crowd and not sending.done():
                ahead = self._builder.start(self._cut(len(decided.taken)), after=decided.batch.current)
                self._builder.decide_held(ahead)
            appended = await sending
        except BaseException:
            if ahead is not None:
                self._queue.extendleft(reversed(ahead.members))
            if not sending.done():
                sending.cancel()
                await asyncio.wait([sending])
            raise
        self._ahead = ahead
        return appended

    def _send(self, decided: Formed) -> asyncio.Task[Appended | None]:
        decided.sending = asyncio.get_running_loop().create_task(self._append(self._storage, decided.batch))
        return decided.sending

    async def _answer_known(self, batch: Sequence[Pending], *, replayed: bool = True) -> list[Pending]:
        """Answer those whose keys have a stored outcome; returns the others.

        `replayed` is false after a lost connection: what is found is most likely this very batch's own work.
        """
        stored = await self._storage.look_up([key for pending in batch for key in pending.keys])
        unknown: list[Pending] = []
        for pending in batch:
            results = [stored[key] for key in pending.keys if key in stored]
            if not results:
                unknown.append(pending)
                continue
            known = [request for request in pending.requests if key_of(request) in stored]
            reused = next((each for each in known if stored[key_of(each)].request_hash != each.request_hash), None)
            if reused is not None:
                self._fail(pending, IdempotencyKeyReused(reused.idempotency_key))
            elif len(known) < len(pending.requests):
                self._fail(pending, PartlyDone(known[0].idempotency_key))
            else:
                metrics.OUTCOMES.labels("replayed").inc(len(results))
                self._resolve(pending, [stored_outcome(each)._replace(replayed=replayed) for each in results])
        return unknown

    async def _finish(self, decided: Formed, appended: Appended | None) -> None:
        """The batch is committed: remember its states, answer its callers."""
        batch = decided.batch
        if appended is not None:
            for key, versioned in batch.current.items():
                self._states.put(key, versioned)
                if self._snapshots.is_due(batch.base[key].version, versioned.version):
                    self._keep_snapshot(batch.kinds[key[1]], key, versioned)
            refused = 0
            settled = iter(batch.settled)
            for pending in decided.written:
                outcomes: list[Outcome] = []
                for _, refusal_code, answer, upto in islice(settled, len(pending.requests)):
                    refused += refusal_code is not None
                    outcomes.append(Outcome(refusal_code, answer, appended.base + upto, False))  # noqa: FBT003
                self._resolve(pending, outcomes)
            metrics.OUTCOMES.labels("refused").inc(refused)
            metrics.OUTCOMES.labels("accepted").inc(len(batch.settled) - refused)
            metrics.BATCH_COMMANDS.observe(len(batch.settled))
            if batch.events:
                self._storage.announce(appended.base + batch.events)
        if decided.crashed:
            # Nothing has checked what they rested on: whoever comes again finds it loaded anew.
            for key in batch.base:
                self._states.drop(key)
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

    def _resolve(self, pending: Pending, outcomes: Sequence[Outcome]) -> None:
        self._answered(pending)
        pending.resolve(outcomes)

    def _fail(self, pending: Pending, error: Exception) -> None:
        metrics.OUTCOMES.labels("failed").inc(len(pending.keys))
        self._answered(pending)
        pending.fail(error)

    def _answered(self, pending: Pending) -> None:
        for key in pending.keys:
            del self._inflight[key]

    def _fail_all(self, batch: Sequence[Pending], error: Exception) -> None:
        for pending in batch:
            self._fail(pending, error)


def stored_outcome(result: StoredResult) -> Outcome:
    """A stored outcome as the answer to a repeat."""
    answer = None if result.answer is None else Answer(result.answer, result.answer_person_id)
    return Outcome(result.refusal_code, answer, result.position, replayed=True)
