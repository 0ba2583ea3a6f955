"""Where a customer is taxed, as coarse as the tables of rates need it: it stands in the log, which cannot forget.

A country, one of its subdivisions, and the first characters of a postal code: an area of many thousands of people,
not an address. What is finer stays in the vault with the address (docs/decisions/0051).
"""

import re
from dataclasses import dataclass
from typing import Final

from domain.customers.countries import COUNTRIES
from domain.customers.subdivisions import SUBDIVISIONS, subdivision_of
from domain.kernel.refusal import Refusal, RefusalKind

POSTAL_PREFIX_CHARS: Final = 3
_REGION: Final = re.compile(r"[A-Z0-9]{1,3}")
_POSTAL_PREFIX: Final = re.compile(rf"[A-Z0-9]{{1,{POSTAL_PREFIX_CHARS}}}")


class InvalidTaxLocation(Refusal):
    """A tax location is a country, a code of a subdivision of it, and at most three characters of a postal code."""

    code = "invalid_tax_location"
    kind = RefusalKind.INVALID
    param = "address"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxLocation:
    """`country`: ISO 3166-1 alpha-2. `region`: what follows the country in ISO 3166-2. `postal_prefix`: capitals and
    digits.
    """

    country: str
    region: str | None = None
    postal_prefix: str | None = None


def check_tax_location(location: TaxLocation | None) -> None:
    """Raises InvalidTaxLocation for anything finer or other, so that no name or street can get into an event."""
    if location is None:
        return
    codes = ((_REGION, location.region), (_POSTAL_PREFIX, location.postal_prefix))
    if location.country not in COUNTRIES or not all(value is None or form.fullmatch(value) for form, value in codes):
        raise InvalidTaxLocation


def check_region(country: str, region: str | None) -> None:
    """Raises InvalidTaxLocation for a subdivision that a country does not have whose taxes are by them."""
    if region is not None and region not in SUBDIVISIONS.get(country, (region,)):
        raise InvalidTaxLocation(country=country, region=region).at("region")


def tax_location_of(country: str | None, region: str | None, postal_code: str | None) -> TaxLocation | None:
    """The coarse part of an address; None without a country. A region that is no code, nor a name that is known, is
    left out: it may be anything.
    """
    if country is None or country not in COUNTRIES:
        return None
    code = None if region is None else region_code(country, region)
    kept = "".join(each for each in (postal_code or "").upper() if each.isascii() and each.isalnum())
    return TaxLocation(
        country=country,
        region=code,
        postal_prefix=kept[:POSTAL_PREFIX_CHARS] or None,
    )


def region_code(country: str, region: str) -> str | None:
    """What follows the country in ISO 3166-2; None where it cannot be told from what is given. Where taxes are by
    subdivision the codes are known, and names; elsewhere whatever has the form of a code is one.
    """
    if country in SUBDIVISIONS:
        return subdivision_of(country, region)
    code = region.strip().upper().removeprefix(f"{country}-")
    return code if _REGION.fullmatch(code) else None
