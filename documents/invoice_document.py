"""An invoice as a document: from its facts to every text that stands on the page, in its order. Pure.

The same facts give the same document: its date is the invoice's own, and nothing comes from a clock or a machine.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final

from documents.formats import NO_BREAK_SPACE, Formats
from documents.usage_details import Detail, Telling, details_of
from documents.usage_words import USAGE_WORDS
from documents.words import WORDS, Words
from domain.customers.customer import Customer
from domain.discounts.computation import PercentOff
from domain.invoicing.billing_settings import Seller
from domain.invoicing.explanation import Explanation, explain_billed
from domain.invoicing.invoice_discount import InvoiceDiscount
from domain.invoicing.invoice_line import InvoiceLine, LinePricing
from domain.invoicing.invoice_tax import TaxTotal
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_explanation import priced_by
from domain.kernel.money import Money
from domain.kernel.rounding import round_to_int
from domain.pricing.models import WHOLE_PERIOD, PerUnit
from domain.tax.computation import TaxTreatment
from infra.commitments import Json, Person

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]")
LETTER_COUNTRIES: Final = frozenset({"US", "CA", "MX", "PH", "CL", "CO", "VE"})
"""Where paper is US letter; elsewhere it is A4 (CLDR, territory information: paperSize)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFacts:
    """What a document shows of. `customer` is as they were when it was finalized, `person` what the vault had of them
    then (None: nothing, or nothing any more). `time_zone` is where days begin. `units` are those of the meters whose
    usage it bills, and `numbers` those that other invoices had by then whose periods it bills again, by their ids.
    """

    invoice: Invoice
    seller: Seller
    seller_country: str | None
    customer: Customer
    person: Person | None
    is_erased: bool
    locale: str
    time_zone: str
    units: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A label, and what it says."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the invoice; empty where it has nothing to say. `details` stand below it, and explain it."""

    description: str
    period: str
    quantity: str
    unit_price: str
    amount: str
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class Party:
    """Who sells or buys: a name and the lines below it."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Everything that the page says. `at` is the document's date: year to second, in UTC. `xml` is the file inside, for
    machines (`electronic_invoice.py`); empty where there is none."""

    file_name: str
    language: str
    paper: str
    title: str
    at: tuple[int, ...]
    seller: Party
    buyer: Party
    facts: tuple[Pair, ...]
    stamp: str
    rows: tuple[Row, ...]
    discounts: tuple[Pair, ...]
    taxes: tuple[Pair, ...]
    totals: tuple[Pair, ...]
    notes: tuple[str, ...]
    footer: str
    words: Words
    xml: str = ""


def invoice_document(facts: InvoiceFacts) -> Document:
    """The document of an invoice that has been finalized."""
    invoice, formats = facts.invoice, Formats(facts.locale, facts.time_zone)
    words = WORDS[formats.language]
    assert invoice.number is not None, "a draft has no document"
    assert invoice.finalized_at is not None, "a draft has no document"
    at = invoice.finalized_at.astimezone(UTC)
    return Document(
        file_name=file_name_of(invoice.number),
        language=formats.language,
        paper=paper_of(formats),
        title=f"{words.invoice} {invoice.number}",
        at=(at.year, at.month, at.day, at.hour, at.minute, at.second),
        seller=seller_of(facts, formats),
        buyer=buyer_of(facts, formats, words),
        facts=tuple(_facts(facts, formats, words, at)),
        stamp=words.void if invoice.status is InvoiceStatus.VOID else "",
        rows=tuple(_rows(facts, formats)),
        discounts=tuple(_discounts(invoice, formats, words)),
        taxes=tuple(_taxes(invoice, formats, words)),
        totals=tuple(_totals(invoice, formats, words)),
        notes=(
            *((invoice.memo,) if invoice.memo else ()),
            *tax_notes(() if invoice.tax is None else invoice.tax.totals, words),
            *((words.erased,) if facts.is_erased else ()),
        ),
        footer=facts.seller.footer or "",
        words=words,
    )


