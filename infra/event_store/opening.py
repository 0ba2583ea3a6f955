"""The one place where a writer to PostgreSQL is put together: the API, the processors and every command open theirs
here, and so do tests and benchmarks, so that none of them decides in another way than the rest.
"""

from collections.abc import Mapping

from domain.commands import HANDLERS
from domain.kernel.stream import Handler
from infra.clock import Clock, system_clock
from infra.event_store.postgres import PostgresStorage
from infra.event_store.storage import Codec
from infra.event_store.writer import GroupCommitWriter
from infra.settings import WriterSettings
from schemas.codec import default_codec


def open_writer(
    dsn: str,
    settings: WriterSettings,
    *,
    handlers: Mapping[type, Handler] = HANDLERS,
    codec: Codec | None = None,
    clock: Clock = system_clock,
) -> GroupCommitWriter:
    """A writer of this process's own, on the running event loop; `close` it. It connects with its first command.

    Without `handlers` and `codec` it decides by Tallybook's own rules and writes its own events.
    """
    return GroupCommitWriter(
        PostgresStorage(dsn, settings),
        handlers=handlers,
        codec=codec or default_codec(),
        settings=settings,
        clock=clock,
    )
