"""Turns are shared by name: whoever asks much waits for themselves, whoever gives up leaves no place taken."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage.turns import TooManyWait, Turns


async def test_who_asks_once_waits_for_no_line_of_another() -> None:
    turns, order = Turns(2, each_max=1, waiting_max=10), list[str]()

    async def ask(name: str) -> None:
        async with turns.taken(name):
            order.append(name)
            for _ in range(3):
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name in "aaaaabbbbbc":
            group.create_task(ask(name))
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert sorted(order) == sorted("aaaaabbbbbc")


async def test_no_more_than_so_many_wait_under_a_name() -> None:
    turns = Turns(1, each_max=1, waiting_max=1)
    async with turns.taken("a"), asyncio.TaskGroup() as group:
        waits = group.create_task(_once(turns, "a"))
        await asyncio.sleep(0)
        with pytest.raises(TooManyWait):
            await _once(turns, "a")
        other = group.create_task(_once(turns, "b"))
        await asyncio.sleep(0)
        assert not waits.done()
        assert not other.done()
        waits.cancel()
        other.cancel()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.booleans()), max_size=30), st.integers(1, 3))
def test_never_are_more_inside_than_may_and_in_the_end_nobody_is(asked: list[tuple[str, int, bool]], each: int) -> None:
    """Some give up after a while, waiting or inside."""
    asyncio.run(_random(asked, each))


async def _random(asked: list[tuple[str, int, bool]], each_max: int) -> None:
    turns = Turns(2, each_max=each_max, waiting_max=100)
    inside: list[str] = []
    done: list[str] = []

    async def ask(name: str, steps: int) -> None:
        async with turns.taken(name):
            inside.append(name)
            try:
                assert len(inside) <= 2
                assert inside.count(name) <= each_max
                for _ in range(steps):
                    await asyncio.sleep(0)
                done.append(name)
            finally:
                inside.remove(name)

    tasks = []
    for name, steps, gives_up in asked:
        tasks.append(asyncio.create_task(ask(name, steps)))
        for _ in range(steps % 3):
            await asyncio.sleep(0)
        if gives_up:
            tasks[len(tasks) // 2].cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert result is None or isinstance(result, asyncio.CancelledError)
    assert len(done) + sum(task.cancelled() for task in tasks) == len(asked)
    async with AsyncExitStack() as stack:  # all places are free again
        await asyncio.wait_for(stack.enter_async_context(turns.taken("a")), 1)
        await asyncio.wait_for(stack.enter_async_context(turns.taken("b")), 1)


async def _once(turns: Turns, name: str) -> None:
    async with turns.taken(name):
        pass
