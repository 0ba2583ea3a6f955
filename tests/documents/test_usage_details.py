"""What stands below lines of usage: how their amounts come about, in words and figures of the customer's locale."""

import io
import time
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from pypdf import PdfReader

from documents.invoice_document import Row
from documents.printable import characters, printable
from documents.rendering_process import Typesetter
from documents.usage_details import MAX_PARTS, Detail, in_words
from documents.usage_words import USAGE_WORDS
from documents.words import WORDS
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.late_usage import LateReason, LateUsage
from domain.invoicing.usage_line import UsageProgress, UsageSlice
from domain.pricing.breakdown import PortionKind
from domain.pricing.models import BoundedPrice, Commitment, Price
from testing.examples.pricing import (
    graduated,
    graduated_percentage,
    package,
    per_unit,
    percentage,
    usd,
    volume,
)
from testing.examples.streams import id_of
from testing.examples.usage import METER_ID, TIERS
from testing.moments import utc
from tests.documents.examples import as_sent, document, invoice, line, used
from tests.documents.test_invoice_document import plain

EARLIER = id_of("in_", 7)
Told = tuple[str, str, str, str]


def row_of(shown: InvoiceLine, *further: InvoiceLine, **facts: Any) -> Row:
    facts = {"locale": "en-US", "units": {METER_ID: "GB"}, **facts}
    return document(invoice([shown, *further]), **facts).rows[0]


def details(shown: InvoiceLine, **facts: Any) -> list[Told]:
    return [told(each) for each in row_of(shown, **facts).details]


def told(detail: Detail) -> Told:
    return plain(detail.label), plain(detail.quantity), plain(detail.unit_price), plain(detail.amount)


def late(reason: LateReason, before: int, amount: int) -> LateUsage:
    return LateUsage(
        invoice_id=EARLIER,
        line_id=id_of("il_", 7),
        closed_with=id_of("il_", 1),
        reason=reason,
        quantity=Fraction(1),
        billed_before=usd(before),
        amount=usd(amount),
    )


@pytest.mark.parametrize(
    ("price", "quantity", "below"),
    [
        (per_unit(10), 7, []),
        (
            per_unit(10, 2),
            7,
            [("Free units", "2 GB", "", ""), ("Usage", "5 GB", "$0.10", "$0.50")],
        ),
        (
            TIERS,
            7,
            [
                ("Tier 1: 0 GB – 5 GB (Flat amount)", "", "", "$1.00"),
                ("Tier 1: 0 GB – 5 GB", "5 GB", "$0.10", "$0.50"),
                ("Tier 2: above 5 GB (Flat amount)", "", "", "$0.50"),
                ("Tier 2: above 5 GB", "2 GB", "$0.05", "$0.10"),
            ],
        ),
        (volume((5, 10, 0), (None, "2.5", 0)), 7, [("Tier 2: above 5 GB", "7 GB", "$0.025", "$0.175")]),
        (package(100, 10), 26, [("Packages of 10 GB", "3", "$1.00", "$3.00")]),
        (
            BoundedPrice(model=per_unit(10), minimum=usd(500)),
            7,
            [("Usage", "7 GB", "$0.10", "$0.70"), ("Raised to the minimum", "", "", "$4.30")],
        ),
        (
            BoundedPrice(model=per_unit(10), maximum=usd(50)),
            7,
            [("Usage", "7 GB", "$0.10", "$0.70"), ("Cut to the maximum", "", "", "-$0.20")],
        ),
        (
            BoundedPrice(
                model=per_unit(10),
                commitment=Commitment(amount=usd(50), overage_factor=Decimal("1.5"), prepaid=False),
            ),
            7,
            [
                ("Usage", "7 GB", "$0.10", "$0.70"),
                ("Commitment", "", "", "$0.50"),
                ("Covered by the commitment", "", "", "-$0.50"),
                ("Surcharge beyond the commitment", "$0.20", "50 %", "$0.10"),
            ],
        ),
        (
            graduated_percentage((100_000, "2.5", 0), (None, 1, 0)),
            105_000,
            [
                ("Tier 1: $0.00 – $1,000.00", "$1,000.00", "2.5 %", "$25.00"),
                ("Tier 2: above $1,000.00", "$50.00", "1 %", "$0.50"),
            ],
        ),
    ],
)
def test_the_parts_of_each_price_are_told(price: Price, quantity: int, below: list[Told]) -> None:
    assert details(used(1, price, quantity)) == below


def test_a_quantity_has_its_unit_and_of_a_percentage_is_a_sum_of_money() -> None:
    assert plain(row_of(used(1, TIERS, 1_234)).quantity) == "1,234 GB"
    assert plain(row_of(used(1, TIERS, 1_234), units={}).quantity) == "1,234"
    single = used(1, percentage("2.9", 30, free_events=1), 105_000, 5_000, 100_000)
    assert plain(row_of(single).quantity) == "$1,050.00"
    assert details(single) == [
        ("Free events", "1", "", ""),
        ("Percentage", "$1,000.00", "2.9 %", "$29.00"),
        ("Per event", "1", "$0.30", "$0.30"),
    ]


def test_a_unit_price_stands_only_where_it_explains_the_amount() -> None:
    progress = UsageProgress(is_last=True, charge=usd(70), billed_before=usd(50))
    rest = used(1, per_unit(10), 7, progress=progress, amount=usd(20))
    assert row_of(rest).unit_price == ""
    assert details(rest) == [("Usage", "7 GB", "$0.10", "$0.70"), ("Less billed before", "", "", "-$0.50")]
    assert plain(row_of(used(1, per_unit(10), 7)).unit_price) == "$0.10"


