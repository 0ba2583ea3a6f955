"""The small parts of the API: stored answers, request limits, fields, and the documents made from the code."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.app import RESOURCES
from api.http.fields import Instant, MoneyBody, Quantity, plain_decimal
from api.http.json_bodies import read_json
from api.http.limits import RateLimiter
from api.http.openapi import READING_ORDER
from api.http.operations import Operation
from api.http.problems import CARD_NUMBER, PROBLEM_TYPES, FieldError, Problem, catalogue, problems_markdown, unavailable
from api.http.replies import MARK_BYTES, Reply, from_stored, to_stored
from api.http.validation import invalid_body
from api.resources.customers import NewCustomer
from api.resources.invoices import InvoicePayment, NewInvoice
from api.resources.prices import NewPrice
from api.resources.products import NewProduct
from domain.customers.countries import COUNTRIES
from infra.rate_limits.buckets import Bucket, bucket_of
from testing import documented
from testing.growth import grows_linearly
from tests.lengths import LENGTH

ROOT = Path(__file__).parents[2]
OPERATIONS = [operation for resource in RESOURCES for operation in resource.declared]
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip).map(str.encode)
header_names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20).map(str.encode)


@given(
    status=st.integers(200, 599),
    headers=st.lists(st.tuples(header_names, header_values), max_size=5),
    body=st.binary(max_size=300),
)
def test_a_stored_answer_is_the_answer(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    reply = Reply(status, tuple(headers), body)
    mark = bytes(range(MARK_BYTES))
    assert from_stored(to_stored(reply, mark)) == (reply, mark)


def test_an_answer_of_another_form_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="unknown form"):
        from_stored(b"\x09" + to_stored(Reply(200, (), b""), bytes(MARK_BYTES))[1:])


def test_a_bucket_holds_a_minutes_requests_and_refills_evenly() -> None:
    now = 0.0
    limits = RateLimiter(60, max_names=10, clock=lambda: now)
    taken = [limits.take("somebody") for _ in range(61)]
    assert [each.allowed for each in taken] == [True] * 60 + [False]
    assert [each.remaining for each in taken[:3]] == [59, 58, 57]
    assert taken[60].retry_after_s == 1
    assert limits.take("another").allowed
    now = 1.0
    assert limits.take("somebody").allowed
    assert not limits.take("somebody").allowed
    now = 61.0
    assert all(limits.take("somebody").allowed for _ in range(60))


def test_a_request_given_back_was_never_counted() -> None:
    limits = RateLimiter(2, max_names=10, clock=lambda: 0.0)
    for _ in range(10):
        assert limits.take("somebody").allowed
        limits.give_back("somebody")
    assert limits.take("somebody").remaining == 1


def test_a_bucket_holds_an_hours_requests_or_a_minutes_where_those_are_many() -> None:
    assert bucket_of(10) == Bucket(10, 3_600)
    assert bucket_of(1_000) == Bucket(1_000, 3_600)
    assert bucket_of(360_000) == Bucket(6_000, 60)
    assert bucket_of(36_000) == Bucket(1_000, 100)


def test_names_are_forgotten_beyond_the_limit() -> None:
    limits = RateLimiter(1, max_names=2, clock=lambda: 0.0)
    assert limits.take("first").allowed
    assert limits.take("second").allowed
    assert limits.take("third").allowed
    assert limits.take("first").allowed, "forgotten, so as new"
    assert not limits.take("third").allowed


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ('"2026-01-31T12:00:00+02:00"', "2026-01-31T10:00:00+00:00"),
        ('"2026-01-31t12:00:00.5z"', "2026-01-31T12:00:00.500000+00:00"),
    ],
)
def test_times_are_rfc_3339_with_an_offset(text: str, instant: str) -> None:
    assert TypeAdapter(Instant).validate_json(text).isoformat() == instant


@pytest.mark.parametrize(
    "text",
    [
        '"2026-01-31"',
        '"2026-01-31T12:00:00"',
        '"2026-01-31 12:00:00Z"',
        '"1767225600"',
        "1767225600",
        '"2026-02-30T00:00:00Z"',
        '"0001-01-01T00:00:00+23:59"',
        '"9999-12-31T23:59:59-23:59"',
        '"2026-W05-6T00:00:00Z"',
        '"２０２６-01-31T12:00:00Z"',
        "null",
        "true",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_json(text)


@pytest.mark.parametrize("text", ["1", '"1"', '"0.25"', "1000000", '"0.000000000001"'])
def test_quantities_are_whole_numbers_or_plain_decimals_in_quotes(text: str) -> None:
    assert plain_decimal(TypeAdapter(Quantity).validate_json(text)) == text.strip('"')


@pytest.mark.parametrize("text", ["1.5", "true", '"1e3"', '"-1"', "-1", '" 1"', '"01"', '"NaN"', "1000001", '"1."'])
def test_other_quantities_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_json(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"amount":"1","currency":"USD"}',
        '{"amount":1.0,"currency":"USD"}',
        '{"amount":true,"currency":"USD"}',
        '{"amount":1,"currency":"usd"}',
        '{"amount":1,"currency":"XAU"}',
        '{"amount":1,"currency":"USD","extra":1}',
        '{"amount":1000000000000,"currency":"USD"}',
        '{"amount":1}',
    ],
)
def test_money_is_a_whole_number_of_an_active_currency(text: str) -> None:
    with pytest.raises(ValidationError):
        MoneyBody.model_validate_json(text)


def test_the_list_of_problems_in_the_documentation_is_the_codes_own() -> None:
    assert (ROOT / "docs" / "problems.md").read_text(encoding="utf-8") == problems_markdown()


def test_every_code_stands_once_with_numbers_and_not_the_names_of_constants() -> None:
    kinds = list(catalogue())
    codes = [kind.code for kind in kinds]
    assert sorted(codes) == sorted(set(codes))
    assert [kind.title for kind in kinds if re.search("[A-Z]+_[A-Z]", kind.title)] == []


@pytest.fixture
def openapi() -> dict[str, Any]:
    return documented.openapi()


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_documented_with_examples_that_are_true(
    operation: Operation, openapi: dict[str, Any]
) -> None:
    entry = openapi["paths"][operation.path.replace(":path}", "}")][operation.method.lower()]
    assert entry["summary"]
    success = entry["responses"][str(operation.status)]["content"][operation.media_type]
    assert success["example"] == operation.example
    TypeAdapter(operation.answers).validate_python(operation.example, strict=False)
    if operation.body is not None:
        assert "requestBody" in entry
        operation.body.model_validate_json(json.dumps(operation.body_example))
        named = any(parameter["name"] == "Idempotency-Key" for parameter in entry["parameters"])
        assert named is operation.takes_key
    for status, response in entry["responses"].items():
        if int(status) >= 400:
            known = (
                openapi["components"]["responses"][response["$ref"].rpartition("/")[2]]
                if "$ref" in response
                else response
            )
            assert "application/problem+json" in known["content"]


def test_every_schema_has_a_title_of_its_own_which_is_its_name(openapi: dict[str, Any]) -> None:
    """Generators of clients name classes by titles, and drop all but one of those that share one."""
    for name, schema in openapi["components"]["schemas"].items():
        assert schema["title"] == name
        assert re.fullmatch("[A-Z][A-Za-z0-9]*", name), name


def test_the_document_is_read_from_customers_to_what_is_done_with_them(openapi: dict[str, Any]) -> None:
    tags = [tag["name"] for tag in openapi["tags"]]
    assert tags[: len(READING_ORDER)] == list(READING_ORDER)


def test_summaries_are_sentences_of_good_english(openapi: dict[str, Any]) -> None:
    for operation in OPERATIONS:
        assert not re.search(r"\ba (?!one-|us[ae]|uni)[aeiou]", operation.summary), operation.summary
    assert openapi["paths"]["/v1/invoices/{invoice_id}"]["get"]["summary"] == "Get an invoice"


def test_every_id_in_a_path_says_what_it_begins_with(openapi: dict[str, Any]) -> None:
    foreign = {"saga_id", "schema_id"}
    for path, operations in openapi["paths"].items():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path" and parameter["name"].endswith("_id") and parameter["name"] not in foreign:
                    assert re.match(r"\^[a-z]+_\[", parameter["schema"].get("pattern", "")), (path, parameter)


def test_a_page_of_a_resource_is_named_by_it(openapi: dict[str, Any]) -> None:
    answer = openapi["paths"]["/v1/customers"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/CustomerList"}
    items = openapi["components"]["schemas"]["CustomerList"]["properties"]["data"]["items"]
    assert items == {"$ref": "#/components/schemas/CustomerResource"}


def test_every_reference_of_the_document_leads_somewhere(openapi: dict[str, Any]) -> None:
    def references(value: object) -> list[str]:
        match value:
            case dict():
                own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
                return own + [found for each in value.values() for found in references(each)]
            case list():
                return [found for each in value for found in references(each)]
        return []

    for reference in set(references(openapi)):
        place: Any = openapi
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place


def test_a_list_of_codes_is_one_type_of_the_document(openapi: dict[str, Any]) -> None:
    """Else a client that is made of it has a type of currencies for each field that holds one."""
    text = json.dumps(openapi)
    for name, code in (("Currency", '"ZMW"'), ("Country", '"ZM"')):
        assert code in json.dumps(openapi["components"]["schemas"][name])
        assert text.count(code) == 1


def test_the_documentation_page_loads_nothing_from_elsewhere() -> None:
    for file in (ROOT / "api" / "http" / "docs_page").iterdir():
        text = file.read_text(encoding="utf-8")
        assert "http://" not in text, file
        assert "https://" not in text, file


@pytest.mark.parametrize("country", ["XX", "de", "UK", "ZZ", "DEU", ""])
def test_a_country_is_one_of_iso_3166(country: str) -> None:
    assert len(COUNTRIES) == 249
    sent = {"currency": "EUR", "address": {"country": country}}
    assert refused_fields(NewCustomer, sent) == [("address.country", "unknown_country")]
    assert NewCustomer.model_validate({"currency": "EUR", "address": {"country": "DE"}})


def test_the_form_of_a_tax_category_is_told() -> None:
    with pytest.raises(ValidationError) as refused:
        NewProduct.model_validate({"name": "P", "tax_category": "Software (SaaS)"})
    (error,) = invalid_body(refused.value, {"name": "P", "tax_category": "Software (SaaS)"}, NewProduct).errors
    assert "lower-case letters and digits" in error.message


def test_paid_out_of_band_and_a_payment_method_are_not_both_named() -> None:
    both = {"payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7", "paid_out_of_band": True}
    assert refused_fields(InvoicePayment, both) == [("paid_out_of_band", "ambiguous_payment")]


def test_how_much_is_paid_is_named_only_of_what_came_out_of_band() -> None:
    charged = {"amount": {"amount": 100, "currency": "EUR"}}
    assert refused_fields(InvoicePayment, charged) == [("amount", "ambiguous_payment")]
    nothing = {"paid_out_of_band": True, "amount": {"amount": 0, "currency": "EUR"}}
    assert [name for name, _ in refused_fields(InvoicePayment, nothing)] == ["amount.amount"]


def test_only_what_has_a_key_is_to_be_repeated_with_it() -> None:
    assert "Idempotency-Key" in unavailable(is_command=True).detail
    assert "Idempotency-Key" not in unavailable(is_command=False).detail


@pytest.mark.parametrize("sent", ["usd", "Usd", " USD"])
def test_a_currency_in_lower_case_is_told_how_it_is_written(sent: str) -> None:
    with pytest.raises(ValidationError) as refused:
        MoneyBody.model_validate({"amount": 1, "currency": sent})
    (error,) = invalid_body(refused.value, {"amount": 1, "currency": sent}, MoneyBody).errors
    assert error == FieldError("currency", "unknown_currency", "Currency codes are in upper case: USD")


def test_what_is_wrong_is_said_without_what_was_sent() -> None:
    """In a tag of a union, too, which the parser would repeat."""
    sent = {"plan": "x", "model": {"type": "4242424242424242"}}
    with pytest.raises(ValidationError) as refused:
        NewPrice.model_validate(sent)
    errors = {error.param: error for error in invalid_body(refused.value, sent, NewPrice).errors}
    assert errors["plan"] == FieldError(
        "plan", "wrong_form", "Must be an id as Tallybook gave it: plan_ and 26 lower-case letters and digits"
    )
    assert errors["model.type"].code == "not_one_of"
    assert "4242" not in str(errors)


def refused_fields(model: type[BaseModel], sent: object) -> list[tuple[str, str]]:
    """The fields that an error tells of, each with its code."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(json.dumps(sent))
    return [(error.param, error.code) for error in invalid_body(refused.value, sent, model).errors]


