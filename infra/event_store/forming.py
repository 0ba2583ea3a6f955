"""Forming a batch: which of the waiting commands go into it, and the states that they are decided on.

What is in memory decides at once, without I/O: so the next batch can be formed while the last one's append is in
flight, on the states as they will be if it succeeds.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from domain.kernel.stream import Handler, Stream
from infra.clock import Clock
from infra.event_store.deciding import Batch, NotLoaded
from infra.event_store.port import Outcome, Request
from infra.event_store.snapshots import Snapshots
from infra.event_store.states import States, Versioned
from infra.event_store.storage import Appended, ClaimKey, Codec, Loaded, Reads, ResultKey, Session, StreamKey, Wanted
from infra.ids import EventIds
from infra.settings import WriterSettings


class Pending:
    """A request on its way, or several that are decided together, and whoever waits for their outcomes: the first, and
    repeats under the same keys.
    """

    __slots__ = ("keys", "requests", "waiters")

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.keys = [key_of(request) for request in requests]
        self.waiters: list[asyncio.Future[Sequence[Outcome]]] = []

    def resolve(self, outcomes: Sequence[Outcome]) -> None:
        """Give the outcomes to all; those who came later with the same keys have them replayed."""
        for place, waiter in enumerate(self.waiters):
            if not waiter.done():
                waiter.set_result(outcomes if place == 0 else [each._replace(replayed=True) for each in outcomes])

    def fail(self, error: Exception) -> None:
        """Give everybody the error."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)


def key_of(request: Request) -> ResultKey:
    """Under which a request's outcome is kept."""
    return request.tenant_id, request.idempotency_key


class Formed:
    """A batch and what became of the `members` it was to hold.

    `taken` are decided: `written`, or `crashed` where their rules raised. `deferred` did not fit. `waiting` come next,
    once the streams that are `missing` have been loaded. `sending` is the append, if it was begun already.
    """

    __slots__ = (
        "batch",
        "crashed",
        "deferred",
        "left_s",
        "members",
        "missing",
        "sending",
        "taken",
        "waiting",
        "written",
    )

    def __init__(self, batch: Batch, members: Sequence[Pending], decide_s: float) -> None:
        self.batch = batch
        self.members = list(members)
        self.left_s = decide_s
        self.waiting = self.members
        self.missing: dict[StreamKey, Stream[Any]] = {}
        self.taken: list[Pending] = []
        self.written: list[Pending] = []
        self.crashed: list[tuple[Pending, Exception]] = []
        self.deferred: list[Pending] = []
        self.sending: asyncio.Task[Appended | None] | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to decide or to load."""
        return not self.waiting and not self.missing


class BatchBuilder:
    """Forms the batches of one writer and keeps the states of its streams."""

    def __init__(
        self,
        *,
        handlers: Mapping[type, Handler],
        codec: Codec,
        settings: WriterSettings,
        clock: Clock,
        snapshots: Snapshots,
    ) -> None:
        self._handlers = handlers
        self._codec = codec
        self._settings = settings
        self._clock = clock
        self._snapshots = snapshots
        self._ids = EventIds()
        self.states = States(settings.cached_streams)

    def start(
        self,
        members: Sequence[Pending],
        *,
        after: Mapping[StreamKey, Versioned] | None = None,
        held: Mapping[ClaimKey, str] | None = None,
        trusting: bool = True,
    ) -> Formed:
        """A batch with nothing decided yet. `after` are states that go before those in memory. One that is `trusting`
        takes what it makes to be new without looking; the append finds out."""
        known = self.states.get if not after else lambda key: after.get(key) or self.states.get(key)
        batch = Batch(
            handlers=self._handlers,
            codec=self._codec,
            ids=self._ids,
            now=self._clock(),
            known=known,
            held=held,
            trusting=trusting,
        )
        return Formed(batch, members, self._settings.batch_decide_ms / 1000)

    def decide_held(self, formed: Formed) -> None:
        """Decide those who wait, as many as fit. One that lacks a stream steps back behind the others."""
        max_events = self._settings.batch_max_events
        batch = formed.batch
        waiting = formed.waiting
        lacking: list[Pending] = []
        formed.waiting = lacking
        started = time.perf_counter()
        for place, pending in enumerate(waiting):
            full = batch.events >= max_events or time.perf_counter() - started > formed.left_s
            if full and formed.taken:
                formed.waiting = []
                formed.deferred = lacking + waiting[place:]
                return
            try:
                batch.decide(pending.requests)
            except NotLoaded as gap:
                formed.missing.update(gap.missing)
                lacking.append(pending)
            except Exception as error:  # whatever the rules raise is this command's own
                formed.crashed.append((pending, error))
                formed.taken.append(pending)
            else:
                formed.written.append(pending)
                formed.taken.append(pending)
        formed.left_s -= time.perf_counter() - started

    async def complete(self, formed: Formed, session: Reads) -> None:
        """Decide all that fit, bringing into memory what they lack."""
        while not formed.complete:
            if formed.missing:
                missing, formed.missing = formed.missing, {}
                # What is put off is loaded all the same: else it would be put off again for lack of it.
                await self._load(None if formed.deferred else formed.batch, missing, session)
            self.decide_held(formed)

    async def refresh(self, formed: Formed, session: Session, claims: Sequence[ClaimKey]) -> Formed:
        """Under the head's lock: the same batch if all it rests on still stands, or else one decided again."""
        before = formed.batch
        keys = list(before.base)
        news = await session.load([Wanted(key, before.base[key].version) for key in keys])
        held = await session.holders(list(dict.fromkeys(claims))) if claims else {}
        fresh: dict[StreamKey, Versioned] = {}
        for key, loaded in zip(keys, news, strict=True):
            base = before.base[key]
            if loaded.version == base.version:
                fresh[key] = base
                continue
            self.states.drop(key)
            # What cannot be folded is left to the load that deciding again will ask for.
            with contextlib.suppress(Exception):
                fresh[key] = self._fold(before.kinds[key[1]], base, loaded)
                self.states.put(key, fresh[key])
        if not held and all(fresh.get(key) is before.base[key] for key in keys):
            return formed
        again = self.start(formed.taken, after=fresh, held=held, trusting=False)
        await self.complete(again, session)
        again.deferred += formed.deferred
        return again

    async def _load(self, batch: Batch | None, missing: Mapping[StreamKey, Stream[Any]], session: Reads) -> None:
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
                    self.states.put(key, versioned)
                    # What another command of the batch has made meanwhile stays: the append tells if that was there.
                    if batch is not None and key not in batch.current:
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
