"""Personal data masked: nothing is left to read of a person, and everything else is as it was."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.http.masking import HIDDEN, OWN, PERSONAL, masked, masked_reply
from api.http.problems import NOT_FOUND, Problem
from api.http.replies import json_reply
from api.resources.customers import CustomerResource
from api.resources.personal_data import FIELDS, PersonalResource
from testing.documented import openapi

ADA: dict[str, Any] = {
    "id": "cus_1",
    "object": "customer",
    "external_id": "crm-1",
    "currency": "EUR",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": "+44 20 7946 0958",
    "address": {"line1": "12 St James's Square", "line2": None, "city": "London", "region": None, "country": "GB"},
    "tax_ids": [{"type": "eu_vat", "value": "DE123456789"}],
    "metadata": {"nickname": "countess"},
}
MASKED_ADA = ADA | {
    "name": "A…",
    "email": "a…@…",
    "phone": "…",
    "address": {"line1": "…", "line2": None, "city": "…", "region": None, "country": "GB"},
    "tax_ids": [{"type": "eu_vat", "value": "…"}],
    "metadata": {"nickname": "…"},
}
NOBODY = ADA | {"name": None, "email": None, "phone": None, "address": None, "tax_ids": [], "metadata": {}}


def test_a_customer_is_masked_field_by_field() -> None:
    assert masked(ADA) == MASKED_ADA
    assert masked(NOBODY) == NOBODY


def test_a_customer_is_masked_wherever_they_stand() -> None:
    invoice = {"object": "invoice", "customer": ADA, "lines": [{"description": "Set-up"}]}
    found = masked({"object": "list", "data": [invoice, ADA], "has_more": False})
    assert found["data"] == [invoice | {"customer": MASKED_ADA}, MASKED_ADA]
    assert masked({"object": "invoice", "name": "a plain one", "metadata": {"order": "1"}})["metadata"] == {
        "order": "1"
    }


def test_a_stored_answer_is_masked_on_its_way_out() -> None:
    reply = masked_reply(json_reply(201, ADA, ((b"location", b"/v1/customers/cus_1"),)))
    assert json.loads(reply.body) == MASKED_ADA
    assert (b"location", b"/v1/customers/cus_1") in reply.headers
    problem = Problem(NOT_FOUND).reply("req_1")
    assert masked_reply(problem) is problem


@given(
    person=st.fixed_dictionaries(
        {
            "name": st.text(min_size=3),
            "email": st.emails(),
            "address": st.dictionaries(st.sampled_from(["line1", "city", "postal_code"]), st.text(min_size=3)),
            "tax_ids": st.lists(st.fixed_dictionaries({"type": st.just("eu_vat"), "value": st.text(min_size=3)})),
        }
    )
)
def test_no_text_of_a_person_is_left(person: dict[str, Any]) -> None:
    shown = masked({"object": "customer", **person})
    texts = [shown["name"], *shown["address"].values(), *(each["value"] for each in shown["tax_ids"])]
    assert all(text == HIDDEN or text == person["name"][0] + HIDDEN for text in texts)
    assert shown["email"] == person["email"][0] + "…@…"


def test_every_field_that_the_vault_keeps_is_masked() -> None:
    assert PERSONAL["customer"] == set(FIELDS) == PersonalResource.__annotations__.keys()
    assert set(FIELDS) <= CustomerResource.__annotations__.keys()


def test_no_answer_shows_a_person_that_masking_does_not_know() -> None:
    """A resource that begins to show an address or a telephone number is told of here."""
    telling = {"email", "phone", "address", "tax_ids"}
    for name, schema in openapi()["components"]["schemas"].items():
        properties = schema.get("properties", {})
        if telling & properties.keys() and "object" in properties:
            assert properties["object"]["const"] in {*PERSONAL, *OWN}, name
