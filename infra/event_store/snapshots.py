"""Snapshots of long streams: a cache of their states, keyed by a fingerprint of the code that folded them.

Dropping them changes nothing but the time that a load takes.
"""

import typing
from functools import cache
from typing import Any

from domain.kernel.stream import Stream
from schemas.codec import UnencodableValue, decode_value, encode_value, fingerprint


class Snapshots:
    """Which streams are due for one, and their bytes. The class of a stream's state is what its `evolve` returns."""

    def __init__(self, *, every_events: int) -> None:
        self._every_events = every_events

    def is_due(self, before: int, after: int) -> bool:
        """Whether a stream that went from one version to another has come to its next snapshot."""
        return after // self._every_events > before // self._every_events

    def fingerprint(self, stream: Stream[Any]) -> str:
        """What a usable snapshot of such a stream is marked with."""
        return _fingerprint(stream)

    def encode(self, stream: Stream[Any], state: object) -> bytes | None:
        """A state's bytes; None where it cannot be encoded, so that the stream is folded from its events."""
        if type(state) is not state_class(stream):
            return None
        try:
            return encode_value(state)
        except UnencodableValue:
            return None

    def decode(self, stream: Stream[Any], snapshot: bytes) -> object:
        """The state of a snapshot with this stream's fingerprint."""
        return decode_value(state_class(stream), snapshot)


@cache
def state_class(stream: Stream[Any]) -> type:
    """The class that a stream's `evolve` says it returns; NoneType where it says none, so that nothing is kept."""
    try:
        found = typing.get_type_hints(stream.evolve).get("return")
    except (NameError, TypeError):  # a name that only the type checker can see, or no function at all
        found = None
    return found if isinstance(found, type) else type(None)


@cache
def _fingerprint(stream: Stream[Any]) -> str:
    return fingerprint(state_class(stream))
