"""Who sends a name that nothing has, or something else than an object, is told which names there are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from api.app import RESOURCES
from api.http.known_names import COMPARED_CHARS_MAX, NAMES_MAX
from api.http.operations import Operation
from api.http.validation import invalid_body
from api.resources.plans import NewPlan
from api.resources.prices import NewPrice
from api.resources.subscriptions import NewSubscription

PLAN = "plan_01m7ywe9z7e398x54gfbrtqnk7"
NOTHING = "There is nothing of this name here"
BODIES = [
    operation
    for resource in RESOURCES
    for operation in resource.declared
    if operation.body is not None and operation.body.model_config.get("extra") == "forbid"
]


def told(model: type[BaseModel], sent: object) -> dict[str, str]:
    """The sentences by the fields that they are about."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(json.dumps(sent))
    return {error.param: error.message for error in invalid_body(refused.value, sent, model).errors}


def price(model: object) -> dict[str, str]:
    return told(NewPrice, {"plan": PLAN, "model": model})


def test_the_name_that_was_meant_is_asked_for() -> None:
    assert told(NewSubscription, {"plan": PLAN, "items": [{"price_id": "x"}]})["items.0.price_id"] == (
        f"{NOTHING}; is price meant?"
    )
    tiers = [{"upto": 1, "unit_amount": 3}]
    graduated = price({"type": "graduated", "currency": "EUR", "tiers": tiers})
    assert graduated["model.tiers.0.upto"] == f"{NOTHING}; is up_to meant?"


def test_where_none_is_like_it_all_are_told() -> None:
    flat = price({"type": "flat", "every": "EUR", "amount": {"amount": 1, "currency": "EUR"}})
    assert flat["model.every"] == f"{NOTHING}, but type and amount"


def test_what_must_be_an_object_is_told_with_its_names() -> None:
    assert told(NewPlan, {"interval": "month"})["interval"] == "Must be an object with unit and count"
    assert price({"type": "flat", "amount": 2900})["model.amount"] == "Must be an object with amount and currency"
    assert price([])["model"] == "Must be an object", "which one depends on its type"


@pytest.mark.parametrize("operation", BODIES, ids=lambda operation: operation.name)
def test_of_every_body_the_names_that_it_has_are_told(operation: Operation) -> None:
    model = operation.body
    assert model is not None
    names = [field.alias or name for name, field in model.model_fields.items()]
    unlike = told(model, {"0123456789": 1})["0123456789"]
    if 0 < len(names) <= NAMES_MAX:
        assert all(name in unlike for name in names)
    else:
        assert unlike == NOTHING
    for name in names:
        assert "meant?" in told(model, {f"{name}_": 1})[f"{name}_"]


@given(name=st.text(min_size=1, max_size=2 * COMPARED_CHARS_MAX).filter(lambda name: name not in ("unit", "count")))
def test_what_was_sent_is_not_repeated(name: str) -> None:
    sentences = {
        f"{NOTHING}, but unit and count",
        f"{NOTHING}; is unit meant?",
        f"{NOTHING}; is count meant?",
    }
    said = [*told(NewPlan, {"interval": {"unit": "month", "count": 1, name: 1}}).values()]
    assert sentences & {*said}


def test_a_name_of_any_length_is_answered() -> None:
    long = "at_period_end" * 10_000
    assert [*told(NewPlan, {"interval": {long: 1}}).values()][-1] == f"{NOTHING}, but unit and count"
