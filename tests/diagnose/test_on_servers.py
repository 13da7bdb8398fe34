"""Every cause on real servers, broken for real, with nothing said but the DSN and the folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from fix_servers import MakeServer
from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.adapters.postgres.scratch_access import SUPERUSER
from stanch.diagnose.rank import STANDS_FROM
from stanch.model.diagnosis import Diagnosis, Verdict
from stanch.model.errors import SetupError

SECONDS_MAX = 3.0
on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
"""For what no version does differently; tests without either run on both."""
MIB = 1024 * 1024


async def look(server: ScratchServer, *, user: str = "stanch_watch") -> Diagnosis:
    """A diagnosis from outside, in less than the promised three seconds."""
    began = time.monotonic()
    found = await diagnose_dsn(
        server.dsn(user=user, dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
    )
    assert time.monotonic() - began <= SECONDS_MAX
    return found


def named(found: Diagnosis) -> list[str]:
    return [c.id for c in found.causes if c.probability >= STANDS_FROM]


def why(found: Diagnosis) -> str:
    """For the failing test's message."""
    lines = [f"{found.verdict}: {found.summary}"]
    for cause in found.causes:
        lines.append(f"{cause.id} {cause.probability}")
        weighed = (*cause.evidence_for, *cause.evidence_against, *cause.missing)
        lines += [f"  {f.weight:+} {f.evidence}: {f.text}" for f in weighed]
    lines += [f"absent {f.evidence}: {f.text}" for f in found.absent]
    return "\n".join(lines)


def until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Poll until something outside this process has happened."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def connect(server: ScratchServer, application: str, user: str = "app") -> psycopg.Connection:
    dsn = server.dsn(user=user, dbname="app")
    return psycopg.connect(dsn, application_name=application, autocommit=True)


async def test_a_server_that_does_its_work_is_healthy(server: ScratchServer) -> None:
    with connect(server, "shop"), connect(server, "shop"):
        found = await look(server)
    assert found.verdict is Verdict.HEALTHY, why(found)
    assert [f.evidence for f in found.absent] == ["history", "changes", "cluster"]


@on_15
async def test_a_role_at_its_own_limit_is_not_healthy(server: ScratchServer) -> None:
    with connect(server, "admin", SUPERUSER) as admin:
        admin.execute("ALTER ROLE app CONNECTION LIMIT 2")
        with connect(server, "shop"), connect(server, "shop"):
            found = await look(server)
    assert found.verdict is Verdict.UNKNOWN, why(found)
    assert 'Role "app" has 2 of the 2 sessions' in found.summary


async def test_a_server_stopped_in_order(server: ScratchServer) -> None:
    server.stop("fast")
    found = await look(server)
    assert named(found) == ["stopped_cleanly"], why(found)
    first = found.causes[0]
    assert first.fact("stop_mode") == "fast"
    assert first.fact("server_running") is False
    assert first.fact("control_state") == "shut down"


@on_18
async def test_a_server_stopped_at_once(server: ScratchServer) -> None:
    server.stop("immediate")
    found = await look(server)
    assert named(found) == ["stopped_cleanly"], why(found)
    assert found.causes[0].fact("stop_mode") == "immediate"


async def test_a_killed_server_whose_lock_file_is_left(server: ScratchServer) -> None:
    pid = server.kill()
    found = await look(server)
    assert named(found) == ["killed"], why(found)
    assert found.causes[0].fact("lock_pid") == pid
    assert "set_aside_lock_file" in found.causes[0].forbids


@on_15
async def test_a_stopped_server_that_does_not_start_for_its_settings(server: ScratchServer) -> None:
    server.stop()
    with (server.data_directory / "postgresql.auto.conf").open("a") as conf:
        conf.write("shared_buffers = 'lots'\n")
    with pytest.raises(SetupError):
        server.start(leaving_s_max=0.0)
    found = await look(server)
    assert named(found) == ["bad_configuration"], why(found)
    assert 'invalid value for parameter "shared_buffers": "lots"' in found.summary


@on_15
async def test_a_standby_that_takes_no_sessions(server: ScratchServer) -> None:
    server.set_conf({"hot_standby": "off"})
    server.stop()
    server.folder.write_owned(server.data_directory / "standby.signal", "")
    with suppress(SetupError):  # It never takes the login that a start is awaited by.
        server.start()
    found = await look(server)
    assert named(found) == ["standby_without_sessions"], why(found)
    assert "start_server" in found.causes[0].forbids


@on_15
async def test_a_killed_server_whose_port_another_program_has_taken(server: ScratchServer) -> None:
    server.kill()
    until(lambda: not server.processes(), "its children have left")
    with socket.socket() as other:
        other.bind(("127.0.0.1", server.port))  # Bound and not listening: connections are refused.
        with pytest.raises(SetupError):
            server.start(leaving_s_max=0.0)
        found = await look(server)
    assert named(found) == ["cannot_start"], why(found)
    assert "TCP/IP sockets" in found.summary


