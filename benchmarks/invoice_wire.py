"""Full invoices by the command path: `python -m benchmarks.invoice_wire`.

An invoice of ten lines, two coupons and three rates of tax is finalized: its draft is read, its discounts and taxes are
computed, a number is taken, and all of it is recorded. Beside it, in turn, invoices of one line without either. One
writer, nothing downstream.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from benchmarks.accepted import accepted, request_of
from benchmarks.results import Row
from benchmarks.servers import bench_servers, found_by
from domain.catalog.price import BillingTiming
from domain.customers.customer import CreateCustomer
from domain.customers.tax_location import TaxLocation
from domain.discounts.commands import ApplyCouponToCustomer
from domain.discounts.computation import AmountOff, CouponDuration, PercentOff
from domain.discounts.coupon import CouponTerms, CreateCoupon
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import DraftInvoice
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.tax.computation import TaxRate
from domain.tax.settings import ChangeTaxSettings, CreateTaxRate, CreateTaxRegistration
from infra.event_store.opening import open_writer
from infra.event_store.port import Writer
from infra.ids import new_id

ROUNDS: Final = 5
INVOICES: Final = 1_000
CUSTOMERS: Final = 200
LINES: Final = 10
CAD: Final = currency_code("CAD")
SINCE: Final = date(2020, 1, 1)
RATES: Final = (("gst", None, "5"), ("qst", "QC", "9.975"), ("eco", "QC", "0.5"))
QUEBEC: Final = TaxLocation(country="CA", region="QC")


@dataclass(frozen=True, slots=True)
class Kind:
    """What is finalized: for whom, and with how many lines."""

    customers: Sequence[str]
    lines: int


async def rows() -> list[Row]:
    """`invoice-wire`: invoices finalized a second."""
    async with bench_servers() as settings:
        assert settings.database.url is not None
        writer = open_writer(settings.database.url.get_secret_value(), settings.writer, clock=lambda: datetime.now(UTC))
        await _tax_table(writer)
        full = Kind(await _customers(writer, QUEBEC), LINES)
        await _two_coupons(writer, full.customers)
        plain = Kind(await _customers(writer, None), 1)
        rates = [
            (await _finalized_per_s(writer, full), await _finalized_per_s(writer, plain)) for _ in range(ROUNDS + 1)
        ]
        await writer.close()
    # The first round is not counted: streams and statements are new in it.
    counted = rates[1:]
    ratio = statistics.median(ours / beside for ours, beside in counted)
    notes = "; ".join(f"{ours:,.0f} and {beside:,.0f} of one line" for ours, beside in counted)
    ours = statistics.median(rate for rate, _ in counted)
    return [Row("invoice-wire", ours, "invoices/s", {"invoices of one line": ratio}, notes)]


async def _submit(writer: Writer, commands: Sequence[Command]) -> None:
    await accepted(writer, map(request_of, commands))


async def _tax_table(writer: Writer) -> None:
    await _submit(writer, [ChangeTaxSettings(seller_country="CA")])
    for kind, region, percent in RATES:
        rate = TaxRate(
            rate_id=new_id("txr_"), percent=Decimal(percent), country="CA", valid_from=SINCE, kind=kind, region=region
        )
        await _submit(writer, [CreateTaxRate(rate=rate)])
    await _submit(
        writer,
        [CreateTaxRegistration(registration_id=new_id("txreg_"), country="CA", number="R000000000", valid_from=SINCE)],
    )


async def _customers(writer: Writer, location: TaxLocation | None) -> list[str]:
    customers = [new_id("cus_") for _ in range(CUSTOMERS)]
    exempt = location is None
    await _submit(
        writer,
        [CreateCustomer(customer_id=one, currency=CAD, tax_location=location, tax_exempt=exempt) for one in customers],
    )
    return customers


async def _two_coupons(writer: Writer, customers: Sequence[str]) -> None:
    for name, off in (("Partner", PercentOff(percent=Decimal(15))), ("Loyal", AmountOff(amount=Money(500, CAD)))):
        coupon = new_id("coup_")
        terms = CouponTerms(name=name, off=off, duration=CouponDuration.FOREVER)
        await _submit(writer, [CreateCoupon(coupon_id=coupon, terms=terms)])
        await _submit(
            writer,
            [ApplyCouponToCustomer(discount_id=new_id("di_"), coupon_id=coupon, customer_id=one) for one in customers],
        )


async def _finalized_per_s(writer: Writer, kind: Kind) -> float:
    invoices = [new_id("in_") for _ in range(INVOICES)]
    await _submit(
        writer,
        [
            DraftInvoice(
                invoice_id=invoice,
                customer_id=kind.customers[nth % len(kind.customers)],
                collection=CollectionMethod.SEND_INVOICE,
                currency=CAD,
                lines=_lines(kind.lines),
            )
            for nth, invoice in enumerate(invoices)
        ],
    )
    start = time.perf_counter()
    await _submit(writer, [FinalizeInvoice(invoice_id=invoice) for invoice in invoices])
    return len(invoices) / (time.perf_counter() - start)


def _lines(count: int) -> tuple[InvoiceLine, ...]:
    return tuple(
        InvoiceLine(
            line_id=new_id("il_"),
            description=f"Service {nth}",
            amount=Money(1_999 + 37 * nth, CAD),
            quantity=Decimal(1),
            timing=BillingTiming.IN_ADVANCE,
        )
        for nth in range(count)
    )


if __name__ == "__main__":
    for row in found_by(rows()):
        print(row)
