"""Which requests with a cookie are the page's own, and what the cookie says."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.identity.browser import SESSION_COOKIE, cookie, expired_cookie, is_own_request, secret_of

OWN = "https://billing.example.com"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "site", "origin", "is_own"),
    [
        ("POST", "same-origin", OWN, True),
        ("POST", "same-origin", None, True),
        ("GET", "same-origin", None, True),
        ("GET", "none", None, True),
        ("POST", "none", None, False),
        ("POST", "same-site", "https://blog.example.com", False),
        ("GET", "same-site", None, False),
        ("POST", "cross-site", "https://evil.example", False),
        ("GET", "cross-site", None, False),
        ("DELETE", "cross-site", OWN, False),  # the browser's word counts, whatever else is said
        ("POST", "", OWN, False),
        ("POST", "Same-Origin", OWN, False),
        ("POST", None, OWN, True),
        ("POST", None, "https://evil.example", False),
        ("POST", None, "null", False),
        ("POST", None, OWN + ".evil.example", False),
        ("POST", None, "http://billing.example.com", False),
        ("POST", None, OWN + ":8443", False),
        ("GET", None, "https://evil.example", False),
        ("GET", None, None, True),
        ("HEAD", None, None, True),
        ("POST", None, None, False),
        ("PATCH", None, None, False),
        ("get", None, None, False),
    ],
)
def test_a_request_is_the_pages_own(method: str, site: str | None, origin: str | None, is_own: bool) -> None:
    assert is_own_request(method, sec_fetch_site=site, origin=origin, own_origin=OWN) is is_own


def test_the_cookie_is_out_of_reach_of_scripts_other_hosts_and_plain_http() -> None:
    text = cookie(SESSION_COOKIE, "secret", ends_at=NOW + timedelta(days=30), now=NOW)
    assert text == ("__Host-tallybook_session=secret; Max-Age=2592000; Path=/; Secure; HttpOnly; SameSite=Strict")
    assert "Max-Age=0;" in cookie(SESSION_COOKIE, "secret", ends_at=NOW - timedelta(days=1), now=NOW)
    assert expired_cookie(SESSION_COOKIE) == (
        "__Host-tallybook_session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict"
    )


@pytest.mark.parametrize(
    ("header", "secret"),
    [
        ("__Host-tallybook_session=abc", "abc"),
        ("a=1; __Host-tallybook_session=abc; b=2", "abc"),
        ("", None),
        ("__Host-tallybook_session", None),
        ("__Host-tallybook_session=", None),
        ("tallybook_session=abc", None),
        ("__host-tallybook_session=abc", None),
        ("x__Host-tallybook_session=abc", None),
        ("__Host-tallybook_session=abc; __Host-tallybook_session=def", None),
        ("__Host-tallybook_session=" + "a" * 65, None),
    ],
)
def test_the_secret_is_that_of_the_one_cookie_of_this_name(header: str, secret: str | None) -> None:
    assert secret_of(header, SESSION_COOKIE) == secret
