"""A server's certificate and its key, read from files as one pair, and whether the pair can be served with.

Whoever renews a certificate writes two files, one after the other. So a pair is taken whole or not at all, as a context
of its own: one that is in use and loaded into would, where the new key does not belong to the new certificate, be left
with neither.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption, nothing else. TLS 1.3 has no others."""

VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = MappingProxyType(
    {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
)
_OF_OTHERS: Final = 0o007
_OF_THE_GROUP: Final = 0o070
_READ_BY_THE_GROUP: Final = 0o040

Stamp = tuple[tuple[int, ...], ...]


class CertificateError(Exception):
    """The files cannot be served with; the message names the one, says why, and what to do. It holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A pair that can be served with, until it ends: then clients refuse it."""

    context: ssl.SSLContext
    ends_at: datetime
    stamp: Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where a certificate is, with those that lead to its root behind it, and where its private key is; both PEM.

    `min_version` is the oldest version of TLS that is spoken, one of VERSIONS.
    """

    certificate: Path
    key: Path
    min_version: str = "1.2"

    def stamp(self) -> Stamp:
        """Another one tells that a file was written, replaced or given other rights. CertificateError: one is away."""
        return _stamp(_stat(self.certificate)), _stamp(_stat(self.key))

    def load(self) -> Certificate:
        """Read both. CertificateError where they are no pair, cannot be read, or others can read the key, too."""
        stamp = self.stamp()
        _check_closed(self.key)
        leaf = _leaf(self.certificate)
        context = self._context()
        if self.stamp() != stamp:
            raise CertificateError(f"{self.certificate} or {self.key} is just being written.")
        return Certificate(context=context, ends_at=leaf.not_valid_after_utc, stamp=stamp)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.min_version]
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_RENEGOTIATION

        def passphrase() -> str:
            # Without this OpenSSL would ask on the terminal, and wait.
            raise CertificateError(f"{self.key} is locked by a passphrase: write it without one (`openssl pkey`).")

        try:
            context.load_cert_chain(self.certificate, self.key, password=passphrase)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                why = f"The key in {self.key} does not belong to the first certificate in {self.certificate}."
            else:
                why = f"{self.certificate} and {self.key} cannot be used: {error.reason or 'no private key in PEM'}."
            raise CertificateError(why) from None
        except OSError as error:
            raise _unreadable(self.key, error) from None
        return context


def pin_of(certificate: Path) -> bytes:
    """The SHA-256 of a file's certificate, by which its server is known whatever it is called and wherever it listens.

    Raises CertificateError.
    """
    return sha256(_leaf(certificate).public_bytes(Encoding.DER)).digest()


def _leaf(certificate: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except OSError as error:
        raise _unreadable(certificate, error) from None
    except ValueError:
        raise CertificateError(f"{certificate} holds no certificate in PEM.") from None


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise _unreadable(file, error) from None


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _check_closed(key: Path) -> None:
    """As PostgreSQL has it: a key is its owner's alone, but that root may let one group read it, and so a service."""
    found = _stat(key)
    group = found.st_mode & _OF_THE_GROUP
    if found.st_mode & _OF_OTHERS or (group and (found.st_uid != 0 or group != _READ_BY_THE_GROUP)):
        raise CertificateError(
            f"{key} is open to others (mode {found.st_mode & 0o777:04o}): `chmod 600`; 0640 where root owns it."
        )


def _unreadable(file: Path, error: OSError) -> CertificateError:
    return CertificateError(
        f"{file} cannot be read: {error.strerror}. Name another one, or let the user read it that runs this process."
    )
