"""Rehearsing a command: it is decided as it would be, on what is committed, and nothing of it is kept anywhere.

Each rehearsal has a snapshot, states and ids of its own. It does not wait in the writer's queue and touches neither
the writer's states nor the connection that appends: however many commands are tried, those that are meant go on.
"""

import asyncio
from collections.abc import Callable, Sequence

from infra.event_store import metrics
from infra.event_store.forming import BatchBuilder, Formed, Pending
from infra.event_store.port import Rehearsed, Request, StoreUnavailable, TooManyRehearsals
from infra.event_store.storage import Reads, Storage, StoreLost
from infra.settings import WriterSettings


class Rehearsals:
    """Those of one writer, so many at once."""

    def __init__(self, storage: Storage, *, new_builder: Callable[[], BatchBuilder], settings: WriterSettings) -> None:
        self._storage = storage
        self._new_builder = new_builder
        self._settings = settings
        self._running = 0

    async def rehearse(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
        """What requests that are decided together would come to. See `port.Writer`."""
        settings = self._settings
        if self._running >= settings.rehearsals_max:
            metrics.REHEARSALS.labels("turned_away").inc()
            raise TooManyRehearsals(settings.retry_after_s * 1000)
        self._running += 1
        try:
            async with asyncio.timeout(settings.rehearsal_timeout_ms / 1000), self._storage.snapshot() as reads:
                return await self._decided(requests, reads)
        except (StoreLost, TimeoutError) as error:
            raise StoreUnavailable(str(error) or "the rehearsal took too long") from error
        finally:
            self._running -= 1

    async def _decided(self, requests: Sequence[Request], reads: Reads) -> Sequence[Rehearsed]:
        builder = self._new_builder()
        # Nothing is taken to be new or free without a look: no append comes that would find out.
        formed = builder.start([Pending(requests)], trusting=False)
        await self._complete(builder, formed, reads)
        held = await reads.holders(list(dict.fromkeys(formed.batch.claims)))
        if held:
            formed = builder.start(formed.taken, after=formed.batch.base, held=held, trusting=False)
            await self._complete(builder, formed, reads)
        events = formed.batch.write().events
        rehearsed: list[Rehearsed] = []
        begin = 0
        for decided in formed.batch.settled:
            metrics.REHEARSALS.labels("accepted" if decided.refusal_code is None else "refused").inc()
            rehearsed.append(Rehearsed(decided.refusal_code, decided.answer, events[begin : decided.upto]))
            begin = decided.upto
        return rehearsed

    async def _complete(self, builder: BatchBuilder, formed: Formed, reads: Reads) -> None:
        await builder.complete(formed, reads)
        for _, error in formed.crashed:
            raise error
