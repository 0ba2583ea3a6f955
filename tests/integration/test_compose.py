"""docker-compose.yml and the Dockerfile agree with the roles, the settings and the embedded servers."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from host.embedded.kafka import PROPERTIES
from host.registry import ROLES
from host.supervisor import PORT_VARIABLES
from infra.settings import load_settings, setting_rows
from testing.services import KAFKA_IMAGE, POSTGRES_IMAGE

ROOT = Path(__file__).parents[2]
OURS = {*ROLES, "migrate"}
# What differs on purpose between the container and the embedded broker: where it lives, and how one node is set up.
PLACES = {"listeners", "advertised.listeners", "log.dirs", "controller.quorum.voters"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return found


def test_every_role_runs_and_nothing_else(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == OURS | {"postgres", "kafka"}
    for role in ROLES:
        assert compose["services"][role]["command"] == ["run", role]


def test_the_servers_are_the_stock_images_that_we_test_with(compose: dict[str, Any]) -> None:
    assert compose["services"]["postgres"]["image"] == POSTGRES_IMAGE
    assert compose["services"]["kafka"]["image"] == KAFKA_IMAGE
    locked = (ROOT / "host/embedded/jars.lock").read_text(encoding="ascii")
    assert f":kafka_2.13:{KAFKA_IMAGE.rpartition(':')[2]}:" in locked


def test_every_variable_is_a_setting(compose: dict[str, Any]) -> None:
    known = {row.variable for row in setting_rows()}
    for name in OURS:
        assert set(compose["services"][name]["environment"]) <= known


def test_the_settings_load_with_the_roles_environment(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"POSTGRES_PASSWORD": "pw", "TALLYBOOK_VAULT_MASTER_KEY": "a2V5", "TALLYBOOK_GATEWAY_API_KEY": "sk"}
    for role in ROLES:
        for name, value in compose["services"][role]["environment"].items():
            filled = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: given[match.group(1)], value)
            assert "${" not in filled
            monkeypatch.setenv(name, filled)
        settings = load_settings()
        assert settings.general.environment == "production"
        assert settings.database.url == SecretStr("postgresql://postgres:pw@postgres:5432/tallybook")
        assert settings.kafka.bootstrap == "kafka:9092"


def test_no_secret_is_written_down(compose: dict[str, Any]) -> None:
    secrets = {row.variable for row in setting_rows() if re.search("KEY|SECRET|URL", row.variable)}
    for name in OURS:
        for variable, value in compose["services"][name]["environment"].items():
            if variable in secrets - {"TALLYBOOK_GATEWAY_URL"}:
                assert ":?" in value, f"{name}: {variable} must come from outside"


def test_each_role_is_probed_on_the_port_that_it_is_told(compose: dict[str, Any]) -> None:
    for role in ROLES:
        service = compose["services"][role]
        port = service["environment"][PORT_VARIABLES[role]]
        assert f"http://127.0.0.1:{port}/health/ready" in service["healthcheck"]["test"][-1]
    api = compose["services"]["api"]
    assert api["ports"] == [f"127.0.0.1:8080:{api['environment']['TALLYBOOK_API_PORT']}"]


def test_a_role_starts_after_the_migration_and_the_broker(compose: dict[str, Any]) -> None:
    for role in ROLES:
        after = compose["services"][role]["depends_on"]
        assert after["migrate"]["condition"] == "service_completed_successfully"
        assert after["kafka"]["condition"] == "service_healthy"


def test_the_broker_is_set_up_as_the_embedded_one(compose: dict[str, Any]) -> None:
    embedded = dict(line.split("=", 1) for line in PROPERTIES.splitlines())
    environment = compose["services"]["kafka"]["environment"]
    container = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in environment.items()}
    for name, value in container.items():
        if name not in PLACES:
            assert embedded[name] == value, name


def test_the_image_holds_every_package_and_only_locked_dependencies() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"^COPY (\w+) \1$", text, flags=re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "testing", "benchmarks"}
    assert copied == packages
    assert "--require-hashes" in text
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == packages | {"requirements-runtime.lock"}


def test_the_image_has_the_versions_that_are_tested() -> None:
    def versions(name: str) -> set[str]:
        return {line.split()[0] for line in (ROOT / name).read_text().splitlines() if re.match(r"[a-z0-9]", line)}

    assert versions("requirements-runtime.lock") < versions("requirements.lock")


def test_the_locks_name_no_host() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert "://" not in lock.read_text(encoding="utf-8")
    assert "://" not in (ROOT / "host/embedded/jars.lock").read_text(encoding="ascii")
