"""Specifications of document numbers: series, their formats, and the years by which some of them count."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.invoicing.billing_settings import AT_FIRST, ChangeBillingSettings
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.number_series import (
    CREDIT_NOTES,
    INVOICES,
    MAX_SERIES,
    InvalidNumberSeries,
    NumberSeries,
    NumberSeriesKept,
    NumberSeriesOverlap,
    UnknownNumberSeries,
    changed_series,
)
from domain.kernel.billing_period import UnknownTimeZone
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from testing.examples.streams import create_customer, draft, id_of
from testing.moments import utc
from testing.specification import Given, given

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
