"""Meters of the log, through the aggregator of a cell: one that is made later, one that is revised, and what a recount
says of what somebody changed by hand.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from domain.metering.aggregation import Aggregation
from domain.metering.meter import CreateMeter, MeterTerms, ReviseMeter
from domain.metering.usage_value import NANOS
from host.embedded.databases import PostgresServer
from infra.event_store.opening import open_writer
from infra.ids import new_id
from infra.settings import WriterSettings
from testing import forked_commands
from testing.processors_cell import Cell, open_cell, until
from testing.requests import TENANT, request
from testing.services import KafkaServer
from usage.topic import COMPRESSION
from usage.wire import EVENT, VOID, WireEvent, encode, headers_of, partition_of_customer, topic_of

PARTITIONS = 2
CUSTOMER = "cus_1"
PARTITION = partition_of_customer(TENANT, CUSTOMER, PARTITIONS)
NOW = datetime.now(UTC)
MADE = NOW - timedelta(minutes=20)
"""When the meters were made and revised: the earliest that a version can begin is five minutes ago then."""
BEFORE, AFTER = NOW - timedelta(minutes=10), NOW - timedelta(minutes=1)


@dataclass
class Usage:
    """A cell in which usage is counted, and a producer."""

    cell: Cell
    producer: AIOKafkaProducer

    async def send(self, *events: WireEvent, original_ms: int | None = None) -> int:
        """Append one record; when the broker did (ms since 1970)."""
        appended = await self.producer.send_and_wait(
            topic_of(self.cell.settings.kafka.topic_prefix),
            encode(events),
            partition=PARTITION,
            headers=headers_of(TENANT, original_ms),
        )
        return int(appended.timestamp)

    async def sums(self, meter_id: str) -> dict[tuple[int, tuple[str, ...]], int]:
        """Units by version and group."""
        rows = await self.cell.pool.fetch(
            "SELECT s.version, s.groups, sum(a.total) FROM usage.aggregates a JOIN usage.series s USING (series) "
            "WHERE s.meter_id = $1 GROUP BY s.version, s.groups HAVING sum(a.total) <> 0",
            meter_id,
        )
        return {(row[0], tuple(row[1])): int(row[2] / NANOS) for row in rows}

    async def sums_are(self, meter_id: str, expected: dict[tuple[int, tuple[str, ...]], int]) -> None:
        async def reached() -> bool:
            return await self.sums(meter_id) == expected

        await until(reached, f"the sums {expected}")

    async def tallybook(self, *arguments: str) -> tuple[int, str]:
        environment = {**os.environ, **self.cell.environment, "TALLYBOOK_USAGE_PARTITIONS": str(PARTITIONS)}
        done = await asyncio.to_thread(forked_commands.tallybook, environment, *arguments)
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
async def usage(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Usage]:
    facts = {"TALLYBOOK_USAGE_PARTITIONS": str(PARTITIONS)}
    async with open_cell(postgres_server, template_database, kafka_server, services_folder, **facts) as cell:
        await cell.start("metering")
        producer = AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap, compression_type=COMPRESSION)
        await producer.start()
        try:
            yield Usage(cell, producer)
        finally:
            await producer.stop()


def event(event_id: str, meter: str, at: datetime, units: int, *, kind: str = EVENT) -> WireEvent:
    microseconds = int(at.timestamp()) * 1_000_000
    return WireEvent(event_id, kind, CUSTOMER, meter, microseconds, None, {"units": str(units), "region": "eu"})


def meter(meter_id: str, code: str) -> CreateMeter:
    terms = MeterTerms(value_property="units")
    return CreateMeter(meter_id=meter_id, code=code, name=code, aggregation=Aggregation.SUM, terms=terms)


async def test_the_time_of_an_event_says_which_version_of_its_meter_reads_it(usage: Usage) -> None:
    meter_id = new_id("mtr_")
    database = usage.cell.settings.database.url
    assert database is not None
    writer = open_writer(database.get_secret_value(), WriterSettings(clock_apart_max_ms=3_600_000), clock=lambda: MADE)
    try:
        for command in (meter(meter_id, "revised"), ReviseMeter(meter_id=meter_id, group_by=("region",))):
            outcome = await writer.submit(request(command))
            assert outcome.refusal_code is None
    finally:
        await writer.close()
    sent_ms = await usage.send(event("a", "revised", BEFORE, 3), event("b", meter_id, AFTER, 4))
    await usage.sums_are(meter_id, {(1, ()): 3, (2, ("eu",)): 4})
    await usage.send(
        event("a", "revised", BEFORE, 3, kind=VOID),
        event("b", meter_id, AFTER, 4, kind=VOID),
        event("c", meter_id, AFTER, 5),
        original_ms=sent_ms,
    )
    await usage.sums_are(meter_id, {(2, ("eu",)): 5})
    code, told = await usage.tallybook("usage", "recount", "--json")
    assert (code, [each["differences"] for each in json.loads(told)]) == (0, [[]] * len(json.loads(told)))


async def test_an_event_of_a_meter_that_is_made_later_counts_once_its_letter_is_sent_again(usage: Usage) -> None:
    meter_id = new_id("mtr_")
    await usage.send(event("early", "later", AFTER, 7))

    async def buried() -> bool:
        found = "SELECT error FROM ops.dead_letters WHERE consumer = 'metering' AND replayed_at IS NULL"
        return "no meter is named later" in (await usage.cell.pool.fetchval(found) or "")

    await until(buried, "the letter")
    await usage.cell.do(meter(meter_id, "later"))
    for _ in range(2):  # the second time nothing waits
        code, told = await usage.tallybook("dead-letters", "replay", "--consumer", "metering")
        assert code == 0, told
    await usage.sums_are(meter_id, {(1, ()): 7})
    await usage.send(event("early", "later", AFTER, 7))
    await usage.send(event("last", "later", AFTER, 1))
    await usage.sums_are(meter_id, {(1, ()): 8})


async def test_a_recount_names_what_was_changed_by_hand_and_mends_it(usage: Usage) -> None:
    await usage.cell.pool.execute("UPDATE usage.aggregates SET total = total + 1 WHERE late = 0")
    code, told = await usage.tallybook("usage", "recount", "--json")
    differences = [one for each in json.loads(told) for one in each["differences"]]
    assert code == 1
    assert {one["what"] for one in differences} == {"sum", "day"}
    await usage.cell.pool.execute(
        """UPDATE usage.adopted_meters SET rule = jsonb_set(rule, '{filters}', '[["region", ["x"]]]')"""
    )
    code, told = await usage.tallybook("usage", "recount", "--json")
    assert {one["what"] for each in json.loads(told) for one in each["differences"]} == {"sum", "day", "meter"}
    differences = [one for each in json.loads(told) for one in each["differences"]]
    code, told = await usage.tallybook("usage", "recount", "--mend")
    assert code == 0, told
    assert told.count("; mended") == len(differences)
    code, told = await usage.tallybook("usage", "recount", "--json")
    assert (code, [each["differences"] for each in json.loads(told)]) == (0, [[]] * len(json.loads(told)))
