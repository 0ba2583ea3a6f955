"""Every report there is."""

from typing import Final

from projections.reports.books import OF_BOOKS
from projections.reports.catalog import OF_CATALOG
from projections.reports.customers import OF_CUSTOMERS
from projections.reports.invoices import OF_INVOICES
from projections.reports.payments import OF_PAYMENTS
from projections.reports.recurring import OF_RECURRING
from projections.reports.report import Report

REPORTS: Final[tuple[Report, ...]] = (*OF_CUSTOMERS, *OF_INVOICES, *OF_PAYMENTS, *OF_CATALOG, *OF_BOOKS, *OF_RECURRING)


def resting_on(read_models: frozenset[str]) -> tuple[Report, ...]:
    """The reports that read one of these read models."""
    return tuple(report for report in REPORTS if report.read_models & read_models)