async def test_a_lock_file_whose_pid_belongs_to_another_process(server: ScratchServer) -> None:
    server.kill()
    with a_process_of(server.data_directory) as pid:
        write_pid(server, pid)
        found = await look(server)
    assert named(found) == ["stale_lock_file"], why(found)
    facts = dict(found.causes[0].facts)
    assert (facts["lock_pid"], facts["holder_pid"]) == (pid, pid)
    assert "sleep" in str(facts["holder_command"])
    assert len(str(facts["lock_sha256"])) == 64


@on_18
async def test_a_pid_taken_by_another_user_is_no_stale_lock_file(server: ScratchServer) -> None:
    server.kill()
    if Path(server.data_directory).stat().st_uid == os.geteuid():
        pytest.skip("needs a second user on this machine")
    with subprocess.Popen(["sleep", "30"]) as other:
        try:
            write_pid(server, other.pid)
            found = await look(server)
        finally:
            other.kill()
    assert named(found) == ["killed"], why(found)


@on_15
async def test_a_living_server_that_listens_elsewhere(server: ScratchServer) -> None:
    """The DSN leads to a closed port; the data directory is in use all the same."""
    dsn = server.dsn(user="app", dbname="app", port=free_port())
    found = await diagnose_dsn(dsn, data_directory=str(server.data_directory))
    assert named(found) == ["live_lock_file"], why(found)
    assert {"start_server", "set_aside_lock_file"} <= set(found.causes[0].forbids)


async def test_idle_sessions_of_one_application_hold_every_connection(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"max_connections": 20})
    with ExitStack() as stack:
        fill(server, stack, "leaky")
        found = await look(server)
        assert named(found) == ["connections_leaked"], why(found)
        facts = dict(found.causes[0].facts)
        assert facts["usename"] == "app"
        assert int(str(facts["idle_sessions"])) >= 15
        assert "sessions" in [f.evidence for f in found.absent] or facts["application_name"] == ""


@on_18
async def test_a_role_that_still_gets_in_names_the_leaking_application(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"max_connections": 20})
    with ExitStack() as stack:
        fill(server, stack, "leaky")
        found = await look(server, user=SUPERUSER)
    assert named(found) == ["connections_leaked"], why(found)
    assert found.causes[0].fact("application_name") == "leaky"


@on_15
async def test_every_connection_waits_behind_one_lock(make_server: MakeServer) -> None:
    server = make_server(conf={"max_connections": 20})
    with ExitStack() as stack, waiting_crowd(server, stack, 15):
        found = await look(server, user=SUPERUSER)
        assert named(found) == [
            "idle_in_transaction",
            "blocking_chain",
            "connections_behind_lock",
        ], why(found)
        first, last = found.causes[0], found.causes[2]
        assert (first.follows, last.follows) == (None, "blocking_chain")
        assert first.fact("root_application") == "forgetful"


async def test_every_connection_waits_and_nobody_gets_in(make_server: MakeServer) -> None:
    server = make_server(conf={"max_connections": 20})
    with ExitStack() as stack, waiting_crowd(server, stack, 16):
        found = await look(server)
    # What the processes' titles tell: who is idle in a transaction, and that all others wait.
    assert named(found) == ["idle_in_transaction", "connections_behind_lock"], why(found)


@on_18
async def test_a_schema_change_fills_the_server_behind_it_and_nobody_gets_in(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"max_connections": 20})
    with ExitStack() as stack, waiting_crowd(server, stack, 0, root_works=True):
        change = stack.enter_context(connect(server, "deploy"))
        run(stack, change, "ALTER TABLE stock ADD COLUMN more int")
        until(lambda: count(server, "wait_event_type = 'Lock'") == 1, "the change waits")
        for _ in range(15):
            connection = stack.enter_context(connect(server, "shop"))
            run(stack, connection, "SELECT FROM stock")
        found = await look(server)
    assert named(found) == ["ddl_lock_queue", "connections_behind_lock"], why(found)


@on_18
async def test_every_connection_is_at_work(make_server: MakeServer) -> None:
    server = make_server(conf={"max_connections": 20})
    with ExitStack() as stack:
        for connection in fill(server, stack, "shop"):
            run(stack, connection, "SELECT pg_sleep(20)")
        until(lambda: count(server, "state = 'active' AND application_name = 'shop'") >= 15, "load")
        found = await look(server, user=SUPERUSER)
        assert named(found) == ["connections_load"], why(found)
        found = await look(server)
        assert named(found) == ["connections_load"], why(found)


