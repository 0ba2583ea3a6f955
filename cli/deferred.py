"""A command whose module is imported when the command is asked for, and not to name it in a list.

The other modules of a command line cost a second and a hundred megabytes, in every process of a role, too.
"""

from functools import cached_property
from inspect import cleandoc
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from host.registry import load

_EXAMPLE: Final = "[dim]Example:[/dim]"


class Entry(NamedTuple):
    """One line of `tallybook --help`. `place` is `module:function` of a command, or `module:app` of a group.

    `summary` is the first paragraph of the command's own help, which cannot be read without importing it.
    """

    name: str
    place: str
    panel: str
    summary: str


class Deferred(TyperCommand):
    """Stands for a command or a group in lists and completions; whoever asks it for more makes it load itself."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, help=entry.summary, rich_help_panel=entry.panel)
        self.entry = entry

    @cached_property
    def loaded(self) -> TyperCommand | TyperGroup:
        """The command itself."""
        found = load(self.entry.place)
        around = typer.Typer()
        if isinstance(found, typer.Typer):
            around.add_typer(found, name=self.entry.name)
        else:
            around.command(self.entry.name)(found)
        command = get_group(around).commands[self.entry.name]
        assert isinstance(command, TyperCommand | TyperGroup)
        _let_flow(command)
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself, which is then what is invoked, explained or completed."""
        return self.loaded.make_context(info_name, args, parent=parent, **extra)


def _let_flow(command: TyperCommand | TyperGroup) -> None:
    """Have the help of a command, and of those below it, broken where the terminal ends, not where the source does."""
    command.help = flowing(command.help or "")
    for below in command.commands.values() if isinstance(command, TyperGroup) else ():
        assert isinstance(below, TyperCommand | TyperGroup)
        _let_flow(below)


def flowing(text: str) -> str:
    """A help's paragraphs, each in one line; the example is one of its own."""
    paragraphs = cleandoc(text).replace(_EXAMPLE, f"\n\n{_EXAMPLE}").split("\n\n")
    return "\n\n".join(line for paragraph in paragraphs if (line := " ".join(paragraph.split())))
