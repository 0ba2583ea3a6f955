"""A file of usage comes in through the role `ingest`: stopped, killed, refused events, and what the topic then has."""

import asyncio
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.api_client import ApiClient, ApiError
from cli.import_files import errors_file, progress_file
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from infra.settings import Settings
from testing.api_client import project
from testing.services import FreshDatabase, KafkaServer
from tests.e2e.api_process import ApiProcess

LINES = 20_000


class Scene:
    """An API that takes no usage and an `ingest` that does, a tenant's key in a file, a meter and a customer."""

    def __init__(self, api: ApiProcess, ingest: ApiProcess, folder: Path, environment: dict[str, str]) -> None:
        self.api, self.ingest, self.folder, self.environment = api, ingest, folder, environment
        self.key_file = folder / "acme.key"
        self.customer = ""

    async def begin(self) -> None:
        async with ApiClient(self.api.url, self.key_file.read_text()) as api:
            self.customer = str(
                (await api.post("/v1/customers", {"currency": "EUR", "external_id": "crm-1"}, key="customer"))["id"]
            )
            meter = {"code": "bytes", "name": "Bytes", "aggregation": "sum", "value_property": "bytes"}
            await api.post("/v1/meters", meter, key="meter")

    def events(self, count: int) -> list[dict[str, Any]]:
        now = datetime.now(UTC).isoformat()
        return [
            {"id": f"e{nth}", "meter": "bytes", "customer": self.customer, "timestamp": now, "properties.bytes": nth}
            for nth in range(count)
        ]

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

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", "usage", *command, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment,
        )  # fmt: skip

    def sending(self, file: Path, *options: str) -> "subprocess.Popen[bytes]":
        return self.start("import", str(file), "--key-file", str(self.key_file), "--url", self.ingest.url, *options)

    def told(self, process: "subprocess.Popen[bytes]", code: int = 0) -> Any:
        out, err = process.communicate()
        assert process.returncode == code, (out.decode(), err.decode())
        return json.loads(out)

    def told_in_words(self, *command: str, code: int = 0) -> str:
        """What a person is told."""
        process = subprocess.run(
            [sys.executable, "-m", "cli.main", "usage", *command],
            capture_output=True, text=True, check=False, env=self.environment,
        )  # fmt: skip
        assert process.returncode == code, (process.stdout, process.stderr)
        return process.stdout + process.stderr

    def kept(self) -> list[str]:
        """The ids of the last events that the topic has, as `usage tail` shows them."""
        return [
            each["id"] for each in self.told(self.start("tail", "--no-follow", "--last", "10000", "--tenant", "acme"))
        ]


@pytest.fixture
def scene(database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path) -> Iterator[Scene]:
    with running(database, kafka_server, topic_prefix, tmp_path, has_ingest=True) as made:
        yield made


@pytest.fixture
def direct(database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path) -> Iterator[Scene]:
    with running(database, kafka_server, topic_prefix, tmp_path, has_ingest=False) as made:
        asyncio.run(project(database, Settings()))
        yield made


@contextlib.contextmanager
def running(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path, *, has_ingest: bool
) -> Iterator[Scene]:
    """An API, and beside it the role that takes usage, unless the API does."""
    brokers = {
        "TALLYBOOK_KAFKA_BOOTSTRAP": kafka_server.bootstrap,
        "TALLYBOOK_KAFKA_TOPIC_PREFIX": topic_prefix,
        "TALLYBOOK_USAGE_PARTITIONS": "2",
    }
    in_api = "false" if has_ingest else "true"
    api = ApiProcess(database.dsn, tmp_path, TALLYBOOK_USAGE_INGEST_IN_API=in_api, **brokers)
    ingest = ApiProcess(database.dsn, tmp_path, role="ingest", **brokers) if has_ingest else api
    environment = {**os.environ, **brokers, "TALLYBOOK_DATABASE_URL": database.dsn, "TALLYBOOK_DATA_DIR": str(tmp_path)}
    tenant = asyncio.run(create_tenant(database.dsn, Settings(), tenant_id="acme", name="Acme", mode=TenantMode.TEST))
    made = Scene(api, ingest, tmp_path, environment)
    made.key_file.write_text(tenant.key.secret)
    try:
        api.start()
        if has_ingest:
            ingest.start()
        asyncio.run(made.begin())
        yield made
    finally:
        api.kill()
        if has_ingest:
            ingest.kill()


def test_an_import_that_is_killed_and_stopped_goes_on_and_nothing_is_missing(scene: Scene) -> None:
    file = scene.file("usage.csv", scene.events(LINES))
    progress = progress_file(file)
    for end in (signal.SIGKILL, signal.SIGINT):
        before = json.loads(progress.read_text())["line"] if progress.exists() else 0
        process = scene.sending(file)
        while process.poll() is None and (not progress.exists() or json.loads(progress.read_text())["line"] == before):
            os.sched_yield()
        process.send_signal(end)
        out, err = process.communicate()
        if end is signal.SIGINT:
            assert process.returncode == 130, (out, err)
            assert json.loads(out)["stopped_after_line"] == json.loads(progress.read_text())["line"]
    reached = json.loads(progress.read_text())["line"]
    asked = ["import", str(file), "--key-file", str(scene.key_file), "--url", scene.ingest.url]
    again = scene.told_in_words(*asked)
    assert f"{LINES} lines: {LINES} taken, 0 not. This time it went on after line {reached}." in again
    assert not progress.exists()
    assert not errors_file(file).exists()
    kept = set(scene.kept())
    assert len(kept) >= 9_000
    assert kept <= {f"e{nth}" for nth in range(LINES)}


