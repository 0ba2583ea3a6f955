"""How the import of a file ends: by Ctrl-C after what is under way, its helper files put away, and by an exit code."""

import asyncio
import signal
from pathlib import Path
from typing import Final

import typer

from cli.import_files import Reached, errors_file, progress_file

STOPPED: Final = 130
"""Exit code of what Ctrl-C ended, as shells have it."""


def stop_on_interrupt() -> asyncio.Event:
    """What the first Ctrl-C sets; the second one ends the command at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopping() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, stopping)
    return stop


def tidy(file: Path, reached: Reached, *, is_dry: bool) -> None:
    """Remove the file of its progress once it is whole, and that of errors where there are none."""
    if not is_dry and reached.is_whole:
        progress_file(file).unlink(missing_ok=True)
    if not reached.failed:
        errors_file(file).unlink(missing_ok=True)


def exit_by(reached: Reached) -> None:
    """Raises typer.Exit where it was stopped, or where a line came to nothing."""
    if not reached.is_whole:
        raise typer.Exit(STOPPED)
    if reached.failed:
        raise typer.Exit(1)
