"""An invoice as machines read it: EN 16931 in UN/CEFACT's syntax (CII D22B), which its PDF carries (Factur-X). Pure.

It says what was issued: nothing in it changes when the invoice is paid or credited. What the standard cannot say, no
file says: `electronic_invoice` is None then, and the PDF is the invoice.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

from documents.invoice_document import InvoiceFacts
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import TaxTotal
from domain.invoicing.state import InvoiceStatus
from domain.kernel.currency import EXPONENTS
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
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
_UNTAXED: Final = {
    TaxTreatment.EXEMPT: ("E", "Exempt from tax", None),
    TaxTreatment.REVERSE_CHARGE: ("AE", "Reverse charge", "VATEX-EU-AE"),
    TaxTreatment.NOT_REGISTERED: ("O", "Not subject to VAT", "VATEX-EU-O"),
}
"""By the reason: the standard's category, its words and its code."""


class _Unsayable(Exception):
    """The standard has no words for it."""


def electronic_invoice(facts: InvoiceFacts) -> str | None:
    """The file; None for a void invoice, of whoever was erased, where nothing is said of tax, and where the standard
    wants what is not known (the seller's number, where the buyer is) or cannot say it: a tax other than VAT."""
    if facts.invoice.status is InvoiceStatus.VOID or facts.is_erased:
        return None
    try:
        made = _document(facts)
    except _Unsayable:
        return None
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(made, encoding="unicode")


def _document(facts: InvoiceFacts) -> ET.Element:
    invoice = facts.invoice
    assert invoice.finalized_at is not None, "a draft has no document"
    if EXPONENTS[invoice.currency] > _DECIMALS_MAX:
        raise _Unsayable
    totals = _categories(facts)
    root = ET.Element("rsm:CrossIndustryInvoice", {f"xmlns:{name}": uri for name, uri in _NAMESPACES.items()})
    context = _within(root, "rsm:ExchangedDocumentContext", "ram:GuidelineSpecifiedDocumentContextParameter")
    _say(context, "ram:ID", PROFILE)
    head = _within(root, "rsm:ExchangedDocument")
    _say(head, "ram:ID", invoice.number or "")
    _say(head, "ram:TypeCode", _INVOICE)
    _day(_within(head, "ram:IssueDateTime"), invoice.finalized_at, facts)
    transaction = _within(root, "rsm:SupplyChainTradeTransaction")
    for nth, line in enumerate(invoice.lines, 1):
        _line(_within(transaction, "ram:IncludedSupplyChainTradeLineItem"), nth, line, facts)
    agreement = _within(transaction, "ram:ApplicableHeaderTradeAgreement")
    _seller(_within(agreement, "ram:SellerTradeParty"), facts, totals)
    _buyer(_within(agreement, "ram:BuyerTradeParty"), facts, totals)
    _within(transaction, "ram:ApplicableHeaderTradeDelivery")
    _settlement(_within(transaction, "ram:ApplicableHeaderTradeSettlement"), facts, totals)
    return root


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


def _categories(facts: InvoiceFacts) -> list[_Category]:
    """The tax totals as the standard breaks them down."""
    invoice = facts.invoice
    if invoice.tax is None:
        raise _Unsayable
    found: list[_Category] = []
    for total in invoice.tax.totals:
        category = _category(total)
        category.taxable, category.tax = total.taxable, total.tax
        found.append(category)
    if len(found) > 1 and any(each.code == "O" for each in found):
        raise _Unsayable
    return found


def _category(total: TaxTotal) -> _Category:
    if total.treatment is not TaxTreatment.TAXED:
        return _untaxed(total.treatment)
    if total.kind != _VAT or total.percent is None:
        raise _Unsayable
    return _Category("S" if total.percent else "Z", total.percent)


def _untaxed(treatment: TaxTreatment) -> _Category:
    code, reason, why = _UNTAXED[treatment]
    return _Category(code, None if code == "O" else Decimal(0), reason, why)


def _of_line(line: InvoiceLine, facts: InvoiceFacts) -> _Category:
    tax = facts.invoice.tax
    assert line.tax is not None, "every line of an invoice with tax says its own"
    assert tax is not None, "its categories were looked at before"
    if line.tax.treatment is not TaxTreatment.TAXED:
        return _untaxed(line.tax.treatment)
    if len(line.tax.shares) != 1:
        raise _Unsayable
    return _category(next(each for each in tax.totals if each.rate_id == line.tax.shares[0].rate_id))


