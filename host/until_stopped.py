"""Work of a command that Ctrl-C, SIGTERM and SIGHUP end in order."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def run_until_stopped(work: Coroutine[Any, Any, None]) -> bool:
    """Run work in a new event loop; a Ctrl-C, SIGTERM or SIGHUP cancels it, once. True if it ended by itself.

    A second Ctrl-C while it cleans up changes nothing: leaving half of it running would be worse than a short wait.
    """

    async def main() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        cancelled = False

        def cancel() -> None:
            nonlocal cancelled
            if not cancelled:
                cancelled = True
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, cancel)
        await task

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        return False
    return True
