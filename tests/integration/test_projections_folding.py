"""How records become rows: once, in order, never past a gap; and what a poison record does and does not stop."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import pytest

from api.http.reading import TenantReader
from domain.customers.customer import CUSTOMER
from domain.customers.test_clock import CreateTestClock
from domain.kernel.tenant_mode import TenantMode
from infra.database import Connection, Role, open_pool, server_settings
from infra.kafka.records import ConsumerRecord, Delivered
from infra.settings import DatabaseSettings, GeneralSettings, Settings
from projections.catalogue import READ_MODELS
from projections.current import current
from projections.folding import live as live_module
from projections.folding.facts import delivered_fact
from projections.folding.live import Live, NewerIncarnation, Overtaken
from projections.folding.rebuild import differences
from projections.folding.replay import NotHeld, replay
from projections.folding.worker import KEYPLAN
from projections.models import customers, invoices
from projections.read_model import Fact, Projection
from schemas.codec import MalformedPayload
from testing.histories import START, History, renewals, write_log
from testing.published import PublishedRecord, Publisher
from testing.random_histories import scramble
from testing.services import FreshDatabase

SETTINGS = Settings(general=GeneralSettings())
TENANTS = ("acme", "other")
Records = dict[int, list[PublishedRecord]]


@dataclass
class Graves:
    """Dead letters, kept in memory."""

    buried: list[tuple[ConsumerRecord, BaseException]] = field(default_factory=list)

    async def bury(self, record: ConsumerRecord, *, consumer: str, error: BaseException, attempts: int) -> None:
        self.buried.append((record, error))


@dataclass
class Side:
    """The read side of one database, fed by hand."""

    dsn: str
    connection: Connection
    admin: Connection
    graves: Graves = field(default_factory=Graves)
    publisher: Publisher = field(default_factory=Publisher)

    async def live(self, projection: Projection = Projection.BILLING, *, cached_rows: int = 1000) -> Live:
        """A worker's state, ready for all partitions."""
        live = Live(projection, topic=projection.topic, dead_letters=self.graves, cached_rows=cached_rows)
        await self.connection.execute(
            "UPDATE read.projections SET incarnation = 1 WHERE name = $1 AND incarnation = 0", projection.value
        )
        await live.load(self.connection)
        await live.open(self.connection, range(self.publisher.partitions))
        return live

    async def fold(self, live: Live, records: Records, *, polls: int = 3) -> None:
        """Feed the records in several polls."""
        for poll in _polls(records, polls):
            await live.project(self.connection, poll)

    async def log(self, history: History) -> None:
        await write_log(self.admin, history.events)

    async def dump(self) -> dict[str, list[str]]:
        """Every row of every live table as text, ordered."""
        return await dump(self.admin)

    async def differences(self) -> dict[str, int]:
        found = await differences(SETTINGS, READ_MODELS, owner_dsn=self.dsn)
        return {name: number for name, number in found.items() if number}


