"""A consumer that cannot do its part says so in its own health for as long as that lasts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from domain.catalogue import STREAMS
from infra.kafka.relay import Relay
from infra.settings import ProcessorSettings
from processors.journeys import Driver, Journeys
from projections.folding.live import Live
from testing.histories import History
from testing.projection_stack import ReadSide, read_side, until
from testing.random_histories import scramble
from testing.services import FreshDatabase, KafkaServer

TRIES = 3
"""So many failing tries are watched: once it is told, it must be told at every look between them."""


@pytest.fixture
async def side(database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str) -> AsyncIterator[ReadSide]:
    async with read_side(database, kafka_server, topic_prefix) as side:
        yield side


async def test_a_projection_whose_client_gives_up_a_future_of_its_own_starts_over(
    side: ReadSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To whoever waits for such a future it looks like the end of their own task."""
    write, tries = Live._write, 0

    async def given_up(live: Live, *arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return await write(live, *arguments)

    monkeypatch.setattr(Live, "_write", given_up)
    await side.log(scramble(History(3), ("acme",), 50))
    side.relay()
    side.workers()
    await side.caught_up()
    assert tries > 1


async def test_a_projection_that_fails_at_every_batch_is_never_well(
    side: ReadSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def fail(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise RuntimeError("a defect")

    await side.log(scramble(History(3), ("acme",), 50))
    side.relay()
    monkeypatch.setattr(Live, "_write", fail)
    role, _ = side.workers()

    async def failing() -> bool:
        return bool(role.workers) and "a defect" in role.workers[0].problem

    await until(failing, what="the failure")
    for _ in range(TRIES):

        async def tried_again(seen: int = tries) -> bool:
            assert role.workers[0].problem, "whatever the last try came to grief on"
            return tries > seen

        await until(tried_again, what="another try")
    monkeypatch.undo()
    await side.caught_up()

    async def well() -> bool:
        return not role.workers[0].problem

    await until(well, what="health to recover")


async def test_a_relay_that_refuses_another_partition_count_is_never_well(side: ReadSide) -> None:
    """Whether it leads, follows, or waits for the lease of its own last try to be seen as over."""
    await side.log(scramble(History(3), ("acme",), 50))
    leads = side.relay()

    async def published() -> bool:
        return bool(await side.admin.fetchval("SELECT position > 0 FROM relay.state"))

    await until(published, what="the relay")
    kafka = side.settings.kafka.model_copy(update={"partitions": 5})
    other = Relay(replace(side.settings, kafka=kafka), dsn=side.database.dsn, bootstrap=side.bootstrap, streams=STREAMS)
    side.start(other.run())

    async def refused() -> bool:
        return "partitions" in (other.last_error or "")

    await until(refused, what="the refusal as a follower")
    await side.stop(leads)
    for _ in range(TRIES):
        epoch = await side.admin.fetchval("SELECT epoch FROM relay.state")
        assert "partitions" in (other.last_error or "")

        async def tried_again(epoch: int = epoch) -> bool:
            assert "partitions" in (other.last_error or "")
            return bool(await side.admin.fetchval("SELECT epoch > $1 FROM relay.state", epoch))

        await until(tried_again, what="another try")


def test_sagas_that_the_sweeper_starts_are_failing_health_until_they_travel_again() -> None:
    now = 0.0
    settings = ProcessorSettings(swept_window_s=60, swept_share_max=0.25)
    journeys = Journeys(settings, clock=lambda: now)
    assert journeys.health().ok
    for _ in range(2):
        journeys.started("charge", Driver.SWEEPER)
    assert journeys.health().ok, "two of two are an accident"
    journeys.started("charge", Driver.SWEEPER)
    assert not journeys.health().ok
    assert "3 of the 3 sagas" in journeys.health().detail
    for _ in range(9):
        journeys.started("charge", Driver.KAFKA)
    assert journeys.health().ok, "a quarter is allowed"
    journeys.started("refund", Driver.SWEEPER)
    assert not journeys.health().ok
    now = 61.0
    assert journeys.health().ok, "what is long ago does not count"
