"""I4: each read model, row by row, is what folding the log anew comes to."""

from infra.settings import Settings
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from projections.catalogue import READ_MODELS
from projections.folding.rebuild import CannotRebuild, differences


async def check_read_models(settings: Settings, *, owner_dsn: str, progress: Progress = silent) -> Checked:
    """Compare all of them with the fold up to their own checkpoints. Workers and queries go on meanwhile."""
    findings = Findings(Invariant.READ_MODELS)
    try:
        found = await differences(settings, READ_MODELS, owner_dsn=owner_dsn, progress=progress)
    except CannotRebuild as error:
        findings.differ("cannot be compared", "read models", str(error))
        return findings.checked()
    for name, rows in found.items():
        if name.startswith("held:"):
            findings.count("keys that wait for a dead letter", rows)
            continue
        findings.count("read models")
        if rows:
            findings.differ("rows differ", f"read.{name}", f"{rows} rows are not what the log says")
    return findings.checked()
