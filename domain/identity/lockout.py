"""How long a log-in has to wait after failures: doubling, with an end, and never for good.

An account that could be locked for good could be locked by anybody.
"""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

_IPV6_NETWORK_BITS: Final = 64
"""What a provider gives to one household or machine: its addresses are one to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockoutLimits:
    """When waiting begins, and how it grows."""

    account_failures: int
    address_failures: int
    first_wait: timedelta
    longest_wait: timedelta
    forgotten_after: timedelta
    """So long after the last wait was over, failures count no more."""


def waits(limits: LockoutLimits) -> tuple[timedelta, ...]:
    """The wait after the first failure that costs one, after the second, …; the last one stands for all that follow."""
    found = [min(limits.first_wait, limits.longest_wait)]
    while found[-1] < limits.longest_wait:
        found.append(min(found[-1] * 2, limits.longest_wait))
    return tuple(found)


def wait_after(failures: int, free_failures: int, limits: LockoutLimits) -> timedelta:
    """The wait after so many failures in a row, of which `free_failures` less one cost nothing."""
    if failures < free_failures:
        return timedelta()
    every = waits(limits)
    return every[min(failures - free_failures, len(every) - 1)]


def network_of(address: str) -> str:
    """What is counted as one address: an IPv4 address, or the network of an IPv6 one. Raises ValueError."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        bare = str(parsed).partition("%")[0]
        return str(ip_network((bare, _IPV6_NETWORK_BITS), strict=False))
    return str(parsed)
