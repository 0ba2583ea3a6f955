"""The file inside the PDF of an invoice or credit note: EN 16931, by the official schematron, to the cent."""

import io
import subprocess
import zipfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pypdf import PdfReader

from documents.electronic_credit_note import electronic_credit_note
from documents.electronic_invoice import FILE_NAME, electronic_invoice
from documents.factur_x import NAMESPACE, NotOurs, with_metadata
from documents.invoice_document import InvoiceFacts
from documents.rendering_process import Typesetter
from domain.customers.customer import CUSTOMER
from domain.customers.tax_location import TaxLocation
from domain.invoicing.billing_settings import Seller
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_note import CreditNote, IssueCreditNote, VoidCreditNote, WantedCredit
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from host.embedded.jars import jars_of, kafka_jars
from host.embedded.java import find_java
from infra.settings import GeneralSettings, Settings, cache_dir
from testing.examples.pricing import graduated
from testing.examples.streams import EUR, INVOICE_ID, create_customer, customer_created, draft, id_of
from testing.examples.taxes import BERLIN, PARIS, QUEBEC, create_rate, register, taxed_in_germany
from testing.examples.usage import METER_ID
from testing.specification import given
from tests.documents.examples import ADA, SELLER, as_sent, document, line, used

NOTE_ID = id_of("cn_")
IN_EUROS = replace(graduated((5, 10, 0), (None, 5, 0)), currency=EUR)
LOCK = Path(__file__).with_name("en16931.lock")
RULES = "external/schematron/1.3.9/cii/EN16931-CII-validation.xslt"
FAILED = "{http://purl.oclc.org/dsdl/svrl}failed-assert"
RAM = "{urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100}"
BERTA: dict[str, Any] = {
    "name": "Berta & Söhne <GmbH>",
    "address": {"line1": "Weg 1", "city": "Berlin", "postal_code": "10115", "country": "DE"},
}
PAUL: dict[str, Any] = {
    "name": "Paul",
    "address": {"country": "FR"},
    "tax_ids": [{"type": "eu_vat", "value": "FR83404833048"}],
}
QUINN: dict[str, Any] = {"name": "Quinn", "address": {"country": "CA", "region": "QC"}}


def facts(
    *lines: InvoiceLine,
    place: TaxLocation = BERLIN,
    person: dict[str, Any] | None = None,
    by: tuple[Any, ...] = (),
    seller: Seller = SELLER,
    then: tuple[Any, ...] = (),
    **customer: Any,
) -> InvoiceFacts:
    """Of an invoice that was finalized for somebody there, and of what came then."""
    finalized = given(
        *(by or taxed_in_germany()),
        create_customer(currency=EUR, tax_location=place, **customer),
        draft(*lines, currency=EUR),
        FinalizeInvoice(invoice_id=INVOICE_ID),
    )
    if then:
        finalized = finalized.and_then(*then)
    return InvoiceFacts(
        invoice=finalized.books.states[INVOICE.name, INVOICE_ID],
        seller=seller,
        seller_country="DE",
        customer=CUSTOMER.evolve(None, customer_created(currency=EUR)),
        person=BERTA if person is None else person,
        is_erased=False,
        locale="de-DE",
        time_zone="Europe/Berlin",
    )


def credit(*lines: WantedCredit, amount: int | None = None) -> IssueCreditNote:
    """All of it, unless lines or an amount are named."""
    wanted = None if amount is None else Money(amount, EUR)
    return IssueCreditNote(credit_note_id=NOTE_ID, invoice_id=INVOICE_ID, lines=lines, amount=wanted)


def file_of(told: InvoiceFacts) -> str | None:
    """That of its credit note, where it has one; else its own."""
    notes: tuple[CreditNote, ...] = told.invoice.credit_notes
    return electronic_credit_note(notes[-1], told) if notes else electronic_invoice(told)


TWO_OF_THREE = WantedCredit(line_id=id_of("il_", 1), quantity=Decimal(2))
PAID = PayInvoiceOutOfBand(invoice_id=INVOICE_ID)
IN_CANADA = (
    *taxed_in_germany(),
    create_rate("5", "CA", id_of("txr_", 3), kind="gst"),
    register("CA", id_of("txreg_", 3), number="0815"),
)
OWN = "DE123456789"
"""What the seller has printed of themselves."""
IN_FRANCE = (
    create_rate("20", "FR", id_of("txr_", 4)),
    register("FR", id_of("txreg_", 4), number="FR40303265045"),
)


def to_paul(*by: Any, seller: Seller = SELLER) -> InvoiceFacts:
    """To a French business, under the reverse charge."""
    return facts(line(1, 10_000), place=PARIS, person=PAUL, vat_id_country="FR", by=by, seller=seller)


