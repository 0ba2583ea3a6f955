"""Webhook signatures: what is signed passes, whatever is changed does not."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.http.standard_webhooks import SignatureCheck, check, secret_bytes, signature, signed_headers

KEY = b"k" * 24
NOW_S = 1_800_000_000
messages = st.binary(max_size=200)
ids = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=40)


def checked(headers: dict[str, str], body: bytes, *, keys: tuple[bytes, ...] = (KEY,), now_s: int = NOW_S) -> object:
    return check(keys, headers, body, now_s=now_s, tolerance_s=300)


def test_the_signature_is_an_hmac_over_id_timestamp_and_body() -> None:
    # Computed by hand with OpenSSL: printf 'msg_1.1800000000.{}' | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkk
    assert signature(KEY, "msg_1", NOW_S, b"{}") == "v1,/EgSY+8CGRL5gDGVR4Lwc1VR68AjgIMS1kZeoRoC5MI="


def test_the_example_of_the_convention_itself_holds() -> None:
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


@given(ids, messages)
def test_what_was_signed_is_valid(message_id: str, body: bytes) -> None:
    headers = signed_headers([KEY], message_id, NOW_S, body)
    assert checked(headers, body) is SignatureCheck.VALID
    assert checked({name.upper(): value for name, value in headers.items()}, body) is SignatureCheck.VALID


@given(ids, messages, messages)
def test_another_body_is_not(message_id: str, body: bytes, other: bytes) -> None:
    headers = signed_headers([KEY], message_id, NOW_S, body)
    assert (checked(headers, other) is SignatureCheck.VALID) == (body == other)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed_and_protected(name: str) -> None:
    headers = signed_headers([KEY], "msg_1", NOW_S, b"{}")
    without = {key: value for key, value in headers.items() if key != name}
    assert checked(without, b"{}") is SignatureCheck.MISSING_HEADER
    changed = {**headers, name: headers[name][:-2] + "77"}
    assert checked(changed, b"{}") is SignatureCheck.BAD_SIGNATURE


@given(st.text(max_size=30), st.text(max_size=60))
def test_garbage_in_the_headers_is_a_bad_signature_and_no_error(timestamp: str, signatures: str) -> None:
    headers = {"webhook-id": "msg_\udc80", "webhook-timestamp": timestamp, "webhook-signature": signatures}
    assert checked(headers, b"{}") in (SignatureCheck.BAD_SIGNATURE, SignatureCheck.MISSING_HEADER)


@pytest.mark.parametrize("seconds", [301, -301])
def test_a_message_from_long_ago_or_from_the_future_is_too_old(seconds: int) -> None:
    headers = signed_headers([KEY], "msg_1", NOW_S, b"{}")
    assert checked(headers, b"{}", now_s=NOW_S + seconds) is SignatureCheck.TOO_OLD


def test_secrets_overlap_while_they_are_changed() -> None:
    old, new = b"old" * 8, b"new" * 8
    from_before = signed_headers([old], "msg_1", NOW_S, b"{}")
    from_both = signed_headers([old, new], "msg_1", NOW_S, b"{}")
    assert checked(from_before, b"{}", keys=(new, old)) is SignatureCheck.VALID
    assert checked(from_both, b"{}", keys=(new,)) is SignatureCheck.VALID
    assert checked(from_before, b"{}", keys=(new,)) is SignatureCheck.BAD_SIGNATURE


def test_without_a_secret_nothing_is_valid() -> None:
    assert checked(signed_headers([KEY], "msg_1", NOW_S, b"{}"), b"{}", keys=()) is SignatureCheck.BAD_SIGNATURE


def test_a_secret_is_base64_behind_its_prefix() -> None:
    assert secret_bytes("whsec_" + base64.b64encode(KEY).decode()) == KEY
    for wrong in ("", "whsec_?", base64.b64encode(KEY).decode()):
        with pytest.raises(ValueError, match="webhook secret"):
            secret_bytes(wrong)
