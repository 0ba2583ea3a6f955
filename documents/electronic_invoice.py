"""An invoice as machines read it: EN 16931 in UN/CEFACT's syntax (CII D22B), which its PDF carries (Factur-X). Pure.

It says what was issued: nothing in it changes when the invoice is paid or credited. What the standard cannot say, no
file says: `electronic_invoice` is None then, and the PDF is the invoice. A credit note's (`electronic_credit_note.py`)
is written by the same hand.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

from documents.formats import Formats
from documents.invoice_document import InvoiceFacts, explained_lines, line_details, telling_of
from documents.usage_details import in_words
from domain.invoicing.invoice_tax import TaxTotal
from domain.invoicing.state import InvoiceStatus
from domain.kernel.currency import EXPONENTS, CurrencyCode
from domain.kernel.money import Money, sum_money
from domain.tax.computation import TaxTreatment
from infra.commitments import Json

FILE_NAME: Final = "factur-x.xml"
PROFILE: Final = "urn:cen.eu:en16931:2017"
_INVOICE: Final = "380"
_PIECE: Final = "C62"
_DAY: Final = "102"
_DECIMALS_MAX: Final = 2
_PRICE_DECIMALS_MAX: Final = 6
_VAT: Final = "vat"
_VAT_ID: Final = re.compile(r"[A-Z]{2}[0-9A-Za-z]+")

_NAMESPACES: Final = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
_UNTAXED: Final = {
    TaxTreatment.EXEMPT: ("E", "Exempt from tax", None),
    TaxTreatment.REVERSE_CHARGE: ("AE", "Reverse charge", "VATEX-EU-AE"),
    TaxTreatment.NOT_REGISTERED: ("O", "Not subject to VAT", "VATEX-EU-O"),
}
"""By the reason: the standard's category, its words and its code."""