def test_what_is_wrong_is_told_by_the_path_in_the_body_that_was_sent() -> None:
    """Without the parser's own steps, such as which member of a union it took the model for."""
    plan = "plan_01m7ywe9z7e398x54gfbrtqnk7"
    per_unit = {"type": "per_unit", "unit_amount": "many", "per_unit": 1}
    assert refused_fields(NewPrice, {"plan": plan, "model": per_unit}) == [
        ("model.currency", "required"),
        ("model.unit_amount", "invalid_decimal"),
        ("model.per_unit", "unknown_name"),
    ]
    assert refused_fields(NewPrice, {"plan": plan, "model": {}}) == [("model.type", "required")]
    kind = {"kind": "flat", "amount": {"amount": 1, "currency": "EUR"}}
    assert refused_fields(NewPrice, {"plan": plan, "model": kind}) == [
        ("model.type", "required"),
        ("model.kind", "unknown_name"),
    ]
    assert refused_fields(NewPrice, {"plan": plan, "model": {"type": "flat"}}) == [("model.amount", "required")]
    assert refused_fields(NewCustomer, {"currency": "EUR", "metadata": {"a\n": "b"}}) == [("metadata.a?", "wrong_form")]


def test_a_bad_item_is_told_and_the_list_that_holds_it_is_not_called_short() -> None:
    invoice = {"customer": "cus_01m7ywe9z7e398x54gfbrtqnk7", "currency": "EUR"}
    line = {"amount": {"amount": 1, "currency": "EUR"}}
    assert refused_fields(NewInvoice, {**invoice, "lines": [line]}) == [("lines.0.description", "required")]
    assert refused_fields(NewInvoice, {**invoice, "lines": []}) == [("lines", "too_short")]