def file_name_of(number: str) -> str:
    """A number as every file system takes it."""
    return f"{_NOT_IN_NAMES.sub('-', number)}.pdf"


def paper_of(formats: Formats) -> str:
    """By the country in whose form things are written."""
    return "us-letter" if formats.country in LETTER_COUNTRIES else "a4"


def seller_of(facts: InvoiceFacts, formats: Formats) -> Party:
    """With the number of the registration by which the tax is owed, where the seller's own text does not hold it."""
    seller, tax = facts.seller, facts.invoice.tax
    country = () if facts.seller_country is None else (formats.country_name(facts.seller_country),)
    number = None if tax is None or (tax.seller_number or "") in (seller.tax_id or "") else tax.seller_number
    further = tuple(each for each in (seller.email, seller.tax_id, number) if each is not None)
    return Party(seller.name, (*seller.address, *country, *further))


def buyer_of(facts: InvoiceFacts, formats: Formats, words: Words) -> Party:
    """With their address and tax ids, as far as they are known and not erased."""
    if facts.is_erased:
        return Party(words.erased, ())
    person: Person = facts.person or {}
    return Party(_text(person, "name"), (*_address(person.get("address"), formats), *_tax_ids(person.get("tax_ids"))))


def _address(address: Json, formats: Formats) -> tuple[str, ...]:
    if not isinstance(address, Mapping):
        return ()
    place = " ".join(filter(None, (_text(address, "postal_code"), _text(address, "city"))))
    country = _text(address, "country")
    lines = (_text(address, "line1"), _text(address, "line2"), place, _text(address, "region"))
    return tuple(filter(None, (*lines, formats.country_name(country) if country else "")))


def _tax_ids(tax_ids: Json) -> tuple[str, ...]:
    if not isinstance(tax_ids, list):
        return ()
    return tuple(_text(each, "value") for each in tax_ids if isinstance(each, Mapping))


def _text(of: Mapping[str, Json], name: str) -> str:
    value = of.get(name)
    return value if isinstance(value, str) else ""


def _facts(facts: InvoiceFacts, formats: Formats, words: Words, at: datetime) -> list[Pair]:
    invoice, customer = facts.invoice, facts.customer
    found = [Pair(words.number, invoice.number or ""), Pair(words.issued, formats.day(at))]
    for label, when in ((words.due, invoice.due_at), (words.paid_on, invoice.paid_at)):
        if when is not None:
            found.append(Pair(label, formats.day(when)))
    if invoice.voided_at is not None:
        found.append(Pair(words.voided_on, formats.day(invoice.voided_at)))
    found.append(Pair(words.reference, customer.external_id or customer.customer_id))
    return found


def _rows(facts: InvoiceFacts, formats: Formats) -> list[Row]:
    """Its lines, with what explains those of usage."""
    telling = telling_of(facts, formats)
    return [_row(line, by, node, telling) for line, by, node in explained_lines(facts.invoice)]


def telling_of(facts: InvoiceFacts, formats: Formats) -> Telling:
    """How usage is told of these facts."""
    return Telling(formats=formats, words=USAGE_WORDS[formats.language], units=facts.units, numbers=facts.numbers)


def explained_lines(invoice: Invoice) -> list[tuple[InvoiceLine, LinePricing | None, Explanation]]:
    """Each line with what priced it, and why it comes to its amount."""
    nodes = explain_billed(invoice.lines, invoice.currency).children
    return list(zip(invoice.lines, priced_by(invoice.lines), nodes, strict=True))


def _row(line: InvoiceLine, by: LinePricing | None, node: Explanation, telling: Telling) -> Row:
    formats = telling.formats
    has_period = line.period_start is not None and line.period_end is not None and line.period_start < line.period_end
    return Row(
        description=line.description,
        period=formats.period(line.period_start, line.period_end) if has_period else "",  # type: ignore[arg-type]
        quantity=telling.quantity(line.quantity, line, by),
        unit_price=_unit_price(line, formats),
        amount=formats.money(line.amount),
        details=line_details(line, by, node, telling),
    )


