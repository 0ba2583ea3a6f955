"""Usage alerts that were triggered: by alert, customer and period, the thresholds that were reached."""

from typing import Final

from api.http.fields import CustomerId, MeterId, UsageAlertId
from api.http.listing import CreatedParameters
from api.http.resource import Resource
from api.resources.customers import CUSTOMERS
from api.resources.triggered_alert_resource import EXAMPLE, TriggeredAlertResource, triggered_alert_resource
from api.resources.usage_alerts import USAGE_ALERTS
from domain.entitlements.triggered_alert import TRIGGERED_ALERT
from domain.identity.permissions import Permission
from domain.kernel.identifiers import TRIGGERED_ALERT as PREFIX
from projections.models import triggered_alerts as read


class TriggeredAlertFilters(CreatedParameters):
    """Which of them."""

    usage_alert: UsageAlertId | None = None
    customer: CustomerId | None = None
    meter: MeterId | None = None


TRIGGERED_ALERTS: Final = Resource(
    tag="triggered alerts",
    about="What customers reached of usage alerts.",
    stream=TRIGGERED_ALERT,
    table=read.TABLE,
    path="/v1/usage/triggered-alerts",
    prefix=PREFIX,
    seen_with=Permission.USAGE_READ,
    shows=TriggeredAlertResource,
    render=triggered_alert_resource,
    example=EXAMPLE,
    filters=TriggeredAlertFilters,
    expands={"customer": CUSTOMERS, "usage_alert": USAGE_ALERTS},
)