def test_events_that_are_not_taken_are_told_by_their_lines(scene: Scene) -> None:
    lines = [
        {"id": each["id"], "meter": "bytes", "customer": scene.customer, "timestamp": each["timestamp"]}
        | {"properties": {"bytes": "1.5"}}
        for each in scene.events(5)
    ]
    lines[1]["meter"] = "nothing"
    lines[3]["timestamp"] = "2020-01-01T00:00:00Z"
    file = scene.file("usage.ndjson", lines)
    tried = scene.told(scene.sending(file, "--dry-run"), code=1)
    assert (tried["dry_run"], tried["sent"], tried["failed"]) == (True, 3, 2)
    told = scene.told(scene.sending(file), code=1)
    assert (told["sent"], told["failed"]) == (3, 2)
    errors = [json.loads(line) for line in errors_file(file).read_text().splitlines()]
    assert [(each["line"], each["param"], each["code"]) for each in errors] == [
        (2, "meter", "unknown_meter"),
        (4, "timestamp", "timestamp_too_old"),
    ]
    assert sorted(scene.kept()) == ["e0", "e2", "e4"], "of the dry run nothing"
    shown = scene.told(scene.start("tail", "--no-follow", "--tenant", "acme", "--customer", scene.customer))
    assert {each["meter_code"] for each in shown} == {"bytes"}
    assert all(each["received_at"] >= each["timestamp"] for each in shown)
    (line, *_) = scene.told_in_words("tail", "--no-follow", "--tenant", "acme").splitlines()
    assert f"acme {scene.customer} bytes 1.5 e0 (in {shown[0]['received_at']})" in line
    unknown = scene.told_in_words("tail", "--no-follow", "--customer", "crm-1", code=2)
    assert "external_id=crm-1" in unknown
    only_bad = scene.file("bad.ndjson", lines[1:2])
    assert scene.told(scene.sending(only_bad), code=1)["failed"] == 1


def test_numbers_of_a_file_keep_all_their_digits(scene: Scene) -> None:
    values = ["123456789012345678901.123456789", "-0.000000001", "1e20", "10000000000"]
    lines = [
        {"id": f"e{nth}", "meter": "bytes", "customer": scene.customer, "timestamp": datetime.now(UTC).isoformat()}
        | {"properties": {"bytes": f"<{value}>"}}
        for nth, value in enumerate(values)
    ]
    file = scene.file("usage.ndjson", lines)
    file.write_text(file.read_text().replace('"<', "").replace('>"', ""))
    assert scene.told(scene.sending(file))["sent"] == len(values)
    shown = scene.told(scene.start("tail", "--no-follow", "--tenant", "acme"))
    assert sorted((each["id"], each["value"], each["properties"]["bytes"]) for each in shown) == [
        ("e0", "123456789012345678901.123456789", "123456789012345678901.123456789"),
        ("e1", "-0.000000001", "-0.000000001"),
        ("e2", "100000000000000000000", "1e20"),
        ("e3", "10000000000", "10000000000"),
    ]


def test_customers_are_named_by_their_external_ids(direct: Scene) -> None:
    """Where the API takes usage itself: the role `ingest` knows no customers by other names."""
    now = datetime.now(UTC).isoformat()
    lines = [
        {"id": f"e{nth}", "meter": "bytes", "customer_external_id": name, "timestamp": now, "properties.bytes": 1}
        for nth, name in enumerate(["crm-1", "crm-0", "crm-1"])
    ]
    told = direct.told(direct.sending(direct.file("usage.csv", lines)), code=1)
    assert (told["sent"], told["failed"]) == (2, 1)
    (error,) = [json.loads(line) for line in errors_file(direct.folder / "usage.csv").read_text().splitlines()]
    assert (error["line"], error["param"], error["code"]) == (3, "customer_external_id", "not_found")
    shown = direct.told(direct.start("tail", "--no-follow", "--tenant", "acme"))
    assert sorted((each["id"], each["customer"]) for each in shown) == [
        ("e0", direct.customer),
        ("e2", direct.customer),
    ]
    both = {"id": "a", "meter": "bytes", "customer": direct.customer, "customer_external_id": "crm-1", "timestamp": now}
    told = direct.told(direct.sending(direct.file("both.ndjson", [both])), code=1)
    assert "and not both" in told["error"]["message"]
    nobodys = {**both, "customer_external_id": ""}
    del nobodys["customer"]
    told = direct.told(direct.sending(direct.file("nobodys.ndjson", [nobodys])), code=1)
    assert "No customer can have this external id" in told["error"]["message"]


def test_a_file_with_a_line_that_is_no_event_is_not_sent(scene: Scene) -> None:
    lines = [{"id": "a"}, *scene.events(1)]
    told = scene.told(scene.sending(scene.file("usage.ndjson", lines)), code=1)
    assert "no usage events; nothing was sent" in told["error"]["message"]


async def test_the_api_that_takes_no_usage_says_where_it_goes(scene: Scene) -> None:
    async with ApiClient(scene.api.url, scene.key_file.read_text()) as api:
        with pytest.raises(ApiError, match="usage_taken_elsewhere"):
            await api.post("/v1/usage/events", [{}], key="k")
    async with ApiClient(scene.ingest.url, scene.key_file.read_text()) as ingest:
        with pytest.raises(ApiError, match="route_not_found"):
            await ingest.get("/v1/customers")