def _polls(records: Records, polls: int) -> Sequence[Records]:
    """The records in so many polls, each partition's in order."""
    found: list[Records] = [{} for _ in range(polls)]
    for partition, each in records.items():
        for place, record in enumerate(each):
            found[place * polls // len(each)].setdefault(partition, []).append(record)
    return [poll for poll in found if poll]


async def dump(connection: Connection) -> dict[str, list[str]]:
    """Every row of every live table as text, in the order of its key."""
    rows: dict[str, list[str]] = {}
    for model in READ_MODELS:
        version = await connection.fetchval("SELECT table_version FROM read.models WHERE name = $1", model.name)
        records = await connection.fetch(
            f"SELECT t::text AS row FROM read.{model.name}_v{version} t ORDER BY {', '.join(model.key)}"  # noqa: S608  our names
        )
        rows[model.name] = [record["row"] for record in records]
    return rows


@pytest.fixture
async def side(database: FreshDatabase) -> AsyncIterator[Side]:
    admin = await asyncpg.connect(database.dsn)
    connection = await asyncpg.connect(
        database.dsn, server_settings=server_settings(Role.PROJECTOR, DatabaseSettings()) | KEYPLAN
    )
    yield Side(database.dsn, connection, admin)
    await connection.close()
    await admin.close()


@pytest.fixture
def history() -> History:
    return scramble(History(7), TENANTS, 250)


async def project_all(side: Side, history: History, **options: Any) -> None:
    """Everything into every projection."""
    for projection in Projection:
        live = await side.live(projection, **options)
        await side.fold(live, side.publisher.records(history.events, projection))


async def test_what_is_projected_equals_a_fold_of_the_log(side: Side, history: History) -> None:
    await side.log(history)
    await project_all(side, history)
    assert side.graves.buried == []
    assert await side.differences() == {}
    assert sum(map(len, (await side.dump()).values())) > len(history.events) // 2


async def test_a_check_sees_a_single_changed_value(side: Side, history: History) -> None:
    await side.log(history)
    await project_all(side, history)
    await side.admin.execute(
        "UPDATE read.customers_v1 SET time_zone = 'Mars' WHERE customer_id = "
        "(SELECT min(customer_id) FROM read.customers_v1)"
    )
    await side.admin.execute(
        "DELETE FROM read.ledger_entries_v1 WHERE position = (SELECT min(position) FROM read.ledger_entries_v1)"
    )
    assert await side.differences() == {"customers": 1, "ledger_entries": 1}


async def test_the_size_of_polls_and_of_the_cache_changes_nothing(side: Side, history: History) -> None:
    live = await side.live(cached_rows=3)
    records = side.publisher.records(history.events, Projection.BILLING)
    await side.fold(live, records, polls=40)
    small = await side.dump()
    side.publisher = Publisher()
    await _forget_everything(side)
    await side.fold(await side.live(cached_rows=10_000), records, polls=1)
    assert await side.dump() == small


async def _forget_everything(side: Side) -> None:
    for model in READ_MODELS:
        await side.admin.execute(f"TRUNCATE read.{model.name}_v1")
    await side.admin.execute("TRUNCATE read.checkpoints, read.held_keys")


async def test_records_delivered_again_change_nothing(side: Side, history: History) -> None:
    live = await side.live()
    records = side.publisher.records(history.events, Projection.BILLING)
    await side.fold(live, records)
    before = await side.dump()
    outcome = await live.project(side.connection, records)
    assert outcome.duplicates == sum(map(len, records.values()))
    again = await side.live()
    assert (await again.project(side.connection, records)).facts == 0
    assert await side.dump() == before


async def test_nothing_is_folded_past_a_gap_until_the_missing_record_comes(side: Side, history: History) -> None:
    await side.log(history)
    live = await side.live()
    records = side.publisher.records(history.events, Projection.BILLING)
    partition, found = max(records.items(), key=lambda item: len(item[1]))
    gap = len(found) // 2
    outcome = await live.project(side.connection, {partition: [*found[:gap], *found[gap + 1 :]]})
    assert partition in live.lost
    assert partition in outcome.lost
    assert f"follows {_position(found[gap])}" in outcome.lost[partition]
    assert live.checkpoints[partition].position == _position(found[gap - 1])
    assert live.checkpoints[partition].offset == found[gap].offset
    stopped = await side.dump()
    assert (await live.project(side.connection, {partition: found[gap + 1 :]})).facts == 0
    assert await side.dump() == stopped
    await live.project(side.connection, {partition: found[gap:]})
    assert live.lost == {}
    assert live.checkpoints[partition].position == _position(found[-1])


def _position(record: PublishedRecord) -> int:
    return int(dict(record.headers)["position"])


async def test_an_older_incarnation_is_passed_by(side: Side, history: History) -> None:
    side.publisher.incarnation = 0
    old = side.publisher.records(history.events, Projection.BILLING)
    side.publisher.republish(1)
    live = await side.live()
    outcome = await live.project(side.connection, old)
    assert (outcome.facts, outcome.lost) == (0, {})
    await side.fold(live, side.publisher.records(history.events, Projection.BILLING))
    await side.log(history)
    found = await side.differences()
    assert {name for name in found if name in await _names(Projection.BILLING)} == set()


async def _names(projection: Projection) -> set[str]:
    return {model.name for model in READ_MODELS if model.projection is projection}


async def test_a_newer_incarnation_is_told_after_what_came_before_it_is_written(side: Side, history: History) -> None:
    await side.log(history)
    await side.admin.execute("UPDATE relay.state SET incarnation = 2")
    live = await side.live()
    first = side.publisher.records(history.events[:200], Projection.BILLING)
    side.publisher.republish(2)
    second = side.publisher.records(history.events[:200], Projection.BILLING)
    both = {partition: [*first[partition], *second[partition]] for partition in first}
    with pytest.raises(NewerIncarnation) as raised:
        await live.project(side.connection, both)
    assert raised.value.incarnation == 2
    assert {p: c.position for p, c in live.checkpoints.items() if p in first} == {
        partition: _position(found[-1]) for partition, found in first.items()
    }


async def test_who_lost_a_partition_cannot_write(side: Side, history: History) -> None:
    records = side.publisher.records(history.events, Projection.BILLING)
    old, new = await side.live(), await side.live()
    halves = _polls(records, 2)
    await new.project(side.connection, halves[0])
    before = await side.dump()
    with pytest.raises(Overtaken):
        await old.project(side.connection, halves[0])
    assert await side.dump() == before
    await old.load(side.connection)
    await old.open(side.connection, range(12))
    await old.project(side.connection, halves[0])
    await old.project(side.connection, halves[1])
    await side.log(history)
    assert set(await side.differences()) & await _names(Projection.BILLING) == set()


async def test_a_poison_record_stops_its_key_alone_and_a_replay_brings_it_up_to_date(
    side: Side, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    await side.log(history)
    poisoned = next(e for e in history.events if e.event_type == "subscription.created")
    live = await side.live()
    records = side.publisher.records(history.events, Projection.BILLING)

    def decoded(projection: Projection, record: Delivered) -> Fact:
        if record.position == poisoned.position:
            raise MalformedPayload("a defect")
        return delivered_fact(projection, record)

    with monkeypatch.context() as broken:
        broken.setattr(live_module, "delivered_fact", decoded)
        await side.fold(live, records)
    assert [type(error).__name__ for _, error in side.graves.buried] == ["MalformedPayload"]
    assert list(live.held) == [poisoned.partition_key]
    ends = {partition: found[-1].offset + 1 for partition, found in records.items()}
    assert {p: c.offset for p, c in live.checkpoints.items() if p in ends} == ends
    assert await side.differences() == {"held:billing": 1}
    later = [e for e in history.events if e.partition_key == poisoned.partition_key and e.position > poisoned.position]
    kept = await side.admin.fetchval(
        "SELECT max(position) FROM read.customers_v1 WHERE customer_id = $1", poisoned.partition_key.split(":")[1]
    )
    assert kept < poisoned.position
    assert later
    assert await side.admin.fetchval("SELECT partition_key FROM read.held_keys") == poisoned.partition_key
    facts = await replay(SETTINGS, Projection.BILLING, poisoned.partition_key, owner_dsn=side.dsn)
    assert facts > 1
    assert await side.differences() == {}
    with pytest.raises(NotHeld):
        await replay(SETTINGS, Projection.BILLING, poisoned.partition_key, owner_dsn=side.dsn)
    # A worker that has the old rows in memory must read them again before it writes.
    history.do(
        TENANTS[0],
        CreateTestClock(clock_id=history.new_id("clock_"), name="one more", frozen_at=START, mode=TenantMode.TEST),
    )
    more = side.publisher.records(history.events[-1:], Projection.BILLING)
    with pytest.raises(Overtaken):
        await live.project(side.connection, more)
    await live.load(side.connection)
    await live.open(side.connection, range(12))
    assert (await live.project(side.connection, more)).facts == 1
    await side.log(history)
    assert await side.differences() == {}


async def test_a_rule_that_raises_is_a_poison_record_too(side: Side, history: History) -> None:
    await side.log(history)
    billed = next(e for e in history.events if e.event_type == "invoice.finalized")
    victim = billed.stream_id
    rule = invoices.TABLE.apply

    def broken(rows: Any, fact: Any) -> None:
        if fact.stream_id == victim and fact.event_type == "invoice.finalized":
            raise ZeroDivisionError("a defect")
        rule(rows, fact)

    object.__setattr__(invoices.TABLE, "apply", broken)
    try:
        live = await side.live()
        await side.fold(live, side.publisher.records(history.events, Projection.BILLING), polls=2)
    finally:
        object.__setattr__(invoices.TABLE, "apply", rule)
    assert list(live.held) == [billed.partition_key]
    assert await side.differences() == {"held:billing": 1}
    assert await replay(SETTINGS, Projection.BILLING, billed.partition_key, owner_dsn=side.dsn) >= 1
    assert await side.differences() == {}


async def test_a_record_that_is_not_the_logs_holds_no_key_stops_no_partition_and_begins_no_incarnation(
    side: Side, history: History
) -> None:
    """Our form, our tenant, even a real event's id: but the log has other bytes, or nothing, at that position."""
    await side.log(history)
    live = await side.live()
    records = side.publisher.records(history.events, Projection.BILLING)
    partition, found = max(records.items(), key=lambda item: len(item[1]))
    at = len(found) // 2
    real = found[at]
    far = _position(found[-1]) + 1_000_000
    forged = [
        _forged(real, value=real.value[:-1]),
        _forged(real, position=b"%d" % far),
        _forged(real, incarnation=b"1000000"),
        _forged(real, ce_id=b"evt_forged"),
        replace(real, key=real.key + b"x"),
    ]
    outcome = await live.project(side.connection, {partition: _numbered(*found[:at], *forged, *found[at:])})
    assert [type(error).__name__ for _, error in side.graves.buried] == ["ForeignRecord"] * len(forged)
    assert (outcome.lost, live.lost, live.held) == ({}, {}, {})
    assert live.checkpoints[partition].position == _position(found[-1])
    del records[partition]
    await side.fold(live, records)
    assert set(await side.differences()) & await _names(Projection.BILLING) == set()


async def test_a_forgery_that_the_database_refuses_is_found_and_passed_by(side: Side, history: History) -> None:
    """It can be folded, in order, and its row cannot be written: the poll is folded again without it."""
    await side.log(history)
    live = await side.live()
    records = side.publisher.records(history.events, Projection.BILLING)
    partition, found = next((p, each) for p, each in records.items() if _first_of(each, "customer.created"))
    at = _first_of(found, "customer.created")
    assert at
    real = found[at]
    cut = real.key.index(b":") + 1
    customer = real.key[cut:]
    other = customer[:-1] + b"\x00"
    assert real.value.count(customer) == 1
    forged = replace(real, value=real.value.replace(customer, other))
    await live.project(side.connection, {partition: _numbered(*found[:at], forged, *found[at:])})
    assert [type(error).__name__ for _, error in side.graves.buried] == ["ForeignRecord"]
    assert live.checkpoints[partition].position == _position(found[-1])


def _numbered(*records: PublishedRecord) -> list[PublishedRecord]:
    """The records as one partition holds them, one after another."""
    return [replace(record, offset=offset) for offset, record in enumerate(records)]


def _first_of(records: Sequence[PublishedRecord], event_type: str) -> int:
    return next((n for n, record in enumerate(records) if dict(record.headers)["ce_type"] == event_type.encode()), 0)


def _forged(record: PublishedRecord, *, value: bytes | None = None, **headers: bytes) -> PublishedRecord:
    return replace(record, value=value or record.value, headers=list((dict(record.headers) | headers).items()))


async def test_somebody_elses_record_is_buried_and_passed_by(side: Side, history: History) -> None:
    live = await side.live()
    records = side.publisher.records(history.events, Projection.BILLING)
    partition, found = max(records.items(), key=lambda item: len(item[1]))
    stranger = replace(found[3], headers=[("hello", b"world")], offset=found[3].offset)
    await live.project(side.connection, {partition: [*found[:3], stranger, *found[3:]]})
    assert [type(error).__name__ for _, error in side.graves.buried] == ["NotOurRecord"]
    assert live.lost == {}
    assert live.checkpoints[partition].position == _position(found[-1])


async def test_no_tenant_sees_no_rows_and_another_tenant_sees_its_own(side: Side, history: History) -> None:
    await project_all(side, history)
    admin = await asyncpg.connect(side.dsn)
    await write_log(admin, history.events)
    await admin.close()
    pool = await open_pool(side.dsn, Role.READER, DatabaseSettings())
    readers = await TenantReader.open(side.dsn, DatabaseSettings())
    try:
        for model in READ_MODELS:
            assert await pool.fetchval(f"SELECT count(*) FROM read.{model.name}") == 0  # noqa: S608
        for tenant in TENANTS:
            theirs = [
                e.stream_id for e in history.events if e.tenant_id == tenant and e.event_type == "customer.created"
            ]
            others = [
                e.stream_id for e in history.events if e.tenant_id != tenant and e.event_type == "customer.created"
            ]
            async with readers.of(tenant) as connection:
                for model in READ_MODELS:
                    seen = await connection.fetch(f"SELECT DISTINCT tenant_id FROM read.{model.name}")  # noqa: S608
                    assert [row[0] for row in seen] in ([], [tenant])
                assert await current(connection, customers.TABLE, CUSTOMER, tenant, theirs[0]) is not None
                assert await current(connection, customers.TABLE, CUSTOMER, tenant, others[0]) is None
                # Even asked for by the wrong name, nobody else's rows come.
                wrong = next(each for each in TENANTS if each != tenant)
                assert await current(connection, customers.TABLE, CUSTOMER, wrong, others[0]) is None
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("DELETE FROM read.customers")
        assert await pool.fetchval("SELECT count(*) FROM read.customers") == 0
    finally:
        await readers.close()
        await pool.close()


async def test_renewals_are_projected(side: Side) -> None:
    history = renewals(8, 3)
    await side.log(history)
    await project_all(side, history)
    assert await side.differences() == {}
    assert await side.admin.fetchval("SELECT count(*) FROM read.invoices_v1 WHERE status = 'paid'") == 32