@pytest.mark.parametrize(
    ("header", "codes"),
    [
        ("Authorization: Bearer <API key>", {"unauthenticated"}),
        ("Content-Type: application/json", {"unsupported_media_type"}),
        ("Tallybook-Version", {"unknown_version"}),
        ("Tallybook-Dry-Run", {"dry_run_not_possible"}),
        ("X-Tenant-ID", {"tenant_mismatch", "tenant_required"}),
        ("X-CSRF-Token", {"csrf_token_invalid"}),
        (
            "Retry-After",
            {
                "rate_limited",
                "position_not_reached",
                "log_in_held_back",
                "passwords_busy",
                "documents_busy",
                "dry_runs_busy",
                "tax_service_silent",
                "exports_busy",
                "usage_busy",
                "usage_unavailable",
            },
        ),
        (
            "Idempotency-Key",
            {
                "idempotency_key_missing",
                "idempotency_key_in_flight",
                "idempotency_key_reused",
                "busy",
                "store_unavailable",
                "gateway_unavailable",
                "clock_apart",
                "outcome_pending",
            },
        ),
    ],
)
def test_what_is_said_of_a_header_names_it_as_it_is_sent(header: str, codes: set[str]) -> None:
    assert {kind.code for kind in PROBLEM_TYPES if header in kind.title} == codes


