"""Rehearsals that wait for their turn, where one request has many: it is never turned away for its own sake."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from infra.event_store.port import Outcome, Rehearsed, Request, TooManyRehearsals, Writer

Told = TypeVar("Told")

PAUSE_S: Final = 0.05
WAIT_MAX_S: Final = 10.0
"""How long one waits for others' rehearsals before it is turned away as a single one is (s)."""


class InTurn:
    """A writer of which so many rehearsals run at once; further ones wait. See `port.Writer`."""

    def __init__(self, writer: Writer, at_once: asyncio.Semaphore) -> None:
        self._writer = writer
        self._at_once = at_once

    async def submit(self, request: Request) -> Outcome:
        """At once: only what is tried waits."""
        return await self._writer.submit(request)

    async def submit_together(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """At once."""
        return await self._writer.submit_together(requests)

    async def rehearse(self, request: Request) -> Rehearsed:
        """When it is its turn."""
        return await self._when_possible(lambda: self._writer.rehearse(request))

    async def rehearse_together(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
        """When it is their turn, which is one."""
        return await self._when_possible(lambda: self._writer.rehearse_together(requests))

    async def _when_possible(self, rehearse: Callable[[], Awaitable[Told]]) -> Told:
        async with self._at_once:
            for _ in range(int(WAIT_MAX_S / PAUSE_S)):
                try:
                    return await rehearse()
                except TooManyRehearsals:
                    await asyncio.sleep(PAUSE_S)
            return await rehearse()
