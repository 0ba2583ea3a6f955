"""The stage: the whole stack in a folder of its own, and what brings it to rest again."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg
from aiokafka.errors import KafkaError

from cli.faults.disk import Disk
from cli.faults.misfortunes import Misfortunes
from cli.faults.schedule import INSTANCES, SHORT_LEASE_S, Round
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from gateway_adapters.registry import gateways_from
from host.configured import owner_dsn
from host.launch import Launch, launch_process
from host.patience import Patience
from host.stack import NO_LIMITS, Stack, running_stack
from host.supervisor import Supervisor
from host.watch import Watch
from infra.database import CONNECTION_ERRORS, Pool
from infra.kafka.topics import full_name
from infra.settings import Settings, SettingsError, gateway_api_key
from processors.invariants.audit import Audited, audit
from processors.invariants.findings import Checked, Invariant
from processors.invariants.log_integrity import Acknowledged
from processors.invariants.unfinished import check_unfinished
from projections.read_model import Projection
from schemas.codec import default_codec
from usage.ends import KafkaEnds

TENANTS: Final = ("faults-a", "faults-b", "faults-c")
STANDSTILL_S: Final = 240.0
"""How long nothing may move while everything comes to rest once nothing is broken any more (s): then it is stuck."""

REST_LIMIT_S: Final = 3600.0
"""How long that may take in all (s), on however slow a machine: beyond, it only goes to and fro."""

AT_REST: Final = tuple(each for each in Invariant if each is not Invariant.SAGAS)
POLL_S: Final = 0.1
SOON: Final = timedelta(seconds=6)
"""Looks at what was counted that are put off so little are under way; levels, which are held, are so for ever."""
USAGE_PARTITIONS: Final = 3

_LEASE_MS: Final = str(int(SHORT_LEASE_S * 1000))
SHORT_LEASES: Final[Mapping[str, str]] = {
    "TALLYBOOK_RELAY_LEASE_MS": _LEASE_MS,
    "TALLYBOOK_KAFKA_SESSION_TIMEOUT_MS": _LEASE_MS,
    "TALLYBOOK_KAFKA_REQUEST_TIMEOUT_MS": "10000",
    "TALLYBOOK_PROCESSORS_WORK_LEASE_MS": _LEASE_MS,
    "TALLYBOOK_GATEWAY_CALL_TIMEOUT_MS": "700",
}
ROLE_SETTINGS: Final[Mapping[str, str]] = {
    # Pauses between tries, which decide nothing but how long a round takes.
    "TALLYBOOK_PROCESSORS_WORK_BACKOFF_MAX_MS": "1000",
    "TALLYBOOK_PROCESSORS_SWEEP_INTERVAL_S": "1",
    "TALLYBOOK_PROCESSORS_REFUND_RETRY_BACKOFF_MS": "200",
    # Who started the sagas is held against the whole log after each round; ready is who works now.
    "TALLYBOOK_PROCESSORS_SWEPT_WINDOW_S": "5",
    # What is broken here are processes and servers; clients that go away do so by plain HTTP, at any byte of a request.
    "TALLYBOOK_API_TLS_CERTIFICATE_FILE": "",
    "TALLYBOOK_API_TLS_KEY_FILE": "",
    "TALLYBOOK_USAGE_PARTITIONS": str(USAGE_PARTITIONS),
    # So that what aggregators tidy up is what others count by, look up and recount.
    "TALLYBOOK_METERING_UPKEEP_INTERVAL_S": "2",
    "TALLYBOOK_PROCESSORS_USAGE_LOOK_INTERVAL_S": "0.5",
    **NO_LIMITS,
}
READY_LIMIT_S: Final = 120.0
RESTARTS_MAX: Final = 200
"""Restarts of a process within the supervisor's window: here they are what is tested."""

CAUGHT_UP: Final = """
SELECT h.position = s.position AND NOT EXISTS (
    SELECT FROM relay.published r JOIN unnest($1::text[], $2::text[]) AS t (topic, projection) ON t.topic = r.topic
    JOIN read.projections p ON p.name = t.projection
    LEFT JOIN read.checkpoints c ON c.projection = p.name AND c.fold = p.fold AND c.partition = r.partition
    WHERE p.next_fold IS NOT NULL OR coalesce(c.position, 0) < r.position)
FROM log.head h, relay.state s
"""
_HOW_FAR: Final = """
SELECT h.position, s.position, (SELECT sum(position) FROM read.checkpoints),
    (SELECT sum(next_offset) FROM usage.checkpoints), (SELECT count(*) FROM log.due_work),
    (SELECT count(*) FROM ops.dead_letters)
FROM log.head h, relay.state s
"""


class NotAtRest(Exception):
    """The system did not come to rest within the limit; the message says what was left, and where the logs are."""


