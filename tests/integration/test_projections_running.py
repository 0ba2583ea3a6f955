"""Workers on a real Kafka and a real PostgreSQL: sharing, stopping, dying, and topics published anew."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from domain.customers.test_clock import CreateTestClock
from domain.kernel.tenant_mode import TenantMode
from infra.kafka.republishing import republish
from infra.kafka.topics import ensure_topics, full_name, published_topics
from projections.catalogue import BY_NAME, READ_MODELS
from projections.folding.rebuild import rebuild
from projections.read_model import Projection
from testing.histories import START, History, renewals
from testing.projection_stack import ReadSide, read_side, until
from testing.published import Publisher
from testing.random_histories import scramble
from testing.services import FreshDatabase, KafkaServer

TENANTS = ("acme", "other")


@pytest.fixture
async def side(database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str) -> AsyncIterator[ReadSide]:
    async with read_side(database, kafka_server, topic_prefix) as side:
        yield side


@pytest.fixture(scope="module")
def history() -> History:
    return scramble(History(11), TENANTS, 500)


async def test_the_log_reaches_the_read_models(side: ReadSide, history: History) -> None:
    await side.log(history)
    side.relay()
    role, _ = side.workers()
    await side.caught_up()
    assert await side.differences() == {}
    assert [part for part in await role.health(side.admin) if not part.ok] == []


async def test_two_processes_share_partitions_and_one_takes_over_when_the_other_leaves(
    side: ReadSide, history: History
) -> None:
    side.relay()
    first, first_task = side.workers()
    third = len(history.events) // 3
    await side.log(history, third)
    await side.caught_up()
    second, second_task = side.workers()

    async def shared() -> bool:
        counts = [len(worker.live.checkpoints) for role in (first, second) for worker in role.workers]
        return len(counts) == 6 and all(0 < count < 12 for count in counts)

    await side.log(history, third + 200)
    await until(shared, what="both to have partitions")
    await side.log(history, 2 * third)
    await side.caught_up()
    assert await side.differences() == {}
    await side.stop(first_task)
    await side.log(history)
    await side.caught_up()
    assert await side.differences() == {}
    assert not second_task.done()


async def test_killed_workers_lose_nothing_and_double_nothing(side: ReadSide, history: History) -> None:
    side.relay()
    for kill in range(4):
        worker = await _spawn(side)
        await side.log(history, (kill + 1) * len(history.events) // 5)
        before = await side.admin.fetchval("SELECT coalesce(sum(position), 0) FROM read.checkpoints")

        async def moves(before: int = before) -> bool:
            return bool(
                await side.admin.fetchval("SELECT coalesce(sum(position), 0) > $1 FROM read.checkpoints", before)
            )

        await until(moves, what="the worker to write")
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
    await side.log(history)
    side.workers()
    await side.caught_up()
    assert await side.differences() == {}


async def _spawn(side: ReadSide) -> asyncio.subprocess.Process:
    kafka = side.settings.kafka
    program = (
        "import asyncio\n"
        "from testing.projection_stack import stack_settings\n"
        "from projections.folding.worker import run\n"
        f"settings = stack_settings({kafka.topic_prefix!r}, poll_max_records=20)\n"
        f"asyncio.run(run(settings, dsn={side.database.dsn!r}, bootstrap={side.bootstrap!r}))\n"
    )
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )


@pytest.mark.parametrize("dropped", [True, False], ids=["topics dropped", "topics kept"])
async def test_topics_published_anew_are_folded_anew_and_readers_never_see_less(
    side: ReadSide, history: History, dropped: bool
) -> None:
    await side.log(history)
    relay = side.relay()
    side.workers()
    await side.caught_up()
    before = await side.dump()
    # What the tables hold is of no use to the new fold: this would stay if it were.
    version = await side.admin.fetchval("SELECT table_version FROM read.models WHERE name = 'customers'")
    count = len(before["customers"])
    fewest = count
    watching = asyncio.Event()

    async def watch() -> None:
        nonlocal fewest
        while not watching.is_set():
            fewest = min(fewest, await connection.fetchval("SELECT count(*) FROM read.customers"))

    connection = await asyncpg.connect(side.database.dsn)
    watcher = side.start(watch())
    if dropped:
        await side.stop(relay)
        kafka = side.settings.kafka
        timeout_ms = kafka.request_timeout_ms
        async with published_topics(side.bootstrap, prefix=kafka.topic_prefix, request_timeout_ms=timeout_ms) as topics:
            await topics.drop()
    await republish(side.database.dsn)
    if dropped:
        side.relay()

    async def taken_over() -> bool:
        return bool(await side.admin.fetchval("SELECT bool_and(fold = 2 AND incarnation = 2) FROM read.projections"))

    await until(taken_over, what="the new fold to take over")
    await side.caught_up()
    watching.set()
    await watcher
    await connection.close()
    assert await side.dump() == before
    assert fewest == count
    assert await side.differences() == {}
    assert await side.admin.fetchval("SELECT table_version FROM read.models WHERE name = 'customers'") > version


async def test_a_rebuild_while_writes_go_on_is_identical(side: ReadSide, history: History) -> None:
    side.relay()
    side.workers()
    half = len(history.events) // 2
    await side.log(history, half)
    await side.caught_up()
    done = asyncio.Event()

    async def write() -> None:
        upto = half
        while upto < len(history.events):
            upto += 25
            await side.log(history, upto)
            await asyncio.sleep(0)
        done.set()

    writer = asyncio.create_task(write())
    first = await rebuild(side.settings, READ_MODELS, owner_dsn=side.database.dsn)
    assert first.facts > half
    await writer
    await side.caught_up()
    before = await side.dump()
    assert await side.differences() == {}
    second = await rebuild(side.settings, [BY_NAME["invoices"]], owner_dsn=side.database.dsn)
    assert {table.rpartition("_v")[0] for table in second.tables} == {"read.invoices", "read.billing_stats"}
    await rebuild(side.settings, READ_MODELS, owner_dsn=side.database.dsn)
    assert await side.dump() == before
    # The workers go on in the new tables, and the old ones are gone.
    history.do(
        "acme",
        CreateTestClock(clock_id=history.new_id("clock_"), name="one more", frozen_at=START, mode=TenantMode.TEST),
    )
    await side.log(history)
    await side.caught_up()
    assert await side.differences() == {}
    tables = await side.admin.fetchval(
        "SELECT count(*) FROM pg_class "
        "WHERE relnamespace = 'read'::regnamespace AND relkind = 'r' AND relname ~ '_v[0-9]+$'"
    )
    assert tables == len(READ_MODELS)


async def test_rebuilds_in_processes_and_slices_come_to_the_same(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, history: History
) -> None:
    limits = {"rebuild_parallel_from_events": 1, "rebuild_slice_events": 500, "rebuild_batch_events": 70}
    async with read_side(database, kafka_server, topic_prefix, **limits) as side:
        await side.log(history)
        side.relay()
        side.workers()
        await side.caught_up()
        before = await side.dump()
        seen: list[tuple[int, int]] = []
        await rebuild(
            side.settings, READ_MODELS, owner_dsn=database.dsn, progress=lambda done, of: seen.append((done, of))
        )
        assert await side.dump() == before
        assert seen[-1][0] == seen[-1][1]


async def test_a_lost_record_stops_its_partition_with_an_alarm_until_it_is_published_anew(
    side: ReadSide, history: History
) -> None:
    await side.log(history)
    kafka = side.settings.kafka
    await ensure_topics(
        side.bootstrap,
        prefix=kafka.topic_prefix,
        partitions=12,
        replication_factor=1,
        request_timeout_ms=kafka.request_timeout_ms,
    )
    publisher = Publisher(prefix=kafka.topic_prefix)
    records = publisher.records(history.events, Projection.BILLING)
    partition, found = max(records.items(), key=lambda item: len(item[1]))
    gap = len(found) // 2
    producer = AIOKafkaProducer(bootstrap_servers=side.bootstrap, enable_idempotence=True)
    await producer.start()
    for record in [*found[:gap], *found[gap + 1 :]]:
        await producer.send(record.topic, record.value, key=record.key, partition=partition, headers=record.headers)
    await producer.stop()
    role, _ = side.workers()

    async def alarmed() -> bool:
        return any("lost" in part.detail for part in await role.health(side.admin) if not part.ok)

    await until(alarmed, what="the alarm")
    topic = full_name(kafka.topic_prefix, Projection.BILLING.topic)
    last = int(dict(found[gap - 1].headers)["position"])

    async def up_to_the_gap() -> bool:
        position = await side.admin.fetchval(
            "SELECT position FROM read.checkpoints WHERE topic = $1 AND partition = $2", topic, partition
        )
        assert position <= last
        return bool(position == last)

    await until(up_to_the_gap, what="what came before the gap")
    await republish(side.database.dsn)
    side.relay()
    await side.caught_up()
    assert await side.differences() == {}
    assert [part for part in await role.health(side.admin) if not part.ok] == []


async def test_a_stopped_worker_leaves_within_its_batch(side: ReadSide) -> None:
    history = renewals(30, 2)
    side.relay()
    _, task = side.workers()
    await side.log(history)
    await asyncio.wait_for(_stop_soon(side, task), timeout=90)
    side.workers()
    await side.caught_up()
    assert await side.differences() == {}


async def _stop_soon(side: ReadSide, task: "asyncio.Task[None]") -> None:
    async def moves() -> bool:
        return bool(await side.admin.fetchval("SELECT coalesce(sum(position), 0) > 0 FROM read.checkpoints"))

    await until(moves, what="the worker to write")
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
