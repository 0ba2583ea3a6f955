"""A tax service of our own, beside the gateway: rates by place, and misfortune by the category of a line.

`POST /v1/tax/calculations` answers under an Idempotency-Key, as every operation here, and meets the same faults. What
goes wrong on purpose is named by a line's category.
"""

import hashlib
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from sandbox_gateway.fields import ApiError, Fields, invalid
from sandbox_gateway.payments import Performed
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.tokens import Disturbance

LINES_MAX: Final = 1_000
_QUESTION: Final = ("currency", "date", "seller", "customer", "lines")
_PLACE: Final = ("country", "region", "postal_prefix")
_LINE: Final = ("id", "amount", "tax_inclusive", "category")
_WHOLE: Final = Decimal(100)

RATES: Final[Mapping[tuple[str, str | None], tuple[tuple[str, str], ...]]] = {
    ("DE", None): (("vat", "19"),),
    ("FR", None): (("vat", "20"),),
    ("GB", None): (("vat", "20"),),
    ("AT", None): (("vat", "20"),),
    ("CA", None): (("gst", "5"),),
    ("CA", "QC"): (("gst", "5"), ("qst", "9.975")),
    ("US", None): (("sales_tax", "0"),),
    ("US", "CA"): (("sales_tax", "7.25"),),
    ("US", "NY"): (("sales_tax", "8.875"),),
}
"""Kind and percentage, by country and region; of a region that is not named here its country's."""

Answer = dict[str, object]


def _negative(answer: Answer) -> None:
    for tax in _taxes(answer):
        tax["amount"] = -int(str(tax["amount"])) - 1


def _wrong_total(answer: Answer) -> None:
    answer["tax"] = int(str(answer["tax"])) + 1


def _too_little(answer: Answer) -> None:
    for tax in _taxes(answer):
        tax["amount"] = 0
    answer["tax"] = 0


def _other_currency(answer: Answer) -> None:
    answer["currency"] = "XTS"


def _missing_line(answer: Answer) -> None:
    answer["lines"] = []
    answer["tax"] = 0


def _unreadable(answer: Answer) -> None:
    answer["tax"] = "nineteen"


def _taxes(answer: Answer) -> list[dict[str, object]]:
    lines = answer["lines"]
    assert isinstance(lines, list), "it was made here"
    return [tax for line in lines for tax in line["taxes"]]


WRONG: Final[Mapping[str, Callable[[Answer], None]]] = {
    "sandbox_negative": _negative,
    "sandbox_wrong_total": _wrong_total,
    "sandbox_too_little": _too_little,
    "sandbox_other_currency": _other_currency,
    "sandbox_missing_line": _missing_line,
    "sandbox_unreadable": _unreadable,
}
"""Categories of lines whose answers are wrong, and how."""

DISTURBED: Final[Mapping[str, Disturbance]] = {
    "sandbox_silent": Disturbance.TIMEOUT_BEFORE,
    "sandbox_error": Disturbance.ERROR_BEFORE,
}
"""Categories of lines about which there is no answer."""

REFUSED: Final = "sandbox_refused"
"""The category that the service does not know."""


class Taxes:
    """Computes taxes; it keeps nothing."""

    def __init__(self, settings: SandboxServerSettings) -> None:
        self._settings = settings

    def calculate(self, body: bytes) -> Performed:
        """What a question comes to. Raises ApiError."""
        chars_max = self._settings.text_chars_max
        asked = Fields.of_body(body, _QUESTION, chars_max)
        currency = asked.currency("currency")
        asked.text("date")
        asked.nested("seller", ("country",)).text("country")
        customer = asked.nested("customer", _PLACE)
        country, region = customer.text("country"), customer.text("region", "") or None
        lines = [self._line(fields) for fields in asked.each("lines", _LINE, most=LINES_MAX)]
        categories = {category for *_, category in lines}
        if REFUSED in categories:
            raise invalid("lines", f"there is no category {REFUSED}")
        region = region if (country, region) in RATES else None
        rates = RATES.get((country, region))
        if rates is None:
            raise ApiError(400, "no_rate", f"nothing is known of {country[:2]}", param="customer")
        answered = [
            {"id": line_id, "taxes": _taxes_on(amount, rates, country, region, inclusive=inclusive)}
            for line_id, amount, inclusive, _ in lines
        ]
        answer: Answer = {
            "id": "txc_" + hashlib.sha256(body).hexdigest()[:26],
            "currency": currency,
            "lines": answered,
        }
        answer["tax"] = sum(int(str(tax["amount"])) for tax in _taxes(answer))
        for category in sorted(categories & WRONG.keys()):
            WRONG[category](answer)
        disturbance = next((DISTURBED[each] for each in sorted(categories & DISTURBED.keys())), None)
        return Performed(200, answer, disturbance=disturbance)

    def _line(self, fields: Fields) -> tuple[str, int, bool, str]:
        most = self._settings.amount_max
        amount = fields.integer("amount", least=-most, most=most)
        inclusive = fields.flag("tax_inclusive", default=False)
        return fields.text("id"), amount, inclusive, fields.text("category", "")


def _taxes_on(
    amount: int, rates: tuple[tuple[str, str], ...], country: str, region: str | None, *, inclusive: bool
) -> list[dict[str, object]]:
    percents = [Decimal(percent) for _, percent in rates]
    whole = _WHOLE + sum(percents) if inclusive else _WHOLE
    taxes = [_rounded(amount * percent / whole) for percent in percents]
    net = amount - sum(taxes) if inclusive else amount
    return [
        {"country": country, "region": region, "kind": kind, "percent": percent, "taxable": net, "amount": tax}
        for (kind, percent), tax in zip(rates, taxes, strict=True)
    ]


def _rounded(amount: Decimal) -> int:
    return int(amount.to_integral_value(ROUND_HALF_UP))
