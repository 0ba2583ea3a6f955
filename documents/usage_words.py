"""The words by which documents explain usage, by language: the same languages as `words.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from domain.invoicing.late_usage import LateReason
from domain.pricing.breakdown import PortionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageWords:
    """`portions` says what each part of a price is for, with `{size}` for a package's; `late` why a period that an
    `{invoice}` billed is rated again. `tier` and `top_tier` have `{nth}`, `{above}` and `{up_to}`, `so_far` a `{day}`,
    `further` a `{count}` of parts that are not told one by one.
    """

    portions: Mapping[PortionKind, str]
    late: Mapping[LateReason, str]
    earlier_invoice: str
    so_far: str
    tier: str
    top_tier: str
    further: str


USAGE_WORDS: Final[Mapping[str, UsageWords]] = MappingProxyType(
    {
        "de": UsageWords(
            portions={
                PortionKind.FLAT: "Pauschale",
                PortionKind.UNITS: "Nutzung",
                PortionKind.FREE_UNITS: "Freimenge",
                PortionKind.TIER_UNITS: "Menge",
                PortionKind.TIER_FLAT: "Grundbetrag",
                PortionKind.PACKAGES: "Pakete zu je {size}",
                PortionKind.PERCENT: "Prozentsatz",
                PortionKind.FIXED_PER_EVENT: "Je Vorgang",
                PortionKind.FREE_EVENTS: "Freie Vorgänge",
                PortionKind.EVENT_MINIMUM: "Mindestbetrag je Vorgang",
                PortionKind.EVENT_MAXIMUM: "Höchstbetrag je Vorgang",
                PortionKind.NEVER_CHARGED: "Nie unter null, nichts wird übertragen",
                PortionKind.COVERED_BY_COMMITMENT: "Durch die Mindestabnahme gedeckt",
                PortionKind.OVERAGE_SURCHARGE: "Zuschlag über die Mindestabnahme hinaus",
                PortionKind.COMMITMENT: "Mindestabnahme",
                PortionKind.MINIMUM: "Bis zum Mindestbetrag",
                PortionKind.MAXIMUM: "Begrenzt auf den Höchstbetrag",
                PortionKind.SHARE_NOT_BILLED: "Nicht berechneter Teil des Zeitraums",
                PortionKind.NOT_BELOW_ZERO: "Nie unter null, nichts wird übertragen",
                PortionKind.BILLED_BEFORE: "Abzüglich bereits berechnet",
                PortionKind.GIVEN_BACK: "Zu viel berechnet",
                PortionKind.GIVEN_BACK_ELSEWHERE: "In anderen Positionen zurückgegeben",
                PortionKind.NOT_PAID: "Darin enthaltener Rabatt",
            },
            late={
                LateReason.LATE: "Verspätete Nutzung zu {invoice}",
                LateReason.VOIDED: "Zurückgenommene Nutzung zu {invoice}",
                LateReason.CORRECTED: "Korrigierte Nutzung zu {invoice}",
            },
            earlier_invoice="einer früheren Rechnung",
            so_far="Bisherige Nutzung, bis {day}",
            tier="Stufe {nth}: {above} – {up_to}",
            top_tier="Stufe {nth}: über {above}",
            further="{count} weitere Teile",
        ),
        "en": UsageWords(
            portions={
                PortionKind.FLAT: "Flat fee",
                PortionKind.UNITS: "Usage",
                PortionKind.FREE_UNITS: "Free units",
                PortionKind.TIER_UNITS: "Units",
                PortionKind.TIER_FLAT: "Flat amount",
                PortionKind.PACKAGES: "Packages of {size}",
                PortionKind.PERCENT: "Percentage",
                PortionKind.FIXED_PER_EVENT: "Per event",
                PortionKind.FREE_EVENTS: "Free events",
                PortionKind.EVENT_MINIMUM: "Minimum per event",
                PortionKind.EVENT_MAXIMUM: "Maximum per event",
                PortionKind.NEVER_CHARGED: "Never below zero, nothing is carried over",
                PortionKind.COVERED_BY_COMMITMENT: "Covered by the commitment",
                PortionKind.OVERAGE_SURCHARGE: "Surcharge beyond the commitment",
                PortionKind.COMMITMENT: "Commitment",
                PortionKind.MINIMUM: "Raised to the minimum",
                PortionKind.MAXIMUM: "Cut to the maximum",
                PortionKind.SHARE_NOT_BILLED: "Part of the period not billed",
                PortionKind.NOT_BELOW_ZERO: "Never below zero, nothing is carried over",
                PortionKind.BILLED_BEFORE: "Less billed before",
                PortionKind.GIVEN_BACK: "Billed too much",
                PortionKind.GIVEN_BACK_ELSEWHERE: "Given back by other lines",
                PortionKind.NOT_PAID: "Discount that it had",
            },
            late={
                LateReason.LATE: "Late usage of {invoice}",
                LateReason.VOIDED: "Voided usage of {invoice}",
                LateReason.CORRECTED: "Corrected usage of {invoice}",
            },
            earlier_invoice="an earlier invoice",
            so_far="Usage so far, until {day}",
            tier="Tier {nth}: {above} – {up_to}",
            top_tier="Tier {nth}: above {above}",
            further="{count} further parts",
        ),
        "es": UsageWords(
            portions={
                PortionKind.FLAT: "Tarifa fija",
                PortionKind.UNITS: "Consumo",
                PortionKind.FREE_UNITS: "Unidades gratuitas",
                PortionKind.TIER_UNITS: "Unidades",
                PortionKind.TIER_FLAT: "Importe fijo",
                PortionKind.PACKAGES: "Paquetes de {size}",
                PortionKind.PERCENT: "Porcentaje",
                PortionKind.FIXED_PER_EVENT: "Por operación",
                PortionKind.FREE_EVENTS: "Operaciones gratuitas",
                PortionKind.EVENT_MINIMUM: "Mínimo por operación",
                PortionKind.EVENT_MAXIMUM: "Máximo por operación",
                PortionKind.NEVER_CHARGED: "Nunca por debajo de cero, nada se traslada",
                PortionKind.COVERED_BY_COMMITMENT: "Cubierto por el compromiso",
                PortionKind.OVERAGE_SURCHARGE: "Recargo por encima del compromiso",
                PortionKind.COMMITMENT: "Compromiso de consumo",
                PortionKind.MINIMUM: "Hasta el mínimo",
                PortionKind.MAXIMUM: "Limitado al máximo",
                PortionKind.SHARE_NOT_BILLED: "Parte del período no facturada",
                PortionKind.NOT_BELOW_ZERO: "Nunca por debajo de cero, nada se traslada",
                PortionKind.BILLED_BEFORE: "Menos lo ya facturado",
                PortionKind.GIVEN_BACK: "Facturado de más",
                PortionKind.GIVEN_BACK_ELSEWHERE: "Devuelto en otras líneas",
                PortionKind.NOT_PAID: "Descuento que tenía",
            },
            late={
                LateReason.LATE: "Consumo tardío de {invoice}",
                LateReason.VOIDED: "Consumo anulado de {invoice}",
                LateReason.CORRECTED: "Consumo corregido de {invoice}",
            },
            earlier_invoice="una factura anterior",
            so_far="Consumo acumulado hasta el {day}",
            tier="Tramo {nth}: {above} – {up_to}",
            top_tier="Tramo {nth}: más de {above}",
            further="{count} partes más",
        ),
        "fr": UsageWords(
            portions={
                PortionKind.FLAT: "Forfait",
                PortionKind.UNITS: "Consommation",
                PortionKind.FREE_UNITS: "Unités gratuites",
                PortionKind.TIER_UNITS: "Unités",
                PortionKind.TIER_FLAT: "Montant fixe",
                PortionKind.PACKAGES: "Lots de {size}",
                PortionKind.PERCENT: "Pourcentage",
                PortionKind.FIXED_PER_EVENT: "Par opération",
                PortionKind.FREE_EVENTS: "Opérations gratuites",
                PortionKind.EVENT_MINIMUM: "Minimum par opération",
                PortionKind.EVENT_MAXIMUM: "Maximum par opération",
                PortionKind.NEVER_CHARGED: "Jamais en dessous de zéro, sans report",
                PortionKind.COVERED_BY_COMMITMENT: "Couvert par l’engagement",
                PortionKind.OVERAGE_SURCHARGE: "Supplément au-delà de l’engagement",
                PortionKind.COMMITMENT: "Engagement de consommation",
                PortionKind.MINIMUM: "Porté au minimum",
                PortionKind.MAXIMUM: "Limité au maximum",
                PortionKind.SHARE_NOT_BILLED: "Part de la période non facturée",
                PortionKind.NOT_BELOW_ZERO: "Jamais en dessous de zéro, sans report",
                PortionKind.BILLED_BEFORE: "Moins déjà facturé",
                PortionKind.GIVEN_BACK: "Facturé en trop",
                PortionKind.GIVEN_BACK_ELSEWHERE: "Restitué par d’autres lignes",
                PortionKind.NOT_PAID: "Remise déjà accordée",
            },
            late={
                LateReason.LATE: "Consommation tardive pour {invoice}",
                LateReason.VOIDED: "Consommation annulée pour {invoice}",
                LateReason.CORRECTED: "Consommation corrigée pour {invoice}",
            },
            earlier_invoice="une facture antérieure",
            so_far="Consommation à ce jour, jusqu’au {day}",
            tier="Palier {nth} : {above} – {up_to}",
            top_tier="Palier {nth} : au-delà de {above}",
            further="{count} autres parts",
        ),
        "ja": UsageWords(
            portions={
                PortionKind.FLAT: "定額",
                PortionKind.UNITS: "利用分",
                PortionKind.FREE_UNITS: "無料分",
                PortionKind.TIER_UNITS: "数量",
                PortionKind.TIER_FLAT: "定額",
                PortionKind.PACKAGES: "パッケージ({size} ごと)",
                PortionKind.PERCENT: "料率",
                PortionKind.FIXED_PER_EVENT: "1件あたり",
                PortionKind.FREE_EVENTS: "無料件数",
                PortionKind.EVENT_MINIMUM: "1件あたりの下限",
                PortionKind.EVENT_MAXIMUM: "1件あたりの上限",
                PortionKind.NEVER_CHARGED: "ゼロ未満にはならず、繰り越されません",
                PortionKind.COVERED_BY_COMMITMENT: "最低利用額に含まれる分",
                PortionKind.OVERAGE_SURCHARGE: "最低利用額の超過分への加算",
                PortionKind.COMMITMENT: "最低利用額",
                PortionKind.MINIMUM: "下限額までの加算",
                PortionKind.MAXIMUM: "上限額による減額",
                PortionKind.SHARE_NOT_BILLED: "期間のうち請求しない分",
                PortionKind.NOT_BELOW_ZERO: "ゼロ未満にはならず、繰り越されません",
                PortionKind.BILLED_BEFORE: "請求済み分",
                PortionKind.GIVEN_BACK: "過大に請求した分",
                PortionKind.GIVEN_BACK_ELSEWHERE: "他の明細で返金する分",
                PortionKind.NOT_PAID: "適用済みの割引",
            },
            late={
                LateReason.LATE: "{invoice} の遅れて届いた利用分",
                LateReason.VOIDED: "{invoice} の取り消された利用分",
                LateReason.CORRECTED: "{invoice} の訂正された利用分",
            },
            earlier_invoice="以前の請求書",
            so_far="{day} までの利用分",
            tier="段階 {nth}: {above} – {up_to}",
            top_tier="段階 {nth}: {above} 超",
            further="その他 {count} 件",
        ),
    }
)
