"""Files of another system come in through an API of its own process; killed or stopped, an import goes on."""

import asyncio
import csv
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cli.api_client import ApiClient
from cli.import_files import errors_file, progress_file
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from infra.settings import Settings
from testing.api_client import project
from testing.services import FreshDatabase
from tests.e2e.api_process import ApiProcess
from tests.lengths import LENGTH

LINES = 3_000


class Scene:
    """An API, a tenant's key in a file, and files to import."""

    def __init__(self, database: FreshDatabase, api: ApiProcess, folder: Path) -> None:
        self.database, self.api, self.folder = database, api, folder
        self.key_file = folder / "acme.key"

    def file(self, name: str, lines: Sequence[dict[str, Any]]) -> Path:
        """A file of these lines, by its name CSV or JSON."""
        path = self.folder / name
        if path.suffix == ".csv":
            with path.open("w", newline="", encoding="utf-8") as content:
                writer = csv.DictWriter(content, lines[0].keys())
                writer.writeheader()
                writer.writerows(lines)
        else:
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    def start(self, kind: str, file: Path, *options: str) -> "subprocess.Popen[bytes]":
        """The command, running."""
        command = [sys.executable, "-m", "cli.main", "import", kind, str(file), "--key-file", str(self.key_file)]
        return subprocess.Popen(
            [*command, "--url", self.api.url, "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, kind: str, file: Path, *options: str, code: int = 0) -> dict[str, Any]:
        """What the command answers."""
        process = self.start(kind, file, *options)
        out, err = process.communicate()
        assert process.returncode == code, (out.decode(), err.decode())
        told: dict[str, Any] = json.loads(out)
        return told

    async def counted(self, event_type: str) -> int:
        """How many events of this type there are."""
        connection = await asyncpg.connect(self.database.dsn)
        try:
            found: int = await connection.fetchval("SELECT count(*) FROM log.events WHERE event_type = $1", event_type)
            return found
        finally:
            await connection.close()

    async def balances(self) -> dict[str, int]:
        """What the accounts hold, debits less credits."""
        connection = await asyncpg.connect(self.database.dsn)
        try:
            query = "SELECT account, sum(debit - credit)::bigint FROM read.account_days_v1 GROUP BY 1"
            return {row[0]: row[1] for row in await connection.fetch(query) if row[1]}
        finally:
            await connection.close()


@pytest.fixture
def scene(database: FreshDatabase, tmp_path: Path) -> Iterator[Scene]:
    api = ApiProcess(database.dsn, tmp_path)
    api.start()
    made = Scene(database, api, tmp_path)
    tenant = asyncio.run(create_tenant(database.dsn, Settings(), tenant_id="acme", name="Acme", mode=TenantMode.TEST))
    made.key_file.write_text(tenant.key.secret)
    yield made
    api.kill()


def customers(count: int) -> list[dict[str, Any]]:
    return [
        {"external_id": f"crm-{n}", "name": f"Ada {n}", "email": f"ada{n}@example.com", "currency": "EUR"}
        for n in range(count)
    ]


def test_an_import_that_is_killed_and_stopped_goes_on_and_does_every_line_once(scene: Scene) -> None:
    file = scene.file("crm.csv", customers(LINES))
    progress = progress_file(file)
    for end in (signal.SIGKILL, signal.SIGINT):
        before = json.loads(progress.read_text())["line"] if progress.exists() else 0
        process = scene.start("customers", file)
        while process.poll() is None and (not progress.exists() or json.loads(progress.read_text())["line"] == before):
            os.sched_yield()
        process.send_signal(end)
        out, err = process.communicate()
        if end is signal.SIGINT:
            assert process.returncode == 130, (out, err)
            told = json.loads(out)
            assert told["went_on_after_line"] >= before
            assert told["stopped_after_line"] == json.loads(progress.read_text())["line"]
    assert asyncio.run(scene.counted("customer.created")) < LINES
    told = scene.run("customers", file)
    assert (told["imported"], told["failed"], told["stopped_after_line"]) == (LINES, 0, None)
    assert asyncio.run(scene.counted("customer.created")) == LINES
    assert not progress.exists()
    assert not errors_file(file).exists()
    again = scene.run("customers", file)
    assert again["imported"] == LINES, "once more it does nothing, and finds everything done"
    assert asyncio.run(scene.counted("customer.created")) == LINES


def test_a_history_comes_in_with_opening_balances_and_charges_nobody(scene: Scene) -> None:
    scene.run("customers", scene.file("crm.ndjson", customers(40)))
    asyncio.run(project(scene.database, Settings()))
    invoice = {"currency": "EUR", "description": "Before", "issued_at": "2025-01-01T00:00:00Z"}
    lines = [
        {
            "customer_external_id": f"crm-{n}",
            "number": f"OLD-{n}",
            **invoice,
            "amount": 1_000 + n,
            "amount_paid": 400 if n % 2 else "",
            "due_at": "2025-02-01T00:00:00Z",
            "metadata.old": f"id-{n}",
        }
        for n in range(40)
    ]
    lines[7]["customer_external_id"] = "crm-nobody"
    file = scene.file("invoices.csv", lines)
    tried = scene.run("invoices", file, "--dry-run", code=1)
    assert (tried["imported"], tried["failed"]) == (39, 1)
    assert asyncio.run(scene.counted("invoice.imported")) == 0
    told = scene.run("invoices", file, code=1)
    assert (told["imported"], told["failed"]) == (39, 1)
    (error,) = [json.loads(line) for line in errors_file(file).read_text().splitlines()]
    assert (error["line"], error["param"], error["code"]) == (9, "customer_external_id", "not_found")
    lines[7]["customer_external_id"] = "crm-7"
    file = scene.file("invoices.csv", lines)
    assert scene.run("invoices", file)["imported"] == 40
    assert asyncio.run(scene.counted("invoice.imported")) == 40
    asyncio.run(project(scene.database, Settings()))
    paid_at = "2025-02-01T00:00:00Z"
    payments = [
        {"invoice_number": f"OLD-{n}", "amount": {"amount": 600 + n, "currency": "EUR"}, "paid_at": paid_at}
        for n in range(1, 40, 2)
    ]
    assert scene.run("payments", scene.file("payments.ndjson", payments))["imported"] == 20
    asyncio.run(project(scene.database, Settings()))
    due = sum(1_000 + n for n in range(0, 40, 2))
    assert asyncio.run(scene.balances()) == {"receivable": due, "opening_balances": -due}
    assert asyncio.run(scene.counted("payment.created")) == 0


SUBSCRIPTIONS = 240
"""One part: whom they name is looked up before anything is sent, as no projections run here."""


async def price_on_sale(scene: Scene) -> tuple[str, str]:
    """A plan and its price, by their ids."""
    async with ApiClient(scene.api.url, scene.key_file.read_text()) as api:
        product = await api.post("/v1/products", {"name": "Team"}, key="product")
        terms = {"product": product["id"], "name": "Team", "interval": {"unit": "month"}}
        plan = await api.post("/v1/plans", terms, key="plan")
        model = {"type": "per_unit", "currency": "EUR", "unit_amount": "100"}
        price = await api.post("/v1/prices", {"plan": plan["id"], "model": model}, key="price")
    return str(plan["id"]), str(price["id"])


def test_subscriptions_come_in_once_each_wherever_their_import_is_killed(scene: Scene) -> None:
    """In the middle of a part, too: what was done of it is not done again. Nothing is billed before its time."""
    plan, price = asyncio.run(price_on_sale(scene))
    scene.run("customers", scene.file("crm.csv", customers(SUBSCRIPTIONS)))
    asyncio.run(project(scene.database, Settings()))
    lines = [
        {
            "customer_external_id": f"crm-{n}",
            "plan": plan,
            "price": price,
            "quantity": n % 7 + 1,
            "starts_at": "2199-01-01T00:00:00Z",
            "collection_method": "send_invoice",
            "metadata.old": f"sub-{n}",
        }
        for n in range(SUBSCRIPTIONS)
    ]
    begun = scene.file("begun.csv", [*lines[:3], {**lines[3], "starts_at": "2020-01-01T00:00:00Z"}])
    refused = scene.start("subscriptions", begun)
    refused.communicate()
    assert refused.returncode == 1
    (error,) = [json.loads(line) for line in errors_file(begun).read_text().splitlines()]
    assert (error["line"], error["param"], error["code"]) == (5, "starts_at", "start_not_ahead")
    file = scene.file("subscriptions.csv", lines)
    assert scene.run("subscriptions", file, "--dry-run")["imported"] == SUBSCRIPTIONS
    assert asyncio.run(scene.counted("subscription.created")) == 0
    chance = random.Random(4711)
    for goal in sorted(chance.sample(range(SUBSCRIPTIONS), min(3, LENGTH.kills))):
        process = scene.start("subscriptions", file)
        while process.poll() is None and asyncio.run(scene.counted("subscription.created")) < goal:
            os.sched_yield()
        process.kill()
        process.communicate()
    assert scene.run("subscriptions", file)["imported"] == SUBSCRIPTIONS
    assert asyncio.run(scene.counted("subscription.created")) == SUBSCRIPTIONS
    assert asyncio.run(scene.counted("invoice.finalized")) == 0
