"""The embedded PostgreSQL and Kafka: they start, keep what they were given through kills, and are found again."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from host.embedded import process as embedded_process
from host.embedded.class_archive import KEPT_MAX, PREFIX, ClassArchive
from host.embedded.jars import Jar, kafka_jars, locked_jars
from host.embedded.java import Java, find_java
from host.embedded.kafka import EmbeddedKafka
from host.embedded.postgres import EmbeddedPostgres, reachable_folder
from host.embedded.process import (
    EmbeddedServerError,
    Identity,
    claim_port,
    free_port,
    reachable_by_others,
    require_disk,
)
from infra.settings import cache_dir, load_settings
from testing.services import FreshDatabase, KafkaServer

RECORDS = 50
ARCHIVED = "kafka.tools.StorageTool source: shared objects file (top)"


@pytest.fixture
def cache() -> Path:
    return cache_dir(load_settings())


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class TestPostgres:
    async def test_it_is_version_18_durable_and_sorts_by_code_point(self, durable_postgres: EmbeddedPostgres) -> None:
        dsn = durable_postgres.dsn()
        version = str(await value(dsn, "SHOW server_version"))
        assert version.startswith("18.")
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await value(dsn, f"SHOW {name}") == "on"
        assert await value(dsn, "SELECT 'Z' < 'a' AND 'z' < 'ä'") is True

    async def test_nobody_gets_in_without_the_password(self, durable_postgres: EmbeddedPostgres) -> None:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(durable_postgres.dsn().replace(durable_postgres.password, "guess"))
        assert (durable_postgres.folder / "password").stat().st_mode & 0o077 == 0

    async def test_it_listens_on_loopback_only_and_never_as_root(self, durable_postgres: EmbeddedPostgres) -> None:
        assert await value(durable_postgres.dsn(), "SHOW listen_addresses") == "127.0.0.1"
        assert durable_postgres.pid is not None
        assert psutil.Process(durable_postgres.pid).uids().effective != 0

    async def test_what_was_committed_survives_a_kill(self, durable_postgres: EmbeddedPostgres) -> None:
        await execute(durable_postgres.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
        port = durable_postgres.port
        durable_postgres.kill()
        assert not durable_postgres.is_running
        durable_postgres.start()
        assert durable_postgres.port == port
        assert await value(durable_postgres.dsn(), "SELECT answer FROM kept") == 42

    async def test_a_paused_server_answers_nobody_and_goes_on_where_it_stood(
        self, durable_postgres: EmbeddedPostgres
    ) -> None:
        connection = await asyncpg.connect(durable_postgres.dsn())
        try:
            durable_postgres.pause()
            asking = asyncio.create_task(connection.fetchval("SELECT 42"))
            with pytest.raises(TimeoutError):
                await asyncpg.connect(durable_postgres.dsn(), timeout=0.2)
            assert not asking.done()
            durable_postgres.resume()
            assert await asking == 42
        finally:
            durable_postgres.resume()
            await connection.close()

    async def test_a_paused_server_stops_when_it_is_asked_to(self, durable_postgres: EmbeddedPostgres) -> None:
        durable_postgres.pause()
        await asyncio.to_thread(durable_postgres.stop)
        assert not durable_postgres.is_running
        await asyncio.to_thread(durable_postgres.start)
        assert await value(durable_postgres.dsn(), "SELECT 1") == 1

    async def test_what_was_committed_survives_a_restart(self, durable_postgres: EmbeddedPostgres) -> None:
        await execute(durable_postgres.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
        first = durable_postgres.pid
        durable_postgres.restart()
        assert durable_postgres.pid != first
        assert await value(durable_postgres.dsn(), "SELECT answer FROM kept") == 42

    async def test_a_role_logs_in_once_it_is_granted(self, durable_postgres: EmbeddedPostgres) -> None:
        await execute(durable_postgres.dsn(), "CREATE ROLE clerk")
        await durable_postgres.grant_login("clerk")
        assert await value(durable_postgres.dsn("clerk"), "SELECT current_user") == "clerk"

    def test_a_second_start_uses_the_running_server(self, durable_postgres: EmbeddedPostgres, cache: Path) -> None:
        second = EmbeddedPostgres(durable_postgres.folder, cache=cache)
        second.start()
        assert (second.pid, second.port) == (durable_postgres.pid, durable_postgres.port)

    def test_a_broken_first_start_is_begun_anew(self, services_folder: Path, cache: Path, tmp_path: Path) -> None:
        folder = services_folder / f"postgres-{tmp_path.name}"
        (folder / "data.new").mkdir(parents=True)
        (folder / "data.new" / "PG_VERSION").write_text("18")
        folder.chmod(0o711)
        server = EmbeddedPostgres(folder, cache=cache)
        server.start()
        try:
            assert server.is_running
        finally:
            server.kill()

    def test_a_damaged_folder_is_an_error_with_the_log(self, durable_postgres: EmbeddedPostgres) -> None:
        durable_postgres.stop()
        (durable_postgres.data / "global" / "pg_control").unlink()
        with pytest.raises(EmbeddedServerError, match="pg_control"):
            durable_postgres.start()

    async def test_each_test_has_a_database_of_its_own(self, database: FreshDatabase) -> None:
        assert await value(database.dsn, "SELECT current_database()") == database.name

    def test_binaries_that_are_copied_to_the_cache_still_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "host.embedded.postgres.reachable_by_others", lambda path: tmp_path in (path, *path.parents)
        )
        server = EmbeddedPostgres(tmp_path / "postgres", cache=tmp_path / "cache")
        copied = server.binaries(Identity(uid=65534, gid=65534))
        assert tmp_path in copied.parents
        for name in ("initdb", "postgres"):
            told = subprocess.run([copied / "bin" / name, "--version"], capture_output=True, text=True, check=True)
            assert "PostgreSQL) 18." in told.stdout

    def test_the_data_moves_where_the_servers_user_reaches_it(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        closed.chmod(0o700)
        assert not reachable_by_others(closed / "postgres")
        chosen = reachable_folder(closed / "postgres")
        if os.geteuid() == 0:
            assert reachable_by_others(chosen)
            assert chosen == reachable_folder(closed / "postgres")
        else:
            assert chosen == closed / "postgres"


class TestOrphans:
    """A server whose owner was SIGKILLed is adopted; one whose owner lives, or that is detached, is left alone."""

    @pytest.fixture
    def starter(self, services_folder: Path, cache: Path, tmp_path: Path) -> Iterator["Starter"]:
        starter = Starter(services_folder / f"orphan-{tmp_path.name}", cache)
        try:
            yield starter
        finally:
            starter.end()

    def test_an_orphan_is_adopted_and_stopped(self, starter: "Starter", cache: Path) -> None:
        pid = starter.run(detached=False)
        starter.process.send_signal(signal.SIGKILL)
        starter.process.wait()
        server = EmbeddedPostgres(starter.folder, cache=cache)
        server.start()
        assert server.pid == pid
        assert server.started_here
        server.stop()
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    def test_a_server_whose_owner_lives_is_not_ours_to_stop(self, starter: "Starter", cache: Path) -> None:
        pid = starter.run(detached=False)
        server = EmbeddedPostgres(starter.folder, cache=cache)
        server.start()
        assert server.pid == pid
        assert not server.started_here

    def test_a_detached_server_stays(self, starter: "Starter", cache: Path) -> None:
        pid = starter.run(detached=True)
        starter.process.send_signal(signal.SIGKILL)
        starter.process.wait()
        server = EmbeddedPostgres(starter.folder, cache=cache)
        server.start()
        assert server.pid == pid
        assert not server.started_here

    def test_a_server_is_found_without_its_record(self, starter: "Starter", cache: Path) -> None:
        pid = starter.run(detached=False)
        (starter.folder / "process.json").unlink()
        server = EmbeddedPostgres(starter.folder, cache=cache)
        assert server.find()
        assert server.pid == pid


class Starter:
    """Another Python process that starts a PostgreSQL in a folder and then waits to be killed."""

    PROGRAM = """
        import sys, time
        from pathlib import Path
        from host.embedded.postgres import EmbeddedPostgres
        server = EmbeddedPostgres(Path(sys.argv[1]), cache=Path(sys.argv[2]))
        server.start(detached=sys.argv[3] == "True")
        print(server.pid, flush=True)
        sys.stdin.read()
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self._cache = cache

    def run(self, *, detached: bool) -> int:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(self.PROGRAM), str(self.folder), str(self._cache), str(detached)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        server = EmbeddedPostgres(self.folder, cache=self._cache)
        if server.find():
            server.kill()


