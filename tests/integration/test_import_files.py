"""Whatever stands in a file that is to be imported: it is read as it was meant, or told to be wrong, line by line."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.import_files import Errors, errors_file
from cli.import_kinds import KINDS, ImportKind
from cli.import_run import Check, check_file
from cli.line_file import LINE_MAX_CHARS, Unreadable
from cli.usage_file import check_usage_file

MARK: Final = "zebra4711"
"""Stands in values, and never in what is told of them."""

AHEAD: Final = (datetime.now(UTC) + timedelta(days=400)).strftime("%Y-%m-%dT00:00:00Z")
GOOD: Final[Mapping[ImportKind, Mapping[str, str]]] = {
    ImportKind.CUSTOMERS: {"external_id": "crm-1", "currency": "EUR", "name": "Ada", "metadata.order": "7"},
    ImportKind.SUBSCRIPTIONS: {
        "customer_external_id": "crm-1",
        "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
        "price": "price_01m7ywe9z7e398x54gfbrtqnk7",
        "quantity": "3",
        "starts_at": AHEAD,
    },
    ImportKind.INVOICES: {
        "customer_external_id": "crm-1",
        "number": "OLD-1",
        "currency": "EUR",
        "description": "Before",
        "amount": "1000",
        "amount_paid": "400",
        "issued_at": "2025-01-01T00:00:00Z",
        "due_at": "2025-02-01T00:00:00Z",
    },
    ImportKind.PAYMENTS: {
        "invoice_number": "OLD-1",
        "amount": "600",
        "currency": "EUR",
        "paid_at": "2025-02-01T00:00:00Z",
    },
}


def checked(kind: ImportKind, name: str, content: bytes) -> tuple[Check | None, str]:
    """What a look at the file finds (None: it is no such file), and what is told of it, or of its lines."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        try:
            found = check_file(kind, file, Errors(file), shown_max=5)
        except Unreadable as unreadable:
            return None, str(unreadable)
        told = errors_file(file).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in told.splitlines()]
    assert all({*each} == {"line", "param", "code", "message"} for each in lines)
    assert len({each["line"] for each in lines}) == found.wrong <= found.lines
    assert len(found.first_wrong) <= 5
    return found, told


KIND = st.sampled_from([*ImportKind])
NAME = st.sampled_from(["a.csv", "a.ndjson"])


@given(kind=KIND, name=NAME, content=st.binary(max_size=400))
@example(kind=ImportKind.CUSTOMERS, name="a.ndjson", content=b'{"a":' * 600 + b"1" + b"}" * 600)
@example(kind=ImportKind.CUSTOMERS, name="a.ndjson", content=b"[" * 100_000)
@example(kind=ImportKind.CUSTOMERS, name="a.ndjson", content=b'{"external_id": NaN, "currency": "\\ud800"}')
@example(kind=ImportKind.CUSTOMERS, name="a.ndjson", content=b'{"external_id": ' + b"9" * 5_000 + b"}")
@example(kind=ImportKind.CUSTOMERS, name="a.ndjson", content=b'{"external_id": "' + b"a" * LINE_MAX_CHARS + b'"}\n{}')
@example(kind=ImportKind.CUSTOMERS, name="a.csv", content=b"external_id,currency\n" + b"a" * 200_000 + b",EUR\n")
@example(kind=ImportKind.CUSTOMERS, name="a.csv", content=b"external_id,currency\n\x00,EUR\n")
@example(kind=ImportKind.CUSTOMERS, name="a.csv", content=b'external_id,currency\n"a,EUR\n')
@example(kind=ImportKind.CUSTOMERS, name="a.csv", content="external_id,currency\na,EUR\n".encode("utf-16"))
@example(kind=ImportKind.CUSTOMERS, name="a.csv", content=b"external_id,metadata." + b"a." * 2_000 + b"b\n1,2\n")
@example(kind=ImportKind.CUSTOMERS, name="a.csv", content=b"external_id,tax_ids.99999999999999999999.type\n1,2\n")
@example(kind=ImportKind.CUSTOMERS, name="a.csv", content=b"external_id,address,address.city\n1,2,3\n")
def test_any_bytes_are_read_or_told_to_be_wrong(kind: ImportKind, name: str, content: bytes) -> None:
    checked(kind, name, content)


