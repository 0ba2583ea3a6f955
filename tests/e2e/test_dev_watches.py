"""`tallybook dev` while its parts are killed and frozen: health tells which and why, and what died is started again."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil
import pytest

from cli.seed import METER, METERED
from host.embedded.process import free_port
from host.roster import read_roster
from testing.services import session_folder

ROOT: Final = Path(__file__).parents[2]
READY_LIMIT_S: Final = 180.0
SEEN_LIMIT_S: Final = 60.0
"""How long a test waits for what health should tell much sooner: this machine may be busy with anything."""

POLL_S: Final = 0.1
SILENCE_MS: Final = 3_000
"""After which a process is missed. What is silent is as silent after three seconds as after the seven of production."""

QUICK: Final = {
    "TALLYBOOK_TELEMETRY_HEARTBEAT_INTERVAL_MS": "500",
    "TALLYBOOK_TELEMETRY_HEARTBEAT_SILENCE_MS": str(SILENCE_MS),
    "TALLYBOOK_TELEMETRY_HEALTH_TIMEOUT_MS": "1000",
    "TALLYBOOK_SUPERVISOR_WATCH_INTERVAL_MS": "500",
    "TALLYBOOK_SUPERVISOR_WATCH_TIMEOUT_MS": "2000",
    "TALLYBOOK_KAFKA_SESSION_TIMEOUT_MS": "3000",
    "TALLYBOOK_RELAY_LEASE_MS": "3000",
}
"""The same looks, more often, and shorter silences: else these tests wait for nothing but clocks."""

Parts = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dev:
    """A running `tallybook dev`."""

    process: psutil.Process
    folder: Path
    console: Path
    http: aiohttp.ClientSession

    @property
    def said(self) -> str:
        """What stands on the console."""
        return self.console.read_text(encoding="utf-8")

    def pid(self, name: str) -> int:
        """The present process of a role or server."""
        roster = read_roster(self.folder / "roles")
        for role in roster.roles if roster else ():
            if role.name == name:
                return role.pid
        return int(re.findall(rf"{name} (?:on .*\(|runs again, )pid (\d+)", self.said)[-1])

    @property
    def url(self) -> str:
        """Where the API is."""
        return str(re.findall(r"http://127\.0\.0\.1:\d+", self.said)[0])

    async def parts(self) -> Parts:
        """What /health says, by part; nothing while the API does not answer."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.http.get(f"{self.url}/health") as answer:
                return {part["name"]: part for part in (await answer.json())["parts"]}
        return {}

    async def until_health(self, shown: Callable[[Parts], bool], what: str) -> Parts:
        """Wait until /health shows something."""
        parts: Parts = {}
        try:
            async with asyncio.timeout(SEEN_LIMIT_S):
                while not shown(parts):
                    parts = await self.parts()
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            pytest.fail(f"{what}; /health says {parts}; the console:\n{self.said}")
        return parts

    async def until_well(self) -> None:
        """Wait until every part of every process works."""
        await self.until_health(
            lambda parts: len(parts) > 10 and all(part["ok"] for part in parts.values()), "not well again"
        )

    async def until_said(self, pattern: str) -> None:
        """Wait until the console says something."""
        try:
            async with asyncio.timeout(SEEN_LIMIT_S):
                while not re.search(pattern, self.said):
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            pytest.fail(f"the console does not say {pattern!r}:\n{self.said}")

    async def until_logged(self, name: str, event: str, part: str) -> None:
        """Wait until a role's log tells of a part."""
        async with asyncio.timeout(SEEN_LIMIT_S):
            while not any(line["event"] == event and line.get("part") == part for line in self.log(name)):
                await asyncio.sleep(POLL_S)

    async def until_journal(self, event: str, process: str, times: int) -> None:
        """Wait until the supervisor's log tells an event of a process so often."""
        try:
            async with asyncio.timeout(SEEN_LIMIT_S):
                while self.journal(event).count(process) < times:
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            pytest.fail(f"no {event} of {process}:\n{self.said}")

    def journal(self, event: str) -> list[str]:
        """The processes of which the supervisor's log tells this event."""
        file = self.folder / "roles" / "logs" / "supervisor.log"
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [line["process"] for line in lines if line["event"] == event]

    def log(self, name: str) -> list[dict[str, Any]]:
        """A role's log."""
        file = self.folder / "roles" / "logs" / f"{name}.log"
        lines = file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture(scope="module")
