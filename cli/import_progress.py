"""How far an import has come, as whoever waits for it sees it."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextlib.contextmanager
def import_bar(total: int, what: str = "Importing") -> Iterator[Callable[[int], None]]:
    """A bar on standard error; what it gives is told how many lines are done."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("lines"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.update(task, completed=count)