SAID: dict[str, InvoiceFacts] = {
    "parts and a deduction": facts(line(1, 10_000, quantity=Decimal(3)), line(2, -1_500), line(3, 3_333)),
    "usage by tiers, and less than nothing": replace(
        facts(used(1, IN_EUROS, 7), used(2, IN_EUROS, -7)), units={METER_ID: "GB"}
    ),
    "tax included": facts(line(1, 11_999, tax_inclusive=True), line(2, 5_000, quantity=Decimal("2.5"))),
    "no rate": facts(line(1, 10_000), by=taxed_in_germany("0")),
    "reverse charge": facts(line(1, 10_000), place=PARIS, person=PAUL, vat_id_country="FR"),
    "reverse charge of a seller who is registered there, too": to_paul(*taxed_in_germany("19", *IN_FRANCE)),
    "reverse charge by a VAT id that no registration has": to_paul(taxed_in_germany()[0], *IN_FRANCE),
    "reverse charge beside a number that is no VAT id": to_paul(
        *taxed_in_germany()[:2], register(number="27/123/4567")
    ),
    "exempt": facts(line(1, 10_000), tax_exempt=True),
    "not registered there": facts(line(1, 10_000), place=QUEBEC, person=QUINN),
    "a number that is no VAT id": facts(line(1, 10_000), by=(*taxed_in_germany()[:2], register(number="27/123/4567"))),
    "credited in part, off what is due": facts(
        line(1, 10_000, quantity=Decimal(3)),
        line(2, 3_333),
        then=(
            credit(WantedCredit(line_id=id_of("il_", 1), quantity=Decimal(2)), WantedCredit(line_id=id_of("il_", 2))),
        ),
    ),
    "credited once it was paid, a deduction among the lines, tax included": facts(
        line(1, 11_999, tax_inclusive=True), line(2, -1_500), line(3, 5_000), then=(PAID, credit(amount=7_777))
    ),
    "a reverse charge credited": facts(
        line(1, 10_000), place=PARIS, person=PAUL, vat_id_country="FR", then=(credit(),)
    ),
    "credited where nobody is registered": facts(line(1, 10_000), place=QUEBEC, person=QUINN, then=(credit(),)),
}
REVERSED = {
    "reverse charge": "DE136695976",
    "reverse charge of a seller who is registered there, too": "DE136695976",
    "reverse charge by a VAT id that no registration has": OWN,
    "reverse charge beside a number that is no VAT id": OWN,
}
UNSAID: dict[str, InvoiceFacts] = {
    "a tax that is no VAT": facts(line(1, 10_000), place=QUEBEC, person=QUINN, by=IN_CANADA),
    "nobody's name": facts(line(1, 10_000), person={"address": {"country": "DE"}}),
    "void": facts(line(1, 10_000), then=(VoidInvoice(invoice_id=INVOICE_ID),)),
    "nothing of tax": facts(line(1, 10_000), by=taxed_in_germany()[:1]),
    "nothing of tax, credited": facts(line(1, 10_000), by=taxed_in_germany()[:1], then=(credit(),)),
    "a void credit note": facts(
        line(1, 10_000), then=(credit(amount=500), VoidCreditNote(credit_note_id=NOTE_ID, invoice_id=INVOICE_ID))
    ),
    "reverse charge without the customer's number": facts(
        line(1, 10_000), place=PARIS, person={**PAUL, "tax_ids": []}, vat_id_country="FR"
    ),
    "reverse charge of a seller without a number of their own": to_paul(
        taxed_in_germany()[0], *IN_FRANCE, seller=Seller(name="Example GmbH")
    ),
    "a seller whom no number names": facts(
        line(1, 10_000), place=QUEBEC, person=QUINN, seller=Seller(name="Example GmbH")
    ),
}


def test_every_file_keeps_the_rules_of_the_standard(tmp_path: Path) -> None:
    """What the schematron finds is named by its rule; a file that has been spoilt shows that it looks."""
    saxon, rules = kafka_jars(
        cache_dir(Settings(general=GeneralSettings())), timeout_s=60, jars=jars_of(LOCK.read_text(encoding="ascii"))
    )
    with zipfile.ZipFile(rules) as packed:
        (tmp_path / "rules.xslt").write_bytes(packed.read(RULES))
    files, found = tmp_path / "files", tmp_path / "found"
    files.mkdir()
    found.mkdir()
    for nth, each in enumerate(SAID.values()):
        made = file_of(each)
        assert made is not None
        (files / f"{nth:02}.xml").write_text(made, encoding="utf-8")
    spoilt = (files / "00.xml").read_text(encoding="utf-8").replace("GrandTotalAmount>", "GrandTotalAmount>9", 1)
    (files / "spoilt.xml").write_text(spoilt, encoding="utf-8")
    asked = [
        "-XX:TieredStopAtLevel=1",
        "-jar",
        str(saxon),
        f"-s:{files}",
        f"-xsl:{tmp_path / 'rules.xslt'}",
        f"-o:{found}",
    ]
    subprocess.run([find_java().executable, *asked], check=True, timeout=300, capture_output=True)
    failed = {
        path.stem: {each.get("id") for each in ET.parse(path).iter(FAILED)}  # noqa: S314  the rules' own output
        for path in found.iterdir()
    }
    assert "BR-CO-15" in failed.pop("spoilt")
    assert failed == {f"{nth:02}": set() for nth in range(len(SAID))}, dict(enumerate(SAID))


