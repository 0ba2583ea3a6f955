"""Rounds of `tallybook faults`, as `make faults` runs thirty; and that its schedule is its seed's."""

from pathlib import Path

import pytest

from cli.faults.rounds import Report, Totals, play_rounds
from cli.faults.schedule import FaultKind, schedule
from infra.settings import Settings
from tests.lengths import LENGTH

SEED = 3


def test_a_seed_says_everything_about_a_schedule() -> None:
    assert schedule(5, 30) == schedule(5, 30)
    assert schedule(5, 30)[:4] == schedule(5, 4)
    assert schedule(5, 30) != schedule(6, 30)


def test_thirty_rounds_kill_everything_and_freeze_past_leases() -> None:
    faults = [fault for part in schedule(1, 30) for fault in part.faults]
    killed = {fault.target.partition("-")[0] for fault in faults if fault.kind is FaultKind.KILL}
    assert killed == {"api", "relay", "processors", "projections", "gateway", "kafka", "postgres"}
    assert sum(fault.kind is FaultKind.FREEZE for fault in faults) >= 5
    assert sum(bool(part.gateway) for part in schedule(1, 30)) >= 10


@pytest.mark.faults
async def test_rounds_of_faults_lose_and_double_nothing(services_folder: Path) -> None:
    totals = Totals(seed=SEED)
    folder = services_folder / "faults"
    folder.mkdir(mode=0o711)
    reports: list[Report] = []
    async for report in play_rounds(
        Settings(), folder, rounds=LENGTH.fault_rounds, seed=SEED, totals=totals, tell=lambda _: None
    ):
        named = [str(each) for check in report.checks for each in check.named] + [str(d) for d in report.differences]
        assert report.holds, named
        reports.append(report)
    assert len(reports) == LENGTH.fault_rounds
    assert totals.differences == 0
    assert totals.charges > 0
    assert totals.asked["acknowledged"] > 0
