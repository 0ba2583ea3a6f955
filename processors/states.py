"""The state of one stream: what due work looks at before it calls the outside."""

from collections.abc import Callable
from typing import Any, TypeVar

from domain.stream import Stream
from infra.event_store.port import Log
from infra.event_store.storage import Codec

State = TypeVar("State")


Held = Callable[[Stream[Any], str, str], Any]


class StateReader:
    """Reads states, which may be outdated by the time they are used; the writer checks whatever rests on them.

    `held` looks into this process's memory (the writer's), which mostly decided the state a moment ago.
    """

    def __init__(self, log: Log, codec: Codec, held: Held) -> None:
        self._log = log
        self._codec = codec
        self._held = held

    async def glance(self, stream: Stream[State], tenant_id: str, stream_id: str) -> State | None:
        """The state as this process knows it; from the log if it does not."""
        held = self._held(stream, tenant_id, stream_id)
        if held is None:
            return await self.read(stream, tenant_id, stream_id)
        known: State = held
        return known

    async def read(self, stream: Stream[State], tenant_id: str, stream_id: str) -> State | None:
        """The committed state of a stream from the log; None if it does not exist."""
        state: State | None = None
        for recorded in await self._log.read_stream(tenant_id, stream.name, stream_id):
            state = stream.evolve(state, self._codec.decode_event(recorded.payload))
        return state
