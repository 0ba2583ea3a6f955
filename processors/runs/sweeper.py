"""The sweeper: a saga not finished by its deadline is driven again, from the log, without Kafka or Faust.

Its event is read from the log and handed to the saga once more; commands that were issued before do nothing. So the
books come right whatever happened to the record on its way.
"""

from domain.sagas import SAGAS
from infra.event_store.port import Log, Work, Writer
from infra.event_store.storage import Codec
from infra.settings import ProcessorSettings
from processors.journeys import Driver, Journeys
from processors.outcome import AskAgain, Unwanted, WorkOutcome
from processors.sagas import drive


class Sweeper:
    """Runs SAGA_DEADLINE."""

    def __init__(self, writer: Writer, journeys: Journeys, log: Log, codec: Codec, settings: ProcessorSettings) -> None:
        self._writer = writer
        self._journeys = journeys
        self._log = log
        self._codec = codec
        self._settings = settings

    async def sweep(self, work: Work) -> WorkOutcome:
        """Drive the saga behind a deadline, and look again later whether it has finished."""
        page = await self._log.read(after=work.caused_by_position - 1, limit=1)
        if not page:
            return Unwanted()
        recorded = page[0]
        event = self._codec.decode_event(recorded.payload)
        for saga in SAGAS:
            if recorded.event_type == saga.started_by:
                await drive(
                    saga,
                    self._writer,
                    self._journeys,
                    event_id=recorded.event_id,
                    event=event,
                    tenant_id=recorded.tenant_id,
                    correlation_id=recorded.correlation_id,
                    by=Driver.SWEEPER,
                )
        return AskAgain(int(self._settings.sweep_interval_s * 1000), "not finished by its deadline")
