"""What a supervisor writes down of the roles it runs, for whoever looks at its data folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from host.embedded.process import find_process
from infra.settings import Settings, data_path

ROLES_FOLDER: Final = "roles"
_FILE: Final = "roster.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRole:
    """One line of what runs, as `tallybook status` reads it. Start times are seconds since the epoch.

    `certificate_file` is what it answers its probes by HTTPS with; empty: by plain HTTP.
    """

    name: str
    pid: int
    started_at: float
    port: int
    log_file: str
    certificate_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """What a supervisor runs, and which process it is."""

    supervisor_pid: int
    supervisor_started_at: float
    roles: tuple[RunningRole, ...]

    @property
    def is_alive(self) -> bool:
        return find_process(self.supervisor_pid, self.supervisor_started_at) is not None


def roles_folder(settings: Settings) -> Path:
    """Return the folder of the roles' logs and roster. The supervisor makes it; who only looks makes nothing."""
    return data_path(settings) / ROLES_FOLDER


def read_roster(folder: Path) -> Roster | None:
    """Return what the supervisor of this folder wrote down, None if nothing did."""
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        roles = tuple(RunningRole(**each) for each in found.pop("roles"))
        return Roster(roles=roles, **found)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_roster(folder: Path, roster: Roster) -> None:
    """Write down what runs, at one stroke: who reads meanwhile sees what was before."""
    draft = folder / "roster.new"
    draft.write_text(json.dumps(asdict(roster)), encoding="utf-8")
    draft.replace(folder / _FILE)


def forget_roster(folder: Path) -> None:
    """Nothing runs here any more."""
    (folder / _FILE).unlink(missing_ok=True)
