"""The sandbox's magic tokens spell what its documentation says, and every code it declines with is normalized."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.payments.decline import NEEDS_CUSTOMER, RETRYABLE, DeclineCode, normalized
from gateway_adapters.sandbox.declines import DECLINE_CODES
from sandbox_gateway.guide import declines_table, tokens_table
from sandbox_gateway.tokens import DECLINES, SINGLE_OUTCOMES, Charge, Disturbance, script_of


def outcomes(token: str, count: int) -> list[str]:
    script = script_of(token)
    assert script is not None
    return [script.outcome(before).decline_code or "ok" for before in range(count)]


def test_every_code_of_the_sandbox_is_in_the_table() -> None:
    assert DECLINE_CODES.keys() >= DECLINES


def test_a_code_is_either_retryable_or_for_the_customer_to_mend_or_neither() -> None:
    assert not RETRYABLE & NEEDS_CUSTOMER
    assert DeclineCode.INSUFFICIENT_FUNDS.retryable
    assert not DeclineCode.STOLEN_CARD.retryable


def test_a_code_that_the_table_lacks_is_a_plain_decline() -> None:
    assert normalized(DECLINE_CODES, "something_new") is DeclineCode.DECLINED


def test_a_single_outcome_comes_for_ever() -> None:
    assert outcomes("tok_decline_expired_card", 3) == ["expired_card"] * 3
    assert outcomes("tok_visa", 3) == ["ok"] * 3


def test_outcomes_follow_one_another_and_the_last_stays() -> None:
    assert outcomes("tok_decline_insufficient_funds_then_succeed", 3) == ["insufficient_funds", "ok", "ok"]
    assert outcomes("tok_visa_then_decline_expired_card_2x_then_visa", 5) == ["ok", *["expired_card"] * 2, "ok", "ok"]


@pytest.mark.parametrize("disturbance", list(Disturbance))
def test_each_disturbance_has_a_token(disturbance: Disturbance) -> None:
    script = script_of(f"tok_{disturbance.value}")
    assert script is not None
    assert script.outcome(0).disturbance is disturbance
    assert script.outcome(0).charge is Charge.SUCCEED


@pytest.mark.parametrize(
    "token", ["", "tok_", "visa", "tok_visaa", "tok_decline_", "tok_visa_then_", "tok_visa_0x", "tok_visa_then_nope"]
)
def test_other_tokens_are_unknown(token: str) -> None:
    assert script_of(token) is None


def test_a_token_has_a_limited_number_of_outcomes() -> None:
    assert script_of("tok_" + "_then_".join(["visa"] * 10)) is not None
    assert script_of("tok_" + "_then_".join(["visa"] * 11)) is None


@given(st.lists(st.tuples(st.sampled_from(sorted(DECLINES)), st.integers(1, 9)), min_size=1, max_size=8))
def test_declines_come_as_often_as_the_token_says(parts: list[tuple[str, int]]) -> None:
    token = "tok_" + "_then_".join([*(f"decline_{code}_{times}x" for code, times in parts), "visa"])
    expected = [code for code, times in parts for _ in range(times)]
    assert outcomes(token, len(expected) + 2) == [*expected, "ok", "ok"]


def test_the_guide_to_the_sandbox_lists_every_token_as_the_gateway_has_it() -> None:
    text = (Path(__file__).parents[2] / "docs" / "guides" / "sandbox.md").read_text(encoding="utf-8")
    for table in (tokens_table(), declines_table()):
        assert table in text, "`python -m sandbox_gateway.guide` prints the tables as they should be"
    shown = set(re.findall(r"`(tok_[a-z0-9_]+)`", text))
    assert shown >= {f"tok_{name}" for name in SINGLE_OUTCOMES}
    assert all(script_of(token) is not None for token in shown)
