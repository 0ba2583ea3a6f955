"""Every command that `tallybook` has, loaded."""

from collections.abc import Iterator

import typer
from typer.core import TyperCommand, TyperGroup

from cli.deferred import Deferred
from cli.main import app


def every_command() -> list[tuple[tuple[str, ...], TyperCommand]]:
    """Each command with its name, group first."""
    return list(_below(typer.main.get_command(app), ()))


def _below(command: object, name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    if isinstance(command, Deferred):
        command = command.loaded
    if isinstance(command, TyperGroup):
        for each, inner in command.commands.items():
            yield from _below(inner, (*name, each))
    else:
        assert isinstance(command, TyperCommand)
        yield name, command
