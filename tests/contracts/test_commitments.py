"""Commitments to personal data, field by field: one field shown proves itself and gives nothing else away."""

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.resources.personal_data import FIELDS
from infra.commitments import Json, Opening, Person, commitment, opening, opens

SALT = bytes(range(32))
ADA: Person = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": None,
    "address": {"line1": "12 St James's Square", "postal_code": None},
}
scalars = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values: st.SearchStrategy[Json] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=5
)
people = st.dictionaries(names, values, min_size=1, max_size=6)
salts = st.binary(min_size=32, max_size=32)


@given(salts, people, st.data())
def test_each_field_opens_on_its_own(salt: bytes, person: Person, data: st.DataObject) -> None:
    committed = commitment(salt, "pd_1", person)
    field = data.draw(st.sampled_from(sorted(person)))
    shown = opening(salt, "pd_1", person, field)
    assert (shown.field, shown.value) == (field, person[field])
    assert opens(committed, shown)
    assert committed == commitment(salt, "pd_1", dict(reversed([*person.items()]))), "the order of fields says nothing"


@given(salts, people, values, st.data())
def test_another_value_name_or_revision_does_not_open(
    salt: bytes, person: Person, other: Json, data: st.DataObject
) -> None:
    committed = commitment(salt, "pd_1", person)
    field = data.draw(st.sampled_from(sorted(person)))
    shown = opening(salt, "pd_1", person, field)
    same = json.dumps(other, sort_keys=True) == json.dumps(person[field], sort_keys=True)
    assert opens(committed, shown._replace(value=other)) == same
    assert not opens(committed, shown._replace(field=field + "x"))
    assert not opens(committed, opening(salt, "pd_2", person, field))
    assert not opens(committed, shown._replace(others=shown.others[1:])) or not shown.others


def test_opening_one_field_gives_no_other_away() -> None:
    shown = opening(SALT, "pd_1", ADA, "name")
    assert len(shown.others) == len(ADA) - 1
    told = repr(shown)
    assert all(secret not in told for secret in ("ada@example.com", "St James"))
    # Whoever guesses the e-mail right cannot see that they did: they lack its salt, and this field's is no help.
    for guess_salt in (shown.salt, hmac.digest(shown.salt, b'["pd_1","email"]', "sha256"), bytes(32)):
        for text in (b'["email","ada@example.com"]', b'"ada@example.com"'):
            assert hashlib.sha256(b"\x00" + guess_salt + text).digest() not in shown.others


def test_salts_and_hashes_differ_by_revision_and_by_field() -> None:
    same = {"one": "the same", "two": "the same"}
    shown = [opening(SALT, reference, same, field) for reference in ("pd_1", "pd_2") for field in same]
    assert len({each.salt for each in shown}) == 4
    assert len({each.others for each in shown}) == 4


def test_a_commitment_says_nothing_of_which_fields_are_given() -> None:
    little = opening(SALT, "pd_1", {**dict.fromkeys(FIELDS), "name": "Ada"}, "name")
    much = opening(SALT, "pd_1", {**dict.fromkeys(FIELDS), **ADA}, "name")
    assert len(little.others) == len(much.others) == len(FIELDS) - 1
    assert [*much.others] == sorted(much.others), "by their bytes, which no field has a say in"


def test_the_form_is_the_one_that_is_described() -> None:
    salt = hmac.digest(SALT, b'["pd_1","name"]', "sha256")
    field = hashlib.sha256(b"\x00" + salt + b'["name","Ada"]').digest()
    assert opening(SALT, "pd_1", {"name": "Ada"}, "name") == Opening("name", "Ada", salt, ())
    assert commitment(SALT, "pd_1", {"name": "Ada"}) == hashlib.sha256(b"\x01" + field).digest()


@pytest.mark.parametrize("change", [{"salt": SALT[:-1]}, {"others": (b"",)}, {"others": (bytes(33),)}])
def test_an_opening_of_the_wrong_form_does_not_open(change: dict[str, bytes | tuple[bytes, ...]]) -> None:
    shown = opening(SALT, "pd_1", {"name": "Ada"}, "name")
    assert not opens(commitment(SALT, "pd_1", {"name": "Ada"}), shown._replace(**change))  # type: ignore[arg-type]
