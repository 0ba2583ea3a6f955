"""The issuers whose access tokens are believed beside our own, each with the public keys that a file of its holds.

Nothing is fetched: whoever runs the cell puts the file there, and a process sees a change of it by itself, so that an
issuer's rotation of keys wants no restart. A file that cannot be read, or holds what it must not, changes nothing: the
keys before go on, and the log says why, without a word of what the file holds.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from infra.settings import AuthSettings, SettingsError

FOREIGN_KEY_MIN_BITS: Final = 2048
_VARIABLE: Final = "TALLYBOOK_AUTH_FOREIGN_ISSUERS"

log = structlog.get_logger(__name__)

State = tuple[int, int, int]
"""Which file it is, when it was written (ns) and how long it is (bytes): another state, another content."""


@dataclass(slots=True, kw_only=True)
class _Issuer:
    file: Path
    keys: KeySet
    state: State
    complaint: str = ""


class ForeignIssuers:
    """The issuers of the setting. A file is looked at when a key of it is asked for, at most every `…_LOOK_S`.

    Raises SettingsError where a file is wrong at the start.
    """

    def __init__(self, settings: AuthSettings, *, now_s: Callable[[], float] = monotonic) -> None:
        self._look_s = settings.foreign_issuers_look_s
        self._now_s = now_s
        self._looked_at_s = now_s()
        self._issuers = {
            issuer: _Issuer(file=file, state=_state(file), keys=_key_set(file))
            for issuer, file in _files(settings).items()
        }

    def __contains__(self, issuer: object) -> bool:
        return issuer in self._issuers

    def key(self, issuer: str, kid: str) -> RSAKey | None:
        """The issuer's key of this name, as its file has it now or had it a moment ago."""
        if self._now_s() - self._looked_at_s >= self._look_s:
            self._looked_at_s = self._now_s()
            for name, each in self._issuers.items():
                _look(name, each)
        found = next((key for key in self._issuers[issuer].keys if key.kid == kid), None)
        return found if isinstance(found, RSAKey) else None


def _look(issuer: str, held: _Issuer) -> None:
    """Take the keys of a file that has changed; one that is wrong is tried again at each look, and told of once."""
    try:
        state = _state(held.file)
        if state == held.state:
            return
        held.keys, held.state, held.complaint = _key_set(held.file), state, ""
    except SettingsError as error:
        if held.complaint != str(error):
            held.complaint = str(error)
            log.warning("foreign_issuer_keys_stay", issuer=issuer, why=held.complaint)
    else:
        log.info("foreign_issuer_keys_changed", issuer=issuer, keys=len(held.keys.keys))


def _files(settings: AuthSettings) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for pair in filter(None, (part.strip() for part in settings.foreign_issuers.split(","))):
        issuer, _, name = (part.strip() for part in pair.partition("="))
        if not issuer or not name or issuer == settings.issuer or issuer in found:
            raise SettingsError(
                f"{_VARIABLE} is a list of issuer=file, such as "
                f"https://login.example.com=/etc/tallybook/login.jwks, each issuer once and not our own; not {pair!r}."
            )
        found[issuer] = Path(name)
    return found


def _state(file: Path) -> State:
    try:
        found = file.stat()
    except OSError as error:
        raise _no_key_set(file, error) from error
    return found.st_ino, found.st_mtime_ns, found.st_size


def _key_set(file: Path) -> KeySet:
    try:
        document = json.loads(file.read_bytes())
        keys = KeySet.import_key_set(document)
        is_named = all(key.get("kid") for key in document["keys"])
    except (OSError, JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _no_key_set(file, error) from error
    for key in keys:
        if not isinstance(key, RSAKey) or key.public_key.key_size < FOREIGN_KEY_MIN_BITS:
            raise SettingsError(
                f"{_VARIABLE}: {file} may hold RSA keys of {FOREIGN_KEY_MIN_BITS} bits or more, and nothing else."
            )
        if key.is_private:
            raise SettingsError(
                f"{_VARIABLE}: {file} holds a private key, which is nobody's but the issuer's. Leave it out."
            )
    if not is_named:
        raise SettingsError(f"{_VARIABLE}: {file} holds a key without `kid`; tokens name their key by it.")
    return keys


def _no_key_set(file: Path, error: Exception) -> SettingsError:
    """What is wrong with a file, without what it holds: a private key may be there that should not."""
    told = (
        error.strerror if isinstance(error, OSError) else error.msg if isinstance(error, json.JSONDecodeError) else ""
    )
    return SettingsError(f"{_VARIABLE}: {file} does not hold a JSON Web Key Set: {told or type(error).__name__}")
