"""The state of one stream, folded from the log: what due work looks at before it calls the outside."""

from typing import TypeVar

from domain.stream import Stream
from infra.event_store.port import Log
from infra.event_store.storage import Codec

State = TypeVar("State")


class StateReader:
    """Reads committed states. One may be outdated by the time it is used; the writer checks whatever rests on it."""

    def __init__(self, log: Log, codec: Codec) -> None:
        self._log = log
        self._codec = codec

    async def read(self, stream: Stream[State], tenant_id: str, stream_id: str) -> State | None:
        """The state of a stream, None if it does not exist."""
        state: State | None = None
        for recorded in await self._log.read_stream(tenant_id, stream.name, stream_id):
            state = stream.evolve(state, self._codec.decode_event(recorded.payload))
        return state
