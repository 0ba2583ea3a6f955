"""Whose address a request comes from: the peer's, or what proxies that are trusted say of it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HOPS_MAX: Final = 16
"""Entries of X-Forwarded-For that are looked at, from the last on."""

IPV6_PREFIX_BITS: Final = 64
"""One client has a whole network of these; its single addresses are without number."""


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a list with commas. Raises ValueError for what is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


@lru_cache(maxsize=4_096)
def limited_as(address: str) -> str:
    """The name under which an address is limited: itself, or of IPv6 its network."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, IPV6_PREFIX_BITS), strict=False))
    return str(parsed) if parsed is not None else address


def client_address(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]) -> str:
    """The address of who asks.

    The last entry of X-Forwarded-For was written by the proxy that speaks to us, the one before by the proxy before
    it: they are believed from the end on, for as long as the one who wrote them is trusted.
    """
    if not trusted or not is_trusted(peer, trusted):
        return peer
    entries = [
        entry for name, value in headers if name == b"x-forwarded-for" for entry in value.split(b",")[-HOPS_MAX:]
    ]
    address = peer
    for entry in reversed(entries[-HOPS_MAX:]):
        found = _entry(entry.decode("latin-1").strip())
        if found is None:
            break
        address = str(found)
        if not is_trusted(address, trusted):
            break
    return address


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks; an IPv4 address that comes as IPv6 is the IPv4 one."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether the address is one of a trusted proxy."""
    return is_within(address, trusted)


def _entry(text: str) -> Address | None:
    """An entry's address: bare, or with a port."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _parsed(text)


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address
