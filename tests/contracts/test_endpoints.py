"""A process of our own is asked whether it is ready; by HTTPS once it has shown the certificate that is its own."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from host.readiness import Endpoint, Readiness
from host.supervisor import RoleProcess
from testing.certificates import MadeCertificate, replace
from tests.contracts.tls_server import Server, serving

READY = Readiness("ready")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as open_session:
        yield open_session


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as running:
        yield running


def endpoint(server: Server) -> Endpoint:
    return Endpoint(server.port, str(server.folder / "tls.crt"))


async def test_it_is_known_by_its_certificate_whatever_that_says_of_names(
    server: Server, session: aiohttp.ClientSession
) -> None:
    known = endpoint(server)
    assert known.url == f"https://127.0.0.1:{server.port}"
    assert await known.readiness(session) == READY
    assert READY.failure == ""


async def test_one_that_has_ended_is_known_as_well(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with serving(tmp_path, MadeCertificate(ends_in=-timedelta(hours=1))) as server:
        assert await endpoint(server).readiness(session) == READY


async def test_a_stranger_on_its_port_is_not_taken_for_it_and_is_asked_nothing(
    server: Server, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    other = tmp_path / "other.crt"
    replace(other, MadeCertificate().certificate)
    found = await Endpoint(server.port, str(other)).readiness(session)
    assert found.failure == f"does not answer: it shows another certificate than {other} holds"
    assert server.server.server_state.total_requests == 0


async def test_while_its_certificate_is_renewed_it_is_known_by_both(
    server: Server, session: aiohttp.ClientSession
) -> None:
    known, second = endpoint(server), MadeCertificate()
    assert await known.readiness(session) == READY
    second.write(server.folder)
    assert await known.readiness(session) == READY, "the file is new, the process has the old one"
    server.certificate.look()
    assert await known.readiness(session) == READY
    (server.folder / "tls.crt").unlink()
    assert await known.readiness(session) == READY, "what was known stays known"


async def test_a_certificate_that_cannot_be_read_is_told(server: Server, session: aiohttp.ClientSession) -> None:
    missing = server.folder / "missing.crt"
    found = await Endpoint(server.port, str(missing)).readiness(session)
    assert found.failure.startswith(f"does not answer: {missing} cannot be read: No such file")


async def test_a_port_that_speaks_https_is_no_ready_process_by_plain_http(
    server: Server, session: aiohttp.ClientSession
) -> None:
    plain = Endpoint(server.port)
    assert plain.url == f"http://127.0.0.1:{server.port}"
    assert await plain.readiness(session) == Readiness("not ready", "400")


def test_a_role_is_told_of_its_certificate_by_its_own_environment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "TALLYBOOK_API_TLS_CERTIFICATE_FILE"
    monkeypatch.setenv(variable, "/etc/tls.crt")
    assert RoleProcess("api", 0, [], {}).endpoint.certificate_file == "/etc/tls.crt"
    assert RoleProcess("api", 0, [], {variable: "/other.crt"}).endpoint.certificate_file == "/other.crt"
    assert RoleProcess("api", 0, [], {variable: ""}).endpoint.certificate_file == ""
    assert RoleProcess("relay", 0, [], {}).endpoint.certificate_file == "", "its probes are plain HTTP"
