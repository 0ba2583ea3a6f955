"""`tallybook`: the command line. Which commands it has stands in `cli/commands.py`.

Nothing that a command needs is imported here: each loads its own module, so `--help`, a completion and a role's process
carry no other command with them.
"""

import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.exceptions import TyperException

from cli.commands import CommandLine
from cli.output import JSON_OPTION, AnswerIsNo, FailureKind, print_failure

app = typer.Typer(
    name="tallybook",
    cls=CommandLine,
    help="An event-sourced billing ledger on Kafka and PostgreSQL. [dim]Start with[/dim] [cyan]tallybook dev[/cyan].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    # Local variables hold secrets and personal data.
    pretty_exceptions_show_locals=False,
)


def _tell_version(wanted: bool) -> None:  # noqa: FBT001  typer calls it with the option's value
    if wanted:
        from infra.release import RELEASE

        typer.echo(f"tallybook {RELEASE}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the release."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""
    before_a_command: Callable[[], None] | None = context.obj
    if before_a_command is not None:
        before_a_command()


def main() -> None:
    """Run the command line. What a user can mend is told in words, without a traceback.

    What is logged on the way goes to standard error: standard output is for answers, with --json for one document.
    """
    as_json = JSON_OPTION in sys.argv[1:]
    try:
        # Standing alone, it would tell of a wrong command line by itself, and in a frame.
        code = app(standalone_mode=not as_json, obj=_log_to_standard_error)
    except TyperException as error:
        _fail("not_understood", error.format_message(), as_json=as_json, exit_code=error.exit_code)
    except typer.Abort:
        _fail("refused", "It was not agreed to; nothing was done.", as_json=as_json)
    except AnswerIsNo as error:
        _fail("refused", str(error), as_json=as_json)
    except Exception as error:
        from cli.failures import explain

        words = explain(error)
        if words is None:
            if as_json:
                print_failure("failed", f"Nobody foresaw this: {type(error).__name__}: {error}")
            raise
        _fail("failed", words, as_json=as_json)
    raise SystemExit(code)


def _log_to_standard_error() -> None:
    from infra.settings import TelemetrySettings
    from infra.telemetry import configure_logging

    configure_logging(TelemetrySettings(log_format="console", log_level="warning"), role="cli", stream=sys.stderr)


def _fail(kind: FailureKind, words: str, *, as_json: bool, exit_code: int = 1) -> NoReturn:
    if as_json:
        print_failure(kind, words)
    Console(stderr=True).print(f"[red]Error:[/red] {escape(words)}", soft_wrap=True, highlight=False)
    raise SystemExit(exit_code) from None


if __name__ == "__main__":
    main()
