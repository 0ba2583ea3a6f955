"""Ids: the inverse of reading is writing, and what is derived sorts beside what it comes from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.identifiers import ALPHABET, INVOICE, SUBSCRIPTION, decode, derived_id, encode, is_id, uuid7

UUIDS = st.builds(uuid7, st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))


@given(st.integers(0, 2**128 - 1))
def test_an_id_reads_back(value: int) -> None:
    assert decode(encode(value)) == value


@given(UUIDS, st.text(max_size=20))
def test_a_derived_id_is_a_uuid7_of_the_same_time(source: int, step: str) -> None:
    derived = derived_id(INVOICE, SUBSCRIPTION + encode(source), step)
    assert is_id(derived, INVOICE)
    value = decode(derived.removeprefix(INVOICE))
    assert value >> 80 == source >> 80
    assert value == uuid7(value >> 80, (value >> 64 & 0xFFF) << 62 | value & (2**62 - 1)), "version and variant"
    assert derived == derived_id(INVOICE, SUBSCRIPTION + encode(source), step)
    assert derived != derived_id(INVOICE, SUBSCRIPTION + encode(source), step + ".")


def test_a_known_derivation_stays() -> None:
    """Sagas name what they create by it: another answer would create it twice."""
    assert derived_id(INVOICE, "sub_" + ALPHABET[:26], "period/1") == "in_0123456789evarr59qgwqf3rjt"


@pytest.mark.parametrize("source", ["sub_", "sub_short", "sub_" + "u" * 26, "sub_" + "0" * 27])
def test_what_is_no_id_derives_nothing(source: str) -> None:
    with pytest.raises(ValueError, match=r"is not a character of an id|an id has 26 characters"):
        derived_id(INVOICE, source, "step")