class Stage:
    """A running stack. `pool` is the owner's; it survives restarts of the database by connecting anew. `api_keys` are
    the tenants', by their ids.
    """

    def __init__(
        self,
        stack: Stack,
        pool: Pool,
        http: aiohttp.ClientSession,
        api_keys: Mapping[str, str],
        disk: Disk | None,
    ) -> None:
        self._stack = stack
        self._http = http
        self._has_default_leases = False
        self.pool = pool
        self.api_keys = api_keys
        self.settings = stack.settings
        self.misfortunes = Misfortunes(stack, pool, disk)

    @property
    def api_urls(self) -> list[str]:
        """The APIs' addresses."""
        return [role.endpoint.url for role in self.supervisor.roles if role.role == "api"]

    @property
    def usage_urls(self) -> list[str]:
        """The addresses of all that take usage."""
        return [role.endpoint.url for role in self.supervisor.roles if role.role in ("api", "ingest")]

    @property
    def supervisor(self) -> Supervisor:
        """What runs the roles."""
        return self._stack.supervisor

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.gateway.port}"

    @property
    def bootstrap(self) -> str:
        assert self.settings.kafka.bootstrap is not None, "the stack has an embedded Kafka"
        return self.settings.kafka.bootstrap

    async def set_leases(self, *, default: bool) -> None:
        """Let all roles run with the leases of the settings as they come, or with short ones."""
        if default is self._has_default_leases:
            return
        self._has_default_leases = default
        for role in self.supervisor.roles:
            for name, value in SHORT_LEASES.items():
                role.environment.pop(name, None)
                if not default:
                    role.environment[name] = value
        await asyncio.gather(*(self.supervisor.kill(role.name) for role in self.supervisor.roles))
        await self.supervisor.wait_ready()

    async def play(self, part: Round) -> None:
        """Let a round's faults happen, each at its time; returns when the last is over."""
        await self.switch_gateway(part.gateway)
        await self.misfortunes.play(part)

    async def switch_gateway(self, switches: Mapping[str, float]) -> None:
        """Set the gateway's fault switches; empty turns all off. Waits for a gateway that is just starting."""
        key = gateway_api_key(self.settings)
        deadline = time.monotonic() + STANDSTILL_S
        while True:
            try:
                async with self._http.request(
                    "PUT" if switches else "DELETE",
                    f"{self.gateway_url}/faults",
                    json=dict(switches) or None,
                    headers={"Authorization": f"Bearer {key}"},
                ) as answer:
                    answer.raise_for_status()
                    return
            except (aiohttp.ClientConnectionError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_S)

    async def heal(self) -> Checked:
        """Everything up, nothing misbehaving; then wait until all is at rest. Returns the clean I7.

        Raises NotAtRest where nothing moves any more, and SupervisorError where a role cannot be started.
        """
        await self.misfortunes.set_right()
        await self.switch_gateway({})
        await self.supervisor.wait_ready()
        patience = Patience(STANDSTILL_S)
        deadline = time.monotonic() + REST_LIMIT_S
        left: list[str] = []
        while not patience.is_over(await self._how_far()) and time.monotonic() < deadline:
            with contextlib.suppress(*CONNECTION_ERRORS, KafkaError):
                left = await self.misfortunes.unburied()
                if (
                    not left
                    and await self._is_published_and_folded()
                    and not await self._has_work()
                    and await self._is_counted()
                ):
                    checked = await check_unfinished(self.pool, default_codec())
                    # What that check read may have grown since: at rest is what stands still.
                    if checked.holds and await self._is_published_and_folded():
                        return checked
                    left = [str(difference) for difference in checked.named]
            await asyncio.sleep(POLL_S)
        left = left or [await self._why_not()]
        logs = self.supervisor.folder / "logs"
        stands = time.monotonic() < deadline
        how = f"nothing moved for {STANDSTILL_S:.0f} s" if stands else f"{REST_LIMIT_S:.0f} s passed"
        raise NotAtRest(f"not at rest, and {how}; left: {'; '.join(left[:5])}. Logs: {logs}")

    async def audited(self, acknowledged: Sequence[Acknowledged]) -> list[Checked]:
        """Every invariant but I7, which `heal` has checked; `acknowledged` is what clients hold."""
        gateways = gateways_from(self.settings)
        parts = Audited(
            pool=self.pool,
            settings=self.settings,
            gateways=gateways,
            bootstrap=self.bootstrap,
            owner_dsn=owner_dsn(self.settings),
        )
        try:
            return [check async for check in audit(parts, only=AT_REST, acknowledged=acknowledged)]
        finally:
            for gateway in gateways.values():
                await gateway.close()

    async def _how_far(self) -> tuple[object, ...]:
        """What grows or shrinks while anything goes on; nothing while the database is away."""
        with contextlib.suppress(*CONNECTION_ERRORS):
            row = await self.pool.fetchrow(_HOW_FAR)
            assert row is not None, "one row each"
            return tuple(row)
        return ()

    async def _is_published_and_folded(self) -> bool:
        prefix = self.settings.kafka.topic_prefix
        topics = [full_name(prefix, projection.topic) for projection in Projection]
        return bool(await self.pool.fetchval(CAUGHT_UP, topics, [each.value for each in Projection]))

    async def _has_work(self) -> bool:
        return bool(
            await self.pool.fetchval(
                "SELECT EXISTS (SELECT FROM log.due_work WHERE NOT runs_on_clock AND kind <> 'subscription.renewal') "
                "OR EXISTS (SELECT FROM usage.touched) OR EXISTS (SELECT FROM usage.looks l "
                "WHERE look_at < clock_timestamp() + $1::interval AND NOT (look_at > clock_timestamp() "
                "AND EXISTS (SELECT FROM read.meters m WHERE m.tenant_id = l.tenant_id AND m.meter_id = l.meter_id "
                "AND m.aggregation = 'time_weighted_sum')))",
                SOON,
            )
        )

    async def _is_counted(self) -> bool:
        """Whether all usage that the broker has is."""
        rows = await self.pool.fetch("SELECT partition, next_offset FROM usage.checkpoints")
        reached = {row[0]: row[1] for row in rows}
        ends = KafkaEnds(self.settings, bootstrap=self.bootstrap)
        try:
            for partition in range(self.settings.usage.partitions):
                if reached.get(partition, 0) < await ends.end(partition):
                    return False
        finally:
            await ends.close()
        return True

    async def _why_not(self) -> str:
        checked = await check_unfinished(self.pool, default_codec())
        row = await self.pool.fetchrow("SELECT s.*, h.position AS head FROM relay.state s, log.head h")
        assert row is not None, "one row each"
        relay = f"the relay is at {row['position']} of {row['head']}, incarnation {row['incarnation']}"
        return "; ".join([relay, *map(str, checked.named[:5])])


