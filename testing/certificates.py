"""Certificates made for a test, of the sort that a server has: its key, and what it is called."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME: Final = "api.test"
LASTS: Final = timedelta(days=90)
LOOPBACK: Final = IPv4Address("127.0.0.1")


class MadeCertificate:
    """A pair in PEM, signed by itself."""

    def __init__(self, *, ends_in: timedelta = LASTS) -> None:
        now = datetime.now(UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + min(timedelta(), ends_in) - timedelta(days=1))
            .not_valid_after(now + ends_in)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(LOOPBACK)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate(self) -> bytes:
        """In PEM."""
        return self._certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """As a client sees it."""
        return self._certificate.public_bytes(Encoding.DER)

    def key(self, passphrase: bytes = b"") -> bytes:
        """The private key in PEM."""
        lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Both as files, as whoever renews them writes them: each whole, one after the other."""
        certificate, key = folder / "tls.crt", folder / "tls.key"
        replace(certificate, self.certificate)
        replace(key, self.key())
        return certificate, key

    def settings(self, folder: Path) -> dict[str, str]:
        """The variables of an API that serves with it; its files are written."""
        certificate, key = self.write(folder)
        return {"TALLYBOOK_API_TLS_CERTIFICATE_FILE": str(certificate), "TALLYBOOK_API_TLS_KEY_FILE": str(key)}

    def trusted(self) -> ssl.SSLContext:
        """A client that trusts this certificate and no other."""
        return ssl.create_default_context(cadata=self.certificate.decode())


def replace(file: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole, in place of the one that is there."""
    draft = file.with_suffix(".new")
    draft.touch(mode=mode)
    draft.chmod(mode)
    draft.write_bytes(content)
    draft.replace(file)
