"""What a year must come to: every customer reckoned by hand, and added up by month."""

from collections.abc import Iterable
from datetime import date
from typing import Final

from cli.year.account import Account, Treated
from cli.year.acts import MONTHS, YEAR, Person, day
from cli.year.figures import Figure, FiguresSoFar, month_of

ENDS: Final = date(YEAR + 1, 1, 1)
MONTH_NAMES: Final = tuple(month_of(day(month, 1).isoformat()) for month in range(1, MONTHS + 1))
MOVING: Final = (
    "invoiced",
    "discounts",
    "tax",
    "voided",
    "credited",
    "collected",
    "bounced",
    "refunded",
    "written off",
)
STANDING: Final = ("open", "balance")
COUNTED: Final = ("at start", "new", "lost", "at end")


def expected_year(people: Iterable[Person]) -> dict[Figure, int]:
    """By month and currency what moved and what stood at its end, the tax of each place, and how many customers there
    were; of each customer every invoice, and what they owe and have at the end.
    """
    figures = FiguresSoFar()
    for person in people:
        _live(person, figures)
    _stand(figures)
    return figures.done()


def _live(person: Person, figures: FiguresSoFar) -> None:
    currency = person.place.currency
    name = person.external_id

    def tell(on: date, what: str, amount: int) -> None:
        figures.tell(amount, month_of(on.isoformat()), currency, what)

    def tell_tax(on: date, treated: Treated, net: int, tax: int) -> None:
        of = (month_of(on.isoformat()), currency, "tax of", *treated)
        figures.tell(net, *of, "taxable")
        figures.tell(tax, *of, "tax")

    account = Account(person, ends=ENDS, tell=tell, tell_tax=tell_tax)
    account.live()
    for bill in account.bills:
        on = bill.on.isoformat()
        for what, amount in (("total", bill.total), ("discount", bill.discount), ("tax", bill.tax)):
            figures.tell(amount, name, on, what)
        figures.tell(1, name, on, "invoices")
    figures.tell(account.owed, name, "owes")
    figures.tell(account.balance, name, "has")
    figures.tell(1, month_of(person.joins.isoformat()), "customers", "new")
    if account.left_on is not None:
        figures.tell(1, month_of(account.left_on.isoformat()), "customers", "lost")


def _stand(figures: FiguresSoFar) -> None:
    """What moved in each month, added up to what stood at its end."""
    lines = [figure[1:] for figure in figures if len(figure) == 3 and figure[2] in STANDING]
    for of in dict.fromkeys(lines):
        standing = 0
        for month in MONTH_NAMES:
            standing += figures[month, *of]
            figures[month, *of] = standing
    before = 0
    for month in MONTH_NAMES:
        figures[month, "customers", "at start"] = before
        before += figures[month, "customers", "new"] - figures[month, "customers", "lost"]
        figures[month, "customers", "at end"] = before
