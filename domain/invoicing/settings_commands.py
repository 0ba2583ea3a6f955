"""What is decided about a tenant's billing settings."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.locales import check_locale
from domain.invoicing.billing_settings import (
    BILLING_SETTINGS,
    MAX_GRACE_S,
    BillingSettingsChanged,
    ChangeBillingSettings,
    InvalidInvoiceTerms,
    billing_settings,
    check_days_until_due,
    check_memo,
    check_seller,
    evolve,
)
from domain.invoicing.number_series import UnknownNumberSeries, changed_series
from domain.kernel.billing_period import zone_of
from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.unchanged import Unchanged, changed


def change_billing_settings(command: ChangeBillingSettings, streams: Streams, now: datetime) -> Decision:
    """They hold for what is decided from then on. Raises InvalidSeller, UnknownLocale, UnknownTimeZone,
    InvalidInvoiceTerms, and what `changed_series` raises.
    """
    before = billing_settings(streams)
    series = before.number_series
    if not isinstance(command.number_series, Unchanged):
        series = changed_series(command.number_series, before.number_series)
    event = BillingSettingsChanged(
        settings_id=before.settings_id,
        seller=changed(command.seller, before.seller),
        locale=changed(command.locale, before.locale),
        time_zone=changed(command.time_zone, before.time_zone),
        grace_s=changed(command.grace_s, before.grace_s),
        days_until_due=changed(command.days_until_due, before.days_until_due),
        memo=changed(command.memo, before.memo),
        number_series=series,
        invoice_series=changed(command.invoice_series, before.invoice_series),
    )
    check_seller(event.seller)
    check_locale(event.locale)
    zone_of(event.time_zone)
    check_days_until_due(event.days_until_due)
    check_memo(event.memo)
    if not 0 <= event.grace_s <= MAX_GRACE_S:
        raise InvalidInvoiceTerms(grace_seconds=event.grace_s).at("grace_seconds")
    after = evolve(before, event)
    try:
        after.series_of_invoices(after.invoice_series)
    except UnknownNumberSeries as refused:
        raise refused.at("invoice_series") from None
    return Decision(now, [] if after == before else [BILLING_SETTINGS.change(event)])


HANDLERS: Final[Mapping[type, Handler]] = {ChangeBillingSettings: change_billing_settings}