async def dev() -> AsyncIterator[Dev]:
    """Everything, from a folder of its own; each test finds it well and leaves it well."""
    with session_folder() as folder:
        console = folder / "console.txt"
        gateway_port = free_port()
        environment = {
            **os.environ,
            **QUICK,
            "TALLYBOOK_DATA_DIR": str(folder),
            "TALLYBOOK_API_PORT": "0",
            "TALLYBOOK_GATEWAY_PORT": str(gateway_port),
            "TALLYBOOK_TAX_SERVICE_URL": f"http://127.0.0.1:{gateway_port}",
            "TALLYBOOK_TAX_SERVICE_API_KEY": "of no account to who only asks whether it is there",
        }
        with console.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "dev"], env=environment, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
                running = Dev(process=psutil.Process(process.pid), folder=folder, console=console, http=http)
                async with asyncio.timeout(READY_LIMIT_S):
                    while "curl -H" not in running.said:
                        assert process.poll() is None, running.said
                        await asyncio.sleep(POLL_S)
                yield running
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(READY_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that stands still inside the block, and keeps all it has."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_everything_tells_of_itself(dev: Dev) -> None:
    await dev.until_well()
    parts = await dev.parts()
    for name in ("postgresql", "clock", "relay", "projection billing", "processors-0", "projections-0", "relay-0"):
        assert name in parts
    for name in (
        "relay-0: kafka",
        "projections-0: kafka",
        "processors-0: kafka",
        "processors-0: gateway sandbox",
        "processors-0: tax service",
    ):
        assert parts[name]["ok"], parts[name]
    # Kafka knows of a group only once it has joined.
    await dev.until_health(lambda parts: "lag_events" in parts.get("processors-0: sagas", {}), "no lag of the sagas")


async def test_usage_of_the_seeded_customer_is_counted(dev: Dev) -> None:
    await dev.until_well()
    key = (dev.folder / "dev.key").read_text(encoding="utf-8").strip()
    headers = {"Authorization": f"Bearer {key}"}

    async def got(path: str, **parameters: str) -> list[dict[str, Any]]:
        async with dev.http.get(f"{dev.url}{path}", params=parameters, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            found: list[dict[str, Any]] = (await answer.json())["data"]
            return found

    (meter,) = await got("/v1/meters", code=METER)
    (customer,) = [each for each in await got("/v1/customers") if each["email"] == METERED[1]]
    event = {"id": "page-1", "meter": METER, "customer": customer["id"], "timestamp": f"{datetime.now(UTC):%FT%TZ}"}
    sent = {**event, "properties": {"pages": "3"}}
    async with dev.http.post(f"{dev.url}/v1/usage/events", json=sent, headers=headers) as answer:
        assert (answer.status, (await answer.json())["accepted"]) == (202, 1)
    async with asyncio.timeout(SEEN_LIMIT_S):
        while not (counted := await got("/v1/usage/events", customer=customer["id"], id="page-1")):
            await asyncio.sleep(POLL_S)
    assert (counted[0]["meter"], counted[0]["value"]) == (meter["id"], "3")


async def as_written(dev: Dev, page: str) -> list[Any]:
    """What the commands of a page of the documentation answer, typed one after another into one shell."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks = [block for block in found if re.search(r"\b(curl|call|show) ", block)]
    script = "\n".join(blocks).replace("http://127.0.0.1:8080", dev.url)
    shell = await asyncio.create_subprocess_exec(
        "bash",
        *("-eu", "-c", script),
        env={**os.environ, "TALLYBOOK_DATA_DIR": str(dev.folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await shell.communicate()
    assert shell.returncode == 0, said.decode()
    answers = [json.loads(line) for line in said.decode().splitlines()]
    assert not [answer for answer in answers if "code" in answer]
    return answers


async def test_the_three_requests_of_the_readme_run_as_they_stand(dev: Dev) -> None:
    await dev.until_well()
    ada, payment, balance, products, found = await as_written(dev, "README.md")
    assert (ada["object"], payment["amount"]) == ("customer", {"amount": 4200, "currency": "USD"})
    assert balance["balanced"]
    assert "Team" in {product["name"] for product in products["data"]}
    assert ada["id"] in {hit["id"] for hit in found["data"]}


async def test_the_guide_to_a_first_subscription_runs_as_it_stands(dev: Dev) -> None:
    await dev.until_well()
    answers = await as_written(dev, "docs/guides/first-subscription.md")
    objects = {answer["object"]: answer for answer in answers}
    assert objects["invoice_preview"]["invoice"]["total"] == {"amount": 16_899, "currency": "EUR"}
    assert [invoice["total"]["amount"] for invoice in objects["list"]["data"]] == [16_899]
    asked = objects["subscription_change_preview"]["invoice"]["total"]
    # 8 × 9.995 for 21 of the 31 days from the 15th on.
    assert objects["invoice_explanation"]["total"] == asked == {"amount": 5_417, "currency": "EUR"}
    # Lists follow the log, on a busy machine later than the guide's shell asks for them.
    customer = objects["statement"]["customer"]
    headers = {"Authorization": f"Bearer {(dev.folder / 'dev.key').read_text(encoding='utf-8').strip()}"}
    lines: list[dict[str, Any]] = []
    async with asyncio.timeout(SEEN_LIMIT_S):
        while len(lines) < 7:
            async with dev.http.get(f"{dev.url}/v1/customers/{customer}/statement", headers=headers) as answer:
                lines = (await answer.json())["lines"]["data"]
            await asyncio.sleep(POLL_S)
    assert [(line["type"], line["debit"]["amount"], line["credit"]["amount"]) for line in lines] == [
        ("invoice", 16_899, 0),
        ("payment", 0, 16_899),
        ("invoice", 5_417, 0),
        ("payment", 0, 5_417),
        ("credit_note", 0, 1_000),
        ("refund", 1_000, 0),
        ("invoice", 0, 14_020),
    ]
    assert objects["trial_balance"]["balanced"]


@pytest.mark.parametrize("role", ["processors-0", "projections-0", "relay-0"])
async def test_a_frozen_role_is_silent_in_health_on_the_console_and_in_the_log(dev: Dev, role: str) -> None:
    await dev.until_well()
    with frozen(dev.pid(role)):
        parts = await dev.until_health(lambda parts: role in parts and not parts[role]["ok"], f"{role} is frozen")
        silent_s = float(re.findall(r"no heartbeat for (\d+) s", parts[role]["detail"])[0])
        assert silent_s * 1000 >= SILENCE_MS
        await dev.until_said(f"{role} does not answer")
        await dev.until_logged("api-0", "part_fails", role)
    await dev.until_well()
    await dev.until_said(f"{role} works again")


async def test_a_role_that_was_started_again_is_watched_as_before(dev: Dev) -> None:
    await dev.until_well()
    ready = dev.journal("role_ready").count("projections-0")
    os.kill(dev.pid("projections-0"), signal.SIGKILL)
    await dev.until_journal("role_ready", "projections-0", ready + 1)
    told = {event: dev.journal(event).count("projections-0") for event in ("part_fails", "part_works")}
    with frozen(dev.pid("projections-0")):
        await dev.until_journal("part_fails", "projections-0", told["part_fails"] + 1)
    await dev.until_journal("part_works", "projections-0", told["part_works"] + 1)


async def test_a_frozen_gateway_is_told_by_those_who_need_it(dev: Dev) -> None:
    """It is the tax service, too."""
    await dev.until_well()
    needing = [f"processors-0: {part}" for part in ("gateway sandbox", "tax service")]
    with frozen(dev.pid("gateway-0")):
        parts = await dev.until_health(
            lambda parts: all(name in parts and not parts[name]["ok"] for name in needing), "the gateway is frozen"
        )
        assert all("gave no answer within" in parts[name]["detail"] for name in needing), parts
        for part in ("gateway sandbox", "tax service"):
            await dev.until_logged("processors-0", "part_fails", part)
        await dev.until_said("gateway-0 does not answer")
    await dev.until_well()


async def test_a_frozen_kafka_fails_everybody_who_needs_it(dev: Dev) -> None:
    await dev.until_well()
    needing = [f"{role}: kafka" for role in ("relay-0", "projections-0", "processors-0")]
    with frozen(dev.pid("Kafka")):
        parts = await dev.until_health(
            lambda parts: all(name in parts and not parts[name]["ok"] for name in needing), "Kafka is frozen"
        )
        assert all("gave no answer" in parts[name]["detail"] for name in needing)
        await dev.until_said("Kafka does not answer")
    await dev.until_well()


async def test_a_frozen_postgresql_is_told(dev: Dev) -> None:
    await dev.until_well()
    family = [psutil.Process(dev.pid("PostgreSQL")), *psutil.Process(dev.pid("PostgreSQL")).children()]
    with contextlib.ExitStack() as stack:
        for member in family:
            stack.enter_context(frozen(member.pid))
        await dev.until_health(
            lambda parts: "postgresql" in parts and not parts["postgresql"]["ok"], "PostgreSQL is frozen"
        )
        await dev.until_said("PostgreSQL does not answer")
    await dev.until_well()


@pytest.mark.parametrize("server", ["Kafka", "PostgreSQL"])
async def test_a_killed_server_is_started_again_and_said_so(dev: Dev, server: str) -> None:
    await dev.until_well()
    before = dev.pid(server)
    os.kill(before, signal.SIGKILL)
    await dev.until_said(f"{server} ended; it is started again")
    await dev.until_said(f"{server} runs again, pid")
    assert dev.pid(server) != before
    zombies = [each for each in dev.process.children() if each.status() == psutil.STATUS_ZOMBIE]
    assert zombies == []
    assert dev.journal("server_restarted")[-1] == server
    await dev.until_well()


async def test_every_restart_of_a_role_is_one_line_on_the_console_and_one_in_the_log(dev: Dev) -> None:
    await dev.until_well()
    before = dev.pid("processors-0")
    told = dev.journal("role_restarted").count("processors-0")
    os.kill(before, signal.SIGKILL)
    await dev.until_said(r"processors-0 ended \(SIGKILL\); started again, pid")
    assert dev.journal("role_restarted").count("processors-0") == told + 1
    assert dev.pid("processors-0") != before
    await dev.until_well()