def _line(item: ET.Element, nth: int, line: InvoiceLine, facts: InvoiceFacts) -> None:
    """At its net amount, after discounts and without tax; a deduction is a quantity below zero."""
    _say(_within(item, "ram:AssociatedDocumentLineDocument"), "ram:LineID", str(nth))
    _say(_within(item, "ram:SpecifiedTradeProduct"), "ram:Name", line.description)
    price, quantity = _priced(line)
    agreement = _within(item, "ram:SpecifiedLineTradeAgreement", "ram:NetPriceProductTradePrice")
    _say(agreement, "ram:ChargeAmount", price)
    _say(_within(item, "ram:SpecifiedLineTradeDelivery"), "ram:BilledQuantity", quantity, unitCode=_PIECE)
    settlement = _within(item, "ram:SpecifiedLineTradeSettlement")
    category, tax = _of_line(line, facts), _within(settlement, "ram:ApplicableTradeTax")
    _say(tax, "ram:TypeCode", "VAT")
    category.shown(tax)
    category.rate(tax)
    if line.period_start is not None and line.period_end is not None and line.period_start < line.period_end:
        period = _within(settlement, "ram:BillingSpecifiedPeriod")
        _day(_within(period, "ram:StartDateTime"), line.period_start, facts)
        last = max(line.period_start, line.period_end - timedelta(microseconds=1))
        _day(_within(period, "ram:EndDateTime"), last, facts)
    sums = _within(settlement, "ram:SpecifiedTradeSettlementLineMonetarySummation")
    _say(sums, "ram:LineTotalAmount", _amount(line.net))


def _priced(line: InvoiceLine) -> tuple[str, str]:
    """A price that is not below zero and a quantity, whose product is the net amount exactly."""
    net = Decimal(_amount(line.net))
    if line.quantity > 0:
        each = abs(net) / line.quantity
        rounded = round(each, _PRICE_DECIMALS_MAX)
        if rounded * line.quantity == abs(net):
            return _plain(rounded), _plain(line.quantity if net >= 0 else -line.quantity)
    return _plain(abs(net)), "1" if net >= 0 else "-1"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _seller(party: ET.Element, facts: InvoiceFacts, categories: list[_Category]) -> None:
    seller, tax = facts.seller, facts.invoice.tax
    country = facts.seller_country or (None if tax is None else tax.seller_country)
    number = None if tax is None else tax.seller_number or _own_vat_id(facts.seller.tax_id or "", country or "")
    known_by = number or seller.tax_id
    if country is None or known_by is None:
        raise _Unsayable
    is_outside = any(each.code == "O" for each in categories)
    is_vat_id = number is not None and _VAT_ID.fullmatch(number) is not None
    if is_outside or not is_vat_id:
        _say(party, "ram:ID", known_by)
    _say(party, "ram:Name", seller.name)
    _address(_within(party, "ram:PostalTradeAddress"), seller.address, country)
    if number is not None and not is_outside:
        registration = _within(party, "ram:SpecifiedTaxRegistration")
        _say(registration, "ram:ID", number, schemeID="VA" if is_vat_id else "FC")
    elif not is_outside:
        raise _Unsayable


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
        raise _Unsayable
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
        raise _Unsayable
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


def _settlement(settlement: ET.Element, facts: InvoiceFacts, categories: list[_Category]) -> None:
    invoice = facts.invoice
    _say(settlement, "ram:InvoiceCurrencyCode", invoice.currency)
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
    if invoice.due_at is not None:
        terms = _within(settlement, "ram:SpecifiedTradePaymentTerms", "ram:DueDateDateTime")
        _day(terms, invoice.due_at, facts)
    net = sum_money((line.net for line in invoice.lines), invoice.currency)
    sums = _within(settlement, "ram:SpecifiedTradeSettlementHeaderMonetarySummation")
    _say(sums, "ram:LineTotalAmount", _amount(net))
    _say(sums, "ram:TaxBasisTotalAmount", _amount(net))
    _say(sums, "ram:TaxTotalAmount", _amount(invoice.total_tax), currencyID=invoice.currency)
    _say(sums, "ram:GrandTotalAmount", _amount(invoice.total))
    _say(sums, "ram:TotalPrepaidAmount", _amount(invoice.amount_applied))
    _say(sums, "ram:DuePayableAmount", _amount(invoice.total - invoice.amount_applied))
