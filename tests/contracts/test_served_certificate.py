"""The files of a certificate and its key: taken as a pair that can be served with, or refused with what to do."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from prometheus_client import REGISTRY

from api.http.served_certificate import ServedCertificate, served_certificate
from infra.clock import Clock, system_clock
from infra.http.certificates import CertificateFiles
from infra.settings import ApiSettings, SettingsError
from testing.certificates import LASTS, MadeCertificate, replace

SOMEBODY = 12_345
"""A user who is not root, where the tests run as root."""


@pytest.fixture
def made() -> MadeCertificate:
    return MadeCertificate()


@pytest.fixture
def files(tmp_path: Path, made: MadeCertificate) -> CertificateFiles:
    certificate, key = made.write(tmp_path)
    return CertificateFiles(certificate=certificate, key=key)


def settings(files: CertificateFiles) -> ApiSettings:
    return ApiSettings(tls_certificate_file=files.certificate, tls_key_file=files.key)


def served(files: CertificateFiles, clock: Clock = system_clock) -> ServedCertificate:
    return ServedCertificate(files, settings(files), clock=clock)


def refused(files: CertificateFiles) -> str:
    """Why the API does not start with these files."""
    with pytest.raises(SettingsError) as caught:
        served_certificate(settings(files))
    assert "TALLYBOOK_API_TLS_KEY_FILE" in str(caught.value)
    return str(caught.value)


def test_without_files_there_is_no_tls() -> None:
    assert served_certificate(ApiSettings()) is None
    assert ApiSettings().scheme == "http"


def test_one_file_alone_is_refused_and_the_other_is_named(files: CertificateFiles) -> None:
    with pytest.raises(SettingsError, match="TLS_CERTIFICATE_FILE is set and TALLYBOOK_API_TLS_KEY_FILE is not"):
        served_certificate(ApiSettings(tls_certificate_file=files.certificate))
    with pytest.raises(SettingsError, match="TLS_KEY_FILE is set and TALLYBOOK_API_TLS_CERTIFICATE_FILE is not"):
        served_certificate(ApiSettings(tls_key_file=files.key))


def test_a_key_of_another_certificate_is_refused(files: CertificateFiles) -> None:
    replace(files.key, MadeCertificate().key())
    assert f"{files.key} does not belong to the first certificate in {files.certificate}" in refused(files)


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_a_file_that_is_not_there_is_refused(files: CertificateFiles, name: str) -> None:
    missing: Path = getattr(files, name)
    missing.unlink()
    assert f"{missing} cannot be read: No such file" in refused(files)


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_what_is_no_pem_is_refused_and_not_shown(files: CertificateFiles, name: str) -> None:
    other: Path = getattr(files, name)
    replace(other, b"hunter2")
    why = refused(files)
    assert str(other) in why
    assert "PEM" in why
    assert "hunter2" not in why


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(
    files: CertificateFiles, made: MadeCertificate
) -> None:
    replace(files.key, made.key(b"hunter2"))
    assert f"{files.key} is locked by a passphrase: write it without one" in refused(files)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660, 0o601])
def test_a_key_that_is_open_to_others_is_refused_and_the_message_says_what_to_do(
    files: CertificateFiles, mode: int
) -> None:
    files.key.chmod(mode)
    assert f"{files.key} is open to others (mode {mode:04o}): `chmod 600`" in refused(files)
    files.key.chmod(0o600)
    assert served(files)


def test_a_group_reads_a_key_of_roots_and_no_other(files: CertificateFiles) -> None:
    """So a service gets at a key that it does not own; who owns it could as well close it."""
    files.key.chmod(0o640)
    if os.geteuid() == 0:
        assert served(files)
        os.chown(files.key, SOMEBODY, -1)
    assert "is open to others (mode 0640)" in refused(files)


def test_one_that_has_ended_is_served_and_warned_of(tmp_path: Path) -> None:
    certificate, key = MadeCertificate(ends_in=-timedelta(hours=1)).write(tmp_path)
    with structlog.testing.capture_logs() as lines:
        over = served(CertificateFiles(certificate=certificate, key=key))
    assert [(line["event"], line["log_level"]) for line in lines] == [("certificate_ends", "warning")]
    assert not over.health().ok
    assert over.health().detail.endswith("clients refuse it; renew its files")


def test_its_end_is_told_in_health_and_metrics_and_warned_of_once_in_time(files: CertificateFiles) -> None:
    now = datetime.now(UTC)

    def clock() -> datetime:
        return now

    with structlog.testing.capture_logs() as lines:
        certificate = served(files, clock)
        ends = REGISTRY.get_sample_value("tallybook_api_certificate_ends_timestamp_seconds")
        assert ends is not None
        assert abs(ends - (now + LASTS).timestamp()) < timedelta(hours=1).total_seconds()
        assert certificate.health().ok
        certificate.tell()
        now += LASTS - timedelta(days=ApiSettings().tls_notice_days)
        assert not certificate.health().ok
        assert certificate.health().detail.endswith(": renew its files")
        certificate.tell()
        certificate.tell()
    assert [line["event"] for line in lines] == ["certificate_ends"]


# ── renewal ──


def test_files_that_are_as_they_were_change_nothing(files: CertificateFiles) -> None:
    certificate = served(files)
    before = certificate.context
    certificate.look()
    assert certificate.context is before


@pytest.mark.parametrize("first", ["certificate", "key"])
def test_of_a_half_written_pair_nothing_is_taken_until_it_is_whole(files: CertificateFiles, first: str) -> None:
    certificate, second = served(files), MadeCertificate()
    before = certificate.context
    steps = [(files.certificate, second.certificate), (files.key, second.key())]
    if first == "key":
        steps.reverse()
    with structlog.testing.capture_logs() as lines:
        replace(*steps[0])
        for _ in range(3):
            certificate.look()
            assert certificate.context is before
        replace(*steps[1])
        certificate.look()
    assert certificate.context is not before
    assert [line["event"] for line in lines] == ["certificate_not_renewed", "certificate_renewed"], "each told once"
    assert "PRIVATE KEY" not in repr(lines)


def test_a_file_that_is_cut_short_or_away_keeps_what_is_served(files: CertificateFiles) -> None:
    certificate, second = served(files), MadeCertificate()
    before = certificate.context
    for content in (second.certificate[:200], b"", None):
        if content is None:
            files.certificate.unlink()
        else:
            replace(files.certificate, content)
        certificate.look()
        assert certificate.context is before
    replace(files.certificate, second.certificate)
    replace(files.key, second.key(), mode=0o644)
    certificate.look()
    assert certificate.context is before
    files.key.chmod(0o600)
    certificate.look()
    assert certificate.context is not before, "rights alone were what was wrong"


def test_one_that_has_ended_does_not_replace_one_that_has_not(files: CertificateFiles) -> None:
    certificate = served(files)
    before = certificate.context
    MadeCertificate(ends_in=-timedelta(hours=1)).write(files.certificate.parent)
    certificate.look()
    assert certificate.context is before
