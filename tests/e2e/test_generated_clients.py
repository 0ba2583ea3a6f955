"""Clients that people generate from our OpenAPI document create, list and read, against every role."""

import asyncio
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from host.embedded.databases import PostgresServer
from testing.cell import Whole, open_whole
from testing.services import KafkaServer

PACKAGE = "generated_tallybook_client"
TYPESCRIPT = Path(__file__).with_name("generated_client.ts")
RUN_LIMIT_S = 120


@pytest.fixture(scope="module")
async def whole(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Whole]:
    async with open_whole(postgres_server, template_database, kafka_server, services_folder, instances=1) as running:
        yield running


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tallybook openapi` prints."""
    file = tmp_path_factory.mktemp("openapi") / "openapi.json"
    file.write_text(run([sys.executable, "-m", "cli.main", "openapi"]), encoding="utf-8")
    return file


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which modules are imported, for one test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def url_of(whole: Whole) -> str:
    """The address of its API."""
    return next(f"http://127.0.0.1:{role.port}" for role in whole.cell.supervisor.roles if role.role == "api")


def run(command: list[str], *, folder: Path | None = None) -> str:
    """Run a program to its good end; what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_openapi_python_client_creates_lists_and_reads(whole: Whole, document: Path, importable: Path) -> None:
    target = importable / PACKAGE
    generate = ["generate", "--path", str(document), "--meta", "none", "--output-path", str(target)]
    told = run([sys.executable, "-m", "openapi_python_client", *generate])
    assert "Unable to" not in told, told
    assert "WARNING" not in told.upper().replace("WARNING(S)", ""), told

    def module(name: str) -> Any:
        return importlib.import_module(f"{PACKAGE}.{name}")

    client = module("client").AuthenticatedClient(base_url=url_of(whole), token=whole.key)

    def use() -> None:
        models = module("models")
        new = models.NewCustomer(name="Ada", currency=models.Currency.USD)
        made = module("api.customers.create_customer").sync_detailed(client=client, body=new, idempotency_key="a-key")
        assert made.status_code == 201, made.content
        position = int(made.headers["Ledger-Position"])
        listed = module("api.customers.list_customers").sync(client=client, min_ledger_position=position)
        assert [each.id for each in listed.data] == [made.parsed.id]
        assert isinstance(listed, models.CustomerList)
        read = module("api.customers.get_customer").sync(made.parsed.id, client=client, min_ledger_position=position)
        assert read == made.parsed
        unknown = made.parsed.id[:-1] + ("1" if made.parsed.id.endswith("0") else "0")
        refused = module("api.customers.get_customer").sync(unknown, client=client)
        assert isinstance(refused, models.ProblemResource)

    await asyncio.to_thread(use)


async def test_openapi_typescript_creates_lists_and_reads(whole: Whole, document: Path, tmp_path: Path) -> None:
    """Types for TypeScript; a program that uses them is compiled, strictly, and run."""
    missing = [tool for tool in ("node", "openapi-typescript", "tsc") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found: npm install --global openapi-typescript typescript")
    run(["openapi-typescript", str(document), "--output", str(tmp_path / "tallybook.d.ts")])
    shutil.copy(TYPESCRIPT, tmp_path / "client.mts")
    flags = ["--strict", "--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext"]
    run(["tsc", *flags, "--lib", "es2022,dom", "client.mts"], folder=tmp_path)
    told = await asyncio.to_thread(run, ["node", str(tmp_path / "client.mjs"), url_of(whole), whole.key])
    answer = json.loads(told)
    assert answer["listed"] == [answer["made"]]
    assert answer["read"] == answer["made"]
