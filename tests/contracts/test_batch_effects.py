"""The claims of a batch: what is deleted, what must be absent, what is inserted, whatever commands did in between."""

import pytest

from domain.kernel.refusal import Refusal
from domain.kernel.stream import Free, Take
from infra.event_store.effects import Claims
from infra.event_store.storage import ClaimRow

KEY = ("acme", "name", "red")


class NameTaken(Refusal):
    """Somebody has this name."""

    code = "name_taken"


def take(owner: str) -> Take:
    return Take("name", "red", owner, NameTaken)


def free(owner: str) -> Free:
    return Free("name", "red", owner)


def batch(*commands: list[Take | Free], held: dict[tuple[str, str, str], str] | None = None) -> Claims:
    claims = Claims(held or {})
    for command in commands:
        staged = claims.stage("acme")
        for claim in command:
            staged.apply(claim)
        claims.merge(staged)
    return claims


@pytest.mark.parametrize("commands", [[[take("a")], [free("a")]], [[take("a"), free("a")]]], ids=["two", "one"])
def test_what_a_batch_took_and_freed_is_not_deleted_but_must_be_absent(commands: list[list[Take | Free]]) -> None:
    # A delete would remove the claim that another process has written since, and hide that it did.
    assert batch(*commands).rows() == ([], [KEY], [])


def test_what_was_freed_and_taken_goes_and_comes() -> None:
    claims = batch([free("a")], [take("b")], held={KEY: "a"})
    assert claims.rows() == ([ClaimRow(*KEY, "a")], [], [ClaimRow(*KEY, "b")])


def test_another_owner_frees_nothing() -> None:
    claims = batch([take("a")], [free("b")])
    assert claims.rows() == ([], [], [ClaimRow(*KEY, "a")])


def test_a_command_that_was_not_merged_leaves_nothing_to_the_next() -> None:
    claims = Claims({})
    refused = claims.stage("acme")
    refused.apply(take("a"))
    staged = claims.stage("other")
    staged.apply(take("b"))
    claims.merge(staged)
    assert claims.rows() == ([], [], [ClaimRow("other", "name", "red", "b")])


def test_a_held_value_is_refused_within_a_command_and_across_commands() -> None:
    with pytest.raises(NameTaken):
        batch([take("b")], held={KEY: "a"})
    with pytest.raises(NameTaken):
        batch([take("a")], [take("b")])
    with pytest.raises(NameTaken):
        batch([take("a"), take("b")])
