"""What an invoice's document says: amounts, days and words as locales write them, and nothing but its facts."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from documents.formats import Formats
from documents.invoice_document import Pair
from documents.words import WORDS
from domain.customers.locales import LANGUAGES
from domain.invoicing.billing_settings import Seller
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import InvoiceVoided
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine, LinePricing
from domain.invoicing.settlement import InvoicePaid, InvoicePartlyPaid
from domain.invoicing.state import Invoice
from domain.kernel.currency import EXPONENTS, CurrencyCode
from domain.kernel.money import Money
from domain.kernel.rounding import STANDARD_ROUNDING
from domain.pricing.models import PerUnit
from testing.examples.discounts import amount, apply_to_customer, create_coupon, forever, percent
from testing.examples.streams import EUR, INVOICE_ID, create_customer, draft
from testing.examples.taxes import BERLIN, PARIS, taxed_in_germany
from testing.moments import utc
from testing.specification import given
from tests.documents.examples import SELLER, document, invoice, line


def plain(text: str) -> str:
    """With the spaces of the locale's data as usual ones."""
    return text.replace("\u00a0", " ").replace("\u202f", " ").replace("\u2009", " ")


@pytest.mark.parametrize(
    ("locale", "currency", "amount", "written"),
    [
        ("de-DE", "EUR", 123_456_789, "1.234.567,89 €"),
        ("de-AT", "EUR", 123_456_789, "€ 1.234.567,89"),
        ("en-US", "USD", -5, "-$0.05"),
        ("en-GB", "GBP", 100, "£1.00"),
        ("fr-FR", "EUR", 123_456, "1 234,56 €"),
        ("es-ES", "EUR", 123_456_789, "1.234.567,89 €"),
        ("ja-JP", "JPY", 123_456, "¥123,456"),
        ("en-US", "JPY", 123_456, "¥123,456"),
        ("en-US", "KWD", 1_234_567, "KWD 1,234.567"),
        ("de", "KWD", 5, "0,005 KWD"),
        ("ja-DE", "EUR", 100, "€1.00"),
    ],
)
def test_an_amount_is_written_as_the_locale_writes_it_to_the_minor_unit(
    locale: str, currency: str, amount: int, written: str
) -> None:
    found = plain(Formats(locale, "UTC").money(Money(amount, CurrencyCode(currency))))
    assert found.replace("￥", "¥") == written


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_currency_is_written_with_all_of_its_minor_units(language: str) -> None:
    formats = Formats(language, "UTC")
    for code, exponent in EXPONENTS.items():
        digits = "".join(each for each in formats.money(Money(1_234_567, CurrencyCode(code))) if each.isdigit())
        assert digits == "1234567", (code, exponent)


@pytest.mark.parametrize(
    ("locale", "day", "period"),
    [
        ("de-DE", "1. Januar 2026", "1.–31. Jan. 2026"),
        ("en-US", "January 1, 2026", "Jan 1 – 31, 2026"),
        ("en-GB", "1 January 2026", "1 – 31 Jan 2026"),
        ("fr-FR", "1 janvier 2026", "1–31 janv. 2026"),
        ("es-ES", "1 de enero de 2026", "1–31 ene 2026"),
        ("ja-JP", "2026年1月1日", "2026年1月1日～31日"),
    ],
)
def test_days_are_written_as_the_locale_writes_them(locale: str, day: str, period: str) -> None:
    formats = Formats(locale, "UTC")
    assert formats.day(utc("2026-01-01T12:00")) == day
    assert plain(formats.period(utc("2026-01-01"), utc("2026-02-01"))).replace("~", "～") == period


def test_days_are_those_of_the_time_zone_and_the_end_is_no_part_of_a_period() -> None:
    new_year, a_month_later = utc("2025-12-31T23:00"), utc("2026-01-31T23:00")
    assert Formats("en-GB", "Europe/Berlin").day(new_year) == "1 January 2026"
    assert Formats("en-GB", "UTC").day(new_year) == "31 December 2025"
    assert plain(Formats("en-GB", "Europe/Berlin").period(new_year, a_month_later)) == "1 – 31 Jan 2026"
    assert plain(Formats("en-GB", "UTC").period(new_year, a_month_later)) == "31 Dec 2025 – 31 Jan 2026"
    assert plain(Formats("en-GB", "UTC").period(utc("2026-01-01"), utc("2026-01-02"))) == "1 Jan 2026"


