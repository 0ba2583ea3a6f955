"""A real Apache Kafka 4.3.1, one node in KRaft mode, from checked jars and a Java that is there or comes as a wheel."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

from host.embedded.class_archive import ClassArchive
from host.embedded.jars import kafka_jars
from host.embedded.java import find_java
from host.embedded.process import (
    LOOPBACK,
    EmbeddedServerError,
    claim_port,
    explain_failed_start,
    require_disk,
    start_lock,
)
from host.embedded.server import EmbeddedServer
from infra.settings import Settings, cache_dir, data_path

POLL_S = 0.05
PROBE_TIMEOUT_S = 1.0
PROPERTIES_FILE = "server.properties"
FORMAT_TIMEOUT_S = 60.0

# One node: every replication factor is 1. A broker that was killed may come back once its session is over: 3 s, not 9.
# What is not named here is Kafka's own default.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={address}:{controller_port}
listeners=PLAINTEXT://{address}:{port},CONTROLLER://{address}:{controller_port}
advertised.listeners=PLAINTEXT://{address}:{port},CONTROLLER://{address}:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.ms=-1
log.index.size.max.bytes=1048576
log.segment.delete.delay.ms=1000
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
"""

LOGGING = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
"""

# Small and quick to start rather than fast for hours: the first compiler only, the simplest collector.
JVM_FLAGS = (
    "-Xms128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
)


class EmbeddedKafka(EmbeddedServer):
    """One Kafka broker with its folder. All methods block; from an event loop use a thread.

    `folder` holds data, configuration, log and the record of the running broker; it survives restarts, and a broker
    found running in it is used as it is. `port` 0 keeps the port of the last time if it is free, else takes a free one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path,
        port: int = 0,
        heap_mib: int = 384,
        start_timeout_s: float = 90.0,
        stop_timeout_s: float = 30.0,
        download_timeout_s: int = 60,
    ) -> None:
        super().__init__(folder, marker=PROPERTIES_FILE, stop_signal=signal.SIGTERM, stop_timeout_s=stop_timeout_s)
        self.log_file = self.folder / "kafka.log"
        self._recorded: ClassArchive | None = None
        self._controller_port = 0
        self._cache = cache
        self._wanted_port = port
        self._heap_mib = heap_mib
        self._start_timeout_s = start_timeout_s
        self._download_timeout_s = download_timeout_s
        self._properties = self.folder / PROPERTIES_FILE

    @classmethod
    def from_settings(cls, settings: Settings) -> "EmbeddedKafka":
        """Return the broker of the data folder."""
        kafka = settings.kafka
        return cls(
            data_path(settings) / "kafka",
            cache=cache_dir(settings),
            port=kafka.embedded_port,
            heap_mib=kafka.embedded_heap_mib,
            start_timeout_s=kafka.start_timeout_s,
            stop_timeout_s=kafka.stop_timeout_s,
            download_timeout_s=kafka.download_timeout_s,
        )

    @property
    def bootstrap(self) -> str:
        """The address to give to clients, `host:port`."""
        if not self.port:
            raise EmbeddedServerError("Kafka has not been started yet.")
        return f"{LOOPBACK}:{self.port}"

    @property
    def records_classes(self) -> bool:
        """Whether the start found no archive of Kafka's classes, so that the stop is to leave one in the cache."""
        return self._recorded is not None

    def start(self, *, detached: bool = False) -> None:
        """See `EmbeddedServer`."""
        # Its broker knows no users: whoever can read the folder reads every event.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with start_lock(self.folder):
            self._read_state()
            if self._server.attach(detached=detached):
                self._wait_until_ready()
                return
            require_disk(self.folder)
            java = find_java()
            jars = kafka_jars(self._cache, timeout_s=self._download_timeout_s)
            self.port = claim_port(self._wanted_port, self.port, variable="TALLYBOOK_KAFKA_EMBEDDED_PORT")
            self._controller_port = claim_port(0, self._controller_port, variable="")
            archive = ClassArchive(self._cache, java, jars, JVM_FLAGS)
            classes, arguments = archive.use(), self._arguments(jars)
            if not self.data.exists():
                self._format([str(java.executable), *classes, *arguments])
            (self.folder / "ports").write_text(f"{self.port} {self._controller_port}", encoding="ascii")
            self._write_properties(self._properties, self.data)
            if not classes and not detached:  # whoever stops a detached one did not start it
                classes, self._recorded = archive.record(self.folder), archive
            self._server.spawn(
                [str(java.executable), *classes, *arguments, "kafka.Kafka", str(self._properties)],
                log_file=self.log_file,
                folder=self.folder,
                environment=_environment(),
                identity=None,
                detached=detached,
            )
            self._wait_until_ready()

    def stop(self) -> bool:
        """See `EmbeddedServer`."""
        went = super().stop()
        if went and self._recorded is not None:
            self._recorded.keep(self.folder)
        self._recorded = None
        return went

    def _read_state(self) -> None:
        file = self.folder / "ports"
        if file.exists():
            self.port, self._controller_port = (int(port) for port in file.read_text(encoding="ascii").split())

    def _arguments(self, jars: list[Path]) -> list[str]:
        scratch = self.folder / "scratch"
        # The compression libraries unpack themselves here, and a killed broker leaves them behind.
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        logging = self.folder / "log4j2.properties"
        logging.write_text(LOGGING, encoding="ascii")
        return [
            *JVM_FLAGS,
            f"-Xmx{self._heap_mib}m",
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            os.pathsep.join(map(str, jars)),
        ]

    def _write_properties(self, file: Path, data: Path) -> None:
        text = PROPERTIES.format(address=LOOPBACK, port=self.port, controller_port=self._controller_port, data=data)
        file.write_text(text, encoding="utf-8")

    def _format(self, command: list[str]) -> None:
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft_properties = self.folder / "format.properties"
        self._write_properties(draft_properties, draft)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=").replace("-", "A")
        tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(draft_properties)]
        try:
            with self.log_file.open("ab") as log:
                result = subprocess.run(  # noqa: S603 - the arguments are ours, and there is no shell
                    [*command, *tool],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    env=_environment(),
                    timeout=FORMAT_TIMEOUT_S,
                    check=False,
                )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedServerError(f"Kafka's storage was not formatted in {FORMAT_TIMEOUT_S:.0f} s.") from error
        if result.returncode != 0:
            raise explain_failed_start("Kafka", self.log_file)
        draft_properties.unlink()
        # Only a finished storage gets the name that the next start trusts.
        draft.rename(self.data)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            if not self._server.is_running:
                self._server.kill()
                raise explain_failed_start("Kafka", self.log_file)
            try:
                # The broker opens its port only once it serves requests.
                with socket.create_connection((LOOPBACK, self.port), timeout=PROBE_TIMEOUT_S):
                    return
            except OSError:
                time.sleep(POLL_S)
        raise EmbeddedServerError(
            f"Kafka was not ready within {self._start_timeout_s:.0f} s; {self.log_file} may say why. A slow machine "
            "needs a larger TALLYBOOK_KAFKA_START_TIMEOUT_S."
        )


def _environment() -> dict[str, str]:
    # Nothing of ours: no secret, and no Java options that would change what runs.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
