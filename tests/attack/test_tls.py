"""The whole API by its own TLS: what it tells and takes, also while strangers hang in handshakes and files change."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest
from pydantic import SecretStr

from cli.users import create_admin
from domain.identity.browser import SESSION_COOKIE
from host.supervisor import Supervisor
from infra.settings import Settings, SupervisorSettings, VaultSettings
from testing.api_client import MASTER_KEY
from testing.certificates import MadeCertificate, replace
from testing.people import PASSWORD
from tests.attack.target import ANSWER_TIMEOUT_S, POLL_S, Target
from tests.e2e.api_process import ApiProcess

HSTS_S = 86_400
HANDSHAKES = 40
ADA = "ada@example.com"
FROM_ELSEWHERE = {"X-Forwarded-For": "198.51.100.1"}
MIB = 2**20


@dataclass(kw_only=True)
class Secured:
    """The process, and the certificate that its files hold."""

    process: ApiProcess
    folder: Path
    made: MadeCertificate

    def client(self, **headers: str) -> httpx2.AsyncClient:
        """A client that trusts this certificate alone."""
        return httpx2.AsyncClient(base_url=self.process.url, verify=self.made.trusted(), headers=headers)


@pytest.fixture(scope="module")
async def secured(target: Target, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    """A second process on the same database. Its proxy is this machine; it looks at its files all the time."""
    folder: Path = tmp_path_factory.mktemp("secured")
    made = MadeCertificate()
    process = ApiProcess(
        target.dsn,
        folder,
        made,
        TALLYBOOK_API_HSTS_MAX_AGE_S=str(HSTS_S),
        TALLYBOOK_API_TLS_CHECK_S="0.05",
        TALLYBOOK_API_TLS_HANDSHAKES_MAX=str(HANDSHAKES),
        TALLYBOOK_API_TLS_HANDSHAKES_PER_ADDRESS_MAX=str(HANDSHAKES // 2),
        TALLYBOOK_API_TRUSTED_PROXIES="127.0.0.1",
        TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN="1000000",
    )
    process.start()
    try:
        yield Secured(process=process, folder=folder, made=made)
        assert process.is_running, "an attack ended the process"
        assert "Traceback" not in process.log
        assert "PRIVATE KEY" not in process.log
    finally:
        process.kill()


async def test_health_is_told_with_the_certificates_end_which_is_no_part_of_being_ready(secured: Secured) -> None:
    async with secured.client() as http:
        whole, ready = await http.get("/health"), await http.get("/health/ready")
        assert (whole.status_code, ready.status_code) == (200, 200)
    (part,) = [part for part in whole.json()["parts"] if part["name"] == "certificate"]
    assert part["ok"]
    assert part["detail"].startswith("ends ")
    assert "certificate" not in {part["name"] for part in ready.json()["parts"]}


async def test_browsers_are_told_to_insist_on_https_but_for_who_came_by_http_to_a_proxy(secured: Secured) -> None:
    async with secured.client() as http:
        own = await http.get("/health/live")
        assert own.headers["strict-transport-security"] == f"max-age={HSTS_S}"
        by_http = await http.get("/health/live", headers={**FROM_ELSEWHERE, "X-Forwarded-Proto": "http"})
        assert "strict-transport-security" not in by_http.headers


async def test_a_browser_from_elsewhere_signs_in_without_a_proxy_in_front(target: Target, secured: Secured) -> None:
    """HTTPS is what the request came by, and what our own page's address begins with."""
    settings = Settings(vault=VaultSettings(master_key=SecretStr(MASTER_KEY)))
    await create_admin(target.dsn, settings, tenant_id=target.tenant_id, email=ADA, name="Ada", password=PASSWORD)
    body = {"email": ADA, "password": PASSWORD, "kind": "browser"}
    async with secured.client(**FROM_ELSEWHERE) as http:
        by_http = {"Origin": secured.process.url, "X-Forwarded-Proto": "http"}
        refused = await http.post("/v1/auth/login", json=body, headers=by_http)
        assert (refused.status_code, refused.json()["code"]) == (403, "insecure_connection")
        plain_page = {"Origin": secured.process.url.replace("https", "http")}
        refused = await http.post("/v1/auth/login", json=body, headers=plain_page)
        assert (refused.status_code, refused.json()["code"]) == (403, "cross_site_request")
        signed_in = await http.post("/v1/auth/login", json=body, headers={"Origin": secured.process.url})
        assert signed_in.status_code == 200, signed_in.text
        cookie = signed_in.headers["set-cookie"]
        assert cookie.startswith(f"{SESSION_COOKIE}=")
        assert "; secure" in cookie.lower()


