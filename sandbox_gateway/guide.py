"""The tables of docs/guides/sandbox.md, written from the tokens: `python -m sandbox_gateway.guide` prints them."""

from dataclasses import fields
from typing import Final

from domain.payments.decline import NEEDS_CUSTOMER, RETRYABLE, DeclineCode
from gateway_adapters.sandbox.declines import DECLINE_CODES
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.tokens import SINGLE_OUTCOMES, Charge, Disturbance, TokenOutcome, looks_of

_DEFAULTS: Final = {each.name: each.default for each in fields(SandboxServerSettings)}
_DISTURBED: Final = {
    Disturbance.TIMEOUT_BEFORE: "get no answer and charge nothing: the outcome stays unknown, and is asked for again",
    Disturbance.TIMEOUT_AFTER: "charge, and get no answer: unknown until the payment is looked up",
    Disturbance.ERROR_BEFORE: "get a 500 and charge nothing: the outcome stays unknown, and is asked for again",
    Disturbance.ERROR_AFTER: "charge, and get a 500: unknown until the payment is looked up",
}


def tokens_table() -> str:
    """What becomes of each token's charges."""
    rows = "".join(
        f"| `tok_{name}` | {_told(outcome)} | {' '.join(looks_of(f'tok_{name}'))} |\n"
        for name, outcome in SINGLE_OUTCOMES.items()
        if outcome.charge is not Charge.DECLINE
    )
    return "| token | its charges | shown as |\n|---|---|---|\n" + rows


def declines_table() -> str:
    """Each token that is declined, with the code that a payment shows then."""
    rows = ""
    for name, outcome in SINGLE_OUTCOMES.items():
        if outcome.charge is Charge.DECLINE:
            assert outcome.decline_code is not None, "a decline has a code"
            code = DECLINE_CODES[outcome.decline_code]
            rows += f"| `tok_{name}` | `{code}` | {_what_helps(code)} |\n"
    return "| token | `decline_code` | what helps |\n|---|---|---|\n" + rows


def _told(outcome: TokenOutcome) -> str:
    if outcome.disturbance is not None:
        return _DISTURBED[outcome.disturbance]
    settle_ms, slow_ms = _DEFAULTS["settle_ms"], _DEFAULTS["slow_ms"]
    if outcome.charge is Charge.REQUIRE_ACTION:
        return "wait for the customer, see [below](#playing-the-customer-at-the-bank)"
    if outcome.charge is Charge.PROCESS:
        ending = "succeed" if outcome.decline_code is None else f"are declined (`{outcome.decline_code}`)"
        return f"are under way for {settle_ms} ms, then {ending}"
    if outcome.slow:
        return f"succeed after {slow_ms} ms"
    if outcome.disputed:
        return "succeed, and are disputed at once at the gateway"
    if outcome.refund_decline_code is not None:
        return f"succeed; their refunds fail (`{outcome.refund_decline_code}`)"
    if outcome.refund_processing:
        return f"succeed; their refunds are under way for {settle_ms} ms"
    return "succeed"


def _what_helps(code: DeclineCode) -> str:
    if code in RETRYABLE:
        return "the same method may succeed later"
    return "the customer: another method, or a step at the bank" if code in NEEDS_CUSTOMER else "a person has to look"


if __name__ == "__main__":
    print(tokens_table(), declines_table(), sep="\n", end="")  # noqa: T201  its output is for the guide
