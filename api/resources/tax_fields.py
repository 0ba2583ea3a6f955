"""Fields that say where and for what a tax holds, in requests and in answers."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.http.validation import form
from domain.customers.tax_location import POSTAL_PREFIX_CHARS, TaxLocation

TaxCategory = Annotated[
    str,
    form(
        r"^[a-z0-9][a-z0-9_.-]{0,63}$",
        "Must be 1 to 64 lower-case letters and digits, after the first also _ . and -, like saas",
    ),
    Field(description="What it is to your tables of tax rates; what is sold of it bears the category it had then."),
]
TaxKind = Annotated[
    str,
    form(r"^[a-z][a-z0-9_]{0,31}$", "Must be 1 to 32 lower-case letters, digits and _, a letter first, like vat"),
    Field(description="The tax's name. Of one kind the most local rate holds alone; several kinds are added up."),
]
TaxRegion = Annotated[
    str,
    form(r"^[A-Z0-9]{1,3}$", "Must be a subdivision's code of ISO 3166-2 without its country, like QC"),
    Field(examples=["QC"]),
]
PostalPrefix = Annotated[
    str,
    form(
        rf"^[A-Z0-9]{{1,{POSTAL_PREFIX_CHARS}}}$",
        f"Must be the first characters of a postal code, at most {POSTAL_PREFIX_CHARS}: capitals and digits",
    ),
    Field(examples=["100"]),
]

Jurisdiction = Annotated[
    str,
    form(r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$", "Must be a country of ISO 3166-1, or a subdivision of ISO 3166-2 like CA-QC"),
    Field(examples=["CA-QC"], description="Whose tax it is."),
]
TaxInclusive = Annotated[
    bool, Field(description="Whether the amount contains the tax; as the tenant's tax settings say unless given.")
]


class TaxLocationResource(TypedDict):
    """Where a customer is taxed: what the log keeps of the address. `region` is a code of ISO 3166-2 without its
    country, `postal_prefix` the postal code's first characters.
    """

    country: str
    region: str | None
    postal_prefix: str | None


def tax_location_resource(location: TaxLocation) -> TaxLocationResource:
    """A tax location as it is answered."""
    return {"country": location.country, "region": location.region, "postal_prefix": location.postal_prefix}
