"""Settings: documented, checked, and closed to typos; secrets stay secret."""

import os
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway_adapters.tax.opening import tax_service_from
from infra.settings import (
    PARTS,
    Settings,
    SettingsError,
    VaultSettings,
    data_dir,
    data_path,
    gateway_api_key,
    load_settings,
    setting_rows,
    settings_markdown,
    vault_master_key,
    write_secret_once,
)
from tests.domain.random_cases import SEED_VARIABLE

UNITS_IN_NAMES = {"_ms": "ms", "_s": "s", "_bytes": "bytes", "_mib": "MiB"}


@pytest.fixture(autouse=True)
def only_these(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("TALLYBOOK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TALLYBOOK_DATA_DIR", str(tmp_path / "data"))


def test_every_setting_says_what_it_is_for_and_in_what_unit() -> None:
    rows = list(setting_rows())
    assert len({row.variable for row in rows}) == len(rows)
    for row in rows:
        assert row.about.endswith("."), row.variable
        for ending, unit in UNITS_IN_NAMES.items():
            name = row.variable.lower()
            if name.endswith(ending) and not name.endswith(f"_per{ending}"):
                assert row.unit == unit, row.variable
        assert f"`{row.variable}`" in settings_markdown()


def test_a_choice_shows_its_values() -> None:
    about = {row.variable: row.about for row in setting_rows()}
    assert about["TALLYBOOK_TELEMETRY_LOG_FORMAT"].endswith("One of json, console.")
    assert "One of development, test, production." in about["TALLYBOOK_ENVIRONMENT"]


def test_what_is_not_of_its_form_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYBOOK_API_CORS_ORIGINS", "https://shop.example.com/")
    with pytest.raises(SettingsError, match=r"_CORS_ORIGINS is not of its form: Origins whose .* without a slash"):
        load_settings()


def test_who_only_looks_makes_no_folder(tmp_path: Path) -> None:
    assert data_path(load_settings()) == tmp_path / "data"
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_is_a_file_is_told_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TALLYBOOK_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(SettingsError, match="cannot be made a folder: File exists"):
        data_dir(load_settings())


def test_every_number_has_a_unit() -> None:
    for part in PARTS:
        for name, field in part.model_fields.items():
            if field.annotation in (int, float):
                assert isinstance(field.json_schema_extra, dict)
                assert field.json_schema_extra["unit"], f"{part.__name__}.{name}"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYBOOK_WRITER_BATCH_MAX_EVENTS", "7")
    assert load_settings().writer.batch_max_events == 7


def test_the_variables_of_the_tests_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a test starts inherits them, and loads settings."""
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "quick")
    monkeypatch.setenv(SEED_VARIABLE, "7")
    load_settings()


def test_a_typo_is_refused_with_the_right_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYBOOK_WRITER_BATCH_MAX_EVENT", "7")
    with pytest.raises(SettingsError, match="did you mean TALLYBOOK_WRITER_BATCH_MAX_EVENTS"):
        load_settings()


def test_a_wrong_value_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYBOOK_API_PORT", "hunter2")
    with pytest.raises(SettingsError, match="TALLYBOOK_API_PORT: ") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in setting_rows():
        # A database's address holds a password; a gateway's and our own hold none, and are shown.
        is_shown = row.variable.endswith(("GATEWAY_URL", "PUBLIC_URL", "TAX_SERVICE_URL"))
        if row.variable.endswith(("_KEY", "_URL", "_SECRETS")) and not is_shown:
            monkeypatch.setenv(row.variable, "hunter2")
    assert "hunter2" not in repr(load_settings())


def test_in_development_one_master_key_is_made_for_all_who_start_at_once(tmp_path: Path) -> None:
    settings = load_settings()
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(vault_master_key(settings))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert (tmp_path / "data" / "vault.master-key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["vault.master-key"]


def test_in_production_no_master_key_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TALLYBOOK_ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match="TALLYBOOK_VAULT_MASTER_KEY is not set"):
        vault_master_key(load_settings())
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("key", "what"), [("%%%", "not base64"), ("c2hvcnQ=", "must hold 32 bytes")])
def test_a_master_key_of_another_form_is_refused(key: str, what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        vault_master_key(Settings(vault=VaultSettings(master_key=SecretStr(key))))


def test_a_secret_is_never_replaced(tmp_path: Path) -> None:
    write_secret_once(tmp_path / "secret", "first")
    write_secret_once(tmp_path / "secret", "second")
    assert (tmp_path / "secret").read_text() == "first"


def test_production_takes_no_gateways_key_for_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gateway_api_key(load_settings()) == "sk_sandbox"
    monkeypatch.setenv("TALLYBOOK_ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match="TALLYBOOK_GATEWAY_API_KEY is not set"):
        gateway_api_key(load_settings())
    monkeypatch.setenv("TALLYBOOK_GATEWAY_API_KEY", "sk_own")
    assert gateway_api_key(load_settings()) == "sk_own"


async def test_a_tax_service_is_the_one_that_is_set_with_its_key_else_the_sandbox_and_in_production_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox = tax_service_from(load_settings())
    assert sandbox is not None
    await sandbox.close()
    monkeypatch.setenv("TALLYBOOK_ENVIRONMENT", "production")
    assert tax_service_from(load_settings()) is None
    monkeypatch.setenv("TALLYBOOK_TAX_SERVICE_URL", "https://tax.example.com")
    with pytest.raises(SettingsError, match="TALLYBOOK_TAX_SERVICE_API_KEY is not set"):
        tax_service_from(load_settings())
    monkeypatch.setenv("TALLYBOOK_TAX_SERVICE_API_KEY", "secret of the service")
    service = tax_service_from(load_settings())
    assert service is not None
    await service.close()
    assert "secret of the service" not in repr(load_settings())
