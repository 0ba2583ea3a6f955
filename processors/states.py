"""The state of one stream: what due work looks at before it calls the outside."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from domain.kernel.stream import Stream
from infra.event_store.port import StoreUnavailable
from infra.event_store.states import Versioned
from infra.event_store.storage import Codec, Loaded, Session, StoreLost, StreamKey, Wanted
from infra.shared_reads import SharedReads

State = TypeVar("State")
Held = Callable[[StreamKey], Versioned | None]

UNKNOWN = Versioned(None, 0)


class StateReader:
    """Reads committed states, many with one statement.

    `held` looks into this process's memory (the writer's), so that mostly only what is newer than it has to be read.
    A state may be outdated by the time it is used; the writer checks whatever rests on it.
    """

    def __init__(self, session: Session, codec: Codec, held: Held) -> None:
        self._session = session
        self._codec = codec
        self._held = held
        self._streams: dict[str, Stream[Any]] = {}
        self._reads = SharedReads[StreamKey, Any](self._load)

    async def read(self, stream: Stream[State], tenant_id: str, stream_id: str) -> State | None:
        """The committed state of a stream; None if it does not exist. Raises StoreUnavailable."""
        self._streams[stream.name] = stream
        state: State | None = await self._reads.get((tenant_id, stream.name, stream_id))
        return state

    async def _load(self, keys: Sequence[StreamKey]) -> dict[StreamKey, Any]:
        known = [self._held(key) or UNKNOWN for key in keys]
        wanted = [Wanted(key, base.version) for key, base in zip(keys, known, strict=True)]
        try:
            news = await self._session.load(wanted)
        except StoreLost as lost:
            raise StoreUnavailable(str(lost)) from lost
        found: dict[StreamKey, Any] = {}
        for key, base, loaded in zip(keys, known, news, strict=True):
            try:
                found[key] = self._fold(self._streams[key[1]], base, loaded)
            except Exception as error:  # one that cannot be read fails alone
                found[key] = error
        return found

    def _fold(self, stream: Stream[Any], base: Versioned, loaded: Loaded) -> Any:
        state = base.state
        for payload in loaded.payloads:
            state = stream.evolve(state, self._codec.decode_event(payload))
        return state
