"""Exports: whole tables of what the lists show page by page, as CSV or Parquet, streamed."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field, WithJsonSchema
from pydantic_core import to_json

from api.http.call import Call
from api.http.exporting import CSV, PARQUET, Export, ExportFormat, Shows, export_reply
from api.http.fields import Instant
from api.http.listing import Parameters, between
from api.http.masking import masked
from api.http.operations import Operation, Operations, QueryHandler
from api.http.problems import EXPORTS_BUSY, PARQUET_NOT_INSTALLED
from api.http.replies import Reply
from api.resources.personal_data import personal_resource
from domain.identity.permissions import Permission
from infra.database import Connection
from projections.catalogue import BY_NAME
from projections.read_model import Record
from projections.reading import ANY_TIME, Between
from projections.reports.catalogue import REPORTS
from projections.reports.customers import CUSTOMERS
from projections.reports.reading import Wanted
from projections.reports.report import Column, Kind, Report

File = Annotated[bytes, WithJsonSchema({"type": "string", "contentMediaType": CSV})]

SEEN_WITH: Final[Mapping[str, Permission]] = {
    "customers": Permission.CUSTOMERS_READ,
    "subscriptions": Permission.SUBSCRIPTIONS_READ,
    "subscription_items": Permission.SUBSCRIPTIONS_READ,
    "invoices": Permission.INVOICES_READ,
    "invoice_lines": Permission.INVOICES_READ,
    "credit_notes": Permission.CREDIT_NOTES_READ,
    "tax_days": Permission.REPORTS_READ,
    "receivables": Permission.REPORTS_READ,
    "payments": Permission.PAYMENTS_READ,
    "refunds": Permission.REFUNDS_READ,
    "products": Permission.CATALOGUE_READ,
    "plans": Permission.CATALOGUE_READ,
    "prices": Permission.CATALOGUE_READ,
    "coupons": Permission.CATALOGUE_READ,
    "discounts": Permission.INVOICES_READ,
    "ledger_entries": Permission.LEDGER_READ,
    "ledger_postings": Permission.LEDGER_READ,
    "account_days": Permission.LEDGER_READ,
    "account_balances": Permission.LEDGER_READ,
    "mrr_movements": Permission.REPORTS_READ,
}
"""What each report is seen with: as the list or the sum of the same things is."""

EXPORTS: Final = Operations(tag="exports", about="Whole tables of what the lists show page by page.")


class ExportParameters(Parameters):
    """How it is written."""

    format: Annotated[ExportFormat, Field(description="`parquet` needs pyarrow on the server.")] = ExportFormat.CSV
    formulas: Annotated[
        Literal["escaped", "plain"],
        Field(
            description="Whether texts of CSV that a spreadsheet would take for a formula get an apostrophe before "
            "them, as do those that begin with one."
        ),
    ] = "escaped"

    @property
    def times(self) -> Between:
        """All of them."""
        return ANY_TIME


class CreatedExportParameters(ExportParameters):
    """How it is written, and what was created when."""

    created_gte: Annotated[Instant | None, Field(alias="created[gte]")] = None
    created_gt: Annotated[Instant | None, Field(alias="created[gt]")] = None
    created_lte: Annotated[Instant | None, Field(alias="created[lte]")] = None
    created_lt: Annotated[Instant | None, Field(alias="created[lt]")] = None

    @property
    def times(self) -> Between:
        """The range."""
        return between(self.created_gte, self.created_gt, self.created_lte, self.created_lt)


class EffectiveExportParameters(ExportParameters):
    """How it is written, and what counts for when."""

    effective_gte: Annotated[Instant | None, Field(alias="effective_at[gte]")] = None
    effective_gt: Annotated[Instant | None, Field(alias="effective_at[gt]")] = None
    effective_lte: Annotated[Instant | None, Field(alias="effective_at[lte]")] = None
    effective_lt: Annotated[Instant | None, Field(alias="effective_at[lt]")] = None

    @property
    def times(self) -> Between:
        """The range."""
        return between(self.effective_gte, self.effective_gt, self.effective_lte, self.effective_lt)


_PARAMETERS: Final[Mapping[str | None, type[ExportParameters]]] = {
    None: ExportParameters,
    "r.effective_at": EffectiveExportParameters,
}

_REFERENCE: Final = Column(
    "personal", Kind.TEXT, "r.personal ->> 'reference'", "Where the vault keeps what is personal."
)
PERSONAL: Final = (
    Column("name", Kind.TEXT, "", "The name."),
    Column("email", Kind.TEXT, "", "The e-mail address."),
    Column("phone", Kind.TEXT, "", "The telephone number."),
    Column("address", Kind.JSON, "", "The postal address."),
    Column("tax_ids", Kind.JSON, "", "Tax ids and their kinds."),
    Column("metadata", Kind.JSON, "", "What the tenant keeps with it: names and texts."),
)
"""What an export of customers has after the report's columns, masked as it is in lists; null for who was erased."""


