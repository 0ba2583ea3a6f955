"""The state of one stream: what due work looks at before it calls the outside."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from domain.kernel.stream import Stream
from infra.event_store.port import StoreUnavailable
from infra.event_store.states import Versioned
from infra.event_store.storage import Codec, Loaded, Session, StoreLost, StreamKey, Wanted

State = TypeVar("State")
Held = Callable[[StreamKey], Versioned | None]

UNKNOWN = Versioned(None, 0)


class StateReader:
    """Reads committed states, many with one statement: those that are asked for while one read runs share the next.

    `held` looks into this process's memory (the writer's), so that mostly only what is newer than it has to be read.
    A state may be outdated by the time it is used; the writer checks whatever rests on it.
    """

    def __init__(self, session: Session, codec: Codec, held: Held) -> None:
        self._session = session
        self._codec = codec
        self._held = held
        self._asked: dict[StreamKey, tuple[Stream[Any], asyncio.Future[Any]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def read(self, stream: Stream[State], tenant_id: str, stream_id: str) -> State | None:
        """The committed state of a stream; None if it does not exist. Raises StoreUnavailable."""
        key = (tenant_id, stream.name, stream_id)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = (stream, asyncio.get_running_loop().create_future())
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_asked())
        state: State | None = await asyncio.shield(asked[1])
        return state

    async def _read_asked(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                try:
                    await self._answer(asked)
                except Exception as error:
                    lost = StoreUnavailable(str(error)) if isinstance(error, StoreLost) else error
                    for _, waiting in asked.values():
                        if not waiting.done():
                            waiting.set_exception(lost)
        finally:
            self._reading = None

    async def _answer(self, asked: dict[StreamKey, tuple[Stream[Any], asyncio.Future[Any]]]) -> None:
        known = {key: self._held(key) or UNKNOWN for key in asked}
        news = await self._session.load([Wanted(key, base.version) for key, base in known.items()])
        for (key, base), loaded in zip(known.items(), news, strict=True):
            stream, waiting = asked[key]
            if waiting.done():
                continue
            try:
                waiting.set_result(self._fold(stream, base, loaded))
            except Exception as error:  # one that cannot be read fails alone
                waiting.set_exception(error)

    def _fold(self, stream: Stream[Any], base: Versioned, loaded: Loaded) -> Any:
        state = base.state
        for payload in loaded.payloads:
            state = stream.evolve(state, self._codec.decode_event(payload))
        return state
