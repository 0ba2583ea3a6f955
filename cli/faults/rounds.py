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
from cli.faults.load import Load
from cli.faults.schedule import LOAD_S, FaultKind, Round, schedule
from cli.faults.stage import TENANT, NotAtRest, Stage, set_stage
from gateway_adapters.registry import gateways_from
from host.addresses import owner_dsn
from infra.settings import Settings
from processors.invariants.audit import Audited, audit
from processors.invariants.findings import Checked, Difference, Invariant
from processors.invariants.unfinished import swept_share

ACKNOWLEDGE_LIMIT_S: Final = 120.0
"""How long the last commands of a round may take to be acknowledged (s)."""

BEFORE_REST: Final = tuple(each for each in Invariant if each is not Invariant.SAGAS)


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

    def line(self) -> str:
        """All of it in one line."""
        kinds = {
            kind: {name.partition(" ")[2]: count for name, count in sorted(self.done.items()) if name.startswith(kind)}
            for kind in FaultKind
        }
        told = [
            f"{sum(found.values())} {kind}s ({', '.join(f'{name} {count}' for name, count in found.items())})"
            for kind, found in kinds.items()
        ]
        asked = self.asked
        return (
            f"faults: {self.rounds} rounds, seed {self.seed}, {', '.join(told)}, {asked['requests']} requests, "
            f"{asked['acknowledged']} acknowledged ({asked['refused']} refused), {asked['answers lost']} answers lost, "
            f"{asked['repeats compared']} repeats compared, {self.charges} charges, {self.refunds} refunds, "
            f"{self.differences} differences"
        )


async def play_rounds(
    settings: Settings, folder: Path, *, rounds: int, seed: int, totals: Totals, tell: Callable[[str], None]
) -> AsyncIterator[Report]:
    """Play the rounds of a seed, and report each; ends early with the first that found something.

    Raises NotAtRest where the system does not heal.
    """
    async with set_stage(settings, folder) as stage:
        timeout = aiohttp.ClientTimeout(total=TRY_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            client = FaultClient(session, stage.api_urls, tenant_id=TENANT, key=stage.api_key, seed=seed)
            load = Load(client, seed)
            await load.prepare()
            for part in schedule(seed, rounds):
                tell(f"round {part.number}/{rounds}: {'; '.join(map(str, part.faults))}")
                report = await _play(stage, load, client, part)
                totals.rounds += 1
                totals.done, totals.asked = stage.done, client.counts
                totals.differences += len(report.differences) + sum(check.differences for check in report.checks)
                for check in report.checks:
                    if check.invariant is Invariant.GATEWAY:
                        totals.charges = check.counts.get("charges at the gateway", 0)
                        totals.refunds = check.counts.get("refunds at the gateway", 0)
                yield report
                if not report.holds:
                    return


async def _play(stage: Stage, load: Load, client: FaultClient, part: Round) -> Report:
    started = time.monotonic()
    requests = client.counts["requests"]
    enough = asyncio.Event()
    acting = asyncio.create_task(load.run(part.number, enough))
    asyncio.get_running_loop().call_later(LOAD_S, enough.set)
    await stage.play(part)
    try:
        await asyncio.wait_for(acting, timeout=ACKNOWLEDGE_LIMIT_S)
    except TimeoutError:
        raise NotAtRest(f"a command was not acknowledged within {ACKNOWLEDGE_LIMIT_S:.0f} s") from None
    loaded = time.monotonic()
    at_rest = await stage.heal()
    if (share := swept_share(at_rest)) > stage.settings.processors.swept_share_max:
        detail = f"{share:.0%} of all sagas so far were started by the sweeper"
        client.differences.append(Difference(kind="not carried", subject="sagas", detail=detail))
    rested = time.monotonic()
    gateways = gateways_from(stage.settings)
    try:
        parts = Audited(
            pool=stage.pool,
            settings=stage.settings,
            gateways=gateways,
            bootstrap=stage.bootstrap,
            owner_dsn=owner_dsn(stage.settings),
        )
        checks = [check async for check in audit(parts, only=BEFORE_REST, acknowledged=client.acknowledged)]
    finally:
        for gateway in gateways.values():
            await gateway.close()
    return Report(
        part=part,
        load_s=loaded - started,
        rest_s=rested - loaded,
        check_s=time.monotonic() - rested,
        requests=client.counts["requests"] - requests,
        checks=(*checks, at_rest),
        differences=tuple(client.differences),
    )
