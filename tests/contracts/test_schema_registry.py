"""The registry's answers, in the protocol's own words and codes."""

import json
from collections.abc import Callable
from functools import partial

import pytest

from schemas import registry
from schemas.committed import committed
from tests.contracts.evolving_event import THIRD

SUBJECT = "tallybook.contract.Signed"


def test_a_schema_is_found_by_its_id() -> None:
    for schema in committed().all:
        assert json.loads(str(registry.schema_by_id(schema.id)["schema"])) == schema.schema
        assert registry.subjects_by_id(schema.id) == [schema.subject]
        assert registry.versions_by_id(schema.id) == [{"subject": schema.subject, "version": schema.version}]


def test_subjects_are_the_full_names_of_the_records() -> None:
    assert "tallybook.invoice.Finalized" in registry.subjects()
    assert "tallybook.ledger.Entry" in registry.subjects()
    assert registry.subjects() == sorted({schema.subject for schema in committed().all})


def test_versions_of_a_subject_oldest_first() -> None:
    assert registry.versions(SUBJECT, schemas=THIRD) == [1, 2, 3]


@pytest.mark.parametrize(("asked", "version"), [("1", 1), (2, 2), ("latest", 3), ("-1", 3), (-1, 3)])
def test_a_version_is_found_by_its_number_or_as_the_latest(asked: int | str, version: int) -> None:
    schema = THIRD.find("contract.signed", version)
    assert schema is not None
    answer = registry.version(SUBJECT, asked, schemas=THIRD)
    assert json.loads(str(answer.pop("schema"))) == schema.schema
    assert answer == {"subject": SUBJECT, "version": version, "id": schema.id}


def test_a_schema_is_found_by_its_text_however_it_is_spaced() -> None:
    for schema in THIRD.all:
        text = json.dumps(schema.schema, indent=7)
        assert registry.lookup(schema.subject, text, schemas=THIRD)["id"] == schema.id


def refused(call: Callable[[], object]) -> registry.RegistryError:
    with pytest.raises(registry.RegistryError) as caught:
        call()
    return caught.value


def test_what_is_not_there_has_the_registrys_codes() -> None:
    bad_versions: list[int | str] = ["0", "newest", "", "1.0", "٣", "9" * 5000, 2**31]
    cases: dict[tuple[int, int], list[Callable[[], object]]] = {
        (404, 40401): [
            lambda: registry.versions("nobody"),
            lambda: registry.version("nobody", "latest"),
            lambda: registry.lookup("nobody", "{}"),
        ],
        (404, 40402): [lambda: registry.version(SUBJECT, 4, schemas=THIRD)],
        (404, 40403): [
            lambda: registry.schema_by_id(0),
            lambda: registry.schema_by_id(10**12),
            lambda: registry.subjects_by_id(10**9),
            lambda: registry.versions_by_id(-1),
            lambda: registry.lookup(SUBJECT, '"string"', schemas=THIRD),
        ],
        (422, 42201): [lambda: registry.lookup(SUBJECT, "{", schemas=THIRD)],
        (422, 42202): [partial(registry.version, SUBJECT, text, schemas=THIRD) for text in bad_versions],
    }
    for (status, error_code), calls in cases.items():
        for call in calls:
            error = refused(call)
            assert (error.status, error.error_code) == (status, error_code)
            assert error.body == {"error_code": error_code, "message": str(error)}
            assert len(str(error)) < 200


def test_it_says_that_it_is_read_only_and_how_compatible() -> None:
    assert registry.mode() == {"mode": "READONLY"}
    assert registry.compatibility() == {"compatibilityLevel": "FULL_TRANSITIVE"}
    assert registry.schema_types() == ["AVRO"]
