"""What a process says of itself: beats in the database, its parts by their own probes, lag by the log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
import structlog

from domain.catalogue import STREAMS
from host.embedded.kafka import EmbeddedKafka
from infra.clock import system_clock
from infra.database import Connection, Role
from infra.heartbeat import Heartbeat, PartLog, Stall
from infra.kafka.relay import Relay
from infra.kafka.topics import ensure_topics
from infra.settings import GeneralSettings, KafkaSettings, Settings, TelemetrySettings
from infra.telemetry import Health, PartHealth
from testing.projection_stack import until
from testing.services import FreshDatabase, KafkaServer

BEATING_ROLES = (Role.WRITER, Role.RELAY, Role.PROJECTOR, Role.METERING)


def settings_of(instance: str, **telemetry: float) -> Settings:
    return replace(
        Settings(),
        general=GeneralSettings(instance=instance),
        telemetry=TelemetrySettings(health_fresh_ms=0, **telemetry),  # type: ignore[arg-type]
    )


def heart(database: FreshDatabase, instance: str = "relay-0", **telemetry: float) -> Heartbeat:
    settings = settings_of(instance, **telemetry)
    return Heartbeat(settings, dsn=database.dsn, role="relay", database_role=Role.RELAY)


@pytest.fixture
async def admin(database: FreshDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


async def instances(admin: Connection) -> list[str]:
    return [row["instance"] for row in await admin.fetch("SELECT instance FROM ops.heartbeats ORDER BY 1")]


def failing(health: Health) -> dict[str, str]:
    return {part.name: part.detail for part in health.parts if not part.ok}


async def test_a_process_beats_under_its_name_and_takes_leave(database: FreshDatabase, admin: Connection) -> None:
    beating = heart(database, heartbeat_interval_ms=10)
    async with beating.beating():

        async def beaten() -> bool:
            row = await admin.fetchrow("SELECT ok, parts, beat_at > began_at AS again FROM ops.heartbeats")
            return row is not None and row["ok"] and row["again"] and "clock" in row["parts"]

        await until(beaten, what="a second beat")
        assert await instances(admin) == ["relay-0"]
        assert failing(await beating.health()) == {}
    assert await instances(admin) == [], "who stops in order is not missed"


async def test_an_instance_that_starts_again_goes_on_under_its_name(database: FreshDatabase, admin: Connection) -> None:
    for _ in range(3):
        await heart(database).health()  # none of them takes leave: as if killed
    assert await instances(admin) == ["relay-0"]


async def test_the_table_holds_no_more_than_the_processes_of_a_while(
    database: FreshDatabase, admin: Connection
) -> None:
    for number in range(20):
        await heart(database, f"relay-{number}").health()
    assert len(await instances(admin)) == 20
    await admin.execute("UPDATE ops.heartbeats SET beat_at = beat_at - interval '1 hour'")
    await heart(database, "relay-new").health()
    assert await instances(admin) == ["relay-new"]


async def test_beats_are_written_by_the_roles_that_run_and_by_no_other_way(admin: Connection) -> None:
    beat = "SELECT ops.beat('relay', 'r', true, '[]', interval '1 minute')"
    for role in Role:
        await admin.execute(f"SET ROLE {role}")
        if role in BEATING_ROLES:
            await admin.execute(beat)
            await admin.execute("SELECT ops.leave('relay', 'r')")
        elif role is not Role.OWNER:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(beat)
        if role is not Role.OWNER:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute("DELETE FROM ops.heartbeats")
        await admin.execute("RESET ROLE")


async def test_a_clock_that_is_apart_is_a_failing_part(database: FreshDatabase, admin: Connection) -> None:
    settings = settings_of("relay-0")
    two_hours = timedelta(hours=2)
    wrong = Heartbeat(
        settings,
        dsn=database.dsn,
        role="relay",
        database_role=Role.RELAY,
        clock=lambda: system_clock() + two_hours,
    )
    assert "ahead of the database's" in failing(await wrong.health())["clock"]
    await wrong.health()
    assert await admin.fetchval("SELECT ok FROM ops.heartbeats") is False, "and the others are told"


async def test_a_database_that_is_gone_is_told_at_once_and_its_return_too(database: FreshDatabase) -> None:
    beating = heart(database)
    assert failing(await beating.health()) == {}
    admin = await asyncpg.connect(database.server.dsn())
    try:
        await admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database.name)
        assert set(failing(await beating.health())) == {"postgresql"}
        assert set(failing(await beating.health())) == {"postgresql"}
        await admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')
        assert failing(await beating.health()) == {}
    finally:
        await admin.close()


async def test_parts_that_hang_or_raise_are_failing_parts(database: FreshDatabase) -> None:
    async def hangs(_connection: "Connection | None") -> Iterable[PartHealth]:
        await asyncio.Event().wait()
        return ()

    async def raises(_connection: "Connection | None") -> Iterable[PartHealth]:
        raise RuntimeError("no such thing")

    for parts, why in ((hangs, "no answer within 4 s"), (raises, "RuntimeError: no such thing")):
        beating = Heartbeat(
            settings_of("relay-0"), dsn=database.dsn, role="relay", database_role=Role.RELAY, parts=parts
        )
        assert failing(await beating.health()) == {"relay": why}


def test_what_has_work_and_does_not_move_is_stalled() -> None:
    now = 0.0
    stall = Stall(10_000, now=lambda: now)
    seen: list[str] = []
    looks = ((0, 5, 3), (9, 5, 3), (10, 5, 4), (11, 6, 3), (20, 6, 0), (29, 6, 1), (31, 6, 2))
    for at, place, behind in looks:
        now = at
        seen.append(stall.why(place, behind))
    assert [bool(why) for why in seen] == [False, False, True, False, False, False, True]
    assert seen[2] == "stands at 5 for 10 s while 4 events wait"


def test_failures_and_recoveries_are_logged_once() -> None:
    noted = PartLog()
    with structlog.testing.capture_logs() as lines:
        for ok in (True, False, False, True, True):
            noted.note([PartHealth(name="kafka", ok=ok, detail="" if ok else "gone")])
    assert [(line["event"], line["part"]) for line in lines] == [("part_fails", "kafka"), ("part_works", "kafka")]


async def test_a_relay_says_that_kafka_is_gone_and_how_far_the_log_is_ahead(
    database: FreshDatabase, admin: Connection, own_kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    settings = replace(Settings(), kafka=KafkaSettings(topic_prefix=topic_prefix, partitions=2))
    relay = Relay(settings, dsn=database.dsn, bootstrap=own_kafka.bootstrap, streams=STREAMS)

    async def told(wanted: Callable[[dict[str, PartHealth]], bool]) -> bool:
        return wanted({part.name: part for part in await relay.health(admin)})

    async with running(relay.run()):
        await until(lambda: told(lambda parts: parts["kafka"].ok and parts["relay"].detail == "leads"), what="a leader")
        await asyncio.to_thread(own_kafka.kill)
        await until(lambda: told(lambda parts: not parts["kafka"].ok), what="Kafka's failure")
        # Nothing has come to the relay meanwhile; what was appended is behind all the same.
        await admin.execute("UPDATE log.head SET position = position + 7")
        assert await told(lambda parts: parts["relay"].lag_events == 7)
        await admin.execute("UPDATE log.head SET position = position - 7")
        await asyncio.to_thread(own_kafka.start)
        await until(lambda: told(lambda parts: parts["kafka"].ok and parts["relay"].ok), what="Kafka's return")


async def test_a_relay_that_refuses_to_publish_is_not_well(
    database: FreshDatabase, admin: Connection, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    await admin.execute("UPDATE relay.state SET partitions = 3")
    settings = replace(Settings(), kafka=KafkaSettings(topic_prefix=topic_prefix, partitions=2))
    await ensure_topics(
        kafka_server.bootstrap, prefix=topic_prefix, partitions=2, replication_factor=1, request_timeout_ms=30_000
    )
    relay = Relay(settings, dsn=database.dsn, bootstrap=kafka_server.bootstrap, streams=STREAMS)

    async def refused() -> bool:
        parts: Sequence[PartHealth] = await relay.health(admin)
        return any(not part.ok and "tallybook relay republish" in part.detail for part in parts)

    async with running(relay.run()):
        await until(refused, what="the refusal")


@contextlib.asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
