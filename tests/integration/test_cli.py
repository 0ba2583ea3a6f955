"""The command line: every command explains itself with an example; servers start, are found again, and stop."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import asyncpg
import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.api_client import ApiError, TryAgain
from cli.deferred import flowing
from cli.failures import explain
from cli.main import app
from cli.output import print_rows
from cli.reached_api import address_of_api, how_on
from host.addresses import reached_settings
from host.embedded.databases import PostgresServer
from infra.settings import SettingsError, setting_rows
from testing.command_line import every_command
from testing.forked_commands import tallybook
from testing.services import FreshDatabase

ROOT = Path(__file__).parents[2]
runner = CliRunner()


COMMANDS = [name for name, _ in every_command()]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(command: tuple[str, ...]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_answers_programs_in_json(command: tuple[str, ...]) -> None:
    assert "--json" in runner.invoke(app, [*command, "--help"]).output


def test_a_help_is_broken_where_the_terminal_ends_and_its_example_stands_alone() -> None:
    assert (
        flowing("""Do it.

    Long in
    the source.
    [dim]Example:[/dim] [cyan]one[/cyan], or
    [cyan]two[/cyan]
    """)
        == "Do it.\n\nLong in the source.\n\n[dim]Example:[/dim] [cyan]one[/cyan], or [cyan]two[/cyan]"
    )
    told = runner.invoke(app, ["tenants", "create-key", "--help"], env={"COLUMNS": "300"}).output
    assert "what each scope holds. An end given here is also its successors'." in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nonsense"], ["nonsense is none of customers", "invoice-lines", "mrr-movements"]),
        (["invoices", "--since", "yesterday"], ["--since", "2026-01-31T00:00:00Z"]),
        (["invoices", "--until", "2026-02-30"], ["--until", "a day, such as 2026-01-31"]),
        (["invoices", "--until", "2026-02-01T00:00:00"], ["--until", "with its offset"]),
    ],
)
def test_an_export_that_cannot_be_is_told_before_anybody_is_asked(
    tmp_path: Path, options: list[str], words: list[str]
) -> None:
    key = tmp_path / "acme.key"
    key.write_text("tbk_test_x", encoding="utf-8")
    arguments = ["export", *options, "--key-file", str(key), "--url", "http://127.0.0.1:1"]
    result = runner.invoke(app, arguments, env={"COLUMNS": "1000"})
    assert result.exit_code == 2
    assert all(word in result.output for word in words), result.output


@pytest.mark.parametrize(
    "command", [("import", "customers", "a.csv"), ("usage", "import", "usage.csv"), ("export", "customers")]
)
def test_an_api_that_is_not_there_is_told_at_once_and_in_words(
    environment: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "acme.key").write_text("tbk_test_x", encoding="utf-8")
    (tmp_path / "a.csv").write_text("external_id,currency\nA-1,EUR\n", encoding="utf-8")
    event = "e1,bytes,cus_01m7ywe9z7e398x54gfbrtqnk7,2026-01-31T00:00:00Z"
    (tmp_path / "usage.csv").write_text(f"id,meter,customer,timestamp\n{event}\n", encoding="utf-8")
    arguments = [str(tmp_path / part) if part.endswith(".csv") else part for part in command]
    options = ["--key-file", str(tmp_path / "acme.key"), "--url", "http://127.0.0.1:1"]
    result = tallybook(environment, *arguments, *options)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: The API cannot be reached:")
    assert "--url" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_openapi_document_is_printed_without_any_server() -> None:
    result = runner.invoke(app, ["openapi"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["openapi"] == "3.1.0"


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


def started_anew(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
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
    started_anew(environment, "down")


def test_servers_go_up_are_found_and_go_down(taken_down: dict[str, str]) -> None:
    first = started_anew(taken_down, "up")
    assert first.returncode == 0, first.stderr
    second = started_anew(taken_down, "up")
    assert [line for line in second.stdout.splitlines() if "pid" in line] == [
        line for line in first.stdout.splitlines() if "pid" in line
    ]
    found = started_anew(taken_down, "status", "--urls").stdout
    assert found.count("running") == 2
    assert "TALLYBOOK_DATABASE_URL=postgresql://" in found
    assert started_anew(taken_down, "migrate").returncode == 0
    assert "Stopped Postgres and Kafka" in started_anew(taken_down, "down").stdout
    assert started_anew(taken_down, "status").stdout.count("stopped") == 2


def test_a_wrong_environment_is_told_in_words(environment: dict[str, str]) -> None:
    result = tallybook({**environment, "TALLYBOOK_API_PROT": "1"}, "status")
    assert result.returncode == 1
    assert "did you mean TALLYBOOK_API_PORT?" in result.stderr
    assert "Traceback" not in result.stderr


def test_production_never_starts_an_embedded_server(environment: dict[str, str]) -> None:
    result = tallybook({**environment, "TALLYBOOK_ENVIRONMENT": "production"}, "up")
    assert result.returncode == 1
    assert "TALLYBOOK_DATABASE_URL is not set" in result.stderr


def test_looking_makes_nothing(environment: dict[str, str]) -> None:
    result = tallybook(environment, "status", "--json")
    assert result.returncode == 0, result.stderr
    assert {part["state"] for part in json.loads(result.stdout)["parts"]} == {"stopped"}
    assert tallybook(environment, "down").returncode == 0
    assert not Path(environment["TALLYBOOK_DATA_DIR"]).exists()


@pytest.mark.parametrize("command", ["up", "down", "status", "dev", "demo", "migrate", "tenants list", "audit verify"])
def test_a_data_folder_that_is_a_file_gives_no_traceback(environment: dict[str, str], command: str) -> None:
    Path(environment["TALLYBOOK_DATA_DIR"]).write_text("", encoding="utf-8")
    result = tallybook(environment, *command.split())
    assert "Traceback" not in result.stdout + result.stderr
    if command not in ("down", "status"):
        assert result.returncode == 1
        assert "TALLYBOOK_" in result.stderr


@pytest.mark.parametrize("command", ["tenants list", "relay status", "projections status", "dead-letters list"])
def test_servers_that_cannot_be_reached_give_no_traceback(environment: dict[str, str], command: str) -> None:
    nobody = {
        "TALLYBOOK_DATABASE_URL": "postgresql://nobody:none@127.0.0.1:1/none",
        "TALLYBOOK_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    }
    result = tallybook({**environment, **nobody}, *command.split())
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "cannot be reached" in result.stderr
    answered = tallybook({**environment, **nobody}, *command.split(), "--json")
    assert answered.returncode == 1
    failure = json.loads(answered.stdout)["error"]
    assert failure["kind"] == "failed"
    assert "cannot be reached" in failure["message"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("projections rebuild nope", "the read models are"),
        ("run cashier", "cashier is not a role"),
        ("dead-letters dismiss seven", "letter_id"),
        ("tenants create A", "lower-case letters"),
        ("settings --all", "--all"),
    ],
)
def test_a_command_line_that_is_not_understood_is_told_programs_in_their_form(
    environment: dict[str, str], command: str, message: str
) -> None:
    result = tallybook(environment, *command.split(), "--json")
    assert result.returncode == 2
    failure = json.loads(result.stdout)["error"]
    assert failure["kind"] == "not_understood"
    assert message.lower() in failure["message"].lower()


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CannotConnectNowError("the database system is starting up.\nDETAIL:  Not consistent yet."),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_embedded_database_that_restarts_is_to_be_waited_for(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv("TALLYBOOK_DATA_DIR", environment["TALLYBOOK_DATA_DIR"])
    words = explain(error)
    assert words is not None
    assert "Wait a moment" in words
    assert "TALLYBOOK_DATABASE" not in words
    assert ".." not in words
    assert "DETAIL" not in words


def test_a_database_without_a_schema_says_to_migrate(
    environment: dict[str, str], postgres_server: PostgresServer
) -> None:
    result = tallybook({**environment, "TALLYBOOK_DATABASE_URL": postgres_server.dsn()}, "tenants", "list")
    assert result.returncode == 1
    assert "tallybook migrate" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_tenant_is_made_once_and_its_ids_are_shown_whole(
    environment: dict[str, str], database: FreshDatabase
) -> None:
    reached = {**environment, "TALLYBOOK_DATABASE_URL": database.dsn, "COLUMNS": "80"}
    made = json.loads(tallybook(reached, "tenants", "create", "acme", "--name", "Acme Limited", "--json").stdout)
    again = tallybook({**reached, "COLUMNS": "300"}, "tenants", "create", "acme")
    assert again.returncode == 1
    assert "tallybook tenants create-key acme" in " ".join(again.stderr.split())
    listed = json.loads(tallybook(reached, "tenants", "list", "--json").stdout)
    assert [row["key_id"] for row in listed] == [made["key_id"]], "the second try made no key"
    assert made["expires_at"] == listed[0]["expires_at"]
    assert made["expires_at"], "a key ends, unless somebody says otherwise"
    for_good = tallybook(reached, "tenants", "create-key", "acme", "--days", "0").stdout
    assert "works until it is revoked" in for_good
    for_a_day = tallybook(reached, "tenants", "create-key", "acme", "--expires-at", "2126-01-31T00:00:00Z").stdout
    assert "works until 2126-01-31T00:00:00Z" in for_a_day
    piped = tallybook(reached, "tenants", "list").stdout
    assert made["key_id"] in piped
    assert "Acme Limited" in piped


def test_a_tenant_is_live_unless_it_is_made_a_test_and_every_key_of_it_says_which(
    environment: dict[str, str], database: FreshDatabase
) -> None:
    reached = {**environment, "TALLYBOOK_DATABASE_URL": database.dsn}
    tenants = {"acme": (), "acme-test": ("--mode", "test")}
    for (tenant_id, option), mode in zip(tenants.items(), ("live", "test"), strict=True):
        first = json.loads(tallybook(reached, "tenants", "create", tenant_id, *option, "--json").stdout)
        second = json.loads(tallybook(reached, "tenants", "create-key", tenant_id, "--json").stdout)
        assert all(made["api_key"].startswith(f"tbk_{mode}_") for made in (first, second))
    listed = json.loads(tallybook(reached, "tenants", "list", "--json").stdout)
    assert {row["tenant_id"]: row["mode"] for row in listed} == {"acme": "live", "acme-test": "test"}
    unknown = tallybook({**reached, "COLUMNS": "300"}, "tenants", "create", "other", "--mode", "staging")
    assert unknown.returncode == 2


@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_table_breaks_an_id_in_however_little_room(is_terminal: bool) -> None:
    shown = StringIO()
    console = Console(file=shown, width=40, force_terminal=is_terminal, color_system=None)
    words = "some words that wrap where there is no room for them"
    row = {"key": "key_01m7ywe9z7e398x54gfbrtqnk7", "id": "cus_01m7ywe9z7e398x54gfbrtqnk7", "words": words}
    print_rows(console, {name: name for name in row}, [row])
    assert row["key"] in shown.getvalue()
    assert row["id"] in shown.getvalue()
    assert (words in shown.getvalue()) is not is_terminal


def supervise(folder: Path, *, port: int, role: str = "gateway-0") -> None:
    """Write down this process as what supervises the folder's roles, and as its gateway or another role."""
    ours = psutil.Process()
    running = {"name": role, "pid": ours.pid, "started_at": ours.create_time(), "port": port, "log_file": ""}
    roster = {"supervisor_pid": ours.pid, "supervisor_started_at": ours.create_time(), "roles": [running]}
    (folder / "roles").mkdir()
    (folder / "roles" / "roster.json").write_text(json.dumps(roster), encoding="utf-8")