@pytest.mark.parametrize(
    ("raw", "code", "detail"),
    [
        (b'{"a":1,"a":2}', "duplicate_name", "Each name may stand once in an object."),
        (b'[{"b":1,"\\u0062":2}]', "duplicate_name", "Each name may stand once in an object."),
        (b"{", "malformed_json", "Line 1, column 2: this is not JSON."),
        (b"\xef\xbb\xbf{}", "malformed_json", "Line 1, column 1: this is not JSON."),
        (b'{"a":NaN}', "malformed_json", "A number has too many digits, or is none."),
        (b"9" * 5_000, "malformed_json", "A number has too many digits, or is none."),
        (b"[" * 100_000, "malformed_json", "Lists and objects lie too deep in one another."),
        ("é".encode("latin-1"), "malformed_json", "Byte 1 is not UTF-8."),
        (b'{"4242424242424242":1,"4242424242424242":2}', "card_number_refused", CARD_NUMBER.title),
    ],
)
def test_what_is_no_json_is_told_where_and_why(raw: bytes, code: str, detail: str) -> None:
    with pytest.raises(Problem) as refused:
        read_json(raw)
    assert (refused.value.kind.code, refused.value.detail) == (code, detail)


@settings(max_examples=LENGTH.scaled(40), deadline=None)
@example(piece='{"a":1}')
@example(piece="[" * 5)
@example(piece="9")
@example(piece="1.9")
@example(piece='"\\u0034')
@example(piece="\n")
@given(piece=st.text('[]{}":,19.eE-\\u0aé\n ', min_size=1, max_size=8))
def test_no_json_costs_more_than_its_length(piece: str) -> None:
    def read(raw: bytes) -> None:
        with contextlib.suppress(Problem):
            read_json(raw)
        with contextlib.suppress(ValidationError):
            MoneyBody.model_validate_json(raw)

    for around in ("{}", "[{}]", '"{}"', '{{"a":{}}}'):
        assert grows_linearly(read, lambda size: around.format((piece * size)[:size]).encode(), size=8_000)  # noqa: B023
        assert grows_linearly(
            read,
            lambda size: ("[" + ",".join([piece] * (size // len(piece))) + "]").encode(),
            size=8_000,
        )


def test_no_duplicates_among_many_names_cost_more_than_their_number() -> None:
    def read(raw: bytes) -> None:
        with contextlib.suppress(Problem):
            read_json(raw)

    def distinct(size: int) -> bytes:
        return json.dumps({str(number): 1 for number in range(size // 10)}).encode()

    assert grows_linearly(read, distinct, size=20_000)
    assert grows_linearly(read, lambda size: distinct(size)[:-1] + b',"0":1}', size=20_000)
