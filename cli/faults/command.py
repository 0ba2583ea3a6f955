"""`tallybook faults`, which `make faults` runs."""

import contextlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.output import AnswerIsNo, AsJson, console_for, print_json
from infra.settings import load_settings

if TYPE_CHECKING:
    from cli.faults.disk import Disk
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
    """Break everything under load, and check that nothing was lost or doubled.

    Kills, freezes, a full disk, foreign records, lost topics, days that pass between a call and its record, races, and
    clients that go away: then all is mended, and every invariant must hold. A seed says everything about the schedule.
    Runs in a folder and on servers of its own; Ctrl-C stops and removes them. Exit code 1 where something differs, and
    then data and logs are kept.
    [dim]Example:[/dim] [cyan]tallybook faults --rounds 5 --seed 7[/cyan] or
    [cyan]tallybook faults --rounds 30 --json > faults.json[/cyan]
    """
    from cli.faults.disk import kept_copy, mounted_disk
    from cli.faults.rounds import Totals
    from host.until_stopped import run_until_stopped

    folder = _folder(data_dir)
    totals = Totals(seed=seed)
    on = console_for(as_json=as_json)
    with contextlib.ExitStack() as exits:
        # What is to be kept lies on no disk that goes with the run.
        disk = exits.enter_context(mounted_disk(folder)) if data_dir is None else None
        if disk is None:
            why = "--data-dir is kept" if data_dir else "none can be mounted here: it takes root, and Linux"
            on.print(f"No disk of its own, and so none that gets full ({why}).", highlight=False, soft_wrap=True)
        finished, kept = False, data_dir
        try:
            finished = run_until_stopped(play(rounds, folder, totals, disk=disk, on=on))
        except Exception:
            totals.differences += 1  # a defect of the run's own: what it left is wanted, too
            raise
        finally:
            if totals.differences and kept is None:
                kept = folder if disk is None else kept_copy(folder)
                on.print(f"Data and logs are kept in {kept}", soft_wrap=True, highlight=False)
    on.print(totals.line(), soft_wrap=True, highlight=False)
    if as_json:
        print_json(_described(totals, finished=finished, kept=kept))
    if kept != folder:
        shutil.rmtree(folder, ignore_errors=True)
    if not finished:
        on.print("Stopped: nothing of it runs any more.", highlight=False)
    if totals.differences or not finished:
        raise typer.Exit(1)


def _folder(data_dir: Path | None) -> Path:
    folder = data_dir or Path(tempfile.mkdtemp(prefix="tallybook-faults-"))
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.chmod(0o711)
    except OSError as error:
        raise AnswerIsNo(f"{folder} cannot be used as a folder: {error.strerror}. Name another one.") from None
    return folder


def _described(totals: "Totals", *, finished: bool, kept: Path | None) -> dict[str, object]:
    from cli.faults.schedule import FaultKind

    return {
        "seed": totals.seed,
        "finished": finished,
        "rounds": totals.rounds,
        "differences": totals.differences,
        "faults": {kind.name.lower(): dict(totals.of(kind)) for kind in FaultKind},
        "asked": dict(totals.asked),
        "charges": totals.charges,
        "refunds": totals.refunds,
        "kept": None if kept is None else str(kept),
    }


async def play(rounds: int, folder: Path, totals: "Totals", *, disk: "Disk | None", on: Console = console) -> None:
    """Play the rounds and tell of each; a system that does not come to rest counts as one difference."""
    from cli.faults.misfortunes import StillBroken
    from cli.faults.rounds import play_rounds
    from cli.faults.stage import NotAtRest
    from host.supervisor import SupervisorError

    # Clients of ours complain of every broker that is killed, and these are killed all the time.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    def tell(text: str) -> None:
        on.print(text, highlight=False, soft_wrap=True)

    seed = totals.seed
    tell(f"seed {seed}, {rounds} rounds, in {folder}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("about"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=on, transient=True) as progress:
        bar = progress.add_task("rounds of faults", total=rounds)
        try:
            async for report in play_rounds(
                load_settings(), folder, rounds=rounds, seed=seed, totals=totals, tell=tell, disk=disk
            ):
                progress.advance(bar)
                tell(_told(report))
                for check in report.checks:
                    for difference in check.named:
                        tell(f"  [red]{check.invariant} {difference}[/red]")
                for difference in report.differences:
                    tell(f"  [red]{difference}[/red]")
        except (NotAtRest, StillBroken, SupervisorError) as error:
            totals.differences += 1
            tell(f"  [red]{error}[/red]")


def _told(report: "Report") -> str:
    checks = " · ".join(
        f"{check.invariant.value} {check.differences} of {max(check.counts.values(), default=0):,}"
        for check in report.checks
    )
    took = f"load {report.load_s:.1f} s, rest {report.rest_s:.1f} s, checks {report.check_s:.1f} s"
    return f"  {report.requests} requests, {took}, differences: {checks}"
