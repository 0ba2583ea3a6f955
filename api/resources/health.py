"""Health, metrics, and how far every part behind the log has come."""

from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from api.http.call import Call, Parts
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.replies import Reply, json_reply
from infra.telemetry import Health, PartHealth, bounded_health, metrics, timed_part

HEALTH: Final = Operations(tag="health", about="For probes and people on call.")
ROLE: Final = "api"


class PartResource(TypedDict):
    """One part: whether it works, how many events it is behind the log, and how long it took to say so."""

    name: str
    ok: bool
    detail: str
    lag_events: NotRequired[int]
    lag_s: NotRequired[float]
    latency_ms: NotRequired[float]


class HealthResource(TypedDict):
    """`ok` when every part is."""

    status: Literal["ok", "failing"]
    role: str
    parts: list[PartResource]


class LiveResource(TypedDict):
    """The process answers."""

    status: Literal["ok"]


_STATE: Final = """
SELECT h.position AS head, s.position AS published, s.lease_until > statement_timestamp() AS led
FROM log.head h, relay.state s
"""

_EXAMPLE: Final[dict[str, object]] = {
    "status": "ok",
    "role": ROLE,
    "parts": [
        {"name": "database", "ok": True, "detail": "", "latency_ms": 0.4},
        {"name": "relay", "ok": True, "detail": "leads", "lag_events": 0},
        {"name": "projection billing", "ok": True, "detail": "", "lag_events": 3},
    ],
}


async def _ready(parts: Parts) -> Health:
    """What this process needs to take commands: the database."""
    database = await timed_part("database", lambda: parts.reader.pool.fetchval("SELECT position FROM log.head"))
    return Health(role=ROLE, parts=(database,))


async def _aggregate(parts: Parts) -> Health:
    """Every part that can be seen from here, with how far it is behind the log."""
    found = await _ready(parts)
    row = await parts.reader.pool.fetchrow(_STATE)
    assert row is not None, "the head and the relay have one row each"
    relay = PartHealth(
        name="relay",
        ok=bool(row["led"]),
        detail="" if row["led"] else "no relay holds the lease",
        lag_events=max(0, row["head"] - row["published"]),
    )
    projections = (
        PartHealth(name=f"projection {projection}", ok=True, lag_events=max(0, row["head"] - position))
        for projection, position in (await parts.positions.reached()).items()
    )
    return Health(role=ROLE, parts=(*found.parts, relay, *projections))


@HEALTH.query("/health/live", answers=LiveResource, example={"status": "ok"}, parameters=NoParameters, is_open=True)
async def get_live(_call: Call, _asked: NoParameters) -> LiveResource:
    """Tell that the process answers."""
    return {"status": "ok"}


@HEALTH.query("/health/ready", answers=HealthResource, example=_EXAMPLE, parameters=NoParameters, is_open=True)
async def get_ready(call: Call, _asked: NoParameters) -> Reply:
    """Tell whether the process can take requests; 503 if not."""
    parts = call.parts
    found = await bounded_health(lambda: _ready(parts), timeout_ms=parts.settings.telemetry.health_timeout_ms)
    return json_reply(200 if found.ok else 503, found.as_json())


@HEALTH.query("/health", answers=HealthResource, example=_EXAMPLE, parameters=NoParameters, is_open=True)
async def get_health(call: Call, _asked: NoParameters) -> Reply:
    """Show every part, with its lag and latency; always 200."""
    parts = call.parts
    found = await bounded_health(lambda: _aggregate(parts), timeout_ms=parts.settings.telemetry.health_timeout_ms)
    return json_reply(200, found.as_json())


@HEALTH.query(
    "/metrics",
    answers=str,
    example='tallybook_writer_outcomes_total{outcome="accepted"} 42.0\n',
    parameters=NoParameters,
    media_type="text/plain",
    is_open=True,
)
async def get_metrics(_call: Call, _asked: NoParameters) -> Reply:
    """Show the metrics of this process in Prometheus's text format."""
    body, content_type = metrics()
    return Reply(200, ((b"content-type", content_type.encode()),), body)
