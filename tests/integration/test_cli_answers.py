"""What commands say on standard output, and what they do to a running cell: a database and a Kafka of the tests'."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from typer.testing import CliRunner

from cli.main import app
from infra.kafka.topics import PUBLISHED, ensure_topics, full_name, published_topics
from testing.command_line import every_command
from testing.forked_commands import tallybook
from testing.services import FreshDatabase, KafkaServer

NOBODY: Final = "127.0.0.1:1"

PROGRAMS: Final[Mapping[str, Sequence[str]]] = {
    "status": (),
    "migrate": (),
    "settings": (),
    "openapi": (),
    "tenants create": ("acme",),
    "tenants create-key": ("acme",),
    "tenants suspend": ("acme", "--reason", "unpaid"),
    "tenants reactivate": ("acme",),
    "tenants set-approval-limits": ("acme", "500.00EUR", "60000JPY"),
    "tenants list": (),
    "reporting grant-login": ("acme",),
    "reporting logins": (),
    "reporting revoke-login": ("tallybook_reports_acme",),
    "projections status": (),
    "projections rebuild": ("--all",),
    "projections check": (),
    "usage recount": (),
    "search reindex": (),
    "relay status": (),
    "relay republish": ("--drop-topics", "--yes"),
    "dead-letters list": (),
    "dead-letters replay": (),
    "dead-letters release": (),
    "audit verify": ("--only", "I2"),
    "auth rotate-keys": ("--now",),
    "auth forget": (),
    "users create-admin": ("--tenant", "acme", "--email", "ada@example.com", "--link"),
    "users link": ("--tenant", "acme", "--email", "ada@example.com", "--issuer", "https://i.example", "--subject", "1"),
    "users links": ("--tenant", "acme"),
    "users make-super-admin": ("--email", "ada@example.com"),
    "users unmake-super-admin": ("--email", "ada@example.com"),
    "users suspend": ("--email", "ada@example.com"),
    "users reactivate": ("--email", "ada@example.com"),
    "users erase": ("--email", "ada@example.com", "--yes"),
}
"""Commands, with what they need, in an order in which each has something to say."""

ELSEWHERE: Final = {
    "import": "asks an API; tests/e2e/test_import.py",
    "usage import": "asks an API; tests/e2e/test_usage_import.py",
    "usage tail": "needs a topic; tests/e2e/test_usage_import.py",
    "export": "asks an API; tests/e2e/test_export.py",
    "up": "starts servers of its own; test_cli.py",
    "down": "stops what up started; test_cli.py",
    "dev": "runs until it is stopped",
    "run": "runs until it is stopped",
    "demo": "minutes",
    "year": "minutes; tests/e2e/test_year.py",
    "faults": "minutes",
    "dead-letters dismiss": "needs a letter",
    "dead-letters end-refund": "needs a refund that is held",
    "tenants revoke-key": "needs a key",
    "users import": "needs a file",
    "users unlink": "needs a link",
}


@pytest.fixture
def environment(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYBOOK_")}
    return {
        **kept,
        "TALLYBOOK_DATA_DIR": str(tmp_path / "data"),
        "TALLYBOOK_DATABASE_URL": database.dsn,
        "TALLYBOOK_KAFKA_BOOTSTRAP": kafka_server.bootstrap,
        "TALLYBOOK_KAFKA_TOPIC_PREFIX": topic_prefix,
        "COLUMNS": "200",
    }


async def incarnation_of(database: FreshDatabase) -> int:
    connection = await asyncpg.connect(database.dsn)
    try:
        return int(await connection.fetchval("SELECT incarnation FROM relay.state"))
    finally:
        await connection.close()


def test_every_command_that_answers_programs_is_tried_here_or_said_to_be_elsewhere() -> None:
    assert {*PROGRAMS, *ELSEWHERE} == {" ".join(name) for name, _ in every_command()}
    assert not PROGRAMS.keys() & ELSEWHERE.keys()


def test_with_json_standard_output_holds_one_document_and_nothing_else(environment: dict[str, str]) -> None:
    for command, arguments in PROGRAMS.items():
        done = tallybook(environment, *command.split(), *arguments, "--json")
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        json.loads(done.stdout)


def test_what_cannot_be_is_refused_in_one_form_and_is_no_wrong_usage(environment: dict[str, str]) -> None:
    assert tallybook(environment, "tenants", "create", "acme").returncode == 0
    held = ("--not-returned", "--evidence", "a statement", "--by", "ada")
    for command in (
        ("dead-letters", "replay", "7"),
        ("dead-letters", "dismiss", "7"),
        ("dead-letters", "release", "pay_none"),
        ("dead-letters", "end-refund", "pay_none/re_none", *held),
        ("tenants", "create", "acme"),
        ("tenants", "create-key", "nobody"),
        ("tenants", "revoke-key", "key_none"),
        ("tenants", "suspend", "nobody", "--reason", "unpaid"),
        ("tenants", "reactivate", "nobody"),
        ("tenants", "set-approval-limits", "nobody"),
        ("users", "link", "--tenant", "acme", "--email", "nobody@example.com", "--issuer", "i", "--subject", "1"),
        ("users", "unlink", "idl_none", "--tenant", "acme"),
        ("reporting", "grant-login", "nobody"),
        ("reporting", "revoke-login", "tallybook_reports_nobody"),
        ("relay", "republish"),  # asked, and nobody agrees
    ):
        told = tallybook(environment, *command)
        assert told.returncode == 1, told.stderr
        assert "Usage:" not in told.stderr
        done = tallybook(environment, *command, "--json")
        assert done.returncode == 1, done.stderr
        failure = json.loads(done.stdout)["error"]
        assert failure["kind"] == "refused"
        assert failure["message"]


WITHOUT_DATABASE: Final = {"status", "settings", "openapi"}
"""Of the programs: what tells of a cell that does not run, or of nothing that does."""


def test_while_the_database_is_away_every_command_says_so_and_what_to_do(environment: dict[str, str]) -> None:
    """In one line, and with --json in one document; each family comes to the database by its own way."""
    away = {**environment, "TALLYBOOK_DATABASE_URL": f"postgresql://tallybook@{NOBODY}/tallybook"}

    def tried(command: str) -> str | None:
        done = tallybook(away, *command.split(), *PROGRAMS[command], "--json")
        told = [each for each in done.stderr.splitlines() if each.strip()]
        kind = json.loads(done.stdout)["error"]["kind"] if done.stdout else "nothing"
        is_one_line = len(told) == 1 and "cannot be reached" in told[0] and "tallybook status" in told[0]
        return None if (done.returncode, kind) == (1, "failed") and is_one_line else f"{command}: {done.stderr[-500:]}"

    with ThreadPoolExecutor(max_workers=4) as at_once:
        wrong = at_once.map(tried, sorted(PROGRAMS.keys() - WITHOUT_DATABASE))
    assert [each for each in wrong if each] == []


def test_a_key_is_made_on_the_terms_that_are_asked_for(environment: dict[str, str]) -> None:
    tallybook(environment, "tenants", "create", "acme")
    made = tallybook(
        environment,
        *("tenants", "create-key", "acme", "--json", "--name", "imports", "--scope", "write"),
        *("--expires-at", "2199-01-31T02:00:00+02:00", "--allowed-network", "192.0.2.0/24"),
        *("--allowed-network", "2001:db8::/32", "--reads-per-hour", "5", "--writes-per-hour", "10000"),
    )
    assert made.returncode == 0, made.stdout + made.stderr
    rows = json.loads(tallybook(environment, "tenants", "list", "--json").stdout)
    (key,) = [row for row in rows if row["key_id"] == json.loads(made.stdout)["key_id"]]
    assert {
        "key_name": "imports",
        "scope": "write",
        "expires_at": "2199-01-31T00:00:00Z",
        "allowed_networks": ["192.0.2.0/24", "2001:db8::/32"],
        "reads_per_hour": 5,
        "writes_per_hour": 10_000,
        "admin_per_hour": None,
    }.items() <= key.items()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--allowed-network", "192.0.2.7/24"), "--allowed-network"),
        (("--allowed-network", "192.0.2.7") * 51, "--allowed-network"),
        (("--expires-at", "2001-01-01T00:00:00Z"), "--expires-at"),
        (("--expires-at", "2199-01-01T00:00:00"), "--expires-at"),
        (("--expires-at", "2199-01-01T00:00:00Z", "--days", "3"), "not both"),
        (("--reads-per-hour", "0"), "--reads-per-hour"),
        (("--admin-per-hour", "3600001"), "--admin-per-hour"),
        (("--name", "a\nb"), "control characters"),
        (("--name", "4242 4242 4242 4242"), "card number"),
        (("--name", "n" * 256), "255"),
        (("--scope", "all"), "--scope"),
    ],
)
def test_a_key_on_terms_that_no_key_may_have_is_refused_by_its_option(options: Sequence[str], told: str) -> None:
    nowhere = {"TALLYBOOK_DATABASE_URL": f"postgresql://{NOBODY}/none", "COLUMNS": "200"}
    done = CliRunner().invoke(app, ["tenants", "create-key", "acme", *options], env=nowhere)
    assert done.exit_code == 2, done.output
    assert told in done.output


def test_times_are_rfc_3339_and_every_part_has_one_form(environment: dict[str, str]) -> None:
    tallybook(environment, "tenants", "create", "acme")
    (row,) = json.loads(tallybook(environment, "tenants", "list", "--json").stdout)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", row["created_at"])
    assert "only_row" not in json.loads(tallybook(environment, "relay", "status", "--json").stdout)
    parts = json.loads(tallybook(environment, "status", "--json").stdout)["parts"]
    assert {tuple(part) for part in parts} == {("part", "state", "pid", "address", "why")}


def test_the_release_is_told(environment: dict[str, str]) -> None:
    told = tallybook(environment, "--version")
    assert told.returncode == 0
    assert told.stdout.startswith("tallybook ")


async def test_no_incarnation_begins_before_the_brokers_have_answered(
    environment: dict[str, str], database: FreshDatabase
) -> None:
    away = {**environment, "TALLYBOOK_KAFKA_BOOTSTRAP": NOBODY}
    for option in ((), ("--drop-topics",)):
        done = tallybook(away, "relay", "republish", "--yes", *option)
        assert done.returncode == 1
        assert "Kafka cannot be reached" in done.stderr
    assert await incarnation_of(database) == 1


async def test_one_republishing_is_one_incarnation_whose_topics_were_named_before(
    environment: dict[str, str], database: FreshDatabase, topic_prefix: str
) -> None:
    published = [full_name(topic_prefix, topic) for topic in PUBLISHED]
    bootstrap = environment["TALLYBOOK_KAFKA_BOOTSTRAP"]
    await ensure_topics(bootstrap, prefix=topic_prefix, partitions=1, replication_factor=1, request_timeout_ms=10_000)
    asked = tallybook(environment, "relay", "republish", "--drop-topics", says="n\n")
    assert asked.returncode == 1
    assert all(name in asked.stdout for name in (*published, bootstrap, "--yes"))
    assert await incarnation_of(database) == 1
    done = tallybook(environment, "relay", "republish", "--drop-topics", "--yes", "--json")
    assert json.loads(done.stdout) == {"incarnation": 2, "topics_dropped": published}
    assert await incarnation_of(database) == 2
    async with published_topics(bootstrap, prefix=topic_prefix, request_timeout_ms=10_000) as left:
        assert left.names == []


async def test_dead_letters_are_seen_dismissed_and_released_while_kafka_is_away(environment: dict[str, str]) -> None:
    away = {**environment, "TALLYBOOK_KAFKA_BOOTSTRAP": NOBODY}
    for command in ("list", "release", "replay"):
        done = tallybook(away, "dead-letters", command)
        assert done.returncode == 0, done.stderr


async def test_an_import_of_users_says_what_it_came_to_and_lists_what_wants_a_look(
    environment: dict[str, str], database: FreshDatabase, tmp_path: Path
) -> None:
    tallybook(environment, "tenants", "create", "acme")
    people = tmp_path / "people.csv"
    people.write_text("email,role\nada@example.com,admin\nbob@example.com,\n", encoding="utf-8")
    command = ("users", "import", str(people), "--tenant", "acme", "--role", "billing_viewer")
    for dry, came in ((True, {"new": 2, "already": 0}), (False, {"new": 2, "already": 0}), (False, {"already": 2})):
        done = tallybook(environment, *command, *(["--dry-run"] * dry), "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["tenant"], told["dry_run"], told["lines"], told["look_at"]) == ("acme", dry, 2, [])
        assert told.items() >= came.items()
    people.write_text("email,role\nbob@example.com,user\n", encoding="utf-8")
    (look,) = json.loads(tallybook(environment, *command, "--json").stdout)["look_at"]
    assert (look["line"], look["came"]) == (2, "other_role")
    people.write_text("email,role\nnobody,king\n", encoding="utf-8")
    done = tallybook(environment, *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 2: email: Must be an e-mail address" in done.stderr
    assert "nobody" not in done.stderr
    assert tallybook(environment, *command[:-1], "customer").returncode == 2
