"""Tax registrations: where the tenant owes tax, and since when. Without any, no invoice bears tax."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Day, New, TaxRegistrationId, text
from api.http.listing import CreatedParameters
from api.http.operations import Intention
from api.http.resource import Part, Resource
from api.resources.personal_data import Country
from api.resources.tax_fields import TaxRegion
from domain.customers.tax_location import InvalidTaxLocation
from domain.identity.permissions import Permission
from domain.kernel.identifiers import TAX_REGISTRATION as PREFIX
from domain.kernel.stream import Command, Streams
from domain.tax.settings import (
    REGISTRATION_CLAIM,
    TAX_SETTINGS,
    CreateTaxRegistration,
    EndTaxRegistration,
    InvalidTaxRegistrationEnd,
    NoGeneralTaxRate,
    SellerCountryUnknown,
    TaxRegistration,
    TaxRegistrationIsEnded,
    TaxRegistrationNotFound,
    TaxRegistrationOverlaps,
    TooManyTaxRegistrations,
    tax_settings,
)
from infra.ids import new_id
from projections.models import tax_registrations as read
from projections.reading import Reader
from projections.stream_rows import Found

_ID: Final = "txreg_01m7ywe9z7e398x54gfbrtqnk7"


class NewTaxRegistration(New):
    """A registration to be, of a country or of one of its regions alone."""

    country: Country
    region: TaxRegion | None = None
    number: Annotated[
        str, text(32), Field(examples=["DE136695976"], description="What the authority knows you by: invoices show it.")
    ]
    valid_from: Annotated[Day, Field(description="The first day, by the customer's calendar, on which tax is owed.")]


class RegistrationEnd(Body):
    """Until when."""

    valid_until: Annotated[Day, Field(description="The first day on which no tax is owed any more.")]


class TaxRegistrationFilters(CreatedParameters):
    """Which registrations."""

    country: Country | None = None


class TaxRegistrationResource(TypedDict):
    """Where tax is owed, from `valid_from` on and before `valid_until`."""

    id: TaxRegistrationId
    object: Literal["tax_registration"]
    country: str
    region: str | None
    number: str
    valid_from: date
    valid_until: date | None
    metadata: dict[str, str]
    created: datetime


def tax_registration_resource(registration: TaxRegistration) -> TaxRegistrationResource:
    """A registration as it is answered."""
    return {
        "id": registration.registration_id,
        "object": "tax_registration",
        "country": registration.country,
        "region": registration.region,
        "number": registration.number,
        "valid_from": registration.valid_from,
        "valid_until": registration.valid_until,
        "metadata": dict(registration.metadata),
        "created": registration.created_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "tax_registration",
    "country": "DE",
    "region": None,
    "number": "DE136695976",
    "valid_from": "2026-01-01",
    "valid_until": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
}


async def _shown(
    _call: Call, _connection: Reader, found: Sequence[Found[TaxRegistration]]
) -> list[TaxRegistrationResource]:
    return [tax_registration_resource(each.state) for each in found]


TAX_REGISTRATIONS: Final[Resource[Any]] = Resource(
    tag="tax registrations",
    about="Where tax is owed.",
    stream=TAX_SETTINGS,
    part=Part("tax_registration", claim=REGISTRATION_CLAIM, not_found=TaxRegistrationNotFound),
    table=read.TABLE,
    path="/v1/tax-registrations",
    prefix=PREFIX,
    seen_with=Permission.CATALOGUE_READ,
    changed_with=Permission.CATALOGUE_WRITE,
    shows=TaxRegistrationResource,
    show=_shown,
    example=EXAMPLE,
    filters=TaxRegistrationFilters,
)


def _intention(command: Command, registration_id: str) -> Intention:
    def render(streams: Streams) -> object:
        return tax_registration_resource(tax_settings(streams).registration_of(registration_id))

    return Intention(command=command, render=render)


@TAX_REGISTRATIONS.creates(
    body=NewTaxRegistration,
    body_example={"country": "DE", "number": "DE136695976", "valid_from": "2026-01-01"},
    refusals=(
        InvalidTaxLocation,
        SellerCountryUnknown,
        NoGeneralTaxRate,
        TaxRegistrationOverlaps,
        TooManyTaxRegistrations,
    ),
)
async def create_tax_registration(_call: Call, body: NewTaxRegistration) -> Intention:
    """Register to owe tax in a country, or in one of its regions.

    From its date on invoices of customers there bear tax. It wants a rate there that holds for everything from that
    date on, so that no line of an invoice is without one. Customers elsewhere are charged none.
    """
    registration_id = new_id(PREFIX)
    command = CreateTaxRegistration(
        registration_id=registration_id,
        country=body.country,
        region=body.region,
        number=body.number,
        valid_from=body.valid_from,
        metadata=body.kept,
    )
    return _intention(command, registration_id)._replace(location=f"/v1/tax-registrations/{registration_id}")


@TAX_REGISTRATIONS.changes(
    "POST",
    "end",
    body=RegistrationEnd,
    body_example={"valid_until": "2027-01-01"},
    example={"valid_until": "2027-01-01"},
    refusals=(TaxRegistrationIsEnded, InvalidTaxRegistrationEnd),
)
async def end_tax_registration(call: Call, body: RegistrationEnd) -> Intention:
    """End a registration, today or later; it is said once."""
    registration_id = TAX_REGISTRATIONS.id_of(call)
    command = EndTaxRegistration(registration_id=registration_id, valid_until=body.valid_until)
    return _intention(command, registration_id)