def test_a_server_that_a_supervisor_starts_again_is_to_be_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TALLYBOOK_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TALLYBOOK_DATABASE_URL", raising=False)
    with pytest.raises(SettingsError, match="tallybook up"):
        reached_settings()
    supervise(tmp_path, port=0)
    with pytest.raises(SettingsError, match="Try again in a moment"):
        reached_settings()


def test_the_gateway_is_found_where_the_supervisor_runs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TALLYBOOK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TALLYBOOK_DATABASE_URL", "postgresql://somewhere/else")
    monkeypatch.setenv("TALLYBOOK_KAFKA_BOOTSTRAP", "somewhere:9092")
    supervise(tmp_path, port=23_456)
    assert reached_settings().gateway.url == "http://127.0.0.1:23456"


def test_the_api_is_found_where_the_supervisor_runs_it_unless_the_settings_name_a_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def address() -> str:
        return address_of_api(None)[0]

    monkeypatch.setenv("TALLYBOOK_DATA_DIR", str(tmp_path))
    for name in ("PORT", "HOST", "TLS_CERTIFICATE_FILE"):
        monkeypatch.delenv(f"TALLYBOOK_API_{name}", raising=False)
    assert address() == "http://127.0.0.1:8080"
    supervise(tmp_path, role="api", port=23_457)
    assert address() == "http://127.0.0.1:23457"
    monkeypatch.setenv("TALLYBOOK_API_PORT", "0")
    assert address() == "http://127.0.0.1:23457", "0 was any free one"
    monkeypatch.setenv("TALLYBOOK_API_PORT", "9090")
    assert address() == "http://127.0.0.1:9090"
    assert address_of_api("https://billing.example.com") == ("https://billing.example.com", None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ApiError(403, {"code": "permission_denied"}, "POST /v1/usage/events"), " Once that is mended, run the same"),
        (TryAgain(503, {"code": "usage_unavailable"}, "POST /v1/usage/events"), " Run the same"),
    ],
)
def test_a_file_that_the_api_refuses_is_not_to_be_sent_again_as_it_is(error: ApiError, words: str) -> None:
    assert how_on(error, is_dry=False).startswith(words)
    assert not how_on(error, is_dry=True)