def line_details(line: InvoiceLine, by: LinePricing | None, node: Explanation, telling: Telling) -> tuple[Detail, ...]:
    """What stands below a line."""
    return details_of(line, by, node, telling, is_plain=_has_unit_price(line))


def _unit_price(line: InvoiceLine, formats: Formats) -> str:
    """What one costs, where quantity times that is the line's amount: not of tiers, packages, or a part of a period."""
    pricing = line.pricing
    if pricing is None or not isinstance(pricing.price, PerUnit) or not _has_unit_price(line):
        return ""
    return formats.unit_price(pricing.price.unit_amount, pricing.price.currency)


def _has_unit_price(line: InvoiceLine) -> bool:
    pricing = line.pricing
    if pricing is None or not isinstance(pricing.price, PerUnit) or pricing.price.free_units != Decimal(0):
        return False
    if line.usage is None:
        return pricing.share == WHOLE_PERIOD
    if line.gives_back is not None or line.usage.snapshot is None or line.usage.snapshot.quantity < 0:
        return False
    product = Fraction(line.quantity) * Fraction(pricing.price.unit_amount)
    return round_to_int(product, pricing.rounding) == line.amount.amount


def _discounts(invoice: Invoice, formats: Formats, words: Words) -> list[Pair]:
    """The sum of the lines and what each discount takes off it, by its coupon's name and terms; nothing without any."""
    discounts = [each for each in invoice.discounts if not each.amount.is_zero]
    if not discounts:
        return []
    taken = [Pair(_discount_label(each, formats, words), formats.money(-each.amount)) for each in discounts]
    return [Pair(words.subtotal, formats.money(invoice.subtotal)), *taken]


def _discount_label(discount: InvoiceDiscount, formats: Formats, words: Words) -> str:
    off, label = discount.terms.off, f"{words.discount}: {discount.terms.name}"
    if isinstance(off, PercentOff):
        return f"{label} ({formats.quantity(off.percent)}{NO_BREAK_SPACE}%)"
    return label


def _taxes(invoice: Invoice, formats: Formats, words: Words) -> list[Pair]:
    """The net amount and the tax of each rate, with what it is of: together they are the total, included or on top."""
    if invoice.tax is None:
        return []
    return [Pair(words.net, formats.money(invoice.total - invoice.total_tax)), *rates_of(invoice.tax.totals, formats)]


def rates_of(totals: Iterable[TaxTotal], formats: Formats) -> list[Pair]:
    """The tax of each rate, and what it is of."""
    return [
        Pair(
            f"{total.kind.upper()} {formats.quantity(total.percent)}{NO_BREAK_SPACE}% ({formats.money(total.taxable)})",
            formats.money(total.tax),
        )
        for total in totals
        if total.kind is not None and total.percent is not None
    ]


def tax_notes(totals: Iterable[TaxTotal], words: Words) -> list[str]:
    """Why there is no tax, where a document must say so."""
    said = {TaxTreatment.REVERSE_CHARGE: words.reverse_charge, TaxTreatment.EXEMPT: words.exempt}
    return [said[total.treatment] for total in totals if total.treatment in said]


def _totals(invoice: Invoice, formats: Formats, words: Words) -> list[Pair]:
    """The total, what settles it, and what is due: they add up. What a void invoice had of the balance went back."""
    settled: list[tuple[str, Money]] = []
    if invoice.status is not InvoiceStatus.VOID:
        to_balance = invoice.amount_overpaid - min(invoice.amount_applied, Money.zero(invoice.currency))
        settled = [
            (words.from_balance, max(invoice.amount_applied, Money.zero(invoice.currency))),
            (words.paid, invoice.amount_paid + invoice.amount_overpaid),
            (words.to_balance, to_balance),
            (words.credited, invoice.amount_credited),
            (words.given_back, invoice.amount_given_back),
            (words.refunded, invoice.amount_reopened),
        ]
    shown = [(label, amount) for label, amount in settled if amount.amount]
    all_of_it = [(words.total, invoice.total), *shown, (words.amount_due, invoice.amount_due)]
    return [Pair(label, formats.money(amount)) for label, amount in all_of_it]
