"""The command line: every command explains itself with an example; servers start, are found again, and stop."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli.main import app
from infra.settings import setting_rows

ROOT = Path(__file__).parents[2]
runner = CliRunner()


def commands() -> list[tuple[str, ...]]:
    """Every command that there is, with its group."""

    def walk(group: object, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, command in getattr(group, "commands", {}).items():
            if getattr(command, "commands", None):
                yield from walk(command, (*before, name))
            else:
                yield (*before, name)

    return list(walk(typer.main.get_command(app), ()))


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(command: tuple[str, ...]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output


def test_the_settings_table_names_every_setting() -> None:
    result = runner.invoke(app, ["settings", "--markdown"])
    assert result.exit_code == 0
    assert all(row.variable in result.output for row in setting_rows())


def test_an_unknown_role_is_refused() -> None:
    result = runner.invoke(app, ["run", "cashier"])
    assert result.exit_code == 2
    assert "cashier is not a role" in result.output


@pytest.fixture
def environment(services_folder: Path, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYBOOK_")}
    folder = services_folder / f"cli-{tmp_path.name}"
    return {
        **kept,
        "TALLYBOOK_DATA_DIR": str(folder),
        "TALLYBOOK_API_PORT": "0",
        "TALLYBOOK_GATEWAY_PORT": "0",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }


def tallybook(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.fixture
def taken_down(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    yield environment
    tallybook(environment, "down")


def test_servers_go_up_are_found_and_go_down(taken_down: dict[str, str]) -> None:
    first = tallybook(taken_down, "up")
    assert first.returncode == 0, first.stderr
    second = tallybook(taken_down, "up")
    assert [line for line in second.stdout.splitlines() if "pid" in line] == [
        line for line in first.stdout.splitlines() if "pid" in line
    ]
    found = tallybook(taken_down, "status", "--urls").stdout
    assert found.count("running") == 2
    assert "TALLYBOOK_DATABASE_URL=postgresql://" in found
    assert tallybook(taken_down, "migrate").returncode == 0
    assert "Stopped Postgres and Kafka" in tallybook(taken_down, "down").stdout
    assert tallybook(taken_down, "status").stdout.count("stopped") == 2


def test_a_wrong_environment_is_told_in_words(environment: dict[str, str]) -> None:
    result = tallybook({**environment, "TALLYBOOK_API_PROT": "1"}, "status")
    assert result.returncode == 1
    assert "did you mean TALLYBOOK_API_PORT?" in result.stderr
    assert "Traceback" not in result.stderr


def test_production_never_starts_an_embedded_server(environment: dict[str, str]) -> None:
    result = tallybook({**environment, "TALLYBOOK_ENVIRONMENT": "production"}, "up")
    assert result.returncode == 1
    assert "TALLYBOOK_DATABASE_URL is not set" in result.stderr


def test_nobody_can_be_asked_to_migrate_nothing(environment: dict[str, str]) -> None:
    result = tallybook(environment, "migrate")
    assert result.returncode == 1
    assert "tallybook up" in result.stderr