async def test_endless_handshakes_cost_bounded_memory_and_others_are_served(secured: Secured) -> None:
    process = psutil.Process(secured.process.pid)
    async with secured.client() as inside:
        await inside.get("/health/live")
        before = process.memory_info().rss
        wires = []
        for number in range(10 * HANDSHAKES):
            source = (f"127.0.5.{number % 200 + 1}", 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", secured.process.port, local_addr=source)
            # The begin of a ClientHello of 16,000 bytes, of which the most comes.
            writer.write(b"\x16\x03\x01\x3e\x80\x01\x00\x3e\x7c\x03\x03" + b"x" * 15_000)
            wires.append((reader, writer))
        async with secured.client() as late:
            assert (await late.get("/health/live")).status_code == 200
        assert (await inside.get("/health/live")).status_code == 200
        assert process.memory_info().rss - before < 32 * MIB
        for reader, writer in wires[: 9 * HANDSHAKES]:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b"", "those that came first were ended"
            writer.transport.abort()
        for _, writer in wires[9 * HANDSHAKES :]:
            writer.transport.abort()


async def test_a_new_certificate_is_served_without_a_restart_and_without_an_end(secured: Secured) -> None:
    second = MadeCertificate()
    async with secured.client() as before:
        assert (await before.get("/health/live")).status_code == 200
        replace(secured.folder / "tls.crt", second.certificate)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while "certificate_not_renewed" not in secured.process.log:
                await asyncio.sleep(POLL_S)
        async with secured.client() as still:
            assert (await still.get("/health/live")).status_code == 200, "half a pair is not taken"
        replace(secured.folder / "tls.key", second.key())
        secured.made = second
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while "certificate_renewed" not in secured.process.log:
                await asyncio.sleep(POLL_S)
        async with secured.client() as after:
            assert (await after.get("/health/live")).status_code == 200
        assert (await before.get("/health/live")).status_code == 200, "on its old connection"


async def test_who_asks_by_plain_http_gets_nothing_but_a_word_about_it(secured: Secured, target: Target) -> None:
    plain = secured.process.url.replace("https", "http")
    async with httpx2.AsyncClient(base_url=plain, headers=dict(target.authorized())) as http:
        refused = await http.get("/v1/products")
    assert (refused.status_code, refused.json()["code"]) == (400, "https_required")
    assert "strict-transport-security" not in refused.headers


def test_a_key_that_is_open_to_others_keeps_the_process_from_starting(target: Target, tmp_path: Path) -> None:
    made = MadeCertificate()
    process = ApiProcess(target.dsn, tmp_path, made)
    (tmp_path / "tls.key").chmod(0o644)
    assert process.launch().wait(timeout=ANSWER_TIMEOUT_S) == 1
    assert "is open to others (mode 0644): `chmod 600`" in " ".join(process.log.split())
    assert "Traceback" not in process.log


async def test_its_supervisor_and_status_know_it_by_its_certificate(target: Target, tmp_path: Path) -> None:
    environment = {
        "TALLYBOOK_DATABASE_URL": target.dsn,
        "TALLYBOOK_VAULT_MASTER_KEY": MASTER_KEY,
        "TALLYBOOK_DATA_DIR": str(tmp_path),
        **MadeCertificate().settings(tmp_path),
    }
    settings = SupervisorSettings(ready_timeout_s=ANSWER_TIMEOUT_S)
    async with Supervisor(tmp_path / "roles", settings, environment=environment) as supervisor:
        await supervisor.start("api", environment={"TALLYBOOK_API_PORT": "0"})
        await supervisor.wait_ready()
        # Whoever asks for the status need not have the API's settings.
        asked = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "status", "--json"),
            env={**os.environ, "TALLYBOOK_DATA_DIR": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await asked.communicate()
        (api,) = [part for part in json.loads(told)["parts"] if part["part"] == "api-0"]
        url = supervisor.role("api-0").endpoint.url
        assert url.startswith("https://")
        assert (api["state"], api["address"], api["why"]) == ("ready", url, None)
