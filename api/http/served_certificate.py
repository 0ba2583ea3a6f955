"""The certificate that the API serves with: taken from its files again once they were renewed, without a restart.

Connections that are open stay with what they began with; the next one gets the new certificate.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import structlog

from api.http import metrics
from infra.clock import Clock, system_clock
from infra.http.certificates import CertificateError, CertificateFiles
from infra.settings import ApiSettings, SettingsError
from infra.telemetry import PartHealth

PART: Final = "certificate"

_log: Final = structlog.stdlib.get_logger("api")


def certificate_files(api: ApiSettings) -> CertificateFiles | None:
    """Where certificate and key are; None where the API speaks plain HTTP. SettingsError: only one of them is named."""
    certificate, key = api.tls_certificate_file, api.tls_key_file
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        there, missing = ("CERTIFICATE", "KEY") if key is None else ("KEY", "CERTIFICATE")
        raise SettingsError(
            f"TALLYBOOK_API_TLS_{there}_FILE is set and TALLYBOOK_API_TLS_{missing}_FILE is not: the API serves HTTPS "
            "with both, plain HTTP with neither."
        )
    return CertificateFiles(certificate=certificate, key=key, min_version=api.tls_min_version)


def served_certificate(api: ApiSettings) -> "ServedCertificate | None":
    """What to serve with; None for plain HTTP. SettingsError where the files are no good."""
    files = certificate_files(api)
    if files is None:
        return None
    try:
        return ServedCertificate(files, api)
    except CertificateError as error:
        raise SettingsError(
            f"HTTPS cannot be served with TALLYBOOK_API_TLS_CERTIFICATE_FILE and TALLYBOOK_API_TLS_KEY_FILE: {error}"
        ) from None


class ServedCertificate:
    """The pair in use. CertificateError where there is none to begin with.

    One that has ended is served all the same, with a warning: whoever verifies it refuses it either way, others would
    lose what they have, and a process that did not start would not take up the new one either, once that is there.
    """

    def __init__(self, files: CertificateFiles, api: ApiSettings, *, clock: Clock = system_clock) -> None:
        self._files = files
        self._check_s = api.tls_check_s
        self._notice = timedelta(days=api.tls_notice_days)
        self._clock = clock
        self._pair = files.load()
        self._refused = ""
        self._warned = ""
        self.tell()

    @property
    def context(self) -> ssl.SSLContext:
        """What a connection that begins now is served with."""
        return self._pair.context

    def look(self) -> None:
        """Take up the files if they are others than those in use; keep what is in use where they are no good."""
        try:
            if self._files.stamp() == self._pair.stamp:
                return
            found = self._files.load()
            now = self._clock()
            if found.ends_at <= now < self._pair.ends_at:
                raise CertificateError(f"{self._files.certificate} ended at {found.ends_at.isoformat()}.")
        except CertificateError as error:
            # Between the writing of the one file and the other this passes; what stays is told once.
            if str(error) != self._refused:
                self._refused = str(error)
                _log.warning("certificate_not_renewed", why=self._refused)
            return
        self._pair, self._refused = found, ""
        _log.info("certificate_renewed", ends_at=found.ends_at.isoformat())
        self.tell()

    def health(self) -> PartHealth:
        """Whether it ends soon, or has: that is shown, and stops nothing."""
        left = self._pair.ends_at - self._clock()
        ends = f"{self._pair.ends_at:%Y-%m-%d %H:%M} UTC"
        if left <= timedelta():
            return PartHealth(name=PART, ok=False, detail=f"ended {ends}: clients refuse it; renew its files")
        soon = left <= self._notice
        return PartHealth(name=PART, ok=not soon, detail=f"ends {ends}{': renew its files' if soon else ''}")

    @contextlib.asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Look again and again while the block runs."""

        async def watch() -> None:
            while True:
                await asyncio.sleep(self._check_s)
                try:
                    await asyncio.to_thread(self.look)  # a folder on the network may be slow
                    self.tell()
                except Exception:  # whatever it is, it must not be the last look: months later the certificate ends
                    _log.exception("certificate_not_looked_at")

        task = asyncio.create_task(watch(), name="renew the certificate")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def tell(self) -> None:
        """Say when it ends, and warn once when that is soon or has been."""
        metrics.CERTIFICATE_ENDS.set(self._pair.ends_at.timestamp())
        part = self.health()
        if not part.ok and part.detail != self._warned:
            _log.warning("certificate_ends", detail=part.detail)
        self._warned = "" if part.ok else part.detail
