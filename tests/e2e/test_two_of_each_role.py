"""Two of each role share the work; one of each is killed in turn, and the other takes over."""

import asyncio
from pathlib import Path

from confluent_kafka.admin import AdminClient

from host.embedded.databases import PostgresServer
from testing.cell import Whole, open_whole
from testing.processors_cell import Cell, until
from testing.services import KafkaServer

GROUPS = 4
"""One of the processors, one of each projection."""

ROLES = ("api", "relay", "processors", "projections")


async def test_two_of_each_role_share_the_work_and_take_over(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> None:
    async with open_whole(postgres_server, template_database, kafka_server, services_folder, instances=2) as whole:
        cell = whole.cell
        customer_id, invoice_id = await whole.subscribed({"name": "Ada"}, token="tok_visa")
        await cell.reaches(invoice_id, "invoice.paid")
        await until(lambda: _consumers_of_each_group(cell, 2), "two members in every group")
        assert await _leaders(cell) == 1
        for role in ROLES:
            for instance in (0, 1):
                await _while_killed(whole, customer_id, f"{role}-{instance}")
        await whole.at_rest()


async def _while_killed(whole: Whole, customer_id: str, name: str) -> None:
    """Payments before, while and after one process is killed: all are taken and charged."""
    payment = {"customer": customer_id, "amount": {"amount": 300, "currency": "EUR"}, "confirm": True}
    paying = [asyncio.create_task(whole.post("/v1/payments", payment)) for _ in range(3)]
    await whole.cell.supervisor.kill(name)
    paying += [asyncio.create_task(whole.post("/v1/payments", payment)) for _ in range(3)]
    told = await asyncio.gather(*paying)
    assert [answer.status for answer in told] == [201] * 6, name
    await asyncio.gather(*(whole.cell.reaches(answer.id, "payment.captured") for answer in told))
    await whole.cell.supervisor.wait_ready(name)


async def _leaders(cell: Cell) -> int:
    return int(await cell.pool.fetchval("SELECT count(*) FROM relay.state WHERE lease_until > clock_timestamp()"))


async def _consumers_of_each_group(cell: Cell, members: int) -> bool:
    kafka = cell.settings.kafka
    assert kafka.bootstrap is not None
    found = await asyncio.to_thread(_members, kafka.bootstrap, kafka.topic_prefix)
    return len(found) == GROUPS and set(found.values()) == {members}


def _members(bootstrap: str, prefix: str) -> dict[str, int]:
    """How many members each of the cell's consumer groups has."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [group.group_id for group in admin.list_consumer_groups().result().valid]
    ours = [name for name in names if name.startswith(prefix)]
    described = admin.describe_consumer_groups(ours) if ours else {}
    return {name: len(group.result().members) for name, group in described.items()}
