"""Each operation says what it needs, once, and the document tells it to programs and to people."""

from pathlib import Path

import pytest

from api.app import RESOURCES
from api.http.operations import Operation
from api.http.permissions_page import permissions_markdown
from domain.identity.permissions import Permission, holders_of
from testing.documented import openapi

OPERATIONS = [operation for resource in RESOURCES for operation in resource.declared]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_needs_a_permission_or_is_open(operation: Operation) -> None:
    assert (operation.needs is None) is (operation.is_open or operation.is_bulk)
    if operation.needs is not None:
        roles, _scopes = holders_of(operation.needs)
        assert roles, "somebody may do it"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_the_document_names_the_permission(operation: Operation) -> None:
    entry = openapi()["paths"][operation.path.replace(":path}", "}")][operation.method.lower()]
    assert entry.get("x-permission") == operation.needs
    if operation.needs is not None:
        assert f"Needs the permission {operation.needs}, which" in entry["description"]
        assert "permission_denied" in str(entry["responses"]["403"]) or "$ref" in entry["responses"]["403"]


def test_an_operation_that_says_neither_is_refused_when_it_is_declared() -> None:
    one = next(operation for operation in OPERATIONS if operation.needs is not None)
    fields = {name: getattr(one, name) for name in Operation.__dataclass_fields__}
    with pytest.raises(TypeError, match="says either"):
        Operation(**(fields | {"needs": None}))
    with pytest.raises(TypeError, match="says either"):
        Operation(**(fields | {"needs": Permission.INVOICES_READ, "is_open": True}))


SHOWS_BY_POST = {"preview_invoice"}
"""What is asked for in a body, and changes nothing."""


def test_what_only_shows_needs_no_permission_to_change_and_the_reverse() -> None:
    for operation in OPERATIONS:
        if operation.needs is not None:
            shows = operation.is_query or operation.name in SHOWS_BY_POST
            assert operation.needs.endswith(":read") is shows, operation.name


def test_the_page_of_permissions_is_the_codes_own() -> None:
    page = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text(encoding="utf-8")
    assert page == permissions_markdown(RESOURCES)
