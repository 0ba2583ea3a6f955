"""What `asyncio.timeout` is for one wait, for many that may last equally long: one timer looks after all of them."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

Result = TypeVar("Result")


class Deadlines:
    """Ends waits that last longer than so many seconds. A task waits for one thing at a time."""

    def __init__(self, lasts_s: float) -> None:
        self._lasts_s = lasts_s
        self._due: dict[asyncio.Task[Any], float] = {}
        """In the order in which they are due."""
        self._ended: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def within(self, awaitable: Awaitable[Result]) -> Result:
        """What it gives. Raises TimeoutError, up to a moment after it is due, and lets go of what it waited for."""
        task = asyncio.current_task()
        assert task is not None, "somebody waits"
        cancelling = task.cancelling()
        loop = task.get_loop()
        self._due[task] = loop.time() + self._lasts_s
        if self._timer is None:
            self._timer = loop.call_later(self._lasts_s, self._end_due)
        try:
            return await awaitable
        except asyncio.CancelledError as cancelled:
            if task in self._ended and task.cancelling() <= cancelling + 1:
                raise TimeoutError from cancelled
            raise
        finally:
            self._due.pop(task, None)
            if task in self._ended:
                self._ended.discard(task)
                task.uncancel()

    def _end_due(self) -> None:
        """The timer rang: it is set again for whoever is due next."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, due in list(self._due.items()):
            if due > now:
                self._timer = loop.call_at(due, self._end_due)
                return
            del self._due[task]
            self._ended.add(task)
            task.cancel()
