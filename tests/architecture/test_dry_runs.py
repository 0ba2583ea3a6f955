"""What a handler reaches outside, or keeps, goes by ways that a dry run closes."""

import re
from pathlib import Path

API = Path(__file__).parents[2] / "api"


def users_of(pattern: str) -> set[str]:
    """The API's files in which this is found."""
    files = API.rglob("*.py")
    return {path.relative_to(API).as_posix() for path in files if re.search(pattern, path.read_text(encoding="utf-8"))}


def test_a_gateway_is_reached_by_the_call_alone_which_refuses_it_in_a_dry_run() -> None:
    assert users_of(r"\.gateways\b") == {"http/call.py"}


def test_commands_of_requests_are_submitted_and_rehearsed_in_one_place() -> None:
    """Those of a bulk are handed on to the same writer, when it is their turn."""
    in_turn = "http/rehearsing_in_turn.py"
    assert users_of(r"\.rehearse\(") == {"http/rehearsals.py", in_turn}
    assert users_of(r"\.rehearse_together\b") == {"http/together.py", in_turn}
    assert users_of(r"\.beforehand\b") == {"http/commands.py"}
