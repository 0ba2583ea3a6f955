"""A forwarded address is believed for as long as the one who wrote it is trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.http.addresses import client_address, limited_as, networks
from infra.settings import ApiSettings

PROXIES = networks("10.0.0.0/8, 192.0.2.7, 2001:db8::/32")


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"api"), *((b"x-forwarded-for", value.encode()) for value in values)]


@given(value=st.text(st.characters(max_codepoint=255), max_size=40))
def test_nobody_is_believed_who_is_not_trusted(value: str) -> None:
    headers = [(b"x-forwarded-for", value.encode("latin-1"))]
    assert client_address("203.0.113.9", headers, ()) == "203.0.113.9"
    assert client_address("203.0.113.9", headers, PROXIES) == "203.0.113.9"
    client_address("10.1.2.3", headers, PROXIES)


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["1.1.1.1, 203.0.113.9"], "203.0.113.9"),  # what the client claimed stands before what the proxy saw
        (["203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        (["1.1.1.1", "203.0.113.9, 192.0.2.7"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2a00:1::1]:4711"], "2a00:1::1"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["unknown"], "10.1.2.3"),
        (["203.0.113.9, nonsense"], "10.1.2.3"),
        (["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
        ([""], "10.1.2.3"),
        ([], "10.1.2.3"),
    ],
)
def test_a_trusted_proxy_is_believed(values: list[str], address: str) -> None:
    assert client_address("10.1.2.3", forwarded(*values), PROXIES) == address


def test_an_address_of_ipv6_is_limited_with_its_network() -> None:
    assert limited_as("2a00:1:2:3::1") == limited_as("2a00:1:2:3:ffff::2") == "2a00:1:2:3::/64"
    assert limited_as("::ffff:203.0.113.9") == limited_as("203.0.113.9") == "203.0.113.9"


def test_no_proxy_is_trusted_unless_it_is_named_and_a_name_must_be_a_network() -> None:
    assert networks(ApiSettings().trusted_proxies) == ()
    for wrong in ("10.0.0.1/8", "proxy", "10.0.0.0/33", "*"):
        with pytest.raises(ValidationError):
            ApiSettings(trusted_proxies=wrong)
