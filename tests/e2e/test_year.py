"""The telecom year: what it must come to is reckoned from the CSV alone, and a small one is run on real parts."""

import ast
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console

from cli.audit import DoesNotAddUp
from cli.year import account, acts, bill, expected, figures, story
from cli.year.acts import (
    OFFERS,
    PLACES,
    Act,
    Cancel,
    Change,
    Credit,
    Pause,
    Pay,
    Person,
    Terms,
    day,
)
from cli.year.bill import rounded, shared
from cli.year.command import NAMED_MAX, prove
from cli.year.expected import MONTH_NAMES, MOVING, STANDING, expected_year
from cli.year.figures import Figure, differences
from cli.year.story import read_people
from host.embedded.process import free_port

RUN_LIMIT_S = 240
CUSTOMERS = 30

Measured = dict[Figure, int]


def acts_of(customers: int) -> list[Act]:
    return [act for person in read_people(customers) for act in person.acts]


@pytest.fixture(scope="module")
def ran(services_folder: Path) -> dict[str, Any]:
    """What the command says of a small year, as JSON."""
    environment = {
        **os.environ,
        "TALLYBOOK_DATA_DIR": str(services_folder / "year"),
        "TALLYBOOK_API_PORT": str(free_port()),
        "TALLYBOOK_GATEWAY_PORT": str(free_port()),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "cli.main", "year", "--customers", str(CUSTOMERS), "--json"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
    assert run.returncode == 0, run.stdout[-4_000:] + run.stderr[-4_000:]
    said: dict[str, Any] = json.loads(run.stdout)
    return said


@pytest.fixture(scope="module")
def measured(ran: dict[str, Any]) -> Measured:
    return {tuple(each["figure"]): each["measured"] for each in ran["figures"]}


def test_every_figure_of_a_small_year_is_what_the_csv_says(ran: dict[str, Any], measured: Measured) -> None:
    reckoned = expected_year(read_people(CUSTOMERS))
    assert differences(reckoned, measured) == []
    assert measured == reckoned
    assert ran["compared"] == len(reckoned) > 600


def test_no_invariant_is_broken_by_a_year(ran: dict[str, Any]) -> None:
    assert {each["invariant"]: each["differences"] for each in ran["invariants"]} == dict.fromkeys(
        ("I1", "I2", "I3", "I4", "I5", "I7", "I8", "I9", "I11"), 0
    )


def test_a_small_year_has_something_of_everything(measured: Measured) -> None:
    for what in ("new", "lost", "at start", "at end"):
        assert any(figure[1:] == ("customers", what) for figure in measured), what
    taxes = {figure[3:6] for figure in measured if figure[2:3] == ("tax of",)}
    assert taxes == {
        ("IE", "taxed", "23"),
        ("DE", "taxed", "19"),
        ("DE", "taxed", "16"),
        ("DE", "exempt", ""),
        ("FR", "taxed", "20"),
        ("FR", "reverse_charge", ""),
        ("CA", "taxed", "5"),
        ("CA-QC", "taxed", "9.975"),
        ("JP", "taxed", "10"),
        ("US", "not_registered", ""),
    }


def test_a_figure_that_is_off_by_a_cent_is_named(measured: Measured) -> None:
    reckoned = expected_year(read_people(CUSTOMERS))
    for figure, amount in measured.items():
        wrong = {**measured, figure: amount + 1}
        assert differences(reckoned, wrong) == [f"{' '.join(figure)}: {amount + 1} instead of {amount}"]


def test_a_figure_that_is_missing_or_that_nobody_expects_is_named() -> None:
    assert differences({("a", "b"): 1}, {}) == ["a b: 0 instead of 1"]
    assert differences({}, {("a", "b"): 1}) == ["a b: 1 instead of 0"]


def test_a_year_with_a_wrong_figure_does_not_pass_and_names_it() -> None:
    people = read_people(1)
    reckoned = expected_year(people)
    quiet = Console(quiet=True)
    prove(quiet, people, reckoned, [], [])
    with pytest.raises(DoesNotAddUp, match=r"2026-12 EUR invoiced: 1 instead of 3057\."):
        prove(quiet, people, reckoned, differences(reckoned, {**reckoned, ("2026-12", "EUR", "invoiced"): 1}), [])


def test_of_many_wrong_figures_the_first_are_named_and_the_others_counted() -> None:
    people = read_people(5)
    reckoned = expected_year(people)
    with pytest.raises(DoesNotAddUp, match=f"And {len(reckoned) - NAMED_MAX} figures more."):
        prove(Console(quiet=True), people, reckoned, differences(reckoned, {}), [])


def test_a_small_year_has_every_act() -> None:
    found = acts_of(CUSTOMERS)
    assert {type(act) for act in found} == set(get_args(Act))
    changes = [act for act in found if isinstance(act, Change)]
    assert {act.proration for act in changes} == {"invoice_now", "next_invoice", "period_end"}
    assert any(act.begins_anew for act in changes)
    assert any(act.effective_on for act in changes)
    assert any(act.terms.lines == 3 for act in changes)
    assert {act.terms.months for act in changes} == {1, 12}
    assert {(act.at_once, act.ends_on is None) for act in found if isinstance(act, Cancel)} == {
        (True, True),
        (False, True),
        (False, False),
    }
    assert {act.credited for act in found if isinstance(act, Pause)} == {True, False}
    assert {act.refund for act in found if isinstance(act, Credit)} == {True, False}
    assert {act.part for act in found if isinstance(act, Pay)} == {Fraction(1), Fraction(1, 2)}
    assert {act.notes for act in found if isinstance(act, Pay)} == {1, 1_000}
    people = read_people(CUSTOMERS)
    reckoned = expected_year(people)
    for what in (*MOVING, *STANDING):
        assert any(figure[2:] == (what,) for figure in reckoned), what
    assert {person.trial_days for person in people} == {0, 14, 30}
    assert {offer for person in people for offer in person.offers} == set(OFFERS)
    assert {person.declines_at for person in people} == {None, 1, 2}


FRANCE = next(place for place in PLACES if place.country == "FR")


def of_one(amount: int, *acts: Act) -> Measured:
    """The year of somebody in France, where tax is 20 %, who pays so much a month from January on."""
    terms = Terms(plan="Monthly", months=1, amount=amount)
    person = Person(
        external_id="one",
        place=FRANCE,
        is_exempt=False,
        vat_id=None,
        method=None,
        token=None,
        declines_at=None,
        joins=day(1, 1),
        trial_days=0,
        offers=(),
        terms=terms,
        acts=acts,
    )
    return expected_year([person])


def test_a_plain_year_comes_to_twelve_times_the_price_with_its_tax() -> None:
    year = of_one(2_985)
    totals = [amount for figure, amount in year.items() if figure[-1] == "total"]
    assert totals == [2_985 + 597] * 12
    assert year["one", "owes"] == 12 * 3_582


def test_a_better_contract_in_march_gives_twenty_days_of_the_old_back_and_charges_them_of_the_new() -> None:
    better = Terms(plan="Better", months=1, amount=6_200)
    year = of_one(3_100, Change(on=day(3, 12), terms=better))
    assert year["one", "2026-03-12", "total"] == (4_000 - 2_000) * 12 // 10
    assert year["one", "2026-04-01", "total"] == 6_200 * 12 // 10


def test_who_leaves_in_april_has_eleven_of_thirty_days_with_their_tax() -> None:
    year = of_one(3_000, Cancel(on=day(4, 20), at_once=True))
    assert year["one", "2026-04-20", "total"] == -1_100 - 220
    assert (year["one", "owes"], year["one", "has"]) == (4 * 3_600, 1_320)
    assert year["2026-04", "customers", "lost"] == 1


def test_half_of_what_is_due_is_paid_and_a_third_of_it_credited_off_the_rest() -> None:
    year = of_one(3_000, Credit(on=day(1, 12), part=Fraction(1, 3)), Pay(on=day(1, 13), part=Fraction(1, 2)))
    assert year["2026-01", "EUR", "credited"] == year["2026-01", "EUR", "collected"] == 1_200
    assert year["2026-01", "EUR", "tax of", "FR", "taxed", "20", "taxable"] == 2_000
    assert year["2026-01", "EUR", "open"] == 1_200


def test_the_year_of_all_customers_can_be_reckoned() -> None:
    reckoned = expected_year(read_people())
    joined = sum(reckoned.get((month, "customers", "new"), 0) for month in MONTH_NAMES)
    lost = sum(reckoned.get((month, "customers", "lost"), 0) for month in MONTH_NAMES)
    assert (joined, joined - lost) == (7_043, reckoned[MONTH_NAMES[-1], "customers", "at end"])


@pytest.mark.parametrize("module", [account, acts, bill, expected, figures, story])
def test_the_reckoning_shares_nothing_with_what_bills(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name for name in imported if name.split(".")[0] == "cli"} <= {
        "cli.year",
        "cli.year.account",
        "cli.year.acts",
        "cli.year.bill",
        "cli.year.figures",
        "cli.year.story",
        "cli.telecom_customers",
    }
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names | {"cli"}


@pytest.mark.parametrize(("exact", "nearest"), [("1/2", 1), ("-1/2", -1), ("49/100", 0), ("3/2", 2), ("-149/100", -1)])
def test_halves_are_rounded_away_from_zero(exact: str, nearest: int) -> None:
    assert rounded(Fraction(exact)) == nearest


def test_parts_add_up_and_the_largest_rests_take_what_is_left() -> None:
    assert shared(100, [1, 1, 1]) == [34, 33, 33]
    assert shared(5, [1, 3]) == [1, 4]
