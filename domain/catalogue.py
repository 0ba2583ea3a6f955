"""Every kind of stream there is, by name."""

from typing import Any, Final

from domain.customer import CUSTOMER
from domain.invoice import INVOICE
from domain.invoice_numbering import INVOICE_NUMBERING
from domain.journal_entry import JOURNAL_ENTRY
from domain.payment import PAYMENT
from domain.payment_method import PAYMENT_METHOD
from domain.plan import PLAN
from domain.plan_price import PRICE
from domain.product import PRODUCT
from domain.stream import Stream
from domain.subscription import SUBSCRIPTION
from domain.test_clock import TEST_CLOCK

STREAMS: Final[dict[str, Stream[Any]]] = {
    stream.name: stream
    for stream in (
        CUSTOMER,
        PRODUCT,
        PLAN,
        PRICE,
        SUBSCRIPTION,
        INVOICE,
        INVOICE_NUMBERING,
        PAYMENT_METHOD,
        PAYMENT,
        JOURNAL_ENTRY,
        TEST_CLOCK,
    )
}
