"""Doing something for many, a bounded number at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


async def for_each(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[None]],
    *,
    at_once: int,
    done: Callable[[], object] = lambda: None,
) -> None:
    """Do the work for every item; `done` hears of each that is. What goes wrong first ends the others and is raised as
    it is, not in a group.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(item: Item) -> None:
        async with slots:
            await work(item)
        done()

    try:
        async with asyncio.TaskGroup() as tasks:
            for item in items:
                tasks.create_task(one(item))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
