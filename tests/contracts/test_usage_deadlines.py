"""One timer ends every wait that is too long, and nothing else."""

import asyncio

import pytest

from usage.ingest.deadlines import Deadlines


async def test_what_comes_in_time_is_given_and_what_does_not_is_ended() -> None:
    deadlines, never = Deadlines(0.05), asyncio.get_running_loop().create_future()
    assert await deadlines.within(asyncio.sleep(0, "in time")) == "in time"
    waits = [asyncio.create_task(deadlines.within(asyncio.sleep(after, after))) for after in (0, 0.01, 60, 60)]
    with pytest.raises(TimeoutError):
        await deadlines.within(never)
    assert never.cancelled()
    ended = await asyncio.gather(*waits, return_exceptions=True)
    assert ended[:2] == [0, 0.01]
    assert [type(each) for each in ended[2:]] == [TimeoutError, TimeoutError]
    assert await deadlines.within(asyncio.sleep(0, "again")) == "again"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_is_cancelled_is_told_so_and_an_error_stays_what_it_is() -> None:
    deadlines = Deadlines(0.02)
    task = asyncio.create_task(deadlines.within(asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waiting = asyncio.get_running_loop().create_future()
    waiting.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await deadlines.within(waiting)
    await asyncio.sleep(0.05)  # nobody waits, and nobody is ended


async def test_who_waits_on_after_the_end_is_ended_from_outside_as_before() -> None:
    """A time-out around it is its own."""
    deadlines = Deadlines(60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await deadlines.within(asyncio.sleep(60))
