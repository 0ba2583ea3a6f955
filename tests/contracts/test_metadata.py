"""Whatever can be made takes metadata, shows them, and lets them be changed: one rule for every resource there is."""

import json
from typing import Any, Final, get_type_hints

import pytest

from api.app import RESOURCES
from api.http.changes import Change
from api.http.fields import New
from api.http.operations import Operation
from api.http.resource import Resource
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.stream import Stream
from projections.read_model import ReadModel
from schemas.codec import encode_event
from testing.documented import openapi
from testing.examples.streams import payment_created

OPERATIONS: Final = [operation for resource in RESOURCES for operation in resource.declared]
OF_ACCESS: Final = ("/v1/api-keys", "/v1/tenants", "/v1/invitations", "/v1/identity-links")
"""Who may do what: nobody's business data, and nothing to be found by a note on it."""

LIES_AT: Final = {"/v1/plans/{plan_id}/migrations": "/v1/plan-migrations"}
"""What is asked for of something else, and lies beside it."""

CREATIONS: Final = {
    LIES_AT.get(operation.path, operation.path): operation
    for operation in OPERATIONS
    if operation.status == 201 and operation.is_command and not operation.path.startswith(OF_ACCESS)
}
OF_ANOTHER_SYSTEM: Final = "/v1/invoices/import"
"""What it makes is an invoice like the others, and changes by the same PATCH."""
CHANGES: Final = {
    operation.path: operation
    for operation in OPERATIONS
    if operation.method == "PATCH" and operation.is_command and not operation.path.startswith(OF_ACCESS)
}
DOCUMENTS: Final = frozenset({"/v1/ledger/journal-entries", "/v1/approvals", "/v1/tax-rates", "/v1/tax-registrations"})
"""What is said once and never changed."""

TOLD_BY_ITSELF: Final = "/v1/usage/triggered-alerts"
"""What nobody makes, and so nobody keeps a note with."""

IN_THE_VAULT: Final = frozenset({"customer"})
"""Those whose metadata are personal data: the log has none of them."""

KEPT_IN_THE_LOG: Final = {
    resource.name: resource
    for resource in RESOURCES
    if isinstance(resource, Resource) and resource.name not in IN_THE_VAULT and resource.path != TOLD_BY_ITSELF
}


def test_each_resource_is_looked_at() -> None:
    assert {f"{path}/" for path in CREATIONS if path != OF_ANOTHER_SYSTEM} == {
        path.partition("{")[0] for path in CHANGES
    } | {f"{path}/" for path in DOCUMENTS}
    assert {resource.path for resource in RESOURCES if isinstance(resource, Resource)} - {
        TOLD_BY_ITSELF
    } <= CREATIONS.keys()


@pytest.mark.parametrize("made", CREATIONS.values(), ids=CREATIONS)
def test_whatever_is_made_takes_metadata_and_shows_them(made: Operation) -> None:
    assert made.body is not None
    assert issubclass(made.body, New)
    assert get_type_hints(made.answers)["metadata"] == dict[str, str]
    assert isinstance(made.example, dict)
    assert made.example["metadata"]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_changed_may_have_its_metadata_changed(change: Operation) -> None:
    assert change.body is not None
    assert issubclass(change.body, Change)
    assert change.body.model_fields["metadata"].annotation == Change.model_fields["metadata"].annotation
    assert "too_many_metadata_keys" in {refusal.code for refusal in change.refusals}
    creation = CREATIONS[change.path.partition("/{")[0]]
    assert creation.answers == change.answers


@pytest.mark.parametrize("resource", KEPT_IN_THE_LOG.values(), ids=KEPT_IN_THE_LOG)
def test_metadata_are_in_the_first_event_in_the_state_and_in_the_read_model(resource: Resource[Any]) -> None:
    stream: Stream[Any] = resource.stream
    table: ReadModel[Any] = resource.table
    first = next(event for name, event in stream.events.items() if name.startswith(f"{resource.name}."))
    assert get_type_hints(first)["metadata"] == Metadata
    assert {column.definition for column in table.columns if column.name == "metadata"} == {"jsonb NOT NULL"}
    if resource.path in DOCUMENTS:
        assert stream.metadata_set is None
    else:
        changed = stream.events[f"{resource.name}.metadata_set"]
        assert issubclass(changed, MetadataSet)
        assert resource.part is not None or changed is stream.metadata_set


def test_an_event_without_metadata_carries_one_byte_for_them() -> None:
    _, _, without = encode_event(payment_created())
    _, _, one = encode_event(payment_created(metadata=(("a", "b"),)))
    count_key_and_value = len(b"\x02" + b"\x02a" + b"\x02b")
    assert len(one) - len(without) == count_key_and_value


def test_the_apis_document_bounds_every_name_of_an_object() -> None:
    text = json.dumps(openapi())
    assert '"propertyNames"' in text
    assert '"patternProperties"' not in text, "it leaves open what is of another form"
