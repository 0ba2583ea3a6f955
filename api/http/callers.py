"""Where a request comes from: the address, whether nobody on the way can read it, and the program that sent it."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final, NamedTuple

from starlette.types import Scope

from api.http.addresses import Network, client_address, is_trusted
from api.http.problems import CROSS_SITE, INSECURE_CONNECTION, Problem
from domain.identity.browser import is_own_request
from infra.settings import Settings

USER_AGENT_MAX_CHARS: Final = 256
NO_ADDRESS: Final = "0.0.0.0"


class Caller(NamedTuple):
    """Who is at the other end. `is_secure`: by TLS, or on this machine."""

    address: str
    is_loopback: bool
    is_secure: bool
    user_agent: str


def caller_of(scope: Scope, trusted: tuple[Network, ...]) -> Caller:
    """A request's caller; what proxies say is believed of those that are trusted."""
    peer = scope["client"][0] if scope.get("client") else ""
    headers = dict(scope["headers"])
    address = client_address(peer, scope["headers"], trusted) or NO_ADDRESS
    is_loopback = _is_loopback(address)
    agent = headers.get(b"user-agent", b"")[:USER_AGENT_MAX_CHARS].decode("latin-1")
    return Caller(address, is_loopback, came_by_tls(scope, headers, trusted) or is_loopback, agent)


def came_by_tls(scope: Scope, headers: Mapping[bytes, bytes], trusted: tuple[Network, ...]) -> bool:
    """Whether it did all the way, as far as the nearest proxy that is trusted can tell."""
    scheme = scope["scheme"]
    told = headers.get(b"x-forwarded-proto") if trusted else None
    if told is not None and is_trusted(scope["client"][0] if scope.get("client") else "", trusted):
        # The last entry is the trusted proxy's own word.
        scheme = told.rpartition(b",")[2].strip().lower().decode("latin-1") or scheme
    return bool(scheme == "https")


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def check_secure(caller: Caller) -> None:
    """Raise the 403 of a password that came over plain HTTP from elsewhere."""
    if not caller.is_secure:
        raise Problem(INSECURE_CONNECTION)


def public_url(settings: Settings) -> str:
    """Where people reach the pages, without a slash at the end: as settings say, never as a Host header does."""
    told = settings.auth.public_url
    return told.rstrip("/") if told else f"{settings.api.scheme}://{settings.api.host}:{settings.api.port}"


def own_origin(settings: Settings) -> str:
    """The `Origin` of our own pages."""
    scheme, _, rest = public_url(settings).partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def check_own_page(method: str, headers: Mapping[bytes, bytes], own_origin: str) -> None:
    """Raise the 403 of a browser's request that another site's page sent."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    is_own = is_own_request(
        method,
        sec_fetch_site=None if site is None else site.decode("latin-1"),
        origin=None if origin is None else origin.decode("latin-1"),
        own_origin=own_origin,
    )
    if not is_own:
        raise Problem(CROSS_SITE, param="Sec-Fetch-Site" if site is not None else "Origin")
