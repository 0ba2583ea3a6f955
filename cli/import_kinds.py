"""What can be imported: how a line of each kind becomes a request of the API.

A line is what the API takes, so that there is one description of both. CSV names what lies deeper by dots
(`address.city`, `metadata.order`), has a money's amount and its currency in columns of their own, and so the only item
of a list.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from pydantic import Field, ValidationError

from api.http.fields import Body, ExternalId, Instant, Line
from api.http.validation import invalid_body
from api.resources.customers import NewCustomer
from api.resources.invoice_imports import InvoiceToImport, PaymentToImport
from api.resources.subscriptions import NewSubscription
from infra.clock import system_clock

_WHOLE: Final = re.compile("-?[0-9]{1,18}")
_COLUMN_DEPTH_MAX: Final = 8
"""Of the dots in a column's name; a request's fields have fewer."""
_UNKNOWN: Final = "unknown_name"
_SOMEBODY: Final = "cus_01m7ywe9z7e398x54gfbrtqnk7"
"""Stands where a line names somebody by their external id, until that is looked up."""

CUSTOMER_EXTERNAL_ID: Final = "customer_external_id"
INVOICE_NUMBER: Final = "invoice_number"


class ImportKind(StrEnum):
    """What the lines of a file are."""

    CUSTOMERS = "customers"
    SUBSCRIPTIONS = "subscriptions"
    INVOICES = "invoices"
    PAYMENTS = "payments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A field of a line that names what is there by another name than its id: `field` is what the API has for it."""

    column: str
    field: str | None
    path: str
    parameter: str
    not_found: str


