"""A consumer that is no saga: a subscription to types of events and a handler is all that it says of itself."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from domain.invoicing.commands import FinalizeInvoice
from host.embedded.databases import PostgresServer
from testing.processors_cell import Cell, open_cell, until
from testing.services import KafkaServer

QUICK = {"TALLYBOOK_PROCESSORS_ATTEMPTS_MAX": "2", "TALLYBOOK_PROCESSORS_ATTEMPT_BACKOFF_MS": "20"}


async def process(cell: Cell, *arguments: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, **cell.environment, "TALLYBOOK_PROCESSORS_PROBE_PORT": "0"}
    module = "tests.integration.consumer_process"
    return await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, env=environment)


@contextlib.asynccontextmanager
async def consuming(cell: Cell, notes: Path) -> AsyncIterator[None]:
    """A processors process with the consumer, ended in good order: what it handled is acknowledged."""
    running = await process(cell, str(notes))
    try:
        yield
        running.send_signal(signal.SIGTERM)
        assert await running.wait() in {0, -signal.SIGTERM}
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()


def noted(notes: Path) -> list[tuple[str, str]]:
    """Type and stream of what the consumer was given."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [(line.split()[1], line.split()[2]) for line in lines]


async def test_a_consumer_is_given_the_events_that_it_subscribes_to_and_its_dead_letters_are_replayed(
    postgres_server: PostgresServer,
    template_database: str,
    kafka_server: KafkaServer,
    services_folder: Path,
    tmp_path: Path,
) -> None:
    notes = tmp_path / "notes"
    async with open_cell(postgres_server, template_database, kafka_server, services_folder, **QUICK) as cell:
        await cell.start("relay")
        async with consuming(cell, notes):
            invoice_id = await cell.invoice(await cell.customer())  # which the charge saga beside it collects
            await cell.reaches(invoice_id, "invoice.paid")
            payment_id = await cell.pool.fetchval(
                "SELECT stream_id FROM log.events WHERE event_type = 'payment.captured'"
            )

            async def both() -> bool:
                return set(noted(notes)) == {("invoice.paid", invoice_id), ("payment.captured", payment_id)}

            await until(both, "events of both topics, and no other")

            customer_id = await cell.customer()
            poison = await cell.invoice(customer_id, finalize=False)
            notes.with_suffix(".poison").write_text(poison)
            await cell.do(FinalizeInvoice(invoice_id=poison))
            await until(lambda: _buried(cell, poison), "its letter")
            later = await cell.invoice(customer_id)  # behind the poison, with the same key

            async def goes_on() -> bool:
                return ("invoice.paid", later) in noted(notes)

            await until(goes_on, "what came behind the letter")
            assert ("invoice.paid", poison) not in noted(notes)

        notes.with_suffix(".poison").unlink()
        replay = await process(cell, str(notes), "replay")
        assert await replay.wait() == 0
        assert noted(notes).count(("invoice.paid", poison)) == 1
        assert await cell.pool.fetchval("SELECT count(*) FROM ops.dead_letters WHERE replayed_at IS NULL") == 0


async def _buried(cell: Cell, stream_id: str) -> bool:
    letters = await cell.pool.fetch("SELECT error FROM ops.dead_letters WHERE consumer = 'notes'")
    return any(stream_id in row["error"] for row in letters)
