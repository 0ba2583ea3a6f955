"""Migrations count up from one, without a number twice: two of them that meet in one branch would stop every start."""

from infra.migrations import numbered


def test_the_migrations_make_one_line() -> None:
    assert numbered()
