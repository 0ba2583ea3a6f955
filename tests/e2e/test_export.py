"""A table comes into a file whole, or not at all: through an API of its own process, stopped, killed and refused."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pyarrow import parquet

from cli.export_command import UNFINISHED
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from infra.settings import Settings
from projections.folding.tables import prepare
from testing.many_products import EXPORTS_UNDER_WAY, MANY_PRODUCTS
from testing.services import FreshDatabase
from tests.contracts.test_export_files import cells
from tests.e2e.api_process import ApiProcess

ROWS = 60_000
TRIES = 10


class Scene:
    """An API whose tenant sells a great deal, and its key in a file."""

    def __init__(self, database: FreshDatabase, api: ApiProcess, folder: Path, key: str) -> None:
        self.database, self.api, self.folder, self.key_file = database, api, folder, folder / "acme.key"
        self.key_file.write_text(key)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """The command, running."""
        command = [sys.executable, "-m", "cli.main", "export", *arguments, "--key-file", str(self.key_file), "--json"]
        return subprocess.Popen(
            [*command, "--url", self.api.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder
        )

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """What the command answers."""
        process = self.start(*arguments)
        out, err = process.communicate()
        assert process.returncode == code, (out.decode(), err.decode())
        told: dict[str, Any] = json.loads(out)
        return told

    def begun(self, target: Path) -> "subprocess.Popen[bytes]":
        """An export whose file has begun, and whose end the API, which is held up, has not sent."""
        beside = target.with_name(target.name + UNFINISHED)
        for _ in range(TRIES):
            process = self.start("products", "--out", str(target))
            while process.poll() is None and not (beside.exists() and beside.stat().st_size):
                os.sched_yield()
            os.kill(self.api.pid, signal.SIGSTOP)
            if process.poll() is None and asyncio.run(_exports_under_way(self.database)):
                return process
            # All of it came between two looks.
            os.kill(self.api.pid, signal.SIGCONT)
            out, err = process.communicate()
            assert process.returncode == 0, (out, err)
        raise AssertionError("every export was over before it could be held up")

    def left(self) -> set[str]:
        """The names of what is in the folder, the key and what the API keeps there aside."""
        return {path.name for path in self.folder.iterdir() if path.suffix in (".csv", ".parquet", UNFINISHED)}


async def _exports_under_way(database: FreshDatabase) -> int:
    connection = await asyncpg.connect(database.dsn)
    try:
        return int(await connection.fetchval(EXPORTS_UNDER_WAY))
    finally:
        await connection.close()


async def _sell(database: FreshDatabase) -> str:
    await prepare(database.dsn, Settings().database)
    tenant = await create_tenant(database.dsn, Settings(), tenant_id="acme", name="Acme", mode=TenantMode.TEST)
    connection = await asyncpg.connect(database.dsn)
    await connection.execute(MANY_PRODUCTS, "acme", 'A "B",\r\n=C', ROWS)
    await connection.close()
    return tenant.key.secret


@pytest.fixture
def scene(database: FreshDatabase, tmp_path: Path) -> Iterator[Scene]:
    key = asyncio.run(_sell(database))
    api = ApiProcess(database.dsn, tmp_path)
    api.start()
    yield Scene(database, api, tmp_path, key)
    api.kill()


def test_a_table_comes_into_a_file_whole_or_not_at_all(scene: Scene) -> None:
    target = scene.folder / "products.csv"
    told = scene.run("products")
    content = target.read_bytes()
    assert (told["rows"], told["bytes"], told["file"]) == (ROWS, len(content), "products.csv")
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    lines = cells(content)
    assert len(lines) == ROWS + 1
    assert lines[1][:2] == ["prod_" + "1".rjust(26, "0"), 'A "B",\r\n=C']
    scene.run("products", "--format", "parquet", "--out", str(scene.folder / "p.parquet"))
    table = parquet.read_table(scene.folder / "p.parquet")
    assert table.column("product_id").to_pylist() == [line[0] for line in lines[1:]]
    assert scene.run("invoice_lines")["rows"] == 0
    kept = {"products.csv", "p.parquet", "invoice_lines.csv"}
    assert scene.left() == kept

    process = scene.begun(target)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    os.kill(scene.api.pid, signal.SIGCONT)
    assert process.returncode == 130, (out, err)
    assert json.loads(out)["error"]["message"]
    assert scene.left() == kept
    assert target.read_bytes() == content, "what was there stays until the new one is whole"

    refused = scene.run("everything", "--out", str(scene.folder / "none.csv"), code=2)
    assert refused["error"]["kind"] == "not_understood"
    process = scene.begun(target)
    scene.api.kill()
    out, err = process.communicate()
    assert process.returncode == 1, (out, err)
    assert "broken off" in json.loads(out)["error"]["message"]
    assert scene.left() == kept
    assert target.read_bytes() == content