@contextlib.asynccontextmanager
async def set_stage(
    settings: Settings,
    folder: Path,
    disk: Disk | None = None,
    *,
    instances: Mapping[str, int] = INSTANCES,
    launch: Launch = launch_process,
) -> AsyncIterator[Stage]:
    """Start everything, twice where there may be two, in a folder of its own; stop it on leaving.

    `disk` is the disk of that folder, where it has one that can be filled; `instances` says how many processes there
    are of each role, `launch` how they are started.
    """
    if settings.database.url is not None or settings.kafka.bootstrap is not None:
        raise SettingsError(
            "Faults kill servers, so they only run on embedded ones: unset TALLYBOOK_DATABASE_URL and "
            "TALLYBOOK_KAFKA_BOOTSTRAP."
        )
    own = replace(
        settings,
        general=settings.general.model_copy(update={"data_dir": folder}),
        api=settings.api.model_copy(update={"port": 0}),
        gateway=settings.gateway.model_copy(update={"port": 0}),
        supervisor=settings.supervisor.model_copy(
            update={"restarts_max": RESTARTS_MAX, "ready_timeout_s": READY_LIMIT_S}
        ),
        database=settings.database.model_copy(update={"pool_max_connections": 4}),
        usage=settings.usage.model_copy(update={"partitions": USAGE_PARTITIONS}),
    )
    async with contextlib.AsyncExitStack() as exits:
        environment = {**ROLE_SETTINGS, **SHORT_LEASES}
        stack = await exits.enter_async_context(running_stack(own, environment=environment, launch=launch))
        for role, count in instances.items():
            await stack.supervisor.start(role, instances=count)
        dsn = owner_dsn(stack.settings)
        watching = asyncio.create_task(Watch(stack.servers, stack.supervisor, own.supervisor).run())
        exits.push_async_callback(_stopped, watching)
        keys: dict[str, str] = {}
        for tenant_id in TENANTS:
            tenant = await create_tenant(dsn, stack.settings, tenant_id=tenant_id, name=tenant_id, mode=TenantMode.TEST)
            keys[tenant_id] = tenant.key.secret
        await stack.supervisor.wait_ready()
        pool = await exits.enter_async_context(_pool(dsn))
        http = await exits.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)))
        yield Stage(stack, pool, http, keys, disk)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _pool(dsn: str) -> AsyncIterator[Pool]:
    """No connection is kept while nobody uses it: the server may be another by then."""
    pool = await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=4,
        max_inactive_connection_lifetime=1.0,
        server_settings={"role": "tallybook_owner", "application_name": "tallybook-faults"},
    )
    try:
        yield pool
    finally:
        pool.terminate()