def test_a_quantity_has_all_of_its_decimals() -> None:
    formats = Formats("de-DE", "UTC")
    quantities = ("1234.500", "0.000000000001", "1E+6", "3")
    assert [formats.quantity(Decimal(each)) for each in quantities] == ["1.234,5", "0,000000000001", "1.000.000", "3"]


def test_there_are_words_for_every_language_that_a_locale_may_name() -> None:
    assert set(WORDS) == LANGUAGES


def test_a_line_shows_a_unit_price_only_where_quantity_times_it_is_the_amount() -> None:
    price = PerUnit(currency=EUR, unit_amount=Decimal("12.5"))
    free = PerUnit(currency=EUR, unit_amount=Decimal("12.5"), free_units=Decimal(1))
    whole, half = Fraction(1), Fraction(1, 2)
    pricings = [
        LinePricing(price=each, share=share, rounding=STANDARD_ROUNDING)
        for each, share in ((price, whole), (price, half), (free, whole))
    ]
    lines = [line(nth, 100, pricing=pricing) for nth, pricing in enumerate(pricings)]
    shown = document(invoice([*lines, line(3, 100)])).rows
    assert [plain(row.unit_price) for row in shown] == ["0,125 €", "", "", ""]


def totals(of: tuple[Pair, ...]) -> list[tuple[str, str]]:
    return [(each.label, plain(each.value)) for each in of]


def test_the_totals_say_what_is_paid_and_what_is_due() -> None:
    owed = invoice([line(1, 5_000), line(2, -1_000)])
    assert totals(document(owed).totals) == [("Gesamtbetrag", "40,00 €"), ("Offener Betrag", "40,00 €")]
    part = InvoicePartlyPaid(invoice_id=INVOICE_ID, payment_id=None, amount=euros(1_500), paid_at=utc("2026-01-04"))
    shown = document(invoice(owed.lines, part))
    assert totals(shown.totals)[1:] == [("Bezahlt", "15,00 €"), ("Offener Betrag", "25,00 €")]
    shown = document(invoice(owed.lines, part, paid(2_500, surplus=700)))
    assert totals(shown.totals)[1:] == [
        ("Bezahlt", "47,00 €"),
        ("Ihrem Guthaben gutgeschrieben", "7,00 €"),
        ("Offener Betrag", "0,00 €"),
    ]
    assert Pair("Bezahlt am", "5. Januar 2026") in shown.facts


def test_the_totals_say_what_the_balance_paid_or_was_given() -> None:
    owed = [line(1, 5_000)]
    drawn = ("Mit Ihrem Guthaben verrechnet", "12,00 €")
    shown = document(invoice(owed, applied=1_200)).totals
    assert totals(shown) == [("Gesamtbetrag", "50,00 €"), drawn, ("Offener Betrag", "38,00 €")]
    shown = document(invoice([line(1, -300)], paid(0), applied=-300)).totals
    given = ("Ihrem Guthaben gutgeschrieben", "3,00 €")
    assert totals(shown) == [("Gesamtbetrag", "-3,00 €"), given, ("Offener Betrag", "0,00 €")]
    void = InvoiceVoided(invoice_id=INVOICE_ID, voided_at=utc("2026-01-02"))
    shown = document(invoice(owed, void, applied=1_200)).totals
    assert totals(shown) == [("Gesamtbetrag", "50,00 €"), ("Offener Betrag", "0,00 €")]


def euros(amount: int) -> Money:
    return Money(amount, EUR)


def paid(amount: int, *, surplus: int = 0) -> InvoicePaid:
    return InvoicePaid(
        invoice_id=INVOICE_ID,
        payment_id=None,
        amount=euros(amount),
        surplus=euros(surplus),
        paid_at=utc("2026-01-05"),
    )


def test_a_void_invoice_owes_nothing_and_is_stamped() -> None:
    shown = document(invoice([line(1, 100)], InvoiceVoided(invoice_id=INVOICE_ID, voided_at=utc("2026-01-02"))))
    assert shown.stamp == "STORNIERT"
    assert totals(shown.totals) == [("Gesamtbetrag", "1,00 €"), ("Offener Betrag", "0,00 €")]


def test_of_an_erased_customer_nothing_personal_is_said() -> None:
    shown = document(invoice([line(1, 100)]), is_erased=True, person=None)
    assert shown.buyer.name == WORDS["de"].erased
    assert shown.buyer.lines == ()
    assert shown.notes == (WORDS["de"].erased,)