JSONS: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(MARK),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just(MARK), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data(), kind=KIND)
def test_a_line_of_json_with_other_values_is_told_to_be_wrong_without_them(
    data: st.DataObject, kind: ImportKind
) -> None:
    """Whatever stands in whichever field, and fields that nobody knows."""
    names = st.sampled_from(sorted(KINDS[kind].fields)) | st.just(MARK) | st.text(max_size=5)
    body = {**GOOD[kind], **data.draw(st.dictionaries(names, JSONS, max_size=4))}
    _, told = checked(kind, "a.ndjson", json.dumps(body).encode())
    assert MARK not in told.replace(f"metadata.{MARK}", ""), "only a key of metadata is told, by which it is found"


def test_a_line_in_which_a_name_stands_twice_is_told_to_be_wrong() -> None:
    found, told = checked(ImportKind.CUSTOMERS, "a.ndjson", b'{"currency": "EUR", "currency": "USD"}')
    assert found is not None
    assert (found.wrong, "stands twice" in told) == (1, True)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", '"\\ud800"', "1" * 5_000, '{"a": 1, "a": 2}'])
def test_a_line_of_usage_that_is_no_json_is_told_to_be_wrong(value: str, tmp_path: Path) -> None:
    """Python's parser takes some of it."""
    file = tmp_path / "usage.ndjson"
    event = {"id": "a", "meter": "m", "customer": "c", "timestamp": "2026-01-31T00:00:00Z", "properties": {"n": 1.5}}
    good = json.dumps(event)
    file.write_text(good + "\n" + good.replace("1.5", value) + "\n", encoding="utf-8")
    found = check_usage_file(file, Errors(file), shown_max=5)
    assert (found.lines, [(each.line, each.code) for each in found.first_wrong]) == (2, [(2, "malformed")])


HOSTILE: Final = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        MARK,
        "=1+1",
        "@SUM(A1)",
        "\ufeff",
        "a\r\nb",
        '"',
        '""',
        "\x00",
        "NaN",
        "1e9",
        "-0",
        "٣",
        "0001-01-01T00:00:00+14:00",
    ]
)


@given(data=st.data(), kind=KIND)
def test_a_row_of_csv_with_other_values_is_told_to_be_wrong_without_them(data: st.DataObject, kind: ImportKind) -> None:
    columns = data.draw(st.permutations(sorted(GOOD[kind])))
    row = {**GOOD[kind], **data.draw(st.dictionaries(st.sampled_from(columns), HOSTILE, max_size=3))}
    _, told = checked(kind, "a.csv", written(columns, [row]))
    assert MARK not in told


@pytest.mark.parametrize("kind", [*ImportKind])
@pytest.mark.parametrize("begins", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_good_row_is_good_however_the_file_is_written(kind: ImportKind, begins: bytes, ends: str) -> None:
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        content = begins + written([*GOOD[kind]], [GOOD[kind]], ends=ends, quoting=quoting)
        found, told = checked(kind, "a.csv", content)
        assert (found, told) == (Check(lines=1, wrong=0, first_wrong=[]), "")


@pytest.mark.parametrize("kind", [*ImportKind])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: dict([*row.items()][1:]),
        lambda row: {**row, "nonsense": "1"},
        lambda row: {**row, next(iter(row)): ""},
    ],
)
def test_a_row_that_lacks_or_has_another_column_is_not_imported(
    kind: ImportKind, spoil: Callable[[Mapping[str, str]], Mapping[str, str]]
) -> None:
    row = spoil(GOOD[kind])
    found, _ = checked(kind, "a.csv", written([*row], [row]))
    assert found is None or found.wrong == 1


@pytest.mark.parametrize("kind", [*ImportKind])
def test_a_row_that_stands_twice_is_told(kind: ImportKind) -> None:
    found, told = checked(kind, "a.csv", written([*GOOD[kind]], [GOOD[kind]] * 3))
    assert found is not None
    assert (found.lines, found.wrong) == (3, 2)
    assert {json.loads(line)["code"] for line in told.splitlines()} == {"repeated"}


@pytest.mark.parametrize("kind", [*ImportKind])
def test_of_csv_and_of_json_a_line_is_the_same_request(kind: ImportKind) -> None:
    reads = KINDS[kind]
    body = reads.of_csv(GOOD[kind])
    found, _ = checked(kind, "a.ndjson", json.dumps(body).encode())
    assert found is not None
    assert found.wrong == 0


def written(columns: list[str], rows: list[Any], *, ends: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    """CSV of these rows."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator=ends, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")
