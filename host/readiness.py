"""Whether a role's process is ready, and what fails if it is not; and how it is known where it speaks HTTPS."""

import json
from pathlib import Path
from typing import Final, Literal, NamedTuple

import aiohttp

from host.embedded.process import LOOPBACK
from infra.http.certificates import CertificateError, pin_of

PINS: Final = 2
"""Certificates of one file that are known: a process serves the one before for a while after it was renewed."""


class Readiness(NamedTuple):
    """What a role's process said, or that it said nothing; and why, unless it is ready."""

    state: Literal["ready", "not ready", "does not answer"]
    why: str = ""

    @property
    def failure(self) -> str:
        """What to say of it; empty where it is ready."""
        if self.state == "ready":
            return ""
        return f"is not ready: {self.why}" if self.state == "not ready" else f"{self.state}: {self.why}"


class Endpoint:
    """Where a role's process answers its probes. `certificate_file` is what it serves HTTPS with; empty: plain HTTP.

    A process of our own is known by its certificate itself. So neither its names matter, of which none is the
    loopback's, nor who signed it, nor when it ends; and no other program on its port, which has not its key, is taken
    for it: the pin is compared before anything is asked.
    """

    def __init__(self, port: int, certificate_file: str = "") -> None:
        self.port = port
        self.certificate_file = certificate_file
        self._pins: list[bytes] = []

    @property
    def url(self) -> str:
        """Its address on this machine, without a slash at the end."""
        return f"{'https' if self.certificate_file else 'http'}://{LOOPBACK}:{self.port}"

    def _known_by(self) -> list[aiohttp.Fingerprint | bool]:
        """How to know it, each to be tried until one holds. CertificateError where its file cannot be read."""
        if not self.certificate_file:
            return [True]
        try:
            pin = pin_of(Path(self.certificate_file))
        except CertificateError:
            if not self._pins:
                raise
        else:
            self._pins = [pin, *(each for each in self._pins if each != pin)][:PINS]
        return [aiohttp.Fingerprint(pin) for pin in self._pins]

    async def readiness(self, session: aiohttp.ClientSession) -> Readiness:
        """Ask it."""
        try:
            pins = self._known_by()
        except CertificateError as error:
            return Readiness("does not answer", str(error))
        why = ""
        for pin in pins:
            try:
                async with session.get(f"{self.url}/health/ready", ssl=pin) as answer:
                    if answer.status == 200:
                        return Readiness("ready")
                    return Readiness("not ready", failing_parts(await answer.read()) or str(answer.status))
            except aiohttp.ServerFingerprintMismatch:
                why = f"it shows another certificate than {self.certificate_file} holds"
            except TimeoutError:
                return Readiness("does not answer", "frozen, or far too busy")
            except aiohttp.ClientError as error:
                return Readiness("does not answer", str(error))
        return Readiness("does not answer", why)


def failing_parts(body: bytes) -> str:
    """The failing parts of a role's answer, with their reasons; empty where it names none."""
    try:
        told = json.loads(body)
        return "; ".join(f"{part['name']}: {part['detail']}" for part in told["parts"] if not part["ok"])
    except (ValueError, KeyError, TypeError):
        return ""
