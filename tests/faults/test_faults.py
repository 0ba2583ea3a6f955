"""Rounds of `tallybook faults`, as `make faults` runs thirty; and that its schedule is its seed's."""

from pathlib import Path

import pytest

from cli.faults.disk import Disk, mounted_disk
from cli.faults.rounds import Report, Totals, play_rounds
from cli.faults.schedule import INSTANCES, SERVERS, SHORT_LEASE_S, FaultKind, schedule
from infra.settings import Settings
from tests.lengths import LENGTH

SEED = 3


def test_a_seed_says_everything_about_a_schedule() -> None:
    assert schedule(5, 30) == schedule(5, 30)
    assert schedule(5, 30)[:4] == schedule(5, 4)
    assert schedule(5, 30) != schedule(6, 30)


def test_thirty_rounds_break_everything_that_can_break() -> None:
    rounds = schedule(1, 30)
    faults = [fault for part in rounds for fault in part.faults]
    hit = {
        kind: {fault.target.partition("-")[0] for fault in faults if fault.kind is kind}
        for kind in (FaultKind.KILL, FaultKind.FREEZE)
    }
    everything = {*INSTANCES, *SERVERS}
    assert everything == {
        "api", "ingest", "relay", "processors", "projections", "metering", "gateway", "kafka", "postgres",
    }  # fmt: skip
    assert hit == {FaultKind.KILL: everything, FaultKind.FREEZE: everything}
    for kind in FaultKind:
        assert sum(fault.kind is kind for fault in faults) >= 4, kind
    assert sum(bool(part.gateway) for part in rounds) >= 10
    assert sum(part.default_leases for part in rounds) == 9


def test_a_freeze_outlasts_the_leases_of_its_round() -> None:
    settings = Settings()
    for part in schedule(1, 100):
        for fault in part.faults:
            if fault.kind is FaultKind.FREEZE:
                leases_ms = [settings.relay.lease_ms, settings.kafka.session_timeout_ms]
                if fault.target.startswith("processors"):
                    leases_ms.append(settings.processors.work_lease_ms)
                longest_s = max(leases_ms) / 1000 if part.default_leases else SHORT_LEASE_S
                assert fault.for_s > longest_s, (part.number, fault)


@pytest.mark.faults
async def test_rounds_of_faults_lose_and_double_nothing(services_folder: Path) -> None:
    totals = Totals(seed=SEED)
    folder = services_folder / "faults"
    folder.mkdir(mode=0o711)
    with mounted_disk(folder) as disk:
        await _play(folder, disk, totals)


async def _play(folder: Path, disk: Disk | None, totals: Totals) -> None:
    reports: list[Report] = []
    async for report in play_rounds(
        Settings(), folder, rounds=LENGTH.fault_rounds, seed=SEED, totals=totals, tell=lambda _: None, disk=disk
    ):
        named = [str(each) for check in report.checks for each in check.named] + [str(d) for d in report.differences]
        assert report.holds, named
        reports.append(report)
    assert len(reports) == LENGTH.fault_rounds
    assert totals.differences == 0
    assert totals.charges > 0
    assert totals.asked["acknowledged"] > 0
    assert totals.asked["requests broken off"] > 0
    assert totals.asked["usage events"] > 0
