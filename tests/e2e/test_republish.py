"""Kafka lost entirely: all topics are dropped and published again from the log, and everything comes out the same."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway_adapters.port import TransactionKind
from host.embedded.databases import PostgresServer
from projections.catalogue import READ_MODELS
from testing.cell import Whole, open_whole
from testing.processors_cell import Cell, until
from testing.services import KafkaServer


async def test_dropping_all_topics_and_republishing_changes_no_read_model_and_does_nothing_twice(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> None:
    async with open_whole(postgres_server, template_database, kafka_server, services_folder, instances=1) as whole:
        cell = whole.cell
        await _business(whole)
        await whole.at_rest()
        before = await _tables(cell)
        head = await cell.pool.fetchval("SELECT position FROM log.head")
        charges = len(await cell.transactions(TransactionKind.CHARGE))

        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cli.main", "relay", "republish", "--drop-topics", "--yes"),
            env={**os.environ, **cell.environment},
        )
        assert await process.wait() == 0
        incarnation = await cell.pool.fetchval("SELECT incarnation FROM relay.state")

        async def taken_over() -> bool:
            rows = await cell.pool.fetch("SELECT incarnation, next_fold FROM read.projections")
            return all(row["incarnation"] == incarnation and row["next_fold"] is None for row in rows)

        await until(taken_over, "the read models of the new incarnation")
        await whole.at_rest()
        assert await _tables(cell) == before
        assert await cell.pool.fetchval("SELECT position FROM log.head") == head, "nothing was done again"
        assert len(await cell.transactions(TransactionKind.CHARGE)) == charges
        # And it goes on: what is new is published, folded and charged. By Kafka: processors have the new topics'
        # partitions. How soon is the machine's business; the sweeper does what comes before.
        rounds = 0

        async def by_kafka() -> bool:
            nonlocal rounds
            rounds += 1
            before = await cell.pool.fetchval("SELECT position FROM log.head")
            await _business(whole)
            actors = await cell.pool.fetch(
                "SELECT DISTINCT actor FROM log.events WHERE event_type = 'payment.created' AND position > $1", before
            )
            return [row["actor"] for row in actors] == ["saga:charge"]

        await until(by_kafka, "charges that Kafka brought about")
        await whole.at_rest()
        assert len(await cell.transactions(TransactionKind.CHARGE)) == (1 + rounds) * charges


async def _business(whole: Whole) -> None:
    for token in ("tok_visa", "tok_decline_insufficient_funds"):
        _, invoice_id = await whole.subscribed({"name": "N"}, token=token)
        ends_with = "invoice.paid" if token == "tok_visa" else "invoice.collection_failed"
        await whole.cell.reaches(invoice_id, ends_with)


async def _tables(cell: Cell) -> Mapping[str, list[str]]:
    """Every row of every read model, byte for byte, as its view shows it."""
    found = {}
    for model in READ_MODELS:
        rows = await cell.pool.fetch(f"SELECT t::text FROM read.{model.name} t ORDER BY 1")  # noqa: S608  our names
        found[model.name] = [row[0] for row in rows]
    assert any(found.values())
    return found