class Unsayable(Exception):
    """The standard has no words for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line at its net amount, after discounts and without tax; `rate_ids` are those of the taxes that it bears, and
    `note` says in words what the PDF has below it.
    """

    name: str
    quantity: Decimal
    net: Money
    treatment: TaxTreatment
    rate_ids: tuple[str, ...]
    period: tuple[datetime, datetime] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What the file says besides who sells to whom. `type_code` is of UNTDID 1001. Of `total`, `applied` was paid as it
    was issued; `terms` says how the rest is, where no day does. `credits` is the number and the date of the invoice
    that a credit note is for.
    """

    type_code: str
    number: str
    at: datetime
    items: tuple[Item, ...]
    totals: tuple[TaxTotal, ...]
    total: Money
    applied: Money
    due_at: datetime | None = None
    terms: str | None = None
    credits: tuple[str, datetime] | None = None


def electronic_invoice(facts: InvoiceFacts) -> str | None:
    """The file; None for a void invoice, of whoever was erased, where nothing is said of tax, and where the standard
    wants what is not known (the seller's number, where the buyer is) or cannot say it: a tax other than VAT."""
    invoice = facts.invoice
    if invoice.status is InvoiceStatus.VOID or facts.is_erased or invoice.tax is None or not _fits(invoice.currency):
        return None
    assert invoice.finalized_at is not None, "a draft has no document"
    items: list[Item] = []
    telling = telling_of(facts, Formats(facts.locale, facts.time_zone))
    for line, by, node in explained_lines(invoice):
        assert line.tax is not None, "every line of an invoice with tax says its own"
        start, end = line.period_start, line.period_end
        items.append(
            Item(
                name=line.description,
                quantity=line.quantity,
                net=line.net,
                treatment=line.tax.treatment,
                rate_ids=tuple(share.rate_id for share in line.tax.shares),
                period=None if start is None or end is None or start >= end else (start, end),
                note=in_words(line_details(line, by, node, telling)),
            )
        )
    issued = Issued(
        type_code=_INVOICE,
        number=invoice.number or "",
        at=invoice.finalized_at,
        items=tuple(items),
        totals=invoice.tax.totals,
        total=invoice.total,
        applied=invoice.amount_applied,
        due_at=invoice.due_at,
    )
    return written(issued, facts)


def written(issued: Issued, facts: InvoiceFacts) -> str | None:
    """The file that says it; None where the standard cannot."""
    try:
        made = _document(issued, facts)
    except Unsayable:
        return None
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(made, encoding="unicode")


def _document(issued: Issued, facts: InvoiceFacts) -> ET.Element:
    if not _fits(facts.invoice.currency):
        raise Unsayable
    totals = _categories(issued)
    root = ET.Element("rsm:CrossIndustryInvoice", {f"xmlns:{name}": uri for name, uri in _NAMESPACES.items()})
    context = _within(root, "rsm:ExchangedDocumentContext", "ram:GuidelineSpecifiedDocumentContextParameter")
    _say(context, "ram:ID", PROFILE)
    head = _within(root, "rsm:ExchangedDocument")
    _say(head, "ram:ID", issued.number)
    _say(head, "ram:TypeCode", issued.type_code)
    _day(_within(head, "ram:IssueDateTime"), issued.at, facts)
    transaction = _within(root, "rsm:SupplyChainTradeTransaction")
    for nth, item in enumerate(issued.items, 1):
        _line(_within(transaction, "ram:IncludedSupplyChainTradeLineItem"), nth, item, issued, facts)
    agreement = _within(transaction, "ram:ApplicableHeaderTradeAgreement")
    _seller(_within(agreement, "ram:SellerTradeParty"), facts, totals)
    _buyer(_within(agreement, "ram:BuyerTradeParty"), facts, totals)
    _within(transaction, "ram:ApplicableHeaderTradeDelivery")
    _settlement(_within(transaction, "ram:ApplicableHeaderTradeSettlement"), issued, facts, totals)
    return root


def _fits(currency: CurrencyCode) -> bool:
    """Whether the standard has as many decimals as the currency."""
    return EXPONENTS[currency] <= _DECIMALS_MAX


def _within(parent: ET.Element, *names: str) -> ET.Element:
    for name in names:
        parent = ET.SubElement(parent, name)
    return parent


def _say(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text


def _amount(value: Money) -> str:
    """With the currency's own decimals."""
    return value.format().rpartition(" ")[0]


def _day(parent: ET.Element, at: datetime, facts: InvoiceFacts, *, of_date: str = "udt:DateTimeString") -> None:
    _say(parent, of_date, at.astimezone(ZoneInfo(facts.time_zone)).strftime("%Y%m%d"), format=_DAY)


class _Category:
    """What a line's tax comes under: the standard's code and, where tax is charged, its rate."""

    def __init__(self, code: str, percent: Decimal | None, reason: str | None = None, why: str | None = None) -> None:
        self.code, self.percent, self.reason, self.why = code, percent, reason, why
        self.taxable: Money | None = None
        self.tax: Money | None = None

    def shown(self, parent: ET.Element) -> None:
        _say(parent, "ram:CategoryCode", self.code)

    def rate(self, parent: ET.Element) -> None:
        if self.percent is not None:
            _say(parent, "ram:RateApplicablePercent", f"{self.percent:f}")


def _categories(issued: Issued) -> list[_Category]:
    """The tax totals as the standard breaks them down."""
    found: list[_Category] = []
    for total in issued.totals:
        category = _category(total)
        category.taxable, category.tax = total.taxable, total.tax
        found.append(category)
    if len(found) > 1 and any(each.code == "O" for each in found):
        raise Unsayable
    return found


def _category(total: TaxTotal) -> _Category:
    if total.treatment is not TaxTreatment.TAXED:
        return _untaxed(total.treatment)
    if total.kind != _VAT or total.percent is None:
        raise Unsayable
    return _Category("S" if total.percent else "Z", total.percent)


def _untaxed(treatment: TaxTreatment) -> _Category:
    code, reason, why = _UNTAXED[treatment]
    return _Category(code, None if code == "O" else Decimal(0), reason, why)


def _of_item(item: Item, issued: Issued) -> _Category:
    if item.treatment is not TaxTreatment.TAXED:
        return _untaxed(item.treatment)
    borne = [each for each in issued.totals if each.rate_id in item.rate_ids]
    if len(item.rate_ids) != 1 or not borne:
        raise Unsayable
    return _category(borne[0])


def _line(line: ET.Element, nth: int, item: Item, issued: Issued, facts: InvoiceFacts) -> None:
    """A deduction is a quantity below zero."""
    about = _within(line, "ram:AssociatedDocumentLineDocument")
    _say(about, "ram:LineID", str(nth))
    if item.note:
        _say(_within(about, "ram:IncludedNote"), "ram:Content", item.note)
    _say(_within(line, "ram:SpecifiedTradeProduct"), "ram:Name", item.name)
    price, quantity = _priced(item)
    agreement = _within(line, "ram:SpecifiedLineTradeAgreement", "ram:NetPriceProductTradePrice")
    _say(agreement, "ram:ChargeAmount", price)
    _say(_within(line, "ram:SpecifiedLineTradeDelivery"), "ram:BilledQuantity", quantity, unitCode=_PIECE)
    settlement = _within(line, "ram:SpecifiedLineTradeSettlement")
    category, tax = _of_item(item, issued), _within(settlement, "ram:ApplicableTradeTax")
    _say(tax, "ram:TypeCode", "VAT")
    category.shown(tax)
    category.rate(tax)
    if item.period is not None:
        start, end = item.period
        period = _within(settlement, "ram:BillingSpecifiedPeriod")
        _day(_within(period, "ram:StartDateTime"), start, facts)
        _day(_within(period, "ram:EndDateTime"), max(start, end - timedelta(microseconds=1)), facts)
    sums = _within(settlement, "ram:SpecifiedTradeSettlementLineMonetarySummation")
    _say(sums, "ram:LineTotalAmount", _amount(item.net))


def _priced(item: Item) -> tuple[str, str]:
    """A price that is not below zero and a quantity, whose product is the net amount exactly."""
    net = Decimal(_amount(item.net))
    if item.quantity > 0:
        each = abs(net) / item.quantity
        rounded = round(each, _PRICE_DECIMALS_MAX)
        if rounded * item.quantity == abs(net):
            return _plain(rounded), _plain(item.quantity if net >= 0 else -item.quantity)
    return _plain(abs(net)), "1" if net >= 0 else "-1"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _seller(party: ET.Element, facts: InvoiceFacts, categories: list[_Category]) -> None:
    seller, tax = facts.seller, facts.invoice.tax
    country = facts.seller_country or (None if tax is None else tax.seller_country)
    own = _own_vat_id(seller.tax_id or "", country or "")
    number = None if tax is None else tax.seller_number or own
    if own is not None and any(each.code == "AE" for each in categories) and not _is_vat_id(number):
        number = own
    known_by = number or seller.tax_id
    if country is None or known_by is None:
        raise Unsayable
    is_outside = any(each.code == "O" for each in categories)
    is_vat_id = _is_vat_id(number)
    if is_outside or not is_vat_id:
        _say(party, "ram:ID", known_by)
    _say(party, "ram:Name", seller.name)
    _address(_within(party, "ram:PostalTradeAddress"), seller.address, country)
    if number is not None and not is_outside:
        registration = _within(party, "ram:SpecifiedTaxRegistration")
        _say(registration, "ram:ID", number, schemeID="VA" if is_vat_id else "FC")
    elif not is_outside:
        raise Unsayable


def _is_vat_id(number: str | None) -> bool:
    return number is not None and _VAT_ID.fullmatch(number) is not None


def _own_vat_id(printed: str, country: str) -> str | None:
    """The VAT id of the seller's own country in what they print of their tax ids: `USt-IdNr. DE123456789`."""
    found = re.search(rf"\b{country}[0-9A-Z]{{8,12}}\b", printed) if country else None
    return None if found is None else found[0]


def _buyer(party: ET.Element, facts: InvoiceFacts, categories: list[_Category]) -> None:
    person = facts.person or {}
    name, address = person.get("name"), person.get("address")
    place = None if facts.invoice.tax is None else facts.invoice.tax.place
    country = _text(address, "country") or (None if place is None else place.country)
    if not isinstance(name, str) or not name or not country:
        raise Unsayable
    _say(party, "ram:Name", name)
    lines = tuple(filter(None, (_text(address, "line1"), _text(address, "line2"))))
    _address(
        _within(party, "ram:PostalTradeAddress"),
        lines,
        country,
        postal_code=_text(address, "postal_code"),
        city=_text(address, "city"),
    )
    vat_id = _vat_id(person.get("tax_ids"))
    is_reverse = any(each.code == "AE" for each in categories)
    if is_reverse and vat_id is None:
        raise Unsayable
    if vat_id is not None and not any(each.code == "O" for each in categories):
        _say(_within(party, "ram:SpecifiedTaxRegistration"), "ram:ID", vat_id, schemeID="VA")


def _text(of: Json, name: str) -> str:
    value = of.get(name) if isinstance(of, Mapping) else None
    return value if isinstance(value, str) else ""


def _vat_id(tax_ids: Json) -> str | None:
    found = [each for each in tax_ids if _text(each, "type") == "eu_vat"] if isinstance(tax_ids, list) else []
    return _text(found[0], "value") or None if found else None


def _address(
    address: ET.Element, lines: tuple[str, ...], country: str, *, postal_code: str = "", city: str = ""
) -> None:
    """What does not fit three lines is left out: the standard has no more."""
    if postal_code:
        _say(address, "ram:PostcodeCode", postal_code)
    for name, text in zip(("ram:LineOne", "ram:LineTwo", "ram:LineThree"), lines, strict=False):
        _say(address, name, text)
    if city:
        _say(address, "ram:CityName", city)
    _say(address, "ram:CountryID", country)


def _settlement(settlement: ET.Element, issued: Issued, facts: InvoiceFacts, categories: list[_Category]) -> None:
    currency = facts.invoice.currency
    _say(settlement, "ram:InvoiceCurrencyCode", currency)
    for category in categories:
        assert category.tax is not None, "a total has its amounts"
        assert category.taxable is not None, "a total has its amounts"
        tax = _within(settlement, "ram:ApplicableTradeTax")
        _say(tax, "ram:CalculatedAmount", _amount(category.tax))
        _say(tax, "ram:TypeCode", "VAT")
        if category.reason is not None:
            _say(tax, "ram:ExemptionReason", category.reason)
        _say(tax, "ram:BasisAmount", _amount(category.taxable))
        category.shown(tax)
        if category.why is not None:
            _say(tax, "ram:ExemptionReasonCode", category.why)
        category.rate(tax)
    if issued.terms is not None or issued.due_at is not None:
        terms = _within(settlement, "ram:SpecifiedTradePaymentTerms")
        if issued.terms is not None:
            _say(terms, "ram:Description", issued.terms)
        if issued.due_at is not None:
            _day(_within(terms, "ram:DueDateDateTime"), issued.due_at, facts)
    net = sum_money((item.net for item in issued.items), currency)
    sums = _within(settlement, "ram:SpecifiedTradeSettlementHeaderMonetarySummation")
    _say(sums, "ram:LineTotalAmount", _amount(net))
    _say(sums, "ram:TaxBasisTotalAmount", _amount(net))
    all_tax = sum_money((total.tax for total in issued.totals), currency)
    _say(sums, "ram:TaxTotalAmount", _amount(all_tax), currencyID=currency)
    _say(sums, "ram:GrandTotalAmount", _amount(issued.total))
    _say(sums, "ram:TotalPrepaidAmount", _amount(issued.applied))
    _say(sums, "ram:DuePayableAmount", _amount(issued.total - issued.applied))
    if issued.credits is not None:
        number, at = issued.credits
        invoice = _within(settlement, "ram:InvoiceReferencedDocument")
        _say(invoice, "ram:IssuerAssignedID", number)
        _day(_within(invoice, "ram:FormattedIssueDateTime"), at, facts, of_date="qdt:DateTimeString")