async def make_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        for number in range(RECORDS):
            await producer.send_and_wait(topic, str(number).encode(), key=str(number).encode())
    finally:
        await producer.stop()


async def read(bootstrap: str, topic: str, count: int) -> list[int]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"{topic}-readers", auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[int] = []
    try:
        async with asyncio.timeout(90):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [int(record.value) for record in records]
    finally:
        await consumer.stop()
    return sorted(found)


class TestKafka:
    async def test_records_go_in_and_come_out_once(self, kafka_server: KafkaServer, topic_prefix: str) -> None:
        topic = f"{topic_prefix}numbers"
        await make_topic(kafka_server.bootstrap, topic)
        await send(kafka_server.bootstrap, topic)
        assert await read(kafka_server.bootstrap, topic, RECORDS) == list(range(RECORDS))

    async def test_what_was_acknowledged_survives_a_kill(self, own_kafka: EmbeddedKafka, topic_prefix: str) -> None:
        topic = f"{topic_prefix}numbers"
        bootstrap = own_kafka.bootstrap
        await make_topic(bootstrap, topic)
        await send(bootstrap, topic)
        own_kafka.kill()
        assert not own_kafka.is_running
        await asyncio.to_thread(own_kafka.start)
        assert own_kafka.bootstrap == bootstrap
        assert await read(bootstrap, topic, RECORDS) == list(range(RECORDS))

    async def test_it_keeps_its_records_when_its_ports_change(
        self, own_kafka: EmbeddedKafka, topic_prefix: str, cache: Path
    ) -> None:
        topic = f"{topic_prefix}numbers"
        await make_topic(own_kafka.bootstrap, topic)
        await send(own_kafka.bootstrap, topic)
        own_kafka.stop()
        (own_kafka.folder / "ports").unlink()
        moved = EmbeddedKafka(own_kafka.folder, cache=cache)
        await asyncio.to_thread(moved.start)
        try:
            assert moved.bootstrap != own_kafka.bootstrap
            assert await read(moved.bootstrap, topic, RECORDS) == list(range(RECORDS))
        finally:
            moved.kill()