def test_nobody_can_be_asked_to_migrate_nothing(environment: dict[str, str]) -> None:
    result = tallybook(environment, "migrate")
    assert result.returncode == 1
    assert "tallybook up" in result.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([b"--returned-as", b"", b"--evidence", b"a statement"], "gateway's id"),
        ([b"--returned-as", b"gr_\xff", b"--evidence", b"a statement"], "gateway's id"),
        ([b"--not-returned", b"--evidence", b"\xff"], "evidence"),
        ([b"--not-returned", b"--evidence", b"card 4242 4242 4242 4242"], "card number"),
    ],
)
def test_what_cannot_be_recorded_of_a_refund_is_refused_with_a_sentence_before_anything_is_opened(
    said: list[bytes], told: str
) -> None:
    end_refund = (b"-m", b"cli.main", b"dead-letters", b"end-refund", b"pay_1/re_1")
    command = [os.fsencode(sys.executable), *end_refund, *said, b"--by", b"ada"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300", "TALLYBOOK_DATABASE_URL": ""}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_signing_keys_are_rotated_by_hand(environment: dict[str, str], database: FreshDatabase) -> None:
    reached = {**environment, "TALLYBOOK_DATABASE_URL": database.dsn}

    def states(*options: str) -> list[tuple[int, str]]:
        result = tallybook(reached, "auth", "rotate-keys", "--json", *options)
        assert result.returncode == 0, result.stderr
        return [(key["number"], key["state"]) for key in json.loads(result.stdout)["keys"]]

    assert states() == [(1, "active")]
    assert states() == [(1, "active")]
    assert states("--now") == [(1, "retired"), (2, "active")]
    assert states("--now", "--distrust") == [(3, "active")]
    assert tallybook(reached, "auth", "rotate-keys", "--distrust").returncode == 2
