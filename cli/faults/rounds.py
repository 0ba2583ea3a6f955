"""The rounds: load and misfortune, then rest, then the proof."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from cli.faults.client import TRY_TIMEOUT_S, FaultClient
from cli.faults.disk import Disk
from cli.faults.load import Load
from cli.faults.schedule import LOAD_S, FaultKind, Round, schedule
from cli.faults.stage import NotAtRest, Stage, set_stage
from cli.faults.threshold_proof import threshold_differences
from cli.faults.usage_proof import recount_differences, usage_differences
from host.patience import Patience
from infra.database import Pool
from infra.settings import Settings
from processors.invariants.findings import Checked, Difference, Invariant
from processors.invariants.unfinished import BY_KAFKA, BY_SWEEPER

ACKNOWLEDGE_LIMIT_S: Final = 120.0
"""How long none of a round's last commands may be acknowledged while some are still to be (s)."""

POLL_S: Final = 0.5

SWEPT_TO_JUDGE_BY: Final = 20
"""Sagas of one round that only the sweeper drove, which say that Kafka brings none: a few are one outage's. What share
of them it drives besides is a matter of how fast the machine is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One round: what was done to the system, what it was asked, and what was found; and how long (s) load and faults,
    coming to rest, and the checks took.
    """

    part: Round
    load_s: float
    rest_s: float
    check_s: float
    requests: int
    checks: tuple[Checked, ...]
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        return not self.differences and all(check.holds for check in self.checks)


@dataclass(slots=True, kw_only=True)
class Totals:
    """Everything so far."""

    seed: int
    rounds: int = 0
    done: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    charges: int = 0
    refunds: int = 0
    differences: int = 0

    def take(self, report: Report) -> None:
        """Add a round."""
        self.rounds += 1
        self.differences += len(report.differences) + sum(check.differences for check in report.checks)
        for check in report.checks:
            if check.invariant is Invariant.GATEWAY:
                self.charges = check.counts.get("charges at the gateway", 0)
                self.refunds = check.counts.get("refunds at the gateway", 0)

    def of(self, kind: FaultKind) -> Counter[str]:
        """How often this went wrong so far, by what it went wrong with."""
        start = f"{kind.name} "
        return Counter({name.removeprefix(start): count for name, count in self.done.items() if name.startswith(start)})

    def line(self) -> str:
        """All of it in one line."""
        broken = [
            f"{found.total()} {kind.plural} ({', '.join(f'{name} {count}' for name, count in sorted(found.items()))})"
            for kind in FaultKind
            if (found := self.of(kind))
        ]
        asked = self.asked
        told = [
            f"{self.rounds} rounds",
            f"seed {self.seed}",
            *broken,
            f"{asked['requests']} requests",
            f"{asked['acknowledged']} acknowledged ({asked['refused']} refused)",
            *(f"{asked[name]} {name}" for name in _TOLD),
            f"{self.charges} charges",
            f"{self.refunds} refunds",
            f"{self.differences} differences",
        ]
        return f"faults: {', '.join(told)}"


_TOLD: Final = (
    "answers lost",
    "requests broken off",
    "races",
    "repeats compared",
    "usage events",
    "usage taken back",
    "resets",
    "invoices of usage so far voided",
)
_DONE_ALL_THE_SAME: Final = """
SELECT idempotency_key FROM log.command_results WHERE tenant_id = $1 AND idempotency_key = ANY($2::text[])
"""


