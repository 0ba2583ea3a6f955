"""Due work that does not come to an end: what counts towards being held, and what is nobody's fault."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.kernel.stream import WorkKind
from infra.event_store.port import Work
from infra.settings import Settings
from processors.due_work import DueWorkRunner, Run
from processors.outcome import Unwanted, WorkOutcome
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, open_scene
from usage.ends import KafkaEnds

KIND = WorkKind.PAYMENT_GATEWAY_CALL
NOBODY = "127.0.0.1:1"
ROW = "SELECT held, failures, last_error FROM log.due_work WHERE kind = $1"


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        await running.pay()
        yield running


async def fails(scene: Scene, run: Run) -> tuple[bool, int, str]:
    """Whether the work is held once it has failed more often than it may, how often that counted, and the last why."""
    runner = DueWorkRunner(scene.queue, {KIND: run}, scene.settings)
    for _ in range(scene.settings.work_failures_max):
        for work in await scene.claim(KIND, runner.owner):
            await runner.run_one(work)
        await scene.make_due(KIND)
    row = await scene.pool.fetchrow(ROW, KIND.value)
    assert row is not None
    return row["held"], row["failures"], row["last_error"]


async def test_work_that_finds_no_broker_waits_for_one_however_long(scene: Scene) -> None:
    ends = KafkaEnds(Settings(), bootstrap=NOBODY)

    async def ask(work: Work) -> WorkOutcome:
        await ends.end(0)
        return Unwanted()

    held, failures, why = await fails(scene, ask)
    assert (held, failures) == (False, 0)
    assert "KafkaConnectionError" in why


async def test_work_that_meets_a_defect_again_and_again_is_held(scene: Scene) -> None:
    async def fail(work: Work) -> WorkOutcome:
        raise RuntimeError("a defect")

    assert await fails(scene, fail) == (True, scene.settings.work_failures_max - 1, "RuntimeError: a defect")
