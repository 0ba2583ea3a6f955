"""Health, metrics, and how far every part behind the log has come."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Final, Literal, NotRequired

import asyncpg
from typing_extensions import TypedDict

from api.http.call import Call, Parts
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.replies import Reply, json_reply
from infra.heartbeat import PartLog
from infra.kafka.lease import told_of_lease
from infra.probes import metrics
from infra.telemetry import Health, PartHealth
from projections.reached import reached
from projections.reading import Reader

HEALTH: Final = Operations(tag="health", about="For probes and people on call.")
ROLE: Final = "api"


class PartResource(TypedDict):
    """One part: whether it works, how many events it is behind the log, and how long it took to say so.

    `age_s` is how long ago that was so: what a process says of its parts comes with its heartbeat.
    """

    name: str
    ok: bool
    detail: str
    lag_events: NotRequired[int]
    lag_s: NotRequired[float]
    latency_ms: NotRequired[float]
    age_s: NotRequired[float]


class HealthResource(TypedDict):
    """`ok` when every part is."""

    status: Literal["ok", "failing"]
    role: str
    parts: list[PartResource]


class LiveResource(TypedDict):
    """The process answers."""

    status: Literal["ok"]


_STATE: Final = """
SELECT h.position AS head, s.position AS published, s.leader, s.incarnation,
    coalesce(s.lease_until > clock_timestamp(), false) AS led
FROM log.head h, relay.state s
"""
_HEARTBEATS: Final = """
SELECT role, instance, parts, extract(epoch FROM clock_timestamp() - beat_at)::float AS silent_s
FROM ops.heartbeats ORDER BY role, instance
"""
NEEDED_ROLES: Final = ("processors", "projections", "relay")
"""Of each of these a process must be heard of; that there is an API is told by its answer."""

_EXAMPLE: Final[dict[str, object]] = {
    "status": "ok",
    "role": ROLE,
    "parts": [
        {"name": "postgresql", "ok": True, "detail": "", "latency_ms": 0.4},
        {"name": "clock", "ok": True, "detail": ""},
        {"name": "relay", "ok": True, "detail": "", "lag_events": 0},
        {"name": "projection billing", "ok": True, "detail": "", "lag_events": 3},
        {"name": "processors-0", "ok": True, "detail": "", "age_s": 1.4},
        {"name": "processors-0: gateway sandbox", "ok": True, "detail": "", "latency_ms": 1.1, "age_s": 1.4},
    ],
}


async def _aggregate(parts: Parts) -> Health:
    """Every part of every process: this one's, how far the log has been carried, and what the others last said."""
    own = await parts.heartbeat.health()
    # Not among what makes a process ready: taking it away would end what clients have that do not look at its end.
    certificate = () if parts.certificate is None else (parts.certificate.health(),)
    return Health(role=ROLE, parts=(*own.parts, *certificate, *await _others(parts)))


async def _others(parts: Parts) -> list[PartHealth]:
    timeout_s = parts.settings.telemetry.health_timeout_ms / 1000
    try:
        # Both are needed: what is cancelled gives its connection back first, and a server that is frozen never says
        # that it has cancelled. The pool waits for that as long as for a connection, and then gives it up.
        async with asyncio.timeout(timeout_s), parts.reader.pool.acquire(timeout=timeout_s) as connection:
            return await _seen(parts, connection)
    except Exception as error:
        why = str(error) or type(error).__name__
        return [PartHealth(name="other processes", ok=False, detail=f"cannot be asked for: {why}")]


async def _seen(parts: Parts, connection: Reader) -> list[PartHealth]:
    row = await connection.fetchrow(_STATE)
    assert row is not None, "the head and the relay have one row each"
    relay = PartHealth(
        name="relay",
        ok=row["led"],
        detail=told_of_lease(led=row["led"], leader=row["leader"], incarnation=row["incarnation"]),
        lag_events=max(0, row["head"] - row["published"]),
    )
    projections = (
        PartHealth(name=f"projection {projection}", ok=True, lag_events=place.lag_events)
        for projection, place in (await reached(connection, parts.settings.kafka.topic_prefix)).items()
    )
    mine = (ROLE, parts.heartbeat.instance)
    beats = [beat for beat in await connection.fetch(_HEARTBEATS) if (beat["role"], beat["instance"]) != mine]
    silence_s = parts.settings.telemetry.heartbeat_silence_ms / 1000
    missing = (
        PartHealth(name=f"{role} process", ok=False, detail="none has been heard of")
        for role in NEEDED_ROLES
        if all(beat["role"] != role for beat in beats)
    )
    return [relay, *projections, *missing, *(part for beat in beats for part in _said(beat, silence_s))]


def _said(beat: asyncpg.Record, silence_s: float) -> Iterator[PartHealth]:
    """A process by its heartbeat, and each part that it told of; a silent one's are not known any more."""
    role, instance, silent_s = beat["role"], beat["instance"], beat["silent_s"]
    name = instance if instance.startswith(role) else f"{role} {instance}"
    if silent_s > silence_s:
        yield PartHealth(name=name, ok=False, detail=f"no heartbeat for {silent_s:.0f} s: frozen, dead or cut off")
        return
    age_s = round(silent_s, 1)
    yield PartHealth(name=name, ok=True, age_s=age_s)
    for part in json.loads(beat["parts"]):
        yield PartHealth(
            name=f"{name}: {part['name']}",
            ok=part["ok"],
            detail=part["detail"],
            lag_events=part.get("lag_events"),
            lag_s=part.get("lag_s"),
            latency_ms=part.get("latency_ms"),
            age_s=age_s,
        )


@contextlib.asynccontextmanager
async def watching(parts: Parts) -> AsyncIterator[None]:
    """Log what fails in other processes, and what works again, while the block runs. They may be unable to."""

    async def watch() -> None:
        noted = PartLog()
        while True:
            await asyncio.sleep(parts.settings.telemetry.heartbeat_interval_ms / 1000)
            noted.note(await _others(parts))

    task = asyncio.create_task(watch(), name="watch health")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@HEALTH.query("/health/live", answers=LiveResource, example={"status": "ok"}, parameters=NoParameters, is_open=True)
async def get_live(_call: Call, _asked: NoParameters) -> LiveResource:
    """Tell that the process answers."""
    return {"status": "ok"}


@HEALTH.query("/health/ready", answers=HealthResource, example=_EXAMPLE, parameters=NoParameters, is_open=True)
async def get_ready(call: Call, _asked: NoParameters) -> Reply:
    """Tell whether the process can take requests; 503 if not."""
    found = await call.parts.heartbeat.health()
    return json_reply(200 if found.ok else 503, found.as_json())


@HEALTH.query("/health", answers=HealthResource, example=_EXAMPLE, parameters=NoParameters, is_open=True)
async def get_health(call: Call, _asked: NoParameters) -> Reply:
    """Show every part of every process, with its lag and latency; always 200."""
    return json_reply(200, (await _aggregate(call.parts)).as_json())


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
