"""How long a log-in waits: doubling, with an end; and what counts as one address."""

from datetime import timedelta

import pytest

from domain.identity.lockout import LockoutLimits, network_of, wait_after, waits

LIMITS = LockoutLimits(
    account_failures=5,
    address_failures=20,
    first_wait=timedelta(seconds=1),
    longest_wait=timedelta(minutes=15),
    forgotten_after=timedelta(hours=1),
)


def test_waits_double_from_a_second_to_a_quarter_of_an_hour() -> None:
    assert [wait.total_seconds() for wait in waits(LIMITS)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]


def test_the_first_failures_cost_nothing_and_the_thousandth_no_more_than_the_longest_wait() -> None:
    assert [wait_after(count, 5, LIMITS).total_seconds() for count in (1, 4, 5, 6, 15, 1000)] == [0, 0, 1, 2, 900, 900]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_addresses_of_one_network_of_ipv6_are_one(address: str, network: str) -> None:
    assert network_of(address) == network
