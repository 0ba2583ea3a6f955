"""What is decided about a tenant's billing settings."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.locales import check_locale
from domain.invoicing.billing_settings import (
    BILLING_SETTINGS,
    BillingSettingsChanged,
    ChangeBillingSettings,
    check_seller,
    settings_at_first,
)
from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.unchanged import changed


def change_billing_settings(command: ChangeBillingSettings, streams: Streams, now: datetime) -> Decision:
    """They hold for what is finalized from then on."""
    tenant_id = command.tenant_id
    before = streams.get(BILLING_SETTINGS, tenant_id) or settings_at_first(tenant_id)
    seller, locale = changed(command.seller, before.seller), changed(command.locale, before.locale)
    check_seller(seller)
    check_locale(locale)
    if (seller, locale) == (before.seller, before.locale):
        return Decision(now, [])
    now_so = BillingSettingsChanged(tenant_id=tenant_id, seller=seller, locale=locale)
    return Decision(now, [BILLING_SETTINGS.change(now_so)])


HANDLERS: Final[Mapping[type, Handler]] = {ChangeBillingSettings: change_billing_settings}
