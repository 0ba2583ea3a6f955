"""Usage is never lost and never counted twice: kills at random points of all that it passes through, under load.

`make prove ARGS="-n0 -s tests/faults/test_usage_kills.py"` kills fifty times and says what became of it; `make test`
does so a few times.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from cli.faults.client import TRY_TIMEOUT_S, FaultClient
from cli.faults.rounds import ACKNOWLEDGE_LIMIT_S
from cli.faults.schedule import SERVERS, Fault, FaultKind, Round
from cli.faults.stage import Stage, set_stage
from cli.faults.threshold_proof import threshold_differences
from cli.faults.usage import Usage
from cli.faults.usage_proof import recount_differences, usage_differences
from host.supervisor import RoleState
from infra.database import CONNECTION_ERRORS
from infra.settings import Settings
from processors.invariants.findings import Difference
from testing.forked import fork_role
from testing.processors_cell import until
from tests.lengths import LENGTH

KILLS: Final = LENGTH.kills * 5 // 2
"""Fifty at length."""
INSTANCES: Final = {
    "api": 1, "ingest": 1, "relay": 1, "processors": 1, "projections": 1, "metering": 1, "gateway": 1,
}  # fmt: skip
USERS: Final = 4
"""Of each of three tenants."""
EVENTS_MAX: Final = 100
"""Of a request."""
METERING: Final = "metering"
DECK: Final = ("api", "ingest", METERING, METERING, *SERVERS)
"""What is killed, in an order that is drawn anew each time."""
AGGREGATORS: Final = (2, 3, 2, 1)
"""How many there are, one number after the other: each time one joins or leaves, and partitions change hands."""
STEPS: Final = 12
PAUSE_S: Final = (0.1, 2.5)
"""Between two kills."""
DOWN_S: Final = (0.05, 0.5)
"""How long a killed server stays down before it is started."""
KILL_LIMIT_S: Final = 60.0


@dataclass
class Killer:
    """Kills at random points, and lets aggregators join and leave meanwhile."""

    stage: Stage
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    among: Counter[int] = field(default_factory=Counter)
    """Kills by how many aggregators there were."""

    async def run(self, kills: int) -> None:
        """So many, one after the other; a role is started again while the next one is killed already."""
        numbers, targets = cycle(AGGREGATORS), self._targets()
        for nth in range(kills):
            if nth % max(1, kills // STEPS) == 0:
                await self._be(next(numbers))
            await asyncio.sleep(self.chance.uniform(*PAUSE_S))
            await self._kill(next(targets))

    def _targets(self) -> Iterator[str]:
        while True:
            yield from self.chance.sample(DECK, len(DECK))

    @property
    def _aggregators(self) -> list[str]:
        roles = self.stage.supervisor.roles
        return [each.name for each in roles if each.role == METERING and each.state is not RoleState.STOPPED]

    async def _be(self, aggregators: int) -> None:
        supervisor = self.stage.supervisor
        while len(self._aggregators) < aggregators:
            await supervisor.start(METERING)
        while len(self._aggregators) > aggregators:
            await supervisor.stop(self.chance.choice(self._aggregators))

    async def _kill(self, target: str) -> None:
        name = target if target in SERVERS else await self._running(target)
        self.killed[target] += 1
        self.among[len(self._aggregators)] += 1
        fault = Fault(kind=FaultKind.KILL, target=name, at_s=0.0, for_s=self.chance.uniform(*DOWN_S))
        async with asyncio.timeout(KILL_LIMIT_S):
            await self.stage.misfortunes.play(Round(number=1, faults=(fault,), gateway={}, default_leases=False))

    async def _running(self, role: str) -> str:
        """One of its processes; one that was just killed is started again first, so that each kill is of a process."""
        name = self.chance.choice(self._aggregators) if role == METERING else f"{role}-0"
        async with asyncio.timeout(KILL_LIMIT_S):
            while self.stage.supervisor.role(name).pid is None:
                await asyncio.sleep(0.01)
        return name


@pytest.mark.faults
async def test_what_was_acknowledged_counts_once_whatever_is_killed(services_folder: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}, {KILLS} kills")  # noqa: T201  pytest shows it where the test fails
    folder = services_folder / "usage-kills"
    folder.mkdir(mode=0o711)
    async with set_stage(Settings(), folder, instances=INSTANCES, launch=fork_role) as stage:
        asked: Counter[str] = Counter()
        timeout = aiohttp.ClientTimeout(total=TRY_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            loads = {client: Usage(client, USERS, EVENTS_MAX) for client in clients(stage, session, seed, asked)}
            await asyncio.gather(*(load.prepare() for load in loads.values()))
            killer = Killer(stage, random.Random(f"{seed}:kills"))
            await under_load(list(loads.values()), seed, killer, asked)
        await stage.heal()
        assert await differences(stage, loads) == []
        assert await recount_differences(stage.pool, stage.settings, stage.bootstrap) == []
        assert await differences(stage, loads) == []
        checks = await stage.audited([each for client in loads for each in client.acknowledged])
        assert [f"{check.invariant} {each}" for check in checks for each in check.named] == []
        counts = await counted(stage)
    told = f"killed {dict(killer.killed)}, by aggregators {dict(killer.among)}; asked {dict(asked)}; counted {counts}"
    print(told)  # noqa: T201
    users = [user for load in loads.values() for user in load.users]
    assert killer.killed.total() == KILLS
    assert killer.among.keys() == set(AGGREGATORS) or len(AGGREGATORS) > KILLS
    assert counts["ids"] == sum(2 * len(user.ids) - len(user.used) for user in users), "of each event and each void one"


def clients(stage: Stage, session: aiohttp.ClientSession, seed: int, asked: Counter[str]) -> list[FaultClient]:
    """Of each tenant; none of them gives up before it is answered."""
    return [
        FaultClient(
            session, stage.api_urls, usage_urls=stage.usage_urls, tenant_id=tenant_id, key=key, seed=seed, counts=asked
        )
        for tenant_id, key in stage.api_keys.items()
    ]


async def under_load(loads: list[Usage], seed: int, killer: Killer, asked: Counter[str]) -> None:
    """All users at once, until the last kill, and until there is some of all that is to be proven; then each is
    answered.
    """
    enough = asyncio.Event()
    async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as acting:
        for number, load in enumerate(loads):
            for nth in range(len(load.users)):
                acting.create_task(load.run(nth, random.Random(f"{seed}:{number}:{nth}"), enough))
        await killer.run(KILLS)
        await until(lambda: has_all(killer.stage, asked), "late usage, conflicts, corrections and thresholds")
        enough.set()
        limit.reschedule(asyncio.get_running_loop().time() + ACKNOWLEDGE_LIMIT_S)


async def differences(stage: Stage, loads: dict[FaultClient, Usage]) -> list[Difference]:
    """Where something was answered that cannot be, or counters or invoices say otherwise than was acknowledged."""
    found = [each for client in loads for each in client.differences]
    for client, load in loads.items():
        found += await usage_differences(stage.pool, client.tenant_id, load)
        found += await threshold_differences(stage.pool, client.tenant_id, load)
    return found


async def has_all(stage: Stage, asked: Counter[str]) -> bool:
    """Whether something was counted in every way, and taken back."""
    with contextlib.suppress(*CONNECTION_ERRORS):
        return asked["usage taken back"] > 0 and all((await counted(stage)).values())
    return False


async def counted(stage: Stage) -> dict[str, int]:
    """How much there is of what the proof is about."""
    statements = {
        "ids": "SELECT coalesce(sum(ids), 0)::bigint FROM usage.dedupe_blocks",
        "records": "SELECT coalesce(sum(next_offset), 0)::bigint FROM usage.checkpoints",
        "conflicts": "SELECT count(*) FROM usage.conflicts",
        "closings": "SELECT count(*) FROM usage.closings",
        "late sums": "SELECT count(*) FROM usage.aggregates WHERE late > 0",
        "thresholds told": "SELECT count(*) FROM log.events WHERE event_type = 'usage_alert.triggered'",
        "invoices of usage so far": "SELECT count(*) FROM log.events WHERE event_type = 'invoice.drafted' "
        "AND actor = 'usage-threshold'",
    }
    return {what: int(await stage.pool.fetchval(statement)) for what, statement in statements.items()}
