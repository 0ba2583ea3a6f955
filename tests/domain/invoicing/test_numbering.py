"""Specifications of document numbers: series, their formats, and the years by which some of them count."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.invoicing.billing_settings import AT_FIRST, BILLING_SETTINGS_ID, ChangeBillingSettings
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_note import IssueCreditNote
from domain.invoicing.imported import ImportInvoice, NumberOfSeries
from domain.invoicing.invoice import INVOICE
from domain.invoicing.number_series import (
    CREDIT_NOTES,
    INVOICES,
    MAX_SERIES,
    PREFIX_CLAIM,
    InvalidNumberSeries,
    NumberSeries,
    NumberSeriesImported,
    NumberSeriesKept,
    NumberSeriesOverlap,
    UnknownNumberSeries,
    changed_series,
)
from domain.kernel.billing_period import UnknownTimeZone
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from testing.examples.streams import CUSTOMER_ID, USD, create_customer, draft, id_of, line
from testing.moments import utc
from testing.specification import NOW, Books, Claimed, Given, given

YEARLY = NumberSeries(name="INV", prefix="R", format="{prefix}{year}-{number}", digits=4)


def series(*wanted: NumberSeries, **changes: Any) -> ChangeBillingSettings:
    return ChangeBillingSettings(number_series=(*wanted, CREDIT_NOTES), **changes)


def drafts(count: int) -> list[Command]:
    return [replace(draft(), invoice_id=id_of("in_", nth)) for nth in range(1, count + 1)]


def numbered(settings: ChangeBillingSettings, *times: str) -> list[str]:
    """The numbers of invoices that are finalized at these times, one after another."""
    story: Given = given(create_customer(), settings, *drafts(len(times)))
    numbers = []
    for nth, at in enumerate(times, 1):
        outcome = story.when(FinalizeInvoice(invoice_id=id_of("in_", nth)), at=utc(at))
        numbers.append(outcome.books.states[INVOICE.name, id_of("in_", nth)].number)
        story = Given(outcome.books)
    return numbers


def test_a_series_counts_on_whatever_its_numbers_look_like() -> None:
    numbers = numbered(ChangeBillingSettings(), "2026-12-31T23:00", "2027-01-01T01:00", "2027-01-01T02:00")
    assert numbers == ["INV-000001", "INV-000002", "INV-000003"]


def test_a_format_with_the_year_counts_from_one_in_each_year() -> None:
    assert numbered(series(YEARLY), "2026-12-31T22:00", "2026-12-31T23:30", "2027-01-01T00:00") == [
        "R2026-0001",
        "R2026-0002",
        "R2027-0001",
    ]


def test_the_year_begins_where_the_seller_is() -> None:
    in_berlin = series(YEARLY, time_zone="Europe/Berlin")
    assert numbered(in_berlin, "2026-12-31T22:59", "2026-12-31T23:00") == ["R2026-0001", "R2027-0001"]
    in_new_york = series(YEARLY, time_zone="America/New_York")
    assert numbered(in_new_york, "2027-01-01T04:59", "2027-01-01T05:00") == ["R2026-0001", "R2027-0001"]


def test_more_digits_than_the_format_has_are_printed() -> None:
    assert replace(YEARLY, digits=2).text(1234, 2026) == "R2026-1234"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"name": "inv"}, "name"),
        ({"name": ""}, "name"),
        ({"prefix": ""}, "prefix"),
        ({"prefix": "{year}"}, "prefix"),
        ({"format": "{number}"}, "format"),
        ({"format": "{prefix}{year}"}, "format"),
        ({"format": "{prefix}{month}-{number}"}, "format"),
        ({"digits": 0}, "digits"),
        ({"digits": 13}, "digits"),
    ],
)
def test_a_series_of_another_form_is_refused(changes: dict[str, Any], param: str) -> None:
    refused = given().when(series(replace(INVOICES, **changes))).then_refused(InvalidNumberSeries)
    refused.then_is_about(f"number_series.0.{param}")


def test_a_series_has_one_name_and_there_are_few() -> None:
    given().when(series(INVOICES, replace(INVOICES, prefix="X-"))).then_refused(InvalidNumberSeries, names=2)
    many = tuple(NumberSeries(name=f"S{nth}", prefix=f"S-{chr(65 + nth)}") for nth in range(MAX_SERIES))
    given().when(series(INVOICES, *many)).then_refused(InvalidNumberSeries)


def test_a_series_that_was_made_stays() -> None:
    given().when(ChangeBillingSettings(number_series=(INVOICES,))).then_refused(NumberSeriesKept, series="CN")


def test_invoices_are_numbered_in_a_series_that_there_is() -> None:
    given().when(ChangeBillingSettings(invoice_series="EU")).then_refused(UnknownNumberSeries, series="EU")
    given().when(ChangeBillingSettings(invoice_series="CN")).then_refused(UnknownNumberSeries, series="CN")
    european = NumberSeries(name="EU", prefix="INV-EU-")
    assert numbered(series(INVOICES, european, invoice_series="EU"), "2026-02-01T00:00") == ["INV-EU-000001"]


def test_the_seller_is_in_a_time_zone_that_there_is() -> None:
    given().when(ChangeBillingSettings(time_zone="Mars/Olympus")).then_refused(UnknownTimeZone)


@pytest.mark.parametrize("other", ["INV-", "INV-2", "INV-2026-"])
def test_two_series_never_print_the_same_number(other: str) -> None:
    refused = given().when(series(INVOICES, NumberSeries(name="B", prefix=other)))
    refused.then_refused(NumberSeriesOverlap, series="B", beside="INV")


def test_a_prefix_that_a_series_once_had_stays_its_own() -> None:
    renamed = replace(INVOICES, prefix="R-")
    taken = series(renamed, NumberSeries(name="B", prefix="INV-"))
    given(series(renamed)).when(taken).then_refused(NumberSeriesOverlap)
    again = changed_series((INVOICES, CREDIT_NOTES), changed_series((renamed, CREDIT_NOTES), AT_FIRST.number_series))
    assert again[0] == replace(INVOICES, former_prefixes=("R-",))


NAMES = st.sampled_from(["A", "B", "C"])
PREFIXES = st.text("A1-", min_size=1, max_size=3).filter(lambda prefix: prefix[0] != "-")
FORMATS = st.sampled_from(["{prefix}{number}", "{prefix}{year}{number}", "{prefix}{year}-{number}"])
KINDS = st.builds(
    lambda name, prefix, printed: NumberSeries(name=name, prefix=prefix, format=printed, digits=1),
    NAMES,
    PREFIXES,
    FORMATS,
)


@examples(
    st.lists(st.lists(KINDS, min_size=1, max_size=3), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from([2026, 2027])), min_size=1, max_size=8),
)
def test_no_number_is_printed_twice_however_series_are_changed(
    changes: list[list[NumberSeries]], taken: list[tuple[int, int]]
) -> None:
    """By two counts, at any time, whichever prefixes and formats they had then."""
    now: tuple[NumberSeries, ...] = ()
    printed: dict[str, tuple[str, int | None, int]] = {}
    for wanted in changes:
        try:
            now = changed_series(tuple(wanted), now)
        except Refusal:
            continue
        for each in now:
            for number, in_year in taken:
                year = in_year if each.is_yearly else None
                count = (each.name, year, number)
                assert printed.setdefault(each.text(number, year), count) == count


def importing(number: str, nth: int = 9) -> ImportInvoice:
    return ImportInvoice(
        invoice_id=id_of("in_", nth),
        customer_id=CUSTOMER_ID,
        number=number,
        currency=USD,
        lines=(line(1_000),),
        amount_paid=None,
        issued_at=NOW,
        due_at=NOW,
        paid_at=None,
    )


@pytest.mark.parametrize("number", ["INV-000001", "INV-7", "CN-000001", "INV-2026-0001", "INV-20260001"])
def test_what_a_series_will_print_is_not_imported(number: str) -> None:
    """Nor what it would with another format, or with fewer digits."""
    given(create_customer()).when(importing(number)).then_refused(NumberOfSeries)


@pytest.mark.parametrize("number", ["INV-1-A", "INV-", "2026-INV-1", "inv-000001", "INV-٣"])
def test_what_no_series_prints_is_imported(number: str) -> None:
    assert given(create_customer()).when(importing(number)).done.events


def test_what_a_series_did_print_is_not_imported_and_what_it_never_did_is() -> None:
    renamed = series(replace(INVOICES, prefix="R-"))
    story = given(create_customer(), draft(), FinalizeInvoice(invoice_id=draft().invoice_id), renamed)
    story.when(importing("INV-000001")).then_refused(NumberOfSeries, series="INV", prefix="INV-")
    assert story.when(importing("INV-000002")).done.events


def test_a_series_does_not_take_a_prefix_that_would_print_what_was_imported() -> None:
    story = given(create_customer(), importing("OLD2025-17"), importing("OLD2025-18", 8))
    for prefix in ("OLD", "OLD2025-", "OLD2025-1"):
        story.when(series(replace(INVOICES, prefix=prefix))).then_refused(NumberSeriesImported)
    story.when(series(replace(INVOICES, prefix="OLD2025-X"))).then_claims(
        *(Claimed(PREFIX_CLAIM, prefix, BILLING_SETTINGS_ID) for prefix in ("OLD2025-X", "CN-"))
    )


def test_what_was_imported_under_a_former_prefix_keeps_the_series_from_it() -> None:
    story = given(create_customer(), series(replace(INVOICES, prefix="R-")), importing("INV-000002"))
    story.when(series(INVOICES)).then_refused(NumberSeriesImported)


DEEDS = st.one_of(
    st.builds(
        lambda prefix, printed: NumberSeries(name="INV", prefix=prefix, format=printed, digits=1),
        st.sampled_from(["A", "A1"]),
        st.sampled_from(["{prefix}{number}", "{prefix}{year}-{number}"]),
    ),
    st.sampled_from(["A1", "A2", "A11", "A2026-1"]),
    st.sampled_from([FinalizeInvoice, IssueCreditNote]),
)


@example(["A1", NumberSeries(name="INV", prefix="A", digits=1), FinalizeInvoice])
@example([NumberSeries(name="INV", prefix="A", digits=1), FinalizeInvoice, "A1"])
@example([NumberSeries(name="INV", prefix="A", digits=1), FinalizeInvoice, INVOICES, "A1", "A2"])
@examples(st.lists(DEEDS, min_size=3, max_size=20))
def test_no_number_is_two_documents_whatever_is_imported_and_however_series_are_changed(deeds: list[Any]) -> None:
    books = Books()
    books.do(create_customer(), NOW)
    printed: list[str] = []
    for nth, deed in enumerate(deeds):
        invoice_id = id_of("in_", nth + 1)
        try:
            if isinstance(deed, str):
                books.do(importing(deed, nth + 1), NOW)
                printed.append(deed)
            elif isinstance(deed, NumberSeries):
                books.do(series(deed), NOW)
            else:
                books.do(replace(draft(), invoice_id=invoice_id), NOW)
                books.do(FinalizeInvoice(invoice_id=invoice_id), NOW)
                printed.append(books.states[INVOICE.name, invoice_id].number)
                if deed is IssueCreditNote:
                    note = id_of("cn_", nth + 1)
                    books.do(IssueCreditNote(invoice_id=invoice_id, credit_note_id=note), NOW)
                    printed.append(books.states[INVOICE.name, invoice_id].credit_notes[0].number)
        except Refusal:
            continue
    assert len(set(printed)) == len(printed)