class TestClassArchive:
    """What Kafka's classes are mapped from, so that they are not read and checked at each start."""

    @pytest.fixture
    def jars(self, cache: Path) -> list[Path]:
        return kafka_jars(cache, timeout_s=60)

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """What stands for a broker's folder; the cache is the folder above."""
        folder = tmp_path / "broker"
        folder.mkdir()
        return folder

    def run_java(self, jars: list[Path], *flags: str) -> str:
        """A short program of Kafka's; what the runtime says of the classes that it loads."""
        java = [str(find_java().executable), "-Xshare:auto", *flags, "-Xlog:class+load"]
        program = ["-cp", os.pathsep.join(map(str, jars)), "kafka.tools.StorageTool", "random-uuid"]
        return subprocess.run([*java, *program], capture_output=True, text=True, check=True).stdout

    def test_it_is_kept_if_it_is_whole_and_mapped_by_who_comes_next(
        self, jars: list[Path], folder: Path, tmp_path: Path
    ) -> None:
        archive = ClassArchive(tmp_path, find_java(), jars, ["-Xshare:auto"])
        assert archive.use() == []
        assert ARCHIVED not in self.run_java(jars, *archive.record(folder))
        (draft,) = folder.iterdir()
        whole = draft.read_bytes()
        for half in (whole[: len(whole) // 2], b"none", b""):
            draft.write_bytes(half)
            archive.keep(folder)
            assert archive.use() == []
            assert not draft.exists()
        draft.write_bytes(whole)
        archive.keep(folder)
        assert not draft.exists()
        assert ARCHIVED in self.run_java(jars, *archive.use())
        (kept,) = tmp_path.glob("*.jsa")
        kept.write_bytes(whole[:-1])
        assert archive.use() == [], "what was damaged since is not used"
        assert not kept.exists(), "nor kept"

    def test_what_a_killed_broker_was_writing_is_removed(self, jars: list[Path], folder: Path, tmp_path: Path) -> None:
        archive = ClassArchive(tmp_path, find_java(), jars, [])
        (flag,) = archive.record(folder)
        draft = Path(flag.partition("=")[2])
        draft.write_bytes(b"half")
        assert archive.record(folder) == [flag]
        assert not draft.exists()

    def test_another_runtime_and_other_jars_have_another(self, folder: Path, tmp_path: Path) -> None:
        jar = tmp_path / "kafka.jar"
        jar.write_bytes(b"1")
        java = find_java()

        def recorded(java: Java, *flags: str) -> str:
            return "".join(ClassArchive(tmp_path, java, [jar], flags).record(folder))

        names = {recorded(java), recorded(java), recorded(replace(java, version="another")), recorded(java, "-Xint")}
        os.utime(jar, (1, 1))
        names.add(recorded(java))
        assert len(names) == 4

    def test_a_broker_that_stops_leaves_it_for_the_next(
        self, services_folder: Path, cache: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "jars").symlink_to(cache / "jars")
        for number in range(KEPT_MAX):
            (tmp_path / f"{PREFIX}{number}.jsa").touch()
            os.utime(tmp_path / f"{PREFIX}{number}.jsa", (number, number))
        # Writing it is ten seconds' work of a processor, and one that has to be killed leaves none.
        broker = EmbeddedKafka(services_folder / f"kafka-{tmp_path.name}", cache=tmp_path, stop_timeout_s=600.0)
        broker.start()
        assert broker.records_classes
        broker.stop()
        *old, left = sorted(tmp_path.glob("*.jsa"), key=lambda each: each.stat().st_mtime)
        assert [each.name for each in old] == [f"{PREFIX}{number}.jsa" for number in range(1, KEPT_MAX)]
        broker.start()
        try:
            assert not broker.records_classes
            assert broker.pid is not None
            assert str(left) in {each.path for each in psutil.Process(broker.pid).memory_maps()}
        finally:
            broker.kill()


class TestErrorsSayWhatToDo:
    def test_a_taken_port_is_named_with_its_setting(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(EmbeddedServerError, match=rf"Port {port} .* is taken by .*SOME_VARIABLE"):
                claim_port(port, 0, variable="SOME_VARIABLE")
            assert claim_port(0, port, variable="SOME_VARIABLE") != port

    def test_no_port_is_given_twice_while_those_who_asked_still_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        few = range(19_000, 19_060)
        monkeypatch.setattr(embedded_process, "PORTS", few)
        ours = [free_port() for _ in range(10)]
        program = f"""
            from host.embedded import process
            process.PORTS = {few!r}
            print(*[process.free_port() for _ in range(10)])
        """
        other = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
        )
        assert len({*ours, *map(int, other.stdout.split())}) == 20

    def test_a_full_disk_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(EmbeddedServerError, match="Free some space"):
            require_disk(tmp_path, bytes_min=2**62)

    def test_no_java_says_how_to_get_one(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        old = tmp_path / "java"
        old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
        old.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        with pytest.raises(EmbeddedServerError, match=r"version 11\. Run `make java`"):
            find_java()

    def test_a_damaged_jar_in_the_cache_is_fetched_again(self, tmp_path: Path) -> None:
        jar = next(each for each in locked_jars() if each.artifact == "jspecify")
        folder = tmp_path / "jars"
        folder.mkdir()
        (folder / jar.file_name).write_bytes(b"damaged")
        (fetched,) = kafka_jars(tmp_path, timeout_s=60, jars=[jar])
        assert fetched.read_bytes() != b"damaged"

    def test_a_jar_with_another_hash_is_refused(self, tmp_path: Path) -> None:
        jar = next(each for each in locked_jars() if each.artifact == "jspecify")
        changed = Jar(group=jar.group, artifact=jar.artifact, version=jar.version, sha256="0" * 64)
        with pytest.raises(EmbeddedServerError, match=r"refused: its SHA-256 is .*jars\.lock says 0000"):
            kafka_jars(tmp_path, timeout_s=60, jars=[changed])
        assert not (tmp_path / "jars" / jar.file_name).exists()

    def test_no_network_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            # Bound but not listening: a proxy that refuses every connection.
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed.getsockname()[1]}")
            with pytest.raises(EmbeddedServerError, match="needs the network"):
                kafka_jars(tmp_path, timeout_s=5, jars=locked_jars()[:1])

    def test_the_lock_names_kafka_and_46_jars(self) -> None:
        jars = locked_jars()
        assert len(jars) == 46
        assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.3.1"}
