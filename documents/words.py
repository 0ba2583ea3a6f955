"""The words of documents, by language. A language is one value here and its code in `domain/customers/locales.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What an invoice, or a credit note, says besides its facts. `page` stands before the page's number, `of_pages`
    before how many there are, `after_pages` behind.
    """

    invoice: str
    number: str
    issued: str
    due: str
    service_period: str
    reference: str
    bill_to: str
    description: str
    quantity: str
    unit_price: str
    amount: str
    subtotal: str
    discount: str
    net: str
    total: str
    reverse_charge: str
    exempt: str
    paid: str
    amount_due: str
    from_balance: str
    to_balance: str
    paid_on: str
    void: str
    voided_on: str
    credited: str
    given_back: str
    credit_note: str
    credit_note_number: str
    credit_note_date: str
    for_invoice: str
    reason: str
    off_due: str
    refunded: str
    erased: str
    unprintable: str
    page: str
    of_pages: str
    after_pages: str = ""


WORDS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "de": Words(
            invoice="Rechnung",
            number="Rechnungsnummer",
            issued="Rechnungsdatum",
            due="Fällig am",
            service_period="Leistungszeitraum",
            reference="Kundennummer",
            bill_to="Rechnung an",
            description="Beschreibung",
            quantity="Menge",
            unit_price="Einzelpreis",
            amount="Betrag",
            subtotal="Zwischensumme",
            discount="Rabatt",
            net="Nettobetrag",
            total="Gesamtbetrag",
            reverse_charge="Steuerschuldnerschaft des Leistungsempfängers (Reverse Charge).",
            exempt="Von der Steuer befreit.",
            paid="Bezahlt",
            amount_due="Offener Betrag",
            from_balance="Mit Ihrem Guthaben verrechnet",
            to_balance="Ihrem Guthaben gutgeschrieben",
            paid_on="Bezahlt am",
            void="STORNIERT",
            voided_on="Storniert am",
            credited="Gutgeschrieben",
            given_back="Davon zurückgegeben",
            credit_note="Gutschrift",
            credit_note_number="Gutschriftsnummer",
            credit_note_date="Gutschriftsdatum",
            for_invoice="Zur Rechnung",
            reason="Grund",
            off_due="Mindert den offenen Betrag",
            refunded="Wird erstattet",
            erased="Die personenbezogenen Daten des Kunden wurden gelöscht.",
            unprintable="steht für ein Zeichen, das die Schriften dieses Dokuments nicht enthalten.",
            page="Seite ",
            of_pages=" von ",
        ),
        "en": Words(
            invoice="Invoice",
            number="Invoice number",
            issued="Invoice date",
            due="Due date",
            service_period="Service period",
            reference="Customer",
            bill_to="Bill to",
            description="Description",
            quantity="Quantity",
            unit_price="Unit price",
            amount="Amount",
            subtotal="Subtotal",
            discount="Discount",
            net="Net amount",
            total="Total",
            reverse_charge="Reverse charge: the customer owes the tax.",
            exempt="Exempt from tax.",
            paid="Paid",
            amount_due="Amount due",
            from_balance="Paid from your balance",
            to_balance="Credited to your balance",
            paid_on="Paid on",
            void="VOID",
            voided_on="Voided on",
            credited="Credited",
            given_back="Given back of that",
            credit_note="Credit note",
            credit_note_number="Credit note number",
            credit_note_date="Credit note date",
            for_invoice="For invoice",
            reason="Reason",
            off_due="Taken off the amount due",
            refunded="Refunded",
            erased="The customer's personal data were erased.",
            unprintable="stands for a character that the fonts of this document do not have.",
            page="Page ",
            of_pages=" of ",
        ),
        "es": Words(
            invoice="Factura",
            number="Número de factura",
            issued="Fecha de factura",
            due="Fecha de vencimiento",
            service_period="Período de servicio",
            reference="Cliente",
            bill_to="Facturar a",
            description="Descripción",
            quantity="Cantidad",
            unit_price="Precio unitario",
            amount="Importe",
            subtotal="Subtotal",
            discount="Descuento",
            net="Importe neto",
            total="Total",
            reverse_charge="Inversión del sujeto pasivo: el cliente debe el impuesto.",
            exempt="Exento de impuestos.",
            paid="Pagado",
            amount_due="Importe pendiente",
            from_balance="Pagado con su saldo",
            to_balance="Abonado a su saldo",
            paid_on="Pagada el",
            void="ANULADA",
            voided_on="Anulada el",
            credited="Abonado",
            given_back="De ello devuelto",
            credit_note="Nota de crédito",
            credit_note_number="Número de nota de crédito",
            credit_note_date="Fecha de la nota",
            for_invoice="De la factura",
            reason="Motivo",
            off_due="Reduce el importe pendiente",
            refunded="Reembolsado",
            erased="Los datos personales del cliente fueron eliminados.",
            unprintable="representa un carácter que las fuentes de este documento no contienen.",
            page="Página ",
            of_pages=" de ",
        ),
        "fr": Words(
            invoice="Facture",
            number="Numéro de facture",
            issued="Date de facturation",
            due="Date d’échéance",
            service_period="Période de service",
            reference="Client",
            bill_to="Facturé à",
            description="Description",
            quantity="Quantité",
            unit_price="Prix unitaire",
            amount="Montant",
            subtotal="Sous-total",
            discount="Remise",
            net="Montant net",
            total="Total",
            reverse_charge="Autoliquidation : la taxe est due par le client.",
            exempt="Exonéré de taxe.",
            paid="Payé",
            amount_due="Montant dû",
            from_balance="Imputé sur votre solde",
            to_balance="Crédité sur votre solde",
            paid_on="Payée le",
            void="ANNULÉE",
            voided_on="Annulée le",
            credited="Crédité par avoir",
            given_back="Dont restitué",
            credit_note="Avoir",
            credit_note_number="Numéro d’avoir",
            credit_note_date="Date d’avoir",
            for_invoice="Sur la facture",
            reason="Motif",
            off_due="Déduit du montant dû",
            refunded="Remboursé",
            erased="Les données personnelles du client ont été effacées.",
            unprintable="remplace un caractère que les polices de ce document ne contiennent pas.",
            page="Page ",
            of_pages=" sur ",
        ),
        "ja": Words(
            invoice="請求書",
            number="請求書番号",
            issued="請求日",
            due="支払期限",
            service_period="サービス期間",
            reference="お客様番号",
            bill_to="請求先",
            description="内容",
            quantity="数量",
            unit_price="単価",
            amount="金額",
            subtotal="小計",
            discount="割引",
            net="税抜金額",
            total="合計",
            reverse_charge="リバースチャージ:税は顧客が納付します。",
            exempt="非課税。",
            paid="支払済み",
            amount_due="お支払い残高",
            from_balance="残高からのお支払い",
            to_balance="残高への入金",
            paid_on="支払日",
            void="無効",
            voided_on="無効日",
            credited="減額済み",
            given_back="うち返金済み",
            credit_note="貸方票",
            credit_note_number="貸方票番号",
            credit_note_date="発行日",
            for_invoice="対象請求書",
            reason="理由",
            off_due="お支払い残高から減額",
            refunded="返金",
            erased="お客様の個人データは消去されました。",
            unprintable="は、この文書のフォントにない文字を表します。",
            page="",
            of_pages=" / ",
            after_pages=" ページ",
        ),
    }
)