@on_15
async def test_a_chain_headed_by_an_idle_transaction(server: ScratchServer) -> None:
    with ExitStack() as stack, waiting_crowd(server, stack, 3):
        found = await look(server)
    assert named(found) == ["idle_in_transaction", "blocking_chain"], why(found)
    root = dict(found.causes[0].facts)
    assert root["waiters"] == 3
    assert root["root_application"] == "forgetful"
    assert root["root_backend_start"]


async def test_a_chain_headed_by_a_session_at_work(server: ScratchServer) -> None:
    with ExitStack() as stack, waiting_crowd(server, stack, 3, root_works=True):
        found = await look(server)
    assert named(found) == ["blocking_chain"], why(found)


@on_18
async def test_a_data_volume_without_space(make_server: MakeServer) -> None:
    server = make_server(data_volume_mb=160, conf={"max_wal_size": "32MB"})
    fill_volume(Path(server.data_directory).parent)
    rows = "SELECT repeat('x', 1000) FROM generate_series(1, 99999)"
    assert not is_done(server, f"CREATE TABLE big AS {rows}")
    found = await look(server)
    assert named(found)[0] == "disk_full_data", why(found)
    assert found.causes[0].fact("retainer") == "none"


async def test_a_wal_volume_filled_by_a_forgotten_slot(make_server: MakeServer) -> None:
    server = make_server(
        wal_volume_mb=64,
        conf={"max_wal_size": "200MB", "wal_level": "replica", "checkpoint_timeout": "1h"},
    )
    with connect(server, "x", user=SUPERUSER) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
        connection.execute("CREATE TABLE big (t text)")
    rows = "SELECT repeat('x', 1000) FROM generate_series(1, 5000)"
    until(lambda: not is_done(server, f"INSERT INTO big {rows}"), "the WAL volume is full")
    found = await look(server)
    assert named(found)[0] == "disk_full_wal", why(found)
    assert found.causes[0].fact("retainer") == "slot:forgotten", why(found)


async def test_a_crash_of_a_backend_is_told_after_the_server_came_back(
    server: ScratchServer,
) -> None:
    with connect(server, "victim") as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        os.kill(row[0], 11)
        until(lambda: server.log_text().count("ready to accept connections") >= 2, "recovery")
        found = await look(server)
    assert found.verdict is Verdict.RECOVERED, why(found)
    assert found.causes[0].id == "crashed"


@on_15
async def test_a_killed_server_that_was_started_again_is_recovered(server: ScratchServer) -> None:
    server.kill()
    server.start()
    found = await look(server)
    assert found.verdict is Verdict.RECOVERED, why(found)
    assert found.causes[0].id == "killed"


@on_18
async def test_a_role_without_any_right_is_told_what_is_missing(server: ScratchServer) -> None:
    found = await look(server, user="app")
    assert found.verdict is Verdict.UNKNOWN, why(found)
    assert "pg_monitor" in " ".join(f.text for f in found.absent)


@on_15
async def test_a_suspended_server_is_named_and_not_called_dead(server: ScratchServer) -> None:
    pid = server.pause()
    try:
        found = await look(server)
    finally:
        server.resume()
    assert named(found) == ["postmaster_stopped"], why(found)
    assert found.causes[0].fact("postmaster_pid") == pid
    assert found.causes[0].runbook == ""


@on_18
async def test_a_suspended_backend_is_no_suspended_server(server: ScratchServer) -> None:
    with connect(server, "held") as connection:
        os.kill(connection.info.backend_pid, signal.SIGSTOP)
        try:
            found = await look(server)
        finally:
            os.kill(connection.info.backend_pid, signal.SIGCONT)
    assert found.verdict is Verdict.HEALTHY, why(found)


@on_18
async def test_a_role_that_is_turned_away(make_server: MakeServer) -> None:
    server = make_server(auth="scram-sha-256")
    dsn = server.dsn(user="app", dbname="app", password="wrong")
    # What the first look is told may stand in the log only after it was read.
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)
    found = await diagnose_dsn(
        dsn,
        data_directory=str(server.data_directory),
    )
    assert named(found) == ["password_wrong"], why(found)


async def test_a_name_without_an_address() -> None:
    found = await diagnose_dsn("host=db.invalid dbname=app user=app", host="none")
    assert named(found) == ["dns_failure"], why(found)


@on_18
async def test_hostile_names_harm_nothing(server: ScratchServer) -> None:
    hostile = "\x1b[2J'; DROP TABLE x; --<b>"
    with connect(server, hostile) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 'PANIC: received fast shutdown request' FROM \"\x1b[31m\"")
        found = await look(server)
    assert found.verdict is Verdict.HEALTHY, why(found)


# --- breaking things ----------------------------------------------------------------------------