async def play_rounds(
    settings: Settings,
    folder: Path,
    *,
    rounds: int,
    seed: int,
    totals: Totals,
    tell: Callable[[str], None],
    disk: Disk | None = None,
) -> AsyncIterator[Report]:
    """Play the rounds of a seed, and report each; ends early with the first that found something.

    `disk` is what `folder` lies on, where it may be filled. Raises NotAtRest where the system does not heal.
    """
    async with set_stage(settings, folder, disk) as stage:
        timeout = aiohttp.ClientTimeout(total=TRY_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            crowd = Crowd(stage, session, seed, totals)
            await crowd.prepare()
            for part in schedule(seed, rounds):
                tell(f"round {part.number}/{rounds}: {part}")
                await stage.set_leases(default=part.default_leases)
                report = await _play(stage, crowd, part)
                totals.take(report)
                yield report
                if not report.holds:
                    return


class Crowd:
    """The clients of all tenants and what they do. `carried` and `swept` are the steps of sagas that Kafka and the
    sweeper have brought about so far."""

    def __init__(self, stage: Stage, session: aiohttp.ClientSession, seed: int, totals: Totals) -> None:
        self.counts = totals.asked
        self.carried = self.swept = 0
        totals.done = stage.misfortunes.done
        self.clients = [
            FaultClient(
                session,
                stage.api_urls,
                usage_urls=stage.usage_urls,
                tenant_id=tenant_id,
                key=key,
                seed=seed,
                counts=totals.asked,
            )
            for tenant_id, key in stage.api_keys.items()
        ]
        self._loads = [Load(client, seed) for client in self.clients]
        for load in self._loads:
            load.others = [other.world for other in self._loads if other is not load]

    async def prepare(self) -> None:
        """Give every tenant something to sell, and somebody to sell it to."""
        await asyncio.gather(*(load.prepare() for load in self._loads))

    async def run(self, number: int, enough: asyncio.Event) -> None:
        """All of them at once, until `enough`."""
        async with asyncio.TaskGroup() as tenants:
            for load in self._loads:
                tenants.create_task(load.run(number, enough))

    async def differences(self, pool: Pool) -> list[Difference]:
        """What was answered otherwise than it may be, what was done without having been asked for whole, usage that is
        counted or billed otherwise than it was acknowledged, and thresholds of it that are told of or billed otherwise.
        """
        found = [difference for client in self.clients for difference in client.differences]
        for client in self.clients:
            for (key,) in await pool.fetch(_DONE_ALL_THE_SAME, client.tenant_id, client.given_up):
                detail = "it never arrived whole, and something was decided under its key"
                found.append(Difference(kind="half a request", subject=f"{client.tenant_id} {key}", detail=detail))
        for client, load in zip(self.clients, self._loads, strict=True):
            found += await usage_differences(pool, client.tenant_id, load.usage)
            found += await threshold_differences(pool, client.tenant_id, load.usage)
        return found


async def _play(stage: Stage, crowd: Crowd, part: Round) -> Report:
    started = time.monotonic()
    requests = crowd.counts["requests"]
    for client in crowd.clients:
        client.store_may_be_lost = part.breaks_store
    enough = asyncio.Event()
    acting = asyncio.create_task(crowd.run(part.number, enough))
    asyncio.get_running_loop().call_later(LOAD_S, enough.set)
    try:
        await stage.play(part)
        patience = Patience(ACKNOWLEDGE_LIMIT_S)
        while not (await asyncio.wait([acting], timeout=POLL_S))[0]:
            if patience.is_over(crowd.counts["acknowledged"]):
                raise NotAtRest(f"no command was acknowledged for {ACKNOWLEDGE_LIMIT_S:.0f} s; some still wait")
        await acting
    finally:
        acting.cancel()
    loaded = time.monotonic()
    at_rest = await stage.heal()
    differences = await crowd.differences(stage.pool)
    differences += await recount_differences(stage.pool, stage.settings, stage.bootstrap)
    carried = at_rest.counts[BY_KAFKA] - crowd.carried
    swept = at_rest.counts[BY_SWEEPER] - crowd.swept
    if carried == 0 and swept >= SWEPT_TO_JUDGE_BY:
        detail = f"all {swept} sagas of the round were started by the sweeper"
        differences.append(Difference(kind="not carried", subject="sagas", detail=detail))
    crowd.carried, crowd.swept = at_rest.counts[BY_KAFKA], at_rest.counts[BY_SWEEPER]
    rested = time.monotonic()
    checks = await stage.audited([each for client in crowd.clients for each in client.acknowledged])
    return Report(
        part=part,
        load_s=loaded - started,
        rest_s=rested - loaded,
        check_s=time.monotonic() - rested,
        requests=crowd.counts["requests"] - requests,
        checks=(*checks, at_rest),
        differences=tuple(differences),
    )
