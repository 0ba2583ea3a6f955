"""A customer's name and addresses: fields of requests and answers that live in the vault and never in the log."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple, cast

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError
from stdnum.eu import vat
from typing_extensions import TypeAliasType, TypedDict

from api.http.call import Call
from api.http.fields import Body, Line, ShortText, text
from api.http.problems import FieldError, invalid
from api.http.validation import form
from domain.customers.countries import COUNTRIES
from domain.customers.subdivisions import SUBDIVISIONS, subdivision_of
from domain.customers.tax_location import TaxLocation, region_code, tax_location_of
from domain.identity.search_terms import terms_of
from domain.kernel.metadata import MetadataChange, with_change
from domain.kernel.personal_reference import PersonalReference
from infra.commitments import Json, Person
from infra.event_store.port import SealedPerson
from infra.vault import PersonKey
from projections.tax_settings import tax_settings

METADATA: Final = "metadata"
EU_VAT: Final = "eu_vat"
_GREECE: Final = "EL"
"""As VAT ids have it; ISO 3166 says GR."""
_UNKNOWN_REGION: Final = "Taxes in {country} are by region: must be one of them by its code of ISO 3166-2 ({codes})"
_REGION_MISSING: Final = "You have taxes by region in {country} ({codes}): the region must be given"
FIELDS: Final = ("name", "email", "phone", "address", "tax_ids", METADATA)

_PART: Final = r"[^@\s\x00-\x1f\x7f()<>\[\]:;,\\\"]+"
"""Of an address, on each side of the @: without what mail programs read as a comment, a list or a quotation."""
Email = Annotated[
    str,
    form(rf"^{_PART}@{_PART}$", "Must be an e-mail address", max_length=254),
    Field(examples=["ada@example.com"]),
]
Phone = Annotated[
    str,
    form(r"^\+?[0-9 ()./-]{3,31}$", "Must be a telephone number like +44 20 7946 0958"),
    Field(examples=["+44 20 7946 0958"]),
]


def _country(value: str) -> str:
    if value not in COUNTRIES:
        raise PydanticCustomError("unknown_country", "Must be a country of ISO 3166-1 like DE, two upper-case letters")
    return value


Country = TypeAliasType(
    "Country",
    Annotated[str, AfterValidator(_country), WithJsonSchema({"type": "string", "enum": sorted(COUNTRIES)})],
)


class Address(Body):
    """A postal address; `country` is a code of ISO 3166-1. Where sales taxes are by region (Brazil, Canada, India, the
    United States) `region` is a code of ISO 3166-2, with the country or without, or the region's name. It must be given
    where the seller's own taxes are by region.
    """

    line1: Line | None = None
    line2: Line | None = None
    city: ShortText | None = None
    country: Country | None = None
    region: ShortText | None = None
    postal_code: Annotated[str, text(20)] | None = None

    @field_validator("region")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        country = str(info.data.get("country"))
        if value is not None and country in SUBDIVISIONS and subdivision_of(country, value) is None:
            raise _unknown_region(country, SUBDIVISIONS[country])
        return value


def _unknown_region(country: str, codes: Sequence[str]) -> PydanticCustomError:
    """The error of a region without which taxes there could not be told."""
    return PydanticCustomError("unknown_region", _UNKNOWN_REGION, {"country": country, "codes": ", ".join(codes)})


def _region_missing(country: str, codes: Sequence[str]) -> PydanticCustomError:
    """The error of an address that lacks what the seller's taxes there depend on."""
    return PydanticCustomError("region_missing", _REGION_MISSING, {"country": country, "codes": ", ".join(codes)})


