"""The wire of an HTTP tax service: a question as JSON, and an answer read from it, strictly."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.tax.remote import AnsweredLine, AnsweredTax, TaxAnswer, TaxQuestion

_AMOUNT_MAX: Final = 10**15
_LIST_MAX: Final = 1_000
_TEXT_MAX: Final = 200
_PERCENT: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")
_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Unreadable(Exception):
    """The answer is not what the service promises to send."""


def question_body(question: TaxQuestion) -> bytes:
    """The body of a request: made of the question alone, in a fixed order, so that a repeat is the same bytes."""
    place = question.place
    return _encode(
        {
            "currency": question.currency,
            "date": question.on.isoformat(),
            "seller": {"country": question.seller_country},
            "customer": {"country": place.country, "region": place.region, "postal_prefix": place.postal_prefix},
            "lines": [
                {
                    "id": line.line_id,
                    "amount": line.amount.amount,
                    "tax_inclusive": line.inclusive,
                    "category": line.category,
                }
                for line in question.lines
            ],
        }
    ).encode()


def answer_of(body: bytes, currency: CurrencyCode) -> TaxAnswer:
    """The answer in a body, whose amounts are all in one currency: that of the question. Raises Unreadable."""
    try:
        shown = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable from None
    answer = _object(shown)
    if _text(answer, "currency") != currency:
        raise Unreadable
    return TaxAnswer(
        calculation_id=_text(answer, "id"),
        lines=tuple(_line(_object(line), currency) for line in _list(answer, "lines")),
        total=_money(answer, "tax", currency),
    )


def _line(shown: Mapping[str, object], currency: CurrencyCode) -> AnsweredLine:
    taxes = tuple(_tax(_object(tax), currency) for tax in _list(shown, "taxes"))
    return AnsweredLine(line_id=_text(shown, "id"), taxes=taxes)


def _tax(shown: Mapping[str, object], currency: CurrencyCode) -> AnsweredTax:
    percent = _text(shown, "percent")
    if not _PERCENT.fullmatch(percent):
        raise Unreadable
    return AnsweredTax(
        country=_text(shown, "country"),
        region=None if shown.get("region") is None else _text(shown, "region"),
        kind=_text(shown, "kind"),
        percent=Decimal(percent),
        taxable=_money(shown, "taxable", currency),
        amount=_money(shown, "amount", currency),
    )


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Unreadable
    return value


def _list(shown: Mapping[str, object], name: str) -> list[object]:
    value = shown.get(name)
    if not isinstance(value, list) or len(value) > _LIST_MAX:
        raise Unreadable
    return value


def _text(shown: Mapping[str, object], name: str) -> str:
    """Printable, so that it can stand in the log and on a screen."""
    value = shown.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX or not value.isascii() or not value.isprintable():
        raise Unreadable
    return value


def _money(shown: Mapping[str, object], name: str, currency: CurrencyCode) -> Money:
    value = shown.get(name)
    if type(value) is not int or abs(value) > _AMOUNT_MAX:
        raise Unreadable
    return Money(value, currency)
