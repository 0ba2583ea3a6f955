"""What a subscription bills of the usage of its running period, before that is over."""

from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.frozen import replace
from domain.subscriptions.metering import progress_of
from domain.subscriptions.periods import arrears_until, period_invoice_id, running_period
from domain.subscriptions.state import Subscription, SubscriptionStatus


def running_usage_line(subscription: Subscription, meter_id: str) -> InvoiceLine | None:
    """The line that is to bill what the meter counts in the running period, if nothing is changed until its end; there
    is nothing counted on it yet. None where nothing of the running time is billed: in a trial, a pause or a free stub,
    after the end, and where no item has the meter.
    """
    item = next((item for item in subscription.terms.items if item.meter_id == meter_id), None)
    if item is None or subscription.status is SubscriptionStatus.CANCELED:
        return None
    running = running_period(subscription, item.interval)
    if running is None:
        return None
    until, ends_at = running.end, subscription.cancel_at
    is_cut_short = ends_at is not None and ends_at < until
    if ends_at is not None and is_cut_short:
        until = ends_at
    invoice_id = period_invoice_id(subscription, subscription.period_index + 1)
    lines = arrears_until(subscription, (item.interval,), until, invoice_id, ends=is_cut_short)
    line = next((line for line in lines if line.price_id == item.price_id), None)
    if line is None or line.usage is None:
        return None
    return replace(line, usage=replace(line.usage, progress=progress_of(line, subscription)))
