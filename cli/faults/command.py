"""`tallybook faults`, which `make faults` runs."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.output import AsJson, console_for, print_json
from infra.settings import load_settings

if TYPE_CHECKING:
    from cli.faults.rounds import Report, Totals

ROUNDS = 30
SEED = 1
console = Console()


def faults(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds.")] = ROUNDS,
    seed: Annotated[int, typer.Option(help="What the schedule and the load are drawn from.")] = SEED,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="A folder to keep; a temporary one without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Kill and freeze everything under load, and check that nothing was lost or doubled.

    Runs in a folder and on servers of its own. Exit code 1 if an invariant does not hold.
    [dim]Example:[/dim] [cyan]tallybook faults --rounds 5 --seed 7[/cyan]
    """
    folder = data_dir or Path(tempfile.mkdtemp(prefix="tallybook-faults-"))
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.chmod(0o711)
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be used as a folder: {error.strerror}. Name another one.") from None
    from cli.faults.rounds import Totals
    from host.stack import run_until_stopped

    totals = Totals(seed=seed)
    on = console_for(as_json=as_json)
    finished = run_until_stopped(play(rounds, folder, totals, on=on))
    on.print(totals.line(), soft_wrap=True, highlight=False)
    if as_json:
        print_json(
            {
                "seed": seed,
                "finished": finished,
                "differences": totals.differences,
                "charges": totals.charges,
                "asked": dict(totals.asked),
            }
        )
    if totals.differences or not finished:
        on.print(f"Data and logs are kept in {folder}", soft_wrap=True, highlight=False)
        raise typer.Exit(1)
    if data_dir is None:
        shutil.rmtree(folder, ignore_errors=True)


async def play(rounds: int, folder: Path, totals: "Totals", *, on: Console = console) -> None:
    """Play the rounds and tell of each; a system that does not come to rest counts as one difference."""
    from cli.faults.rounds import play_rounds
    from cli.faults.stage import NotAtRest
    from host.supervisor import SupervisorError

    def tell(text: str) -> None:
        on.print(text, highlight=False, soft_wrap=True)

    seed = totals.seed
    tell(f"seed {seed}, {rounds} rounds, in {folder}")
    try:
        async for report in play_rounds(load_settings(), folder, rounds=rounds, seed=seed, totals=totals, tell=tell):
            tell(_told(report))
            for check in report.checks:
                for difference in check.named:
                    tell(f"  [red]{check.invariant} {difference}[/red]")
            for difference in report.differences:
                tell(f"  [red]{difference}[/red]")
    except (NotAtRest, SupervisorError) as error:
        totals.differences += 1
        tell(f"  [red]{error}[/red]")


def _told(report: "Report") -> str:
    checks = " · ".join(
        f"{check.invariant.value} {check.differences} of {max(check.counts.values(), default=0):,}"
        for check in report.checks
    )
    took = f"load {report.load_s:.1f} s, rest {report.rest_s:.1f} s, checks {report.check_s:.1f} s"
    return f"  {report.requests} requests, {took}, differences: {checks}"
