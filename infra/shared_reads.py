"""Many reads as one: those that are asked for while one runs share the next."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class SharedReads(Generic[Key, Value]):
    """Answers whoever asks from one read at a time. Everything runs on one event loop.

    `read` answers every key that it is given, with the value or with why that one cannot be read; what it raises itself
    is told to all of them.
    """

    def __init__(self, read: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Value | Exception]]]) -> None:
        self._read = read
        self._asked: dict[Key, asyncio.Future[Value]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value:
        """What is read for a key. Whoever is cancelled meanwhile takes it from nobody else."""
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.get_running_loop().create_future()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_asked())
        return await asyncio.shield(asked)

    async def _read_asked(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                try:
                    found = await self._read(list(asked))
                except Exception as error:
                    found = dict.fromkeys(asked, error)
                for key, waiting in asked.items():
                    value = found[key]
                    if waiting.done():
                        continue
                    if isinstance(value, Exception):
                        waiting.set_exception(value)
                    else:
                        waiting.set_result(value)
        finally:
            self._reading = None
