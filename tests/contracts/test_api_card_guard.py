"""A body is looked through wherever a card number may stand in it, except where other systems' ids stand."""

import json
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.app import RESOURCES
from api.http.card_guard import (
    OpaqueId,
    opaque_names,
    refuse_card_numbers,
    refuse_card_numbers_in_body,
)
from api.http.fields import Body
from api.http.json_bodies import read_json
from api.http.problems import CARD_NUMBER, Problem
from testing.growth import grows_linearly
from tests.contracts.test_card_numbers import numbers


def is_refused(raw: bytes, opaque: frozenset[str] = frozenset(), max_chars: int | None = None) -> bool:
    try:
        refuse_card_numbers_in_body(raw, read_json(raw), opaque, max_chars=max_chars)
    except Problem as problem:
        return problem.kind == CARD_NUMBER
    return False


@given(number=numbers, depth=st.integers(0, 5))
def test_a_number_is_found_in_names_values_and_numbers_however_it_is_written(number: str, depth: int) -> None:
    escaped = "".join(f"\\u{ord(digit):04x}" for digit in number)
    wide = "".join(chr(0xFF10 + int(digit)) for digit in number)
    hidden = "\u200b".join(number)
    for inner in (f'"{number}"', f'{{"{number}":1}}', number, f'"{escaped}"', f'"{wide}"', f'"{hidden}"'):
        assert is_refused(('{"a":[' * depth + inner + "]}" * depth).encode())


def test_a_deep_body_is_looked_through() -> None:
    assert is_refused(b"[" * 150 + b'"4242424242424242"' + b"]" * 150)
    assert not is_refused(json.dumps({"amount": 999_999_999_999}).encode())


class Example(Body):
    reference: Annotated[str, OpaqueId()] | None = None
    other: Annotated[str, OpaqueId()]
    note: str | None = None


@given(number=numbers)
def test_the_values_of_declared_fields_are_not_looked_through(number: str) -> None:
    names = opaque_names(Example)
    assert names == {"reference", "other"}
    assert not is_refused(json.dumps({"reference": number, "other": number}).encode(), names)
    assert is_refused(json.dumps({"note": number}).encode(), names)
    assert is_refused(json.dumps({"note": {"reference": number}}).encode(), names), "names of the outermost object"
    assert is_refused(json.dumps({number: "x"}).encode(), names)
    refuse_card_numbers([("reference", number)], names)
    with pytest.raises(Problem):
        refuse_card_numbers([("note", number)], names)


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"name": "4242424242424242"}, "name"),
        ({"lines": [{}, {"description": "4242 4242 4242 4242"}]}, "lines.1.description"),
        ({"metadata": {"4242424242424242": "x"}}, "metadata"),
        ({"metadata": {"4242": {"4242": {"4242": {"4242": "4242424242424242"}}}}}, None),
        ({"4242424242424242": {"name": "x"}}, None),
        (4242424242424242, None),
    ],
)
def test_the_field_with_a_card_number_is_named_and_the_number_is_not(sent: object, param: str | None) -> None:
    raw = json.dumps(sent).encode()
    with pytest.raises(Problem) as refused:
        refuse_card_numbers_in_body(raw, sent, frozenset())
    assert refused.value.param == param
    with pytest.raises(Problem) as refused:
        refuse_card_numbers([("email", "4242424242424242")], frozenset())
    assert refused.value.param == "email"


def test_what_is_declared_opaque_is_what_other_systems_name() -> None:
    declared = {
        name
        for resource in RESOURCES
        for operation in resource.declared
        if operation.raw is None  # of usage: test_usage_checking.py
        for name in opaque_names(operation.body or operation.parameters) | operation.opaque  # type: ignore[arg-type]
    }
    theirs, places = {"external_id", "idempotency_key", "id"}, {"starting_after", "ending_before", "stream", "subject"}
    secrets = {"password", "current_password", "new_password", "token", "refresh_token", "code", "answer", "passkey"}
    looked_through_one_by_one = {"commands", "instead"}
    assert declared == theirs | places | secrets | looked_through_one_by_one


def test_of_a_body_that_is_refused_anyway_a_bounded_part_is_looked_through() -> None:
    raw = json.dumps(["x" * 1_000, "4242424242424242"]).encode()
    assert is_refused(raw)
    raw = json.dumps(["4242424242424242", "x" * 1_000]).encode()
    assert not is_refused(raw, max_chars=500)


@pytest.mark.parametrize(
    "piece",
    [b'"1-1-1-1-1-1-1-1-1-1-1-1-1-1"', b"1", b'{"a":1}', b'"\\u0034"', b'"4242 4242"', b"1.5", b'"\xe2\x80\x8b4"'],
)
def test_no_body_costs_more_than_its_length(piece: bytes) -> None:
    def body(size: int) -> bytes:
        return b"[" + b",".join([piece] * (size // len(piece))) + b"]"

    assert grows_linearly(is_refused, body, size=8_000)
