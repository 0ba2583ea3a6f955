"""Currencies: the active codes of ISO 4217 and how many decimals each one's minor unit has.

Source: ISO 4217, list one (current currency and funds codes). Codes for which the standard names no minor unit
(gold, silver, special drawing rights, test codes) cannot hold an invoice amount and are refused like unknown ones.
"""

from types import MappingProxyType
from typing import NewType

from domain.kernel.refusal import Refusal, RefusalKind

CurrencyCode = NewType("CurrencyCode", str)

_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_TWO_DECIMALS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY "
    "COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS "
    "INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR "
    "MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP "
    "STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
)
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS = "CLF UYW"

EXPONENTS = MappingProxyType(
    {
        CurrencyCode(code): exponent
        for exponent, codes in (
            (0, _NO_DECIMALS),
            (2, _TWO_DECIMALS),
            (3, _THREE_DECIMALS),
            (4, _FOUR_DECIMALS),
        )
        for code in codes.split()
    }
)
"""Decimals of the minor unit by code: 2 means that 1.00 is 100 minor units."""

_NO_MINOR_UNIT = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"

CODES_WITHOUT_A_MINOR_UNIT = frozenset(_NO_MINOR_UNIT.split())
"""In the standard, but with no minor unit ("N.A."): metals, units of account, the test code and "no currency"."""


class UnknownCurrency(Refusal):
    """The currency is not an active ISO 4217 code with a minor unit."""

    code = "unknown_currency"
    kind = RefusalKind.INVALID
    param = "currency"


def currency_code(text: str) -> CurrencyCode:
    """The currency named by three capital letters.

    Raises UnknownCurrency for anything else: lower case, withdrawn codes, and codes without a minor unit.
    """
    code = CurrencyCode(text)
    if code not in EXPONENTS:
        raise UnknownCurrency(currency=text[:16])
    return code


def exponent_of(code: CurrencyCode) -> int:
    """Decimals of the currency's minor unit: JPY 0, USD 2, KWD 3, CLF 4. Raises UnknownCurrency."""
    exponent = EXPONENTS.get(code)
    if exponent is None:
        raise UnknownCurrency(currency=code[:16])
    return exponent
