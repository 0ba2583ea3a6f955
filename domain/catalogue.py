"""Every kind of stream there is, by name."""

from typing import Any, Final

from domain.approvals.approval import APPROVAL
from domain.catalog.plan import PLAN
from domain.catalog.price import PRICE
from domain.catalog.product import PRODUCT
from domain.customers.customer import CUSTOMER
from domain.customers.payment_method import PAYMENT_METHOD
from domain.customers.test_clock import TEST_CLOCK
from domain.discounts.coupon import COUPON
from domain.discounts.discount import DISCOUNT
from domain.entitlements.entitlement import ENTITLEMENT
from domain.entitlements.triggered_alert import TRIGGERED_ALERT
from domain.entitlements.usage_alert import USAGE_ALERT
from domain.identity.api_key import API_KEY
from domain.identity.session import SESSION
from domain.identity.team import TEAM
from domain.identity.tenant import TENANT
from domain.identity.user import USER
from domain.invoicing.billing_settings import BILLING_SETTINGS
from domain.invoicing.invoice import INVOICE
from domain.invoicing.numbering import INVOICE_NUMBERING
from domain.kernel.stream import Stream
from domain.ledger.journal_entry import JOURNAL_ENTRY
from domain.metering.meter import METER
from domain.payments.payment import PAYMENT
from domain.subscriptions.migration import PLAN_MIGRATION
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.tax.settings import TAX_SETTINGS

STREAMS: Final[dict[str, Stream[Any]]] = {
    stream.name: stream
    for stream in (
        CUSTOMER,
        PRODUCT,
        PLAN,
        PRICE,
        COUPON,
        DISCOUNT,
        METER,
        USAGE_ALERT,
        TRIGGERED_ALERT,
        ENTITLEMENT,
        TAX_SETTINGS,
        SUBSCRIPTION,
        PLAN_MIGRATION,
        INVOICE,
        INVOICE_NUMBERING,
        BILLING_SETTINGS,
        PAYMENT_METHOD,
        PAYMENT,
        JOURNAL_ENTRY,
        APPROVAL,
        TEST_CLOCK,
        TENANT,
        TEAM,
        API_KEY,
        USER,
        SESSION,
    )
}