def fill(server: ScratchServer, stack: ExitStack, application: str) -> list[psycopg.Connection]:
    """Ordinary connections until no more are let in."""
    made: list[psycopg.Connection] = []
    while True:
        try:
            made.append(stack.enter_context(connect(server, application)))
        except psycopg.OperationalError:
            return made


def count(server: ScratchServer, condition: str) -> int:
    with connect(server, "counting", user=SUPERUSER) as connection:
        row = connection.execute(
            f"SELECT count(*) FROM pg_stat_activity WHERE {condition}"  # type: ignore[arg-type]
        ).fetchone()
    assert row is not None
    return int(row[0])


def run(stack: ExitStack, connection: psycopg.Connection, sql: str) -> None:
    """A statement in a thread of its own; it ends with its connection."""

    def work() -> None:
        try:
            connection.execute(sql)  # type: ignore[arg-type]
        except psycopg.Error:
            return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    stack.callback(thread.join, 5)
    stack.callback(connection.cancel_safe, timeout=2)


@contextmanager
def waiting_crowd(
    server: ScratchServer, stack: ExitStack, waiters: int, *, root_works: bool = False
) -> Iterator[None]:
    """Sessions that wait for a row lock of a session that forgot to commit (or still works)."""
    root = stack.enter_context(connect(server, "forgetful"))
    root.execute("CREATE TABLE stock (id int PRIMARY KEY, n int)")
    root.execute("INSERT INTO stock VALUES (1, 1)")
    root.execute("BEGIN")
    root.execute("UPDATE stock SET n = 2 WHERE id = 1")
    for _ in range(waiters):
        connection = stack.enter_context(connect(server, "shop"))
        run(stack, connection, "UPDATE stock SET n = 3 WHERE id = 1")
    if root_works:
        run(stack, root, "SELECT pg_sleep(20)")
    waits = "wait_event_type = 'Lock' AND clock_timestamp() - state_change > '2.1 s'"
    until(lambda: count(server, waits) >= waiters, "everybody waits")
    yield


def write_pid(server: ScratchServer, pid: int) -> None:
    path = Path(server.data_directory) / "postmaster.pid"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([str(pid), *lines[1:]]) + "\n")


@contextmanager
def a_process_of(folder: Path) -> Iterator[int]:
    """A process that is no server, of the data directory's own user."""
    owner = Path(folder).stat()
    with subprocess.Popen(
        ["sleep", "60"],
        user=owner.st_uid if os.geteuid() == 0 else None,
        group=owner.st_gid if os.geteuid() == 0 else None,
        cwd="/",
    ) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def is_done(server: ScratchServer, sql: str) -> bool:
    """Whether a statement of the superuser went through."""
    try:
        with connect(server, "load", user=SUPERUSER) as connection:
            connection.execute(sql)  # type: ignore[arg-type]
    except psycopg.Error:
        return False
    return True


def fill_volume(folder: Path) -> None:
    """Write until the volume has no space left."""
    with (folder / "filler").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(MIB))
            except OSError:
                return


# --- the kernel's own kill ----------------------------------------------------------------------

GROUPS = Path("/sys/fs/cgroup/memory")


@contextmanager
def small_memory(server: ScratchServer, limit_mb: int) -> Iterator[None]:
    """Everything the server runs lives in a control group with this much memory."""
    group = GROUPS / f"stanch-test-{os.getpid()}-{server.port}"
    group.mkdir()
    try:
        for pid in server.processes():
            (group / "cgroup.procs").write_text(str(pid))
        (group / "memory.limit_in_bytes").write_text(str(limit_mb * MIB))
        yield
    finally:
        server.stop("immediate")
        until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()


with_groups = pytest.mark.skipif(
    not os.access(GROUPS / "memory.limit_in_bytes", os.R_OK) or os.geteuid() != 0,
    reason="needs root and control groups of version 1",
)
HUNGRY = "SELECT length(string_agg(repeat('x', 1000), '')) FROM generate_series(1, 900000)"


@with_groups
@on_18
async def test_a_kill_for_memory_next_door_is_not_ours(make_server: MakeServer) -> None:
    neighbour, ours, stopped = make_server(), make_server(), make_server()
    with small_memory(neighbour, 110):
        assert not is_done(neighbour, HUNGRY)
    ours.kill()
    stopped.stop("immediate")
    assert named(await look(ours)) == ["killed"]
    assert named(await look(stopped)) == ["stopped_cleanly"]


@with_groups
@on_15
async def test_a_backend_that_the_kernel_killed_for_memory(server: ScratchServer) -> None:
    with small_memory(server, 110):
        assert not is_done(server, HUNGRY)
        until(lambda: server.log_text().count("ready to accept connections") >= 2, "recovery")
        found = await look(server)
    assert found.verdict is Verdict.RECOVERED, why(found)
    assert found.causes[0].id == "oom_killed", why(found)
