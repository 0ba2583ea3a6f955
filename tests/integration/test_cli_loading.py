"""Which commands there are, and what each of them loads: its own part, and nobody else's."""

import asyncio
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

import cli
from cli.commands import COMMANDS
from cli.deferred import Deferred
from cli.output import AsJson
from host.embedded.process import free_port
from host.readiness import Endpoint
from host.registry import ROLES
from host.supervisor import PORT_VARIABLES
from testing.api_client import MASTER_KEY
from testing.command_line import every_command
from testing.services import FreshDatabase, KafkaServer

READY_WITHIN_S: Final = 120.0
POLL_S: Final = 0.1

OURS: Final = ("api", "gateway_adapters", "processors", "projections", "sandbox_gateway", "schemas", "domain", "infra")
HTTP_FRAMEWORKS: Final = ("fastapi", "starlette", "uvicorn")
WHOLE_STACK: Final = ("host.embedded", "host.stack", "host.supervisor", "cli.seed", "cli.servers", "cli.tenants")

WITHOUT: Final[Mapping[str, Sequence[str]]] = {
    "gateway": (*HTTP_FRAMEWORKS, "faust", "webauthn", "joserfc", "api", "processors", "projections", "infra.kafka"),
    "relay": (*HTTP_FRAMEWORKS, "faust", "webauthn", "joserfc", "api", "processors", "projections", "gateway_adapters"),
    "projections": (*HTTP_FRAMEWORKS, "faust", "webauthn", "joserfc", "api", "processors", "gateway_adapters"),
    "processors": (
        *HTTP_FRAMEWORKS,
        "webauthn",
        "joserfc",
        "api",
        "projections.folding",
        "projections.reports",
        "sandbox_gateway",
    ),
    "metering": (
        *HTTP_FRAMEWORKS,
        "faust",
        "webauthn",
        "joserfc",
        "api",
        "processors",
        "projections",
        "gateway_adapters",
    ),
    "api": ("faust", "processors", "sandbox_gateway", "projections.folding.worker"),
}
"""What a role that is ready has not loaded, besides all that starts and seeds a whole stack."""


def test_help_is_told_of_the_table_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cli.main", "--help"], capture_output=True, text=True, check=True
    )
    assert all(entry.name in done.stdout for entry in COMMANDS)
    servers = ("asyncpg", "aiohttp", "pydantic", "structlog", "faust")
    assert _within(_imported(done.stderr), (*OURS, *HTTP_FRAMEWORKS, *WHOLE_STACK, *servers)) == set()


async def test_a_role_loads_its_own_part_and_no_other(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "TALLYBOOK_DATABASE_URL": database.dsn,
        "TALLYBOOK_KAFKA_BOOTSTRAP": kafka_server.bootstrap,
        "TALLYBOOK_KAFKA_TOPIC_PREFIX": topic_prefix,
        "TALLYBOOK_VAULT_MASTER_KEY": MASTER_KEY,
        "TALLYBOOK_DATA_DIR": str(tmp_path),
        **{variable: str(free_port()) for variable in PORT_VARIABLES.values()},
    }
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        running = {}
        for role in ROLES:
            log = stack.enter_context((tmp_path / f"{role}.log").open("wb"))
            imports = stack.enter_context((tmp_path / f"{role}.imports").open("wb"))
            command = (sys.executable, "-X", "importtime", "-m", "cli.main", "run", role)
            running[role] = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=imports)
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                for role, process in running.items():
                    endpoint = Endpoint(int(environment[PORT_VARIABLES[role]]))
                    while (await endpoint.readiness(session)).failure:
                        assert process.returncode is None, (tmp_path / f"{role}.log").read_text()
                        await asyncio.sleep(POLL_S)
        finally:
            for process in running.values():
                if process.returncode is None:
                    process.terminate()
            await asyncio.gather(*(process.wait() for process in running.values()))
    needless = {
        role: _within(_imported((tmp_path / f"{role}.imports").read_text()), (*WITHOUT[role], *WHOLE_STACK))
        for role in ROLES
    }
    assert needless == {role: set() for role in ROLES}


def _imported(told: str) -> set[str]:
    """The modules in what `-X importtime` tells."""
    return {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}


def _within(loaded: set[str], packages: Sequence[str]) -> set[str]:
    return {name for name in loaded if any(f"{name}.".startswith(f"{package}.") for package in packages)}


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_a_line_of_the_help_says_what_the_command_says_of_itself(entry: Any) -> None:
    command = Deferred(entry).loaded
    assert command.help is not None
    assert entry.summary == command.help.split("\n\n")[0].replace("\n", " ")


def test_every_command_of_every_module_is_in_the_table() -> None:
    reached = {inspect.unwrap(command.callback) for _, command in every_command() if command.callback}
    assert set(_commands_written()) - reached == set()


def _commands_written() -> Iterator[Any]:
    """Functions of the command line that answer people or programs: each command does."""
    for found in pkgutil.walk_packages(cli.__path__, "cli."):
        for name, function in vars(import_module(found.name)).items():
            if name.startswith("_") or not inspect.isfunction(function) or function.__module__ != found.name:
                continue
            if function.__annotations__.get("as_json") == AsJson:
                yield function
