"""What looks for secrets finds them, in each form and wherever they stand; and finds nothing where there is nothing."""

import base64
import hashlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testing.traces import Place, found_in, random_secret, short_code, trace

SECRET = "Évora, 9 Löwen & 1 Gnu/~?"
RAW = SECRET.encode()


def place(content: bytes) -> Place:
    return Place(kind="file", name="logs/api-0.log", content=content.lower())


@pytest.mark.parametrize(
    "written",
    [
        RAW,
        SECRET.upper().encode(),
        RAW.hex().encode(),
        RAW.hex().upper().encode(),
        SECRET.encode("ascii", "backslashreplace").replace(b"\\xc9", b"\\u00c9").replace(b"\\xf6", b"\\u00f6"),
        quote(SECRET).encode(),
        quote(SECRET, safe="").lower().encode(),
        SECRET.encode("utf-16-le"),
        hashlib.sha256(RAW).digest(),
        hashlib.md5(RAW, usedforsecurity=False).hexdigest().encode(),
        base64.b64encode(hashlib.sha1(RAW, usedforsecurity=False).digest()),
    ],
)
def test_a_secret_is_found_as_it_is_written(written: bytes) -> None:
    assert found_in(place(b'{"event":"' + written + b'"}'), [trace("it", SECRET, guessable=True)])


@given(secret=st.binary(min_size=8, max_size=60), before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_a_secret_is_found_within_a_longer_text_that_is_encoded(secret: bytes, before: bytes, after: bytes) -> None:
    whole = before + secret + after
    for written in (base64.b64encode(whole), base64.urlsafe_b64encode(whole), base64.b32encode(whole), whole.hex()):
        content = written.encode() if isinstance(written, str) else written
        assert found_in(place(content), [trace("it", secret)]), content


def test_a_secret_in_base32_is_found_as_the_bytes_that_it_stands_for() -> None:
    secret = hashlib.sha256(b"a secret").digest()
    text = base64.b32encode(secret).decode().rstrip("=").lower()
    for written in (text.encode(), secret, secret.hex().encode(), base64.b64encode(secret)):
        assert found_in(place(written), list(random_secret("it", text)))


@pytest.mark.parametrize(
    ("written", "is_it"),
    [
        (b'{"code": "123456"}', True),
        (b'{"CODE":123456}', True),
        (b"id=1&code=123456&x", True),
        (b'body="{\\"code\\": \\"123456\\"}"', True),
        (b"code%3D123456", True),
        (b"%7B%22code%22%3A%22123456%22%7D", True),
        (b"\\u0022code\\u0022: \\u0022123456\\u0022", True),
        (b"2026-01-31T12:00:00.123456Z", False),
        (b'{"code": "1234567"}', False),
        (b'{"code": "declined", "amount": 123456}', False),
        (b"evt_01m7ywe123456", False),
    ],
)
def test_a_short_code_is_found_in_its_field_alone(written: bytes, is_it: bool) -> None:
    assert bool(found_in(place(written), [short_code("it", "123456", field="code")])) is is_it


def test_nothing_is_found_where_nothing_is_or_where_it_belongs() -> None:
    digest = hashlib.sha256(RAW).digest()
    assert found_in(place(digest), [trace("a random secret", SECRET)]) == [], "its digest is what is kept"
    assert found_in(place(b"everything else"), [trace("it", SECRET, guessable=True)]) == []
    assert found_in(place(RAW), [trace("it", SECRET, allowed=["logs/"])]) == []
    assert found_in(place(RAW), [trace("it", SECRET, allowed=["mail/"])]) == ["logs/api-0.log: it (plain)"]