class TaxId(Body):
    """A tax id and its kind, such as `eu_vat`."""

    type: Annotated[str, form("^[a-z]{2}_[a-z]{2,10}$", "Must be a kind of tax id like eu_vat")]
    value: Annotated[str, text(32)]

    @field_validator("value")
    @classmethod
    def _well_formed(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("type") == EU_VAT and not vat.is_valid(value):
            raise PydanticCustomError(
                "invalid_vat_id", "Not a VAT id of the European Union: it begins with its country, and has check digits"
            )
        return value


class PersonalFields(Body):
    """What may be said about a person."""

    name: Line | None = None
    email: Email | None = None
    phone: Phone | None = None
    address: Address | None = None
    tax_ids: Annotated[tuple[TaxId, ...], Field(max_length=10)] | None = None

    def given(self) -> dict[str, Json]:
        """The personal fields that the request names, its metadata among them, as JSON values; null clears one."""
        named = self.model_dump(mode="json", include={*FIELDS} & self.model_fields_set)
        return cast("dict[str, Json]", named)


def with_given(person: Person, given: Person) -> Person:
    """The person once what is given is so. Metadata are changed key by key, as those of every resource."""
    if METADATA not in given:
        return {**person, **given}
    before = cast("Mapping[str, str]", person.get(METADATA) or {})
    change = cast("MetadataChange", given[METADATA])
    return {**person, **given, METADATA: dict(with_change(tuple(before.items()), change))}


class AddressResource(TypedDict):
    """A postal address."""

    line1: str | None
    line2: str | None
    city: str | None
    region: str | None
    postal_code: str | None
    country: str | None


class TaxIdResource(TypedDict):
    """A tax id and its kind."""

    type: str
    value: str


class PersonalResource(TypedDict):
    """The personal part of a customer: all empty once they are erased."""

    name: str | None
    email: str | None
    phone: str | None
    address: AddressResource | None
    tax_ids: list[TaxIdResource]
    metadata: dict[str, str]


def tax_location(person: Person) -> TaxLocation | None:
    """What of a person's address the log may keep."""
    address = person.get("address")
    if not isinstance(address, dict):
        return None
    country, region, postal_code = (address.get(name) for name in ("country", "region", "postal_code"))
    texts = [each if isinstance(each, str) else None for each in (country, region, postal_code)]
    return tax_location_of(*texts)


async def check_region(call: Call, given: Mapping[str, Json]) -> None:
    """Raises the 422 of a new address without a region, or whose region is no code, where the tenant's own table of
    taxes has regions.
    """
    address = given.get("address")
    if not isinstance(address, dict):
        return
    country, region = address.get("country"), address.get("region")
    if not isinstance(country, str) or (isinstance(region, str) and region_code(country, region) is not None):
        return
    async with call.parts.reader.of(call.tenant_id) as connection:
        codes = (await tax_settings(connection, call.tenant_id)).regions(country)
    if codes:
        error = _region_missing(country, codes) if region is None else _unknown_region(country, codes)
        raise invalid([FieldError("address.region", error.type, error.message())])


def vat_id_country(person: Person) -> str | None:
    """The country (ISO 3166-1) of the first European VAT id that a person has. It was checked when it was given: its
    form and its check digits, not whether an authority knows it.
    """
    tax_ids = person.get("tax_ids")
    for tax_id in tax_ids if isinstance(tax_ids, list) else ():
        if isinstance(tax_id, dict) and tax_id.get("type") == EU_VAT and vat.is_valid(str(tax_id.get("value"))):
            prefix = vat.compact(str(tax_id["value"]))[:2]
            return "GR" if prefix == _GREECE else prefix
    return None


_PERSON: Final = TypeAdapter(PersonalResource)


def personal_resource(person: Person | None) -> PersonalResource:
    """What is known of a person, as it is answered."""
    known: dict[str, Any] = dict(person or {})
    return _PERSON.validate_python(
        {
            "name": known.get("name"),
            "email": known.get("email"),
            "phone": known.get("phone"),
            "address": known.get("address"),
            "tax_ids": known.get("tax_ids") or [],
            "metadata": known.get("metadata") or {},
        }
    )


class Known(NamedTuple):
    """A person's key (None: nobody of that name has one), and the newest revision of what is known, by reference."""

    key: PersonKey | None
    reference: str | None
    person: Person


_NEWEST: Final = """
SELECT reference FROM vault.personal_data
WHERE tenant_id = $1 AND person_id = $2 AND starts_with(reference, 'pd_') ORDER BY written DESC LIMIT 1
"""


async def known_of(call: Call, customer_id: str) -> Known:
    """What the vault holds of a customer now."""
    vault = call.parts.vault
    async with call.reading() as connection:
        key = await vault.key_of(connection, call.tenant_id, customer_id)
        if key is None:
            return Known(None, None, {})
        reference = await connection.fetchval(_NEWEST, call.tenant_id, customer_id)
        person = None if reference is None else await vault.open(connection, call.tenant_id, customer_id, reference)
    return Known(key, reference, person or {})


class SealedChange(NamedTuple):
    """A new revision, ready to go: rows for the vault, what the event says, the key that seals the answer."""

    rows: SealedPerson
    reference: PersonalReference
    key: PersonKey


def seal(call: Call, customer_id: str, person: Person, key: PersonKey | None) -> SealedChange:
    """Seal a new revision of a customer's data: every field, so that the commitment says nothing of which are given."""
    terms = terms_of(person.get("name"), person.get("email"))
    sealed = call.parts.vault.seal(call.tenant_id, customer_id, {**dict.fromkeys(FIELDS), **person}, key, terms=terms)
    reference = PersonalReference(reference=sealed.rows.reference, commitment=sealed.commitment)
    return SealedChange(sealed.rows, reference, sealed.key)
