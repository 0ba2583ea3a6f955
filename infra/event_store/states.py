"""The states of streams that the writer keeps in memory, the least recently used dropped first."""

from collections import OrderedDict
from typing import Any, NamedTuple

from infra.event_store.storage import StreamKey


class Versioned(NamedTuple):
    """A stream's state at a version; (None, 0) is the knowledge that it does not exist."""

    state: Any
    version: int


class States:
    """A bounded cache. What it holds may be stale: every append checks the versions it rests on."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._held: OrderedDict[StreamKey, Versioned] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: StreamKey) -> Versioned | None:
        """The state, if it is held."""
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
        return held

    def put(self, key: StreamKey, versioned: Versioned) -> None:
        """Hold a state, dropping the least recently used one beyond the limit."""
        held = self._held
        held[key] = versioned
        held.move_to_end(key)
        if len(held) > self._max_streams:
            held.popitem(last=False)

    def drop(self, key: StreamKey) -> None:
        """Forget a state."""
        self._held.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
