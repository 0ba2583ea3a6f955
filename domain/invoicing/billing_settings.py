"""A tenant's billing settings: who sells, as its invoices say it, and the language of customers who have none.

Its stream lies under the tenant's own id. An invoice shows the seller that the settings named when it was finalized, by
the order of the log.
"""

from dataclasses import dataclass
from typing import Final

from domain.customers.countries import COUNTRIES
from domain.customers.locales import DEFAULT_LOCALE
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic
from domain.kernel.unchanged import UNCHANGED, Unchanged

MAX_ADDRESS_LINES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """Who sells: a business, whose name the law wants on each invoice. `address` is its lines, without the country
    (ISO 3166-1 alpha-2); `tax_id` and `footer` are texts as they are to be printed.
    """

    name: str
    address: tuple[str, ...] = ()
    country: str | None = None
    email: str | None = None
    tax_id: str | None = None
    footer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBillingSettings:
    """The seller is replaced as a whole; None: there is none, and invoices name the tenant."""

    tenant_id: str
    seller: Seller | Unchanged | None = UNCHANGED
    locale: str | Unchanged = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettingsChanged:
    """The settings as they are from now on."""

    tenant_id: str
    seller: Seller | None
    locale: str


class InvalidSeller(Refusal):
    """A seller has a name, at most 6 lines of address, and a country of ISO 3166-1."""

    code = "invalid_seller"
    kind = RefusalKind.INVALID
    param = "seller"


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettings:
    """`locale` is that of documents for customers who have none of their own."""

    tenant_id: str
    seller: Seller | None
    locale: str


def settings_at_first(tenant_id: str) -> BillingSettings:
    """What holds until something is set."""
    return BillingSettings(tenant_id=tenant_id, seller=None, locale=DEFAULT_LOCALE)


def check_seller(seller: Seller | None) -> None:
    """Raises InvalidSeller."""
    if seller is None:
        return
    if not seller.name or len(seller.address) > MAX_ADDRESS_LINES:
        raise InvalidSeller(name=seller.name, lines=len(seller.address))
    if seller.country is not None and seller.country not in COUNTRIES:
        raise InvalidSeller(country=seller.country)


def evolve(settings: BillingSettings | None, event: BillingSettingsChanged) -> BillingSettings:
    return BillingSettings(tenant_id=event.tenant_id, seller=event.seller, locale=event.locale)


EVENTS: dict[str, type] = {"billing_settings.changed": BillingSettingsChanged}

BILLING_SETTINGS: Stream[BillingSettings] = Stream(
    name="billing_settings",
    id_field="tenant_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda settings: None,
)
