"""What a processors process says of its parts: Kafka, sagas, due work, each payment gateway, and the tax service."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

import faust

from gateway_adapters.port import Gateway
from gateway_adapters.tax.port import TaxService
from infra.database import Connection
from infra.heartbeat import Stall
from infra.kafka.group_lag import GroupLag
from infra.kafka.probe import KafkaProbe
from infra.settings import Settings
from infra.telemetry import PartHealth, timed_part
from processors.due_work import DueWorkRunner
from processors.journeys import Journeys
from processors.usage_alerts.watch import UsageAlertWatch

COUNTED_ROWS_MAX: Final = 10_000
DUE: Final = """
SELECT count(*) AS rows, coalesce(extract(epoch FROM clock_timestamp() - min(ready_at))::float, 0) AS age_s
FROM (SELECT ready_at FROM log.due_work
      WHERE NOT runs_on_clock AND NOT held AND ready_at < clock_timestamp() LIMIT $1) AS due
"""


class Watch:
    """Looks at the parts of one process."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        topics: Sequence[str],
        app: faust.App,
        runner: DueWorkRunner,
        journeys: Journeys,
        gateways: Mapping[str, Gateway],
        tax_service: TaxService | None,
        alerts: UsageAlertWatch,
    ) -> None:
        self._app = app
        self._runner = runner
        self._journeys = journeys
        self._gateways = gateways
        self._alerts = alerts
        self._tax_services = () if tax_service is None else (tax_service,)
        self._timeout_s = settings.telemetry.health_timeout_ms / 1000
        timeout_ms = settings.telemetry.health_timeout_ms
        self._kafka = KafkaProbe(bootstrap, topics, timeout_ms=timeout_ms)
        self._lag = GroupLag(bootstrap, group=app.conf.id, topics=topics, timeout_ms=timeout_ms)
        self._stall = Stall(settings.telemetry.stalled_ms)

    async def parts(self, connection: "Connection | None") -> tuple[PartHealth, ...]:
        """All of them, looked at side by side."""
        looks: list[Awaitable[PartHealth]] = [
            timed_part("kafka", self._kafka.check),
            self._sagas(),
            self._due_work(connection),
            *(timed_part(f"gateway {name}", gateway.check) for name, gateway in self._gateways.items()),
            *(timed_part("tax service", service.check) for service in self._tax_services),
        ]
        return (*await asyncio.gather(*looks), self._journeys.health(), self._alerts.health())

    async def _sagas(self) -> PartHealth:
        if self._app.crashed:
            return PartHealth(name="sagas", ok=False, detail=repr(self._app.crash_reason))
        try:
            async with asyncio.timeout(self._timeout_s):
                lag = await self._lag.measure()
        except Exception as error:
            # What fails is Kafka, which is a part of its own.
            return PartHealth(name="sagas", ok=True, detail=f"lag unknown ({type(error).__name__})")
        why = self._stall.why(lag.committed, lag.behind)
        return PartHealth(name="sagas", ok=not why, detail=why, lag_events=lag.behind)

    async def _due_work(self, connection: "Connection | None") -> PartHealth:
        failed = self._runner.last_look_failed
        if failed is not None or connection is None:
            return PartHealth(name="due_work", ok=failed is None, detail=failed or "")
        row = await connection.fetchrow(DUE, COUNTED_ROWS_MAX)
        assert row is not None, "an aggregate has a row"
        return PartHealth(name="due_work", ok=True, lag_events=row["rows"], lag_s=row["age_s"])

    async def close(self) -> None:
        """Let go of its connections."""
        self._kafka.close()
        await self._lag.close()