@pytest.mark.parametrize(("kind", "number"), REVERSED.items())
def test_under_the_reverse_charge_the_seller_is_named_by_their_own_countrys_vat_id(kind: str, number: str) -> None:
    """BR-AE-02 of EN 16931 wants a number of the seller and one of the buyer; whose country's, article 226 says."""
    made = electronic_invoice(SAID[kind])
    assert made is not None
    parties = ET.fromstring(made).iter(f"{RAM}SpecifiedTaxRegistration")  # noqa: S314  ours
    numbers = [(each.get("schemeID"), each.text) for party in parties for each in party]
    assert numbers == [("VA", number), ("VA", "FR83404833048")]


@pytest.mark.parametrize("kind", sorted(UNSAID))
def test_what_the_standard_cannot_say_has_no_file(kind: str) -> None:
    assert file_of(UNSAID[kind]) is None


def test_the_file_says_the_amounts_of_the_invoice_and_stays_when_it_is_paid() -> None:
    told = facts(line(1, 10_000, quantity=Decimal(3)), line(2, -1_500))
    made = electronic_invoice(told)
    assert made is not None
    root = ET.fromstring(made)  # noqa: S314  ours
    amounts = {
        name: [each.text for each in root.iter(RAM + name)]
        for name in ("LineTotalAmount", "TaxTotalAmount", "GrandTotalAmount", "DuePayableAmount", "BilledQuantity")
    }
    assert amounts == {
        "LineTotalAmount": ["100.00", "-15.00", "85.00"],
        "TaxTotalAmount": ["16.15"],
        "GrandTotalAmount": ["101.15"],
        "DuePayableAmount": ["101.15"],
        "BilledQuantity": ["1", "-1"],
    }
    assert [each.text for each in root.iter(RAM + "Name")][-1] == BERTA["name"]


def test_a_line_of_usage_has_a_note_that_explains_it() -> None:
    made = electronic_invoice(SAID["usage by tiers, and less than nothing"])
    assert made is not None
    notes = [each.text or "" for each in ET.fromstring(made).iter(f"{RAM}Content")]  # noqa: S314  ours
    assert [" ".join(each.split()) for each in notes] == [
        "Stufe 1: 0 GB – 5 GB: 5 GB × 0,10 € = 0,50 €; Stufe 2: über 5 GB: 2 GB × 0,05 € = 0,10 €",
        "Nie unter null, nichts wird übertragen: -7 GB",
    ]


def test_the_file_of_a_credit_note_says_what_it_credits_of_which_invoice_and_where_that_went() -> None:
    told = facts(line(1, 10_000, quantity=Decimal(3)), line(2, 3_333), then=(credit(amount=5_000),))
    made = file_of(told)
    assert made is not None
    root = ET.fromstring(made)  # noqa: S314  ours
    said = {
        name: [each.text for each in root.iter(RAM + name)]
        for name in ("TypeCode", "LineTotalAmount", "TaxTotalAmount", "GrandTotalAmount", "IssuerAssignedID")
    }
    assert said == {
        "TypeCode": ["381", "VAT", "VAT", "VAT"],
        "LineTotalAmount": ["31.51", "10.50", "42.01"],
        "TaxTotalAmount": ["7.99"],
        "GrandTotalAmount": ["50.00"],
        "IssuerAssignedID": [told.invoice.number],
    }
    terms = root.find(f".//{RAM}SpecifiedTradePaymentTerms/{RAM}Description")
    assert terms is not None
    assert terms.text == "Taken off the amount due: 50.00 EUR"


def test_amounts_with_three_decimals_have_no_file() -> None:
    told = facts(line(1, 10_000))
    dinars = Money(10_000, CurrencyCode("KWD"))
    assert electronic_invoice(replace(told, invoice=replace(told.invoice, currency=dinars.currency))) is None


def test_the_pdf_carries_the_file_and_says_so_in_its_metadata() -> None:
    made = electronic_invoice(SAID["parts and a deduction"])
    assert made is not None
    typesetter = Typesetter()
    told = SAID["parts and a deduction"]
    shown = {**as_sent(document(told.invoice, person=ADA)), "xml": made}
    pdf = typesetter.pdf(dict(shown))
    assert pdf == typesetter.pdf(dict(shown)), "the same bytes each time"
    reader = PdfReader(io.BytesIO(pdf))
    assert reader.attachments[FILE_NAME] == [made.encode()]
    root: Any = reader.trailer["/Root"]
    xmp = root["/Metadata"].get_object().get_data().decode()
    assert f'xmlns:fx="{NAMESPACE}"' in xmp
    assert "<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>" in xmp


def test_a_pdf_that_ends_otherwise_is_not_ours() -> None:
    with pytest.raises(NotOurs):
        with_metadata(b"%PDF-1.7\n%%EOF")