OF_CUSTOMER: Final = Reference(
    column=CUSTOMER_EXTERNAL_ID,
    field="customer",
    path="/v1/customers",
    parameter="external_id",
    not_found="There is no customer of this external id: import the customers first",
)
OF_INVOICE: Final = Reference(
    column=INVOICE_NUMBER,
    field=None,
    path="/v1/invoices",
    parameter="number",
    not_found="There is no invoice of this number: import the invoices first",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProblem:
    """What is wrong with a line: where in it, a stable code, and a sentence that repeats nothing of it."""

    line: int
    param: str
    code: str
    message: str


class _ImportedCustomer(NewCustomer):
    external_id: ExternalId


class _ImportedSubscription(NewSubscription):
    starts_at: Instant = Field()


class _ImportedPayment(PaymentToImport):
    invoice_number: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of lines. `path` leads to its operation; `columns` of CSV come beside the fields of `body`, and `fills`
    puts them where they belong.
    """

    path: str
    body: type[Body]
    reference: Reference | None = None
    columns: tuple[str, ...] = ()
    money: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset()
    true_or_false: frozenset[str] = frozenset()
    fills: Callable[[dict[str, Any]], None] = lambda _body: None
    check: Callable[[Mapping[str, Any], datetime], tuple[str, str, str] | None] = lambda _body, _now: None
    fields: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = {*self.body.model_fields, *self.columns}
        if self.reference is not None:
            names.add(self.reference.column)
        object.__setattr__(self, "fields", frozenset(names))

    def lacking(self, columns: list[str]) -> str | None:
        """What the header of a CSV lacks, if anything."""
        unknown = [
            name for name in columns if name.partition(".")[0] not in self.fields or name.count(".") > _COLUMN_DEPTH_MAX
        ]
        if not columns or unknown:
            return f"its first line must name the columns, of {', '.join(sorted(self.fields))}"
        return None

    def of_csv(self, row: Mapping[str, str]) -> dict[str, Any]:
        """A row of CSV as the API has it."""
        body: dict[str, Any] = {}
        for name, text in row.items():
            value: object = text
            if (name in self.whole or name.endswith(".amount")) and _WHOLE.fullmatch(text):
                value = int(text)
            elif name in self.true_or_false and text in ("true", "false"):
                value = text == "true"
            _put(body, name.split("."), value)
        currency = body.get("currency")
        for name in self.money:
            if name in body:
                body[name] = {"amount": body[name], "currency": currency}
        self.fills(body)
        return body

    def problems(self, line: int, body: object) -> Iterator[LineProblem]:
        """What is wrong with a line, as far as can be told without asking anybody."""
        if not isinstance(body, dict):
            yield LineProblem(line=line, param="", code="wrong_type", message="It is no JSON object")
            return
        tried = deepcopy(body)
        reference = self.reference
        if reference is not None and reference.field is not None:
            named = tried.pop(reference.column, None)
            if (named is None) is (reference.field not in tried) or not isinstance(named, str | None):
                yield LineProblem(
                    line=line,
                    param=reference.column,
                    code="required",
                    message=f"Must be given as a text, or {reference.field}, and not both",
                )
                return
            tried.setdefault(reference.field, _SOMEBODY)
        try:
            self.body.model_validate_json(json.dumps(tried))
        except ValidationError as error:
            for each in invalid_body(error, tried, self.body).errors:
                # A name that nobody knows may be somebody's own, in a file whose columns are mixed up.
                where, _, name = each.param.rpartition(".")
                known = each.code != _UNKNOWN or name in self.fields
                yield LineProblem(
                    line=line,
                    param=each.param if known else where,
                    code=each.code,
                    message=each.message if known else "There is a field that this kind of line does not have",
                )
            return
        wrong = self.check(tried, system_clock())
        if wrong is not None:
            param, code, message = wrong
            yield LineProblem(line=line, param=param, code=code, message=message)


def _put(body: dict[str, Any], steps: list[str], value: object) -> None:
    """Put a value where its dotted name says; a number is a place in a list."""
    holder: Any = body
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        here: Any = value if following is None else [] if following.isdecimal() else {}
        if isinstance(holder, list):
            place = int(step) if step.isdecimal() else len(holder)
            if place >= len(holder):
                holder.append(here)
                place = len(holder) - 1
            holder = holder[place]
        elif isinstance(holder, dict):
            holder = holder.setdefault(step, here)


def _one_item(body: dict[str, Any]) -> None:
    item = {name: body.pop(name) for name in ("price", "quantity") if name in body}
    if item:
        body.setdefault("items", [item])


def _one_line(body: dict[str, Any]) -> None:
    if "amount" in body or "description" in body:
        line = {name: body.pop(name) for name in ("description", "amount", "quantity") if name in body}
        body.setdefault("lines", [line])


def _drop_currency(body: dict[str, Any]) -> None:
    body.pop("currency", None)


def _is_ahead(body: Mapping[str, Any], now: datetime) -> tuple[str, str, str] | None:
    """Periods that have elapsed were billed by the other system, and would be billed again."""
    starts_at = datetime.fromisoformat(body["starts_at"])
    if starts_at.astimezone(UTC) > now:
        return None
    return "starts_at", "start_not_ahead", "Must be when the next period begins: what has elapsed would be billed again"


KINDS: Final[Mapping[ImportKind, Kind]] = MappingProxyType(
    {
        ImportKind.CUSTOMERS: Kind(
            path="/v1/customers", body=_ImportedCustomer, true_or_false=frozenset({"tax_exempt"})
        ),
        ImportKind.SUBSCRIPTIONS: Kind(
            path="/v1/subscriptions",
            body=_ImportedSubscription,
            reference=OF_CUSTOMER,
            columns=("price", "quantity"),
            whole=frozenset({"days_until_due", "trial_days"}),
            fills=_one_item,
            check=_is_ahead,
        ),
        ImportKind.INVOICES: Kind(
            path="/v1/invoices/import",
            body=InvoiceToImport,
            reference=OF_CUSTOMER,
            columns=("description", "amount", "quantity"),
            money=("amount", "amount_paid"),
            whole=frozenset({"amount", "amount_paid"}),
            fills=_one_line,
        ),
        ImportKind.PAYMENTS: Kind(
            path="/v1/invoices/{id}/import-payment",
            body=_ImportedPayment,
            reference=OF_INVOICE,
            columns=("currency",),
            money=("amount",),
            whole=frozenset({"amount"}),
            fills=_drop_currency,
        ),
    }
)