def path_of(report: Report) -> str:
    """Where a report is exported."""
    return f"/v1/exports/{report.name.replace('_', '-')}"


def _with_people(call: Call) -> Shows:
    """Customers with what the vault still has of them."""

    async def shown(connection: Connection, rows: Sequence[Record]) -> list[tuple[Any, ...]]:
        wanted = [(row["customer_id"], row["personal"]) for row in rows]
        people = await call.parts.vault.open_many(
            connection, call.tenant_id, [(customer, reference) for customer, reference in wanted if reference]
        )
        made = []
        for row, key in zip(rows, wanted, strict=True):
            person = {"object": "customer", **personal_resource(people.get(key))}
            if call.principal.masked:
                person = masked(person)
            values = [_cell(column, person[column.name]) for column in PERSONAL]
            made.append((*tuple(row)[:-1], *values))
        return made

    return shown


def _cell(column: Column, value: object) -> object:
    return value if column.kind is Kind.TEXT or value is None else to_json(value).decode()


def _columns(report: Report) -> tuple[Column, ...]:
    return (*report.columns, *PERSONAL) if report is CUSTOMERS else report.columns


def _operation(report: Report) -> Operation:
    columns = _columns(report)
    has_people = report is CUSTOMERS

    async def export(call: Call, asked: ExportParameters) -> Reply:
        wanted = Wanted(
            report=report,
            tenant_id=call.tenant_id,
            customer_id=call.principal.customer_id,
            times=asked.times,
            further=(_REFERENCE,) if has_people else (),
        )
        return await export_reply(
            call,
            Export(
                wanted=wanted,
                columns=columns,
                shows=_with_people(call) if has_people else None,
                format=asked.format,
                is_spreadsheet_safe=asked.formulas == "escaped",
            ),
        )

    named = report.name.replace("_", " ")
    return Operation(
        tag=EXPORTS.tag,
        method="GET",
        path=path_of(report),
        name=f"export_{report.name}",
        summary=f"Export {named}",
        about=(
            f"{report.about} All of them as of one moment, oldest first, streamed; `Export-Rows` in the answer's head "
            "is their number. An answer that ends before its last chunk was broken off: ask again.\n\n"
            f"Columns: {', '.join(f'`{column.name}`' for column in columns)}."
        ),
        answers=File,
        example=_example(columns),
        media_type=CSV,
        further_media_types=(PARQUET,),
        parameters=_PARAMETERS.get(report.since, CreatedExportParameters),
        handler=cast("QueryHandler", export),
        needs=SEEN_WITH[report.name],
        problems=(EXPORTS_BUSY, PARQUET_NOT_INSTALLED),
        reads=tuple(dict.fromkeys(BY_NAME[name].projection for name in sorted(report.read_models))),
    )


def _example(columns: Sequence[Column]) -> str:
    return ",".join(column.name for column in columns) + "\r\n"


for _report in REPORTS:
    EXPORTS.declare(_operation(_report))
