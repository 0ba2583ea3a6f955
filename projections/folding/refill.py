"""A stale read model fills beside the live ones by itself: one process folds the log for it and swaps it in.

It is a rebuild like any other (docs/decisions/0025), in small steps, because the live fold goes on in this process.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from infra.database import CONNECTION_ERRORS
from infra.settings import Settings
from projections.catalogue import BY_NAME
from projections.folding.rebuild import CannotRebuild, rebuild
from projections.folding.tables import owner_connection
from projections.read_model import Projection

log = structlog.get_logger(__name__)

STEP_EVENTS_MAX: Final = 500
"""So many events are folded before the live fold gets to run."""

_LOCK: Final = 7_345_003  # with a projection's name: who fills


class Refill:
    """Fills one projection's stale read models. `problem` is empty while that goes well."""

    def __init__(self, projection: Projection, settings: Settings, *, owner_dsn: str) -> None:
        limits = settings.projections
        # In this process, so that it can be stopped; a long log takes longer, and nobody waits for it.
        gentle = {
            "rebuild_batch_events": min(limits.rebuild_batch_events, STEP_EVENTS_MAX),
            "rebuild_workers": 1,
        }
        self._projection = projection
        self._settings = replace(settings, projections=limits.model_copy(update=gentle))
        self._owner_dsn = owner_dsn
        self._task: asyncio.Task[None] | None = None
        self._done, self._total = 0, 0
        self.problem = ""

    @property
    def progress(self) -> str:
        """How far it is, for people."""
        return f"{self._done} of {self._total} events"

    def see_to(self, names: Sequence[str]) -> None:
        """Fill these, unless somebody does. Call again now and then: who fills may have died."""
        if names and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._fill(tuple(names)))

    async def stop(self) -> None:
        """Give up; what was made by then is dropped at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _fill(self, names: Sequence[str]) -> None:
        try:
            owner = await owner_connection(self._owner_dsn, self._settings.database)
            try:
                if not await owner.fetchval(
                    "SELECT pg_try_advisory_lock($1, hashtext($2))", _LOCK, self._projection.value
                ):
                    return
                log.info("read_models_fill", projection=self._projection.value, read_models=list(names))
                models = [BY_NAME[name] for name in names]
                await rebuild(self._settings, models, owner_dsn=self._owner_dsn, progress=self._tell)
                self.problem = ""
            finally:
                owner.terminate()
        except (CannotRebuild, *CONNECTION_ERRORS) as error:
            log.warning("read_models_not_filled_yet", projection=self._projection.value, why=str(error))
        except Exception as error:
            self.problem = f"{', '.join(names)} cannot be filled: {type(error).__name__}: {error}"
            log.exception("read_models_not_filled", projection=self._projection.value)

    def _tell(self, done: int, total: int) -> None:
        self._done, self._total = done, total
