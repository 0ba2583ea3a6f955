"""A role whose servers are not there says so in one line, waits within a bound, and never ends with a traceback."""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping

import pytest

from host.embedded.kafka import EmbeddedKafka
from host.registry import ROLES
from host.waiting import EXIT_UNAVAILABLE, NEEDS_KAFKA, NEEDS_NOTHING
from testing.services import FreshDatabase, KafkaServer

LIMIT_S = 60.0


def _nowhere() -> int:
    """A port that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def _role(role: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "run", role),
        env={**os.environ, "TALLYBOOK_START_WAIT_S": "1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def _ended(process: asyncio.subprocess.Process) -> str:
    output, _ = await asyncio.wait_for(process.communicate(), timeout=LIMIT_S)
    return output.decode()


def _without_postgres(kafka: KafkaServer) -> Mapping[str, str]:
    return {
        "TALLYBOOK_DATABASE_URL": f"postgresql://postgres:secret-word@127.0.0.1:{_nowhere()}/tallybook",
        "TALLYBOOK_KAFKA_BOOTSTRAP": kafka.bootstrap,
    }


@pytest.mark.parametrize("role", sorted(set(ROLES) - NEEDS_NOTHING))
async def test_a_role_without_its_database_says_so_and_gives_up(role: str, kafka_server: KafkaServer) -> None:
    process = await _role(role, **_without_postgres(kafka_server))
    output = await _ended(process)
    assert process.returncode == EXIT_UNAVAILABLE, output
    assert "waits_for_server" in output
    assert "TALLYBOOK_DATABASE_URL" in output
    assert "Traceback" not in output
    assert "secret-word" not in output


@pytest.mark.parametrize("role", sorted(NEEDS_KAFKA))
async def test_a_role_without_its_brokers_says_so_and_gives_up(role: str, database: FreshDatabase) -> None:
    process = await _role(
        role, TALLYBOOK_DATABASE_URL=database.dsn, TALLYBOOK_KAFKA_BOOTSTRAP=f"127.0.0.1:{_nowhere()}"
    )
    output = await _ended(process)
    assert process.returncode == EXIT_UNAVAILABLE, output
    assert "TALLYBOOK_KAFKA_BOOTSTRAP" in output
    assert "Traceback" not in output


async def test_a_role_starts_once_its_brokers_are_there(
    database: FreshDatabase, own_kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    await asyncio.to_thread(own_kafka.stop)
    process = await _role(
        "relay",
        TALLYBOOK_DATABASE_URL=database.dsn,
        TALLYBOOK_KAFKA_BOOTSTRAP=own_kafka.bootstrap,
        TALLYBOOK_KAFKA_TOPIC_PREFIX=topic_prefix,
        TALLYBOOK_START_WAIT_S=str(LIMIT_S),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            await _line_with(process.stdout, "waits_for_server")
            await asyncio.to_thread(own_kafka.start)
            await _line_with(process.stdout, "topics_made")
    finally:
        process.terminate()
        rest = await _ended(process)
    assert "Traceback" not in rest


async def _line_with(output: asyncio.StreamReader, word: str) -> None:
    while line := (await output.readline()).decode():
        assert "Traceback" not in line
        if word in line:
            return
    raise AssertionError(f"ended without {word}")


def test_the_embedded_brokers_data_is_its_owners_alone(own_kafka: EmbeddedKafka) -> None:
    assert own_kafka.folder.stat().st_mode & 0o777 == 0o700
