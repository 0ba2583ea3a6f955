"""PostgreSQL and Kafka as the settings say: the configured ones, or embedded ones for what is not configured."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pydantic import SecretStr

from host.embedded.kafka import EmbeddedKafka
from host.embedded.postgres import EmbeddedPostgres
from host.embedded.process import EmbeddedServerError
from host.embedded.server import EmbeddedServer
from infra.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The embedded servers that the settings call for; None where a server is configured instead."""

    postgres: EmbeddedPostgres | None
    kafka: EmbeddedKafka | None
    database_name: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "Servers":
        """Choose, and start nothing. In production nothing embedded is chosen: EmbeddedServerError."""
        wants_postgres = settings.database.url is None
        wants_kafka = settings.kafka.bootstrap is None
        if settings.general.environment == "production" and (wants_postgres or wants_kafka):
            missing = "TALLYBOOK_DATABASE_URL" if wants_postgres else "TALLYBOOK_KAFKA_BOOTSTRAP"
            raise EmbeddedServerError(f"{missing} is not set, and in production no embedded server is started.")
        return cls(
            postgres=EmbeddedPostgres.from_settings(settings) if wants_postgres else None,
            kafka=EmbeddedKafka.from_settings(settings) if wants_kafka else None,
            database_name=settings.database.name,
        )

    def start(self, *, detached: bool = False) -> None:
        """Start both side by side, or use those that run. If one cannot start, what was started here is stopped."""
        parts = [part for part in (self.postgres, self.kafka) if part is not None]
        try:
            _side_by_side([_starter(part, detached=detached) for part in parts])
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop what this process started or adopted, and nothing else."""
        parts = [part for part in (self.postgres, self.kafka) if part is not None and part.started_here]
        _side_by_side([part.stop for part in parts])

    def stop_found(self) -> list[str]:
        """Stop whatever runs in the data folder, whoever started it; return the names of what was stopped."""
        found = [part for part in (self.postgres, self.kafka) if part is not None and part.find()]
        _side_by_side([part.stop for part in found])
        return [type(part).__name__.removeprefix("Embedded") for part in found]

    def connected(self, settings: Settings) -> Settings:
        """Return the settings with the addresses of the running embedded servers filled in."""
        database = {name: SecretStr(value) for name, value in self._database_values().items()}
        kafka = {"bootstrap": self.kafka.bootstrap} if self.kafka is not None and self.kafka.is_running else {}
        return replace(
            settings,
            database=settings.database.model_copy(update=database),
            kafka=settings.kafka.model_copy(update=kafka),
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that point a role's process at the embedded servers."""
        found = {f"TALLYBOOK_DATABASE_{name.upper()}": value for name, value in self._database_values().items()}
        if self.kafka is not None and self.kafka.is_running:
            found["TALLYBOOK_KAFKA_BOOTSTRAP"] = self.kafka.bootstrap
        return found

    def _database_values(self) -> dict[str, str]:
        if self.postgres is None or not self.postgres.is_running:
            return {}
        # One login; each part takes on its own role in the database from the first moment of its connections.
        return dict.fromkeys(("url", "owner_url"), self.postgres.dsn(database=self.database_name))


def _starter(part: EmbeddedServer, *, detached: bool) -> Callable[[], object]:
    return lambda: part.start(detached=detached)


def _side_by_side(actions: list[Callable[[], object]]) -> None:
    if not actions:
        return
    with ThreadPoolExecutor(len(actions)) as pool:
        running = [pool.submit(action) for action in actions]
    for each in running:
        each.result()
