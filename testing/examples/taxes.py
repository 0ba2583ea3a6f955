"""Facts and commands about the taxes of a seller who is established in Germany, for specifications."""

from datetime import date
from decimal import Decimal
from typing import Final

from domain.customers.tax_location import TaxLocation
from domain.kernel.stream import Command
from domain.tax.computation import TaxRate
from domain.tax.settings import ChangeTaxSettings, CreateTaxRate, CreateTaxRegistration
from testing.examples.streams import id_of

SINCE: Final = date(2020, 1, 1)
BERLIN: Final = TaxLocation(country="DE", postal_prefix="101")
PARIS: Final = TaxLocation(country="FR")
QUEBEC: Final = TaxLocation(country="CA", region="QC")
RATE_ID, REGISTRATION_ID = id_of("txr_"), id_of("txreg_")
IN_GERMANY: Final = ChangeTaxSettings(seller_country="DE")


def create_rate(
    percent: str = "19",
    country: str = "DE",
    rate_id: str = RATE_ID,
    *,
    kind: str = "vat",
    region: str | None = None,
    postal_prefix: str | None = None,
    category: str | None = None,
    valid_from: date = SINCE,
) -> CreateTaxRate:
    return CreateTaxRate(
        rate=TaxRate(
            rate_id=rate_id,
            percent=Decimal(percent),
            country=country,
            kind=kind,
            region=region,
            postal_prefix=postal_prefix,
            category=category,
            valid_from=valid_from,
        )
    )


def register(
    country: str = "DE",
    registration_id: str = REGISTRATION_ID,
    *,
    region: str | None = None,
    number: str = "DE136695976",
    valid_from: date = SINCE,
) -> CreateTaxRegistration:
    return CreateTaxRegistration(
        registration_id=registration_id, country=country, region=region, number=number, valid_from=valid_from
    )


def taxed_in_germany(percent: str = "19", *more: Command) -> tuple[Command, ...]:
    """Established and registered in Germany, where everything bears `percent`."""
    return (IN_GERMANY, create_rate(percent), register(), *more)
