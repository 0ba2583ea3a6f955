"""A tenant's billing settings: who sells, as its invoices say it, and the language of customers who have none."""

from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Clearable, Kept, Partial
from api.http.fields import Body, Line, Locale, LongText
from api.http.listing import NoParameters
from api.http.operations import Intention, Operations
from api.resources.personal_data import Country, Email
from domain.identity.permissions import Permission
from domain.identity.tenant import TenantNotFound
from domain.invoicing.billing_settings import (
    BILLING_SETTINGS,
    MAX_ADDRESS_LINES,
    BillingSettings,
    ChangeBillingSettings,
    Seller,
    settings_at_first,
)
from projections.billing_settings import billing_settings

_PATH: Final = "/v1/tenants/{tenant}/billing-settings"


class SellerBody(Body):
    """A seller as invoices print it. The tax id and the footer are texts of your own: `VAT ID DE123456789`."""

    name: Line
    address: Annotated[tuple[Line, ...], Field(max_length=MAX_ADDRESS_LINES)] = ()
    country: Country | None = None
    email: Email | None = None
    tax_id: Line | None = None
    footer: LongText | None = None

    @property
    def value(self) -> Seller:
        """As a command takes it."""
        return Seller(
            name=self.name,
            address=self.address,
            country=self.country,
            email=self.email,
            tax_id=self.tax_id,
            footer=self.footer,
        )


class BillingSettingsChange(Partial):
    """What is to change. The seller is replaced as a whole; null: invoices name the tenant."""

    seller: Clearable[SellerBody]
    locale: Kept[Locale]


class SellerResource(TypedDict):
    """Who sells."""

    name: str
    address: list[str]
    country: str | None
    email: str | None
    tax_id: str | None
    footer: str | None


class BillingSettingsResource(TypedDict):
    """A tenant's billing settings. `locale` is that of documents for customers who have none of their own."""

    object: Literal["billing_settings"]
    tenant: str
    seller: SellerResource | None
    locale: str


_SELLER: Final = {
    "name": "Example GmbH",
    "address": ["Musterstraße 1", "10115 Berlin"],
    "country": "DE",
    "email": "billing@example.com",
    "tax_id": "USt-IdNr. DE123456789",
    "footer": "Geschäftsführung: Ada Lovelace · HRB 12345",
}
_EXAMPLE: Final[dict[str, object]] = {
    "object": "billing_settings",
    "tenant": "acme",
    "seller": _SELLER,
    "locale": "de-DE",
}

SETTINGS: Final = Operations(
    tag="billing settings",
    about="Who sells, as invoices say it, and the language they say it in.",
    seen_with=Permission.BILLING_SETTINGS_READ,
    changed_with=Permission.BILLING_SETTINGS_WRITE,
)


@SETTINGS.command(
    "PATCH",
    _PATH,
    body=BillingSettingsChange,
    body_example={"seller": _SELLER, "locale": "de-DE"},
    answers=BillingSettingsResource,
    example=_EXAMPLE,
    refusals=(TenantNotFound,),
)
async def change_billing_settings(call: Call, body: BillingSettingsChange) -> Intention:
    """Change who sells, and the language of documents.

    An invoice keeps the seller that these settings named when it was finalized: what is changed holds for the next one.
    """
    tenant_id = _own(call)
    seller = body.seller.value if isinstance(body.seller, SellerBody) else body.seller
    return Intention(
        command=ChangeBillingSettings(tenant_id=tenant_id, seller=seller, locale=body.locale),
        render=lambda streams: _resource(streams.get(BILLING_SETTINGS, tenant_id) or settings_at_first(tenant_id)),
    )


@SETTINGS.query(
    _PATH, answers=BillingSettingsResource, example=_EXAMPLE, parameters=NoParameters, refusals=(TenantNotFound,)
)
async def get_billing_settings(call: Call, _asked: NoParameters) -> BillingSettingsResource:
    """Get who sells, and the language of documents for customers who have none of their own."""
    tenant_id = _own(call)
    async with call.reading() as connection:
        return _resource(await billing_settings(connection, tenant_id))


def _own(call: Call) -> str:
    """The tenant in the path, which is the one that is asked in: another's is not there."""
    tenant_id = call.path["tenant"]
    if tenant_id != call.tenant_id:
        raise TenantNotFound(tenant=tenant_id)
    return tenant_id


def _resource(settings: BillingSettings) -> BillingSettingsResource:
    seller = settings.seller
    shown: SellerResource | None = None
    if seller is not None:
        shown = {
            "name": seller.name,
            "address": list(seller.address),
            "country": seller.country,
            "email": seller.email,
            "tax_id": seller.tax_id,
            "footer": seller.footer,
        }
    return {"object": "billing_settings", "tenant": settings.tenant_id, "seller": shown, "locale": settings.locale}