def test_usage_so_far_says_until_when() -> None:
    slice_ = UsageSlice(invoice_id=EARLIER, line_id=id_of("il_", 7))
    progress = UsageProgress(before=(slice_,), is_last=False, charge=usd(70), billed_before=usd(50))
    so_far = used(1, per_unit(10), 7, progress=progress, amount=usd(20), period_end=utc("2026-01-10T06:00"))
    assert details(so_far)[0] == ("Usage so far, until January 10, 2026", "", "", "")
    assert details(so_far)[-1] == ("Less billed before", "", "", "-$0.50")


@pytest.mark.parametrize(
    ("reason", "said"),
    [(LateReason.LATE, "Late"), (LateReason.VOIDED, "Voided"), (LateReason.CORRECTED, "Corrected")],
)
def test_late_usage_names_the_invoice_that_billed_its_period(reason: LateReason, said: str) -> None:
    again = used(1, TIERS, 7, late=late(reason, 140, 70), amount=usd(70), quantity=Decimal(3))
    numbers = {EARLIER: "INV-000006"}
    first, *parts = details(again, numbers=numbers)
    assert first == (f"{said} usage of INV-000006", "", "", "")
    assert parts[-1] == ("Less billed before", "", "", "-$1.40")
    assert details(again)[0][0] == f"{said} usage of an earlier invoice", "one that has no number"


def test_what_is_below_zero_says_that_nothing_is_carried_over() -> None:
    assert details(used(1, per_unit(10), -200)) == [
        ("Never below zero, nothing is carried over", "-200 GB", "", ""),
    ]
    money = used(1, percentage(10), -200_000, -100_000, -100_000)
    assert details(money) == [("Never below zero, nothing is carried over", "-$2,000.00", "", "")]


def test_what_bills_no_usage_has_nothing_below_it() -> None:
    assert row_of(line(1, 100, "USD")).details == ()


def test_the_parts_of_a_line_are_few_and_come_to_its_amount() -> None:
    rows = [(nth * 10, 100 - nth, 0) for nth in range(1, 100)]
    price = BoundedPrice(model=graduated(*rows, (None, 1, 0)), minimum=usd(10_000_000))
    (shown,) = (row_of(used(1, price, 5_000)),)
    assert len(shown.details) == MAX_PARTS
    assert [plain(each.label) for each in shown.details][-5:] == [
        "90 further parts",
        *(f"Tier {nth}: {nth * 10 - 10} GB – {nth * 10} GB" for nth in (98, 99)),
        "Tier 100: above 990 GB",
        "Raised to the minimum",
    ]
    figures = [Decimal(each.amount.lstrip("$").replace(",", "")) for each in shown.details]
    assert sum(figures) == Decimal(100_000)


def test_the_longest_invoice_of_usage_is_told_and_set_in_time() -> None:
    """Every line with as many parts as are told: linear, as one that has none is."""
    rows = [(nth * 10, 100 - nth, 0) for nth in range(1, 100)]
    price = graduated(*rows, (None, 1, 0))
    begun = time.process_time()
    shown = document(invoice([used(nth, price, 5_000) for nth in range(250)]), locale="en-US", units={METER_ID: "GB"})
    told_after_s = time.process_time() - begun
    made = Typesetter().pdf(as_sent(shown))
    assert made.startswith(b"%PDF")
    assert sum(len(row.details) for row in shown.rows) == 250 * MAX_PARTS
    assert told_after_s < 5
    assert time.process_time() - begun < 20


def test_the_page_says_it() -> None:
    shown = document(invoice([used(1, TIERS, 7), line(2, 100, "USD")]), locale="en-US", units={METER_ID: "GB"})
    made = Typesetter().pdf(as_sent(shown))
    said = " ".join(plain(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(made)).pages)).split())
    for each in ("7 GB", "Tier 1: 0 GB – 5 GB", "5 GB $0.10 $0.50", "Tier 2: above 5 GB (Flat amount)", "$2.10"):
        assert each in said, (each, said)
    assert Typesetter().pdf(as_sent(shown)) == made


def test_the_same_in_words() -> None:
    shown = row_of(used(1, per_unit(10, 2), 7))
    assert plain(in_words(shown.details)) == "Free units: 2 GB; Usage: 5 GB × $0.10 = $0.50"
    assert in_words([Detail("Late usage")]) == "Late usage"


def test_there_are_words_for_every_part_in_every_language_and_all_can_be_printed() -> None:
    assert set(USAGE_WORDS) == set(WORDS)
    for words in USAGE_WORDS.values():
        assert set(words.portions) == set(PortionKind)
        assert set(words.late) == set(LateReason)
        texts = [getattr(words, name) for name in words.__slots__ if isinstance(getattr(words, name), str)]
        texts += [*words.portions.values(), *words.late.values()]
        assert not printable(texts, characters()).has_lost


@pytest.mark.parametrize("language", sorted(USAGE_WORDS))
def test_every_language_has_a_place_for_each_figure(language: str) -> None:
    words = USAGE_WORDS[language]
    assert "7" in words.tier.format(nth=7, above="a", up_to="b")
    assert "a" in words.top_tier.format(nth=7, above="a")
    assert "INV" in words.late[LateReason.LATE].format(invoice="INV")
    assert "10" in words.portions[PortionKind.PACKAGES].format(size=10)
    assert "3" in words.further.format(count=3)
    assert "Mai" in words.so_far.format(day="Mai")


def test_a_line_that_is_void_or_stated_is_explained_alike() -> None:
    stated = replace(used(1, TIERS, 7), pricing=None)
    assert details(stated) == []