def test_the_page_is_of_the_size_that_the_locales_country_prints_on() -> None:
    one = invoice([line(1, 100)])
    papers = [document(one, locale=locale).paper for locale in ("en-US", "fr-CA", "de-DE", "en", "ja-JP")]
    assert papers == ["us-letter", "us-letter", "a4", "a4", "a4"]


def test_a_file_is_named_by_the_invoices_number_in_characters_that_a_header_takes() -> None:
    odd = invoice([line(1, 100)])
    object.__setattr__(odd, "number", 'RE"\r\n2026/ä-1')
    assert document(odd).file_name == "RE---2026---1.pdf"


def test_a_memo_is_the_first_note() -> None:
    noted = replace(invoice([line(1, 100)]), memo="Thank you for your order.")
    assert document(noted).notes == ("Thank you for your order.",)


def test_a_seller_of_a_name_alone_is_that_name() -> None:
    shown = document(invoice([line(1, 100)]), seller=Seller(name="acme"), seller_country=None)
    assert (shown.seller.name, shown.seller.lines, shown.footer) == ("acme", (), "")


def in_berlin(*lines: InvoiceLine, **customer: Any) -> Invoice:
    """Finalized for a customer in Germany, where the seller is and everything bears 19 %."""
    facts = {"tax_location": BERLIN, "currency": "EUR", **customer}
    history = given(*taxed_in_germany(), create_customer(**facts), draft(*lines, currency=EUR))
    state = history.when(FinalizeInvoice(invoice_id=INVOICE_ID)).books.states[INVOICE.name, INVOICE_ID]
    assert isinstance(state, Invoice)
    return state


def test_the_net_amount_and_the_tax_of_each_rate_come_to_the_total() -> None:
    taxed = in_berlin(line(1, 10_000), line(2, 11_900, tax_inclusive=True))
    shown = document(taxed, locale="de-DE")
    assert [(each.label, plain(each.value)) for each in shown.taxes] == [
        ("Nettobetrag", "200,00 €"),
        (shown.taxes[1].label, "38,00 €"),
    ]
    assert plain(shown.taxes[1].label) == "VAT 19 % (200,00 €)"
    assert plain(shown.totals[0].value) == "238,00 €"
    assert document(invoice([line(1, 100)])).taxes == ()


def test_the_registration_by_which_tax_is_owed_is_printed_once() -> None:
    taxed = in_berlin(line(1, 10_000))
    assert document(taxed).seller.lines[-2:] == (SELLER.tax_id, "DE136695976")
    of_the_same_number = replace(SELLER, tax_id="USt-IdNr. DE136695976")
    assert document(taxed, seller=of_the_same_number).seller.lines[-1] == "USt-IdNr. DE136695976"
    assert document(invoice([line(1, 100)])).seller.lines[-1] == SELLER.tax_id


def test_an_invoice_says_why_it_bears_no_tax_where_it_must() -> None:
    moved = document(in_berlin(line(1, 100), tax_location=PARIS, vat_id_country="FR"), locale="en-GB")
    assert moved.notes == (WORDS["en"].reverse_charge,)
    assert document(in_berlin(line(1, 100), tax_exempt=True), locale="en-GB").notes == (WORDS["en"].exempt,)
    assert document(in_berlin(line(1, 100), tax_location=PARIS), locale="en-GB").notes == ()


def test_what_discounts_take_off_stands_between_the_lines_and_the_total_by_name_and_terms() -> None:
    coupons = (create_coupon(forever(percent("12.5"))), create_coupon(forever(amount(300)), 2))
    finalized = (
        given(create_customer(), *coupons, apply_to_customer(1), apply_to_customer(2), draft(line(1, 10_000, "USD")))
        .when(FinalizeInvoice(invoice_id=INVOICE_ID))
        .books.get(INVOICE, INVOICE_ID)
    )
    assert finalized is not None
    shown = document(finalized, locale="en-US")
    assert [(plain(each.label), plain(each.value)) for each in shown.discounts] == [
        ("Subtotal", "$100.00"),
        ("Discount: Welcome (12.5 %)", "-$12.50"),
        ("Discount: Welcome", "-$3.00"),
    ]
    assert plain(shown.totals[0].value) == "$84.50"
    assert document(invoice([line(1, 100)])).discounts == ()
