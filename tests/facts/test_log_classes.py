# ruff: noqa: E501  the table of messages reads best one a line
"""Which lines mean what: tables, near misses, and the words of real servers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.log_class import LogClass
from stanch.facts.log_classes import classify
from stanch.facts.log_lines import LogFormat, LogParser
from stanch.facts.log_records import LogRecord, classified

FULL = "No space left on device"


@pytest.mark.parametrize(
    ("severity", "sqlstate", "message", "expected"),
    [
        ("FATAL", "53300", "alle Verbindungen belegt", LogClass.TOO_MANY_CLIENTS),
        ("FATAL", "53300", 'too many connections for role "a"', LogClass.TOO_MANY_FOR_ROLE),
        ("FATAL", None, 'too many connections for database "a"', LogClass.TOO_MANY_FOR_ROLE),
        ("FATAL", None, "remaining connection slots are reserved for roles", LogClass.TOO_MANY_CLIENTS),
        ("ERROR", "53100", f'could not extend file "base/5/1": {FULL}', LogClass.NO_SPACE_DATA),
        ("ERROR", None, f'could not extend file "base/5/1": {FULL}', LogClass.NO_SPACE_DATA),
        ("ERROR", None, 'could not extend file "base/5/1": wrote only 4096 of 8192 bytes at block 7485', LogClass.NO_SPACE_DATA),
        ("ERROR", None, "could not do it: wrote only 4096 of 8192 bytes at block 7 of my table", LogClass.OTHER),
        ("PANIC", "53100", f'could not write to file "pg_wal/xlogtemp.7": {FULL}', LogClass.NO_SPACE_WAL),
        ("PANIC", None, f'could not write to log file "000000010000000000000001" at offset 0: {FULL}', LogClass.NO_SPACE_WAL),
        ("LOG", None, f"could not write to log file: {FULL}", LogClass.NO_SPACE_LOG),
        ("ERROR", "53100", f'could not resize shared memory segment "/PostgreSQL.1" to 8 bytes: {FULL}', LogClass.NO_SPACE_SHARED_MEMORY),
        ("FATAL", "F0001", 'lock file "postmaster.pid" already exists', LogClass.LOCK_FILE_EXISTS),
        ("FATAL", "F0001", "pre-existing shared memory block (key 1, ID 2) is still in use", LogClass.SHARED_MEMORY_IN_USE),
        ("FATAL", "42501", 'could not open file "global/pg_control": Permission denied', LogClass.WRONG_PERMISSIONS),
        ("FATAL", "XX000", "could not create any TCP/IP sockets", LogClass.START_GAVE_UP),
        ("FATAL", "22023", "database files are incompatible with server", LogClass.START_GAVE_UP),
        ("ERROR", "22023", "database files are incompatible with server", LogClass.OTHER),
        ("FATAL", None, 'required WAL directory "pg_wal" does not exist', LogClass.START_GAVE_UP),
        ("FATAL", "22023", "recovery aborted because of insufficient parameter settings", LogClass.START_GAVE_UP),
        ("FATAL", "55000", "hot standby is not possible because max_connections = 5 is lower", LogClass.START_GAVE_UP),
        ("FATAL", None, f"could not create semaphores: {FULL}", LogClass.START_GAVE_UP),
        ("FATAL", "58P01", 'could not create lock file "/run/x/.s.PGSQL.5432.lock": No such file or directory', LogClass.START_GAVE_UP),
        ("FATAL", "22023", '"/data" is not a valid data directory', LogClass.START_GAVE_UP),
        ("FATAL", "22023", '"base/16384" is not a valid data directory', LogClass.OTHER),
        ("FATAL", None, 'WAL streaming ("max_wal_senders" > 0) requires "wal_level" to be "replica" or "logical"', LogClass.START_GAVE_UP),
        ("FATAL", None, 'WAL archival cannot be enabled when wal_level is "minimal"', LogClass.START_GAVE_UP),
        ("FATAL", "F0000", 'could not load server certificate file "x": No such file or directory', LogClass.CONFIG_ERROR),
        ("FATAL", None, 'could not load server certificate file "x": No such file or directory', LogClass.START_GAVE_UP),
        ("LOG", None, 'could not load server certificate file "x": No such file or directory', LogClass.OTHER),
        ("FATAL", "58P01", 'could not open log file "/nope/postgresql.log": No such file or directory', LogClass.START_GAVE_UP),
        ("FATAL", "22023", "must specify restore_command when standby mode is not enabled", LogClass.START_GAVE_UP),
        ("FATAL", "58P01", 'could not access file "no_such_lib": No such file or directory', LogClass.LIBRARY_MISSING),
        ("FATAL", "58P01", 'could not load library "/x/y.so": undefined symbol: z', LogClass.LIBRARY_MISSING),
        ("FATAL", None, 'incompatible library "/x/y.so": version mismatch', LogClass.LIBRARY_MISSING),
        ("ERROR", "58P01", 'could not access file "$libdir/postgis-3": No such file or directory', LogClass.LIBRARY_MISSING),
        ("ERROR", "58P01", 'could not load library "/x/y.so": libz.so.1: cannot open shared object file', LogClass.LIBRARY_MISSING),
        ("ERROR", None, 'could not access file "$libdir/postgis-3": No such file or directory', LogClass.LIBRARY_MISSING),
        ("ERROR", "XX000", 'could not load library "/x/y.so": /x/y.so: file too short', LogClass.LIBRARY_MISSING),
        ("ERROR", "58P01", 'could not open file "/x/rows.csv" for reading: No such file or directory', LogClass.OTHER),
        ("PANIC", "XX001", 'could not read file "global/pg_control": read 100 of 296', LogClass.NO_CHECKPOINT),
        ("ERROR", "XX001", 'could not read file "global/pg_control": read 100 of 296', LogClass.INVALID_PAGE),
        ("FATAL", "XX000", "could not locate required checkpoint record at 0/9000060", LogClass.NO_CHECKPOINT),
        ("LOG", "22023", 'invalid value for parameter "work_mem": "lots"', LogClass.CONFIG_ERROR),
        ("LOG", "22023", 'parameter "enable_seqscan" requires a Boolean value', LogClass.CONFIG_ERROR),
        ("LOG", "22023", '1 kB is outside the valid range for parameter "work_mem" (64 .. 2147483647)', LogClass.CONFIG_ERROR),
        ("ERROR", "22023", 'invalid value for parameter "work_mem": "lots"', LogClass.OTHER),
        ("PANIC", "58030", 'could not fsync file "base/5/1": Input/output error', LogClass.PANIC_FSYNC),
        ("FATAL", "28000", 'no pg_hba.conf entry for host "1.2.3.4"', LogClass.HBA_REJECTED),
        ("FATAL", "28000", 'role "x" is not permitted to log in', LogClass.LOGIN_NOT_PERMITTED),
        ("FATAL", None, 'role "x" is not permitted to log in', LogClass.LOGIN_NOT_PERMITTED),
        ("FATAL", "28000", 'role "x" does not exist', LogClass.ROLE_UNKNOWN),
        ("ERROR", "42704", 'role "x" does not exist', LogClass.OTHER),
        ("FATAL", "28P01", 'password authentication failed for user "x"', LogClass.AUTH_FAILED),
        ("LOG", None, "pg_hba.conf was not reloaded", LogClass.CONFIG_ERROR),
        ("LOG", None, "/srv/pg/pg_hba.conf was not reloaded", LogClass.CONFIG_ERROR),
        ("LOG", None, "my pg_hba.conf was not reloaded", LogClass.OTHER),
        ("ERROR", "53200", "out of shared memory", LogClass.LOCK_TABLE_FULL),
        ("ERROR", "53200", "out of memory", LogClass.OUT_OF_MEMORY),
        ("LOG", None, "could not fork new process for connection: Resource temporarily unavailable", LogClass.FORK_FAILED),
        ("PANIC", None, "could not locate a valid checkpoint record", LogClass.NO_CHECKPOINT),
        ("LOG", None, "could not locate a valid checkpoint record", LogClass.OTHER),
        ("FATAL", None, "incorrect checksum in control file", LogClass.NO_CHECKPOINT),
        ("ERROR", "57014", "canceling statement due to statement timeout", LogClass.STATEMENT_TIMEOUT),
        ("ERROR", "57014", "canceling statement due to user request", LogClass.CANCELED),
        ("ERROR", "57014", "canceling autovacuum task", LogClass.AUTOVACUUM_CANCELED),
        ("ERROR", None, "canceling autovacuum task", LogClass.AUTOVACUUM_CANCELED),
        ("ERROR", "55P03", "canceling statement due to lock timeout", LogClass.LOCK_TIMEOUT),
        ("ERROR", "40001", "canceling statement due to conflict with recovery", LogClass.RECOVERY_CONFLICT),
        ("ERROR", "40001", "could not serialize access due to concurrent update", LogClass.OTHER),
        ("ERROR", "25006", "cannot execute INSERT in a read-only transaction", LogClass.READ_ONLY),
        ("ERROR", None, "cannot execute CREATE TABLE in a read-only transaction", LogClass.READ_ONLY),
        ("ERROR", "42P01", 'relation "orders" does not exist', LogClass.NO_SUCH_TABLE),
        ("ERROR", "42703", 'column "x" does not exist', LogClass.NO_SUCH_COLUMN),
        ("ERROR", "23505", 'duplicate key value violates unique constraint "orders_pkey"', LogClass.UNIQUE_VIOLATION),
        ("ERROR", "2200H", 'nextval: reached maximum value of sequence "s" (5)', LogClass.SEQUENCE_EXHAUSTED),
        ("ERROR", "22003", "integer out of range", LogClass.INTEGER_OUT_OF_RANGE),
        ("ERROR", "22003", "bigint out of range", LogClass.OTHER),
        ("ERROR", "54000", 'database is not accepting commands that assign new XIDs to avoid wraparound data loss in database "app"', LogClass.XID_WRAPAROUND),
        ("ERROR", "54000", 'database is not accepting commands to avoid wraparound data loss in database "app"', LogClass.XID_WRAPAROUND),
        ("ERROR", "54000", 'database is not accepting commands that assign new MultiXactIds to avoid wraparound data loss in database "app"', LogClass.MULTIXACT_WRAPAROUND),
        ("ERROR", "54000", 'multixact "members" limit exceeded', LogClass.MULTIXACT_WRAPAROUND),
        ("ERROR", "54000", "index row size 2800 exceeds btree version 4 maximum 2704", LogClass.OTHER),
        ("WARNING", "01000", 'database "app" must be vacuumed within 10985967 transactions', LogClass.XID_WRAPAROUND),
        ("WARNING", None, 'database "app" must be vacuumed before 400 more MultiXactIds are used', LogClass.MULTIXACT_WRAPAROUND),
        ("ERROR", "58P01", "requested WAL segment 000000010000000000000003 has already been removed", LogClass.WAL_REMOVED),
        ("ERROR", "55000", 'can no longer access replication slot "standby_2"', LogClass.WAL_REMOVED),
        ("FATAL", "08P01", 'could not start WAL streaming: ERROR:  can no longer access replication slot "standby_2"', LogClass.WAL_REMOVED),
        ("FATAL", "XX000", "could not receive data from WAL stream: ERROR:  requested WAL segment 000000010000000000000003 has already been removed", LogClass.WAL_REMOVED),
        ("FATAL", "08P01", "could not receive data from WAL stream: server closed the connection unexpectedly", LogClass.PRIMARY_UNREACHABLE),
        ("FATAL", "XX000", "could not connect to the primary server: connection refused", LogClass.PRIMARY_UNREACHABLE),
        ("FATAL", "08006", 'streaming replication receiver "standby1" could not connect to the primary server: connection to server at "db1", port 5432 failed: FATAL:  no pg_hba.conf entry for replication connection', LogClass.PRIMARY_UNREACHABLE),
        ("ERROR", "08006", "could not connect to the primary server: connection refused", LogClass.OTHER),
        ("LOG", None, "terminating walreceiver due to timeout", LogClass.PRIMARY_UNREACHABLE),
        ("LOG", None, "received promote request", LogClass.PROMOTED),
        ("LOG", None, "selected new timeline ID: 2", LogClass.PROMOTED),
        ("FATAL", None, "requested timeline 2 is not a child of this server's history", LogClass.TIMELINE_DIVERGED),
        ("LOG", None, "new timeline 2 forked off current database system timeline 1 before current recovery point 0/3000098", LogClass.TIMELINE_DIVERGED),
        ("LOG", None, 'logical replication apply worker for subscription "s" has started', LogClass.APPLY_WORKER_STARTED),
        ("LOG", None, 'background worker "logical replication worker" (PID 4) exited with exit code 1', LogClass.APPLY_WORKER_ENDED),
        ("LOG", None, 'background worker "logical replication apply worker" (PID 4) exited with exit code 1', LogClass.APPLY_WORKER_ENDED),
        ("ERROR", "23505", 'conflict detected on relation "public.t": conflict=insert_exists', LogClass.APPLY_FAILED),
        ("ERROR", "55000", 'logical replication target relation "public.t" does not exist', LogClass.APPLY_FAILED),
        ("LOG", None, 'subscription "sub" has been disabled because of an error', LogClass.APPLY_FAILED),
        ("LOG", None, "checkpoints are occurring too frequently (3 seconds apart)", LogClass.CHECKPOINTS_TOO_OFTEN),
        ("WARNING", None, "autovacuum not started because of misconfiguration", LogClass.AUTOVACUUM_OFF),
        ("LOG", None, 'temporary file: path "base/pgsql_tmp/pgsql_tmp4.0", size 1073741824', LogClass.TEMP_FILE),
        ("ERROR", "53400", "temporary file size exceeds temp_file_limit (1024kB)", LogClass.TEMP_LIMIT),
        ("LOG", "08P01", "could not accept SSL connection: tlsv1 alert unknown ca", LogClass.TLS_REFUSED),
        ("LOG", None, "connection received: host=127.0.0.1 port=5", LogClass.CONNECTION_RECEIVED),
        ("LOG", "08006", "could not receive data from client: Connection reset by peer", LogClass.CONNECTION_LOST),
        ("LOG", "08P01", "unexpected EOF on client connection with an open transaction", LogClass.CONNECTION_LOST),
        ("WARNING", "01000", 'database "app" has a collation version mismatch', LogClass.COLLATION_MISMATCH),
        ("WARNING", "01000", "canceling wait for synchronous replication due to user request", LogClass.SYNC_WAIT_CANCELED),
        ("LOG", "55P02", 'parameter "shared_buffers" cannot be changed without restarting the server', LogClass.NEEDS_RESTART),
        ("LOG", None, "received SIGHUP, reloading configuration files", LogClass.RELOADED),
        ("ERROR", None, "received SIGHUP, reloading configuration files", LogClass.OTHER),
        ("ERROR", "42501", "permission denied for table orders", LogClass.PERMISSION_DENIED),
        ("ERROR", "42501", "must be owner of table orders", LogClass.PERMISSION_DENIED),
        ("ERROR", "XX001", "invalid page in block 3 of relation base/5/1", LogClass.INVALID_PAGE),
        ("FEHLER", "XX001", "ungültige Seite in Block 3 von Relation base/5/1", LogClass.INVALID_PAGE),
        ("ERROR", "XX001", "missing chunk number 0 for toast value 16401", LogClass.TOAST_DAMAGED),
        ("ERROR", "XX001", "unexpected chunk number 2 (expected 1) for toast value 4 in pg_toast_3", LogClass.TOAST_DAMAGED),
        ("ERROR", "XX001", "compressed pglz data is corrupt", LogClass.TOAST_DAMAGED),
        ("LOG", "XX001", 'invalid page in block 2 of relation "base/5/16384"', LogClass.INVALID_PAGE),
        ("ERROR", "58P01", 'could not open file "base/5/16422": No such file or directory', LogClass.INVALID_PAGE),
        ("ERROR", "58P01", 'could not open file "/home/x.csv" for reading: No such file or directory', LogClass.OTHER),
        ("ERROR", "58P01", "could not access status of transaction 7", LogClass.INVALID_PAGE),
        ("WARNING", "01000", 'checksum verification failed in file "./base/5/16405", block 1: calculated 8A9C but expected 8276', LogClass.INVALID_PAGE),
        ("ERROR", "XX001", 'heap tuple (0,101) from table "t" lacks matching index tuple within index "t_pkey"', LogClass.INDEX_DAMAGED),
        ("ERROR", "XX000", "pg_attribute catalog is missing 1 attribute(s) for relation OID 16401 at character 15", LogClass.CATALOG_DAMAGED),
        ("WARNING", "01000", 'database "app" has no actual collation version, but a version was recorded', LogClass.COLLATION_MISMATCH),
        ("ERROR", "22003", 'value "3000000000" is out of range for type integer at character 24', LogClass.INTEGER_OUT_OF_RANGE),
        ("FATAL", "3D000", 'database "gone" does not exist', LogClass.NO_SUCH_DATABASE),
        ("FATAL", None, 'database "gone" does not exist', LogClass.NO_SUCH_DATABASE),
        ("ERROR", "3D000", 'database "gone" does not exist', LogClass.OTHER),
        ("LOG", "00000", "statement: DROP TABLE IF EXISTS orders CASCADE;", LogClass.OBJECT_DROPPED),
        ("LOG", None, 'duration: 3.1 ms  execute <unnamed>: drop schema "a b" cascade', LogClass.OBJECT_DROPPED),
        ("LOG", None, "statement: DROP DATABASE shop", LogClass.OBJECT_DROPPED),
        ("LOG", None, "statement: TRUNCATE TABLE orders, lines", LogClass.TABLE_TRUNCATED),
        ("LOG", None, "statement: delete from public.orders ;", LogClass.WHOLE_TABLE_DELETED),
        ("LOG", None, "statement: DELETE FROM orders WHERE 1=1", LogClass.WHOLE_TABLE_DELETED),
        ("LOG", None, "statement: UPDATE orders AS o SET state = 'paid', paid = now()", LogClass.WHOLE_TABLE_UPDATED),
        ("ERROR", None, 'index "z_pkey" contains unexpected zero page at block 1', LogClass.INDEX_DAMAGED),
        ("ERROR", None, 'could not open file "base/5/16422": No such file or directory', LogClass.INVALID_PAGE),
        ("ERROR", None, "pg_attribute catalog is missing 1 attribute(s) for relation OID 16401", LogClass.CATALOG_DAMAGED),
        ("ERROR", None, 'value "3000000000" is out of range for type integer', LogClass.INTEGER_OUT_OF_RANGE),
        # near misses of statements
        ("ERROR", None, "statement: DROP TABLE orders", LogClass.OTHER),
        ("LOG", None, "statement: DROP INDEX orders_i", LogClass.OTHER),
        ("LOG", None, "statement: DROP TABLE a; ALTER ROLE x PASSWORD 'y'", LogClass.OTHER),
        ("LOG", None, "statement: DELETE FROM orders WHERE id = 1", LogClass.OTHER),
        ("LOG", None, "statement: DELETE FROM orders USING old WHERE true", LogClass.OTHER),
        ("LOG", None, "statement: UPDATE orders SET state = 'paid'\nWHERE id = 4", LogClass.OTHER),
        ("LOG", None, "statement: SELECT 'delete from orders'", LogClass.OTHER),
        ("ERROR", "XX002", 'index "orders_pkey" contains unexpected zero page', LogClass.INDEX_DAMAGED),
        ("ERROR", "XX000", "cache lookup failed for relation 16401", LogClass.CATALOG_DAMAGED),
        ("LOG", None, "archiving write-ahead log file \"0001\" failed too many times", LogClass.ARCHIVE_FAILED),
        ("LOG", "00000", "archive command was terminated by signal 9: Killed", LogClass.ARCHIVE_FAILED),
        ("LOG", "00000", "redo in progress, elapsed time: 10.00 s, current LSN: 0/1", LogClass.REDO_IN_PROGRESS),
        ("LOG", None, "database system was interrupted while in recovery at x", LogClass.INTERRUPTED_RECOVERY),
        ("LOG", None, 'lock file "postmaster.pid" contains wrong PID: 1 instead of 2', LogClass.LOCK_FILE_REMOVED),
        ("LOG", None, "database system is ready to accept read only connections", LogClass.READY),
        ("LOG", "00000", "checkpoint starting: immediate force wait", LogClass.CHECKPOINT_FORCED),
        # near misses
        ("LOG", "00000", "checkpoint starting: time", LogClass.OTHER),
        ("ERROR", "42501", "permission denied for table x", LogClass.PERMISSION_DENIED),
        ("ERROR", "42501", 'could not open file "/x" for reading: Permission denied', LogClass.OTHER),
        ("ERROR", "P0001", "received fast shutdown request", LogClass.OTHER),
        ("ERROR", None, "sorry, too many clients already", LogClass.OTHER),
        ("LOG", None, "database system was shut down at 2026-11-21 07:15:17 UTC", LogClass.OTHER),
        ("LOG", None, "statement: SELECT 'database system is shut down'", LogClass.OTHER),
        ("LOG", None, 'could not fsync file "x" but retrying: y', LogClass.OTHER),
        ("WARNING", None, 'could not fsync file "x": y', LogClass.OTHER),
        ("LOG", None, "server process (PID 7) exited with exit code 1", LogClass.OTHER),
        ("FATAL", "57P01", "terminating connection due to administrator command", LogClass.SESSION_ENDED),
        ("LOG", None, "process 7 acquired ShareLock on transaction 5 after 3000 ms", LogClass.OTHER),
        ("", None, "", LogClass.OTHER),
    ],
)  # fmt: skip
def test_a_line_has_its_class(
    severity: str, sqlstate: str | None, message: str, expected: LogClass
) -> None:
    assert classify(severity, sqlstate, message).log_class is expected


@pytest.mark.parametrize(
    "who", ["server process", "client backend", 'background worker "a b (c)"', "startup process"]
)
def test_a_crash_names_process_and_signal(who: str) -> None:
    found = classify("LOG", "00000", f"{who} (PID 4711) was terminated by signal 9: Killed")
    assert (found.log_class, found.named_pid, found.signal) == ("crash_child_signal", 4711, 9)


@pytest.mark.parametrize(
    ("who", "code", "log_class"),
    [
        ("server process", 2, "crash_child_exit"),
        ("client backend", 127, "crash_child_exit"),
        ('background worker "a b (c)"', 2, "crash_child_exit"),
        ('background worker "logical replication worker"', 1, "apply_worker_ended"),
        ('background worker "a b (c)"', 1, "other"),
        ("startup process", 3, "other"),
    ],
)
def test_a_process_that_gives_up_takes_all_others_with_it_unless_it_ended_in_order(
    who: str, code: int, log_class: str
) -> None:
    found = classify("LOG", "00000", f"{who} (PID 4711) exited with exit code {code}")
    assert found.log_class == log_class
    if log_class == "crash_child_exit":
        assert (found.named_pid, found.signal) == (4711, None)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE " + " " * 4000 + "'",
        "UPDATE x SET " + "where" * 900,
        "delete from " + "a." * 2000,
    ],
)
def test_a_huge_hostile_statement_takes_no_time(sql: str) -> None:
    assert classify("LOG", None, f"statement: {sql}").log_class is LogClass.OTHER


def test_a_huge_hostile_message_takes_no_time() -> None:
    assert classify("LOG", None, "could not " + 'x"(PID ' * 200_000).log_class is LogClass.OTHER


# --- real servers ---------------------------------------------------------------------------------

DESTINATION = {"logging_collector": "on", "log_line_prefix": "%m [%p] %q%u@%d "}


def _records(server: ScratchServer) -> list[LogRecord]:
    records: list[LogRecord] = []
    for path in sorted(server.log_path.parent.iterdir()):
        parser = LogParser(LogFormat.of_path(path.name), log_line_prefix="%m [%p] %q%u@%d ")
        records += parser.feed(path.read_bytes()) + parser.flush()
    return records


def _seen(server: ScratchServer, wanted: LogClass) -> LogRecord:
    for _ in range(3000):
        found = [record for record in _records(server) if record.log_class is wanted]
        if found:
            return found[-1]
        os.sched_yield()
    raise AssertionError(f"{wanted} is not in the log:\n{server.log_text()[-1500:]}")


@pytest.fixture(params=["stderr", "csvlog", "jsonlog"])
def logging(
    request: pytest.FixtureRequest, make_server: MakeServer, pg_major: int
) -> ScratchServer:
    kind: str = request.param
    if kind == "jsonlog" and pg_major < 15:
        pytest.skip("jsonlog came with version 15")
    return make_server(conf={**DESTINATION, "log_destination": kind})


def test_a_crashed_backend_is_recognised_in_every_format(logging: ScratchServer) -> None:
    with psycopg.connect(logging.dsn(user="app", dbname="app")) as session:
        pid = session.info.backend_pid
        os.kill(pid, signal.SIGKILL)
        crash = _seen(logging, LogClass.CRASH_CHILD_SIGNAL)
        assert (crash.named_pid, crash.signal) == (pid, 9)
        _seen(logging, LogClass.REINITIALIZING)
        _seen(logging, LogClass.INTERRUPTED_RECOVERY)
        _seen(logging, LogClass.READY)


def test_a_fast_stop_is_recognised_in_every_format(logging: ScratchServer) -> None:
    logging.stop()
    classes = [record.log_class for record in _records(logging)]
    assert LogClass.SHUTDOWN_REQUEST_FAST in classes
    assert LogClass.SHUT_DOWN in classes
    assert LogClass.CRASH_CHILD_SIGNAL not in classes


def _full(server: ScratchServer) -> None:
    server.set_conf(
        {"max_connections": 5, "superuser_reserved_connections": 1, "max_wal_senders": 0}
    )
    server.restart()
    held = [psycopg.connect(server.dsn(user="app", dbname="app")) for _ in range(4)]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn(user="app", dbname="app"))
    for session in held:
        session.close()


def _role_limit(server: ScratchServer) -> None:
    server.query("ALTER ROLE app CONNECTION LIMIT 0")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn(user="app", dbname="app"))


def _unknown_role(server: ScratchServer) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn(dbname="app"), user="nobody; <b>DROP</b> LOG:")


def _rejected(server: ScratchServer) -> None:
    server.add_hba("host all rejected 127.0.0.1/32 reject")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn(dbname="app"), user="rejected")


def _deadlock(server: ScratchServer) -> None:
    dsn = server.dsn(user="app", dbname="app")
    with closing(psycopg.connect(dsn)) as one, closing(psycopg.connect(dsn)) as other:
        one.execute("SELECT pg_advisory_xact_lock(1)")
        other.execute("SELECT pg_advisory_xact_lock(2)")
        one.pgconn.send_query(b"SELECT pg_advisory_xact_lock(2)")
        # One of the two is ended by the server; the other then gets its lock.
        with suppress(psycopg.errors.DeadlockDetected):
            other.execute("SELECT pg_advisory_xact_lock(1)")


def _archive(server: ScratchServer) -> None:
    server.set_conf({"archive_mode": "on", "archive_command": "false"})
    server.restart()
    server.query("SELECT pg_switch_wal()")


def _bad_settings(server: ScratchServer) -> None:
    server.set_conf({"work_mem": "many"})
    server.query("SELECT pg_reload_conf()")


def _tried_with(server: ScratchServer, *settings: str) -> None:
    """A start that ends before it takes the lock file of the server that runs."""
    owner = (server.data_directory / "PG_VERSION").stat()
    command = [str(server.binaries.bin_dir / "postgres"), "-D", str(server.data_directory)]
    root = os.geteuid() == 0
    told = subprocess.run(
        [*command, *(word for setting in settings for word in ("-c", setting))],
        capture_output=True,
        user=owner.st_uid if root else None,
        group=owner.st_gid if root else None,
        extra_groups=[] if root else None,
        check=False,
    )
    assert told.returncode != 0
    with server.log_path.open("ab") as log:
        log.write(told.stderr)


def _may_not_log_in(server: ScratchServer) -> None:
    server.query("CREATE ROLE nobody NOLOGIN")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn(dbname="app"), user="nobody")


def _no_library(server: ScratchServer) -> None:
    server.stop()
    _tried_with(server, "shared_preload_libraries=no_such_library")


def _all_reserved(server: ScratchServer) -> None:
    _tried_with(server, "max_connections=10", "superuser_reserved_connections=10")


def _second_start(server: ScratchServer) -> None:
    pid = server.data_directory / "postmaster.pid"
    command = [str(server.binaries.bin_dir / "postgres"), "-D", str(server.data_directory)]
    assert pid.exists()
    told = subprocess.run(
        command,
        capture_output=True,
        user=pid.stat().st_uid if os.geteuid() == 0 else None,
        group=pid.stat().st_gid if os.geteuid() == 0 else None,
        extra_groups=[] if os.geteuid() == 0 else None,
        check=False,
    )
    with server.log_path.open("ab") as log:
        log.write(told.stderr)


@pytest.mark.parametrize(
    ("provoke", "expected"),
    [
        (_full, LogClass.TOO_MANY_CLIENTS),
        (_role_limit, LogClass.TOO_MANY_FOR_ROLE),
        (_unknown_role, LogClass.ROLE_UNKNOWN),
        (_may_not_log_in, LogClass.LOGIN_NOT_PERMITTED),
        (_rejected, LogClass.HBA_REJECTED),
        (_deadlock, LogClass.DEADLOCK),
        (_archive, LogClass.ARCHIVE_FAILED),
        (_bad_settings, LogClass.CONFIG_ERROR),
        (_second_start, LogClass.LOCK_FILE_EXISTS),
        (_no_library, LogClass.LIBRARY_MISSING),
        (_all_reserved, LogClass.START_GAVE_UP),
    ],
)
def test_the_words_of_a_real_server_are_recognised(
    make_server: MakeServer, provoke: Callable[[ScratchServer], None], expected: LogClass
) -> None:
    server = make_server(conf={"log_line_prefix": "%m [%p] %q%u@%d ", "deadlock_timeout": "50ms"})
    assert expected not in [record.log_class for record in _records(server)]
    provoke(server)
    _seen(server, expected)


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ('User "x" has an expired password.\nConnection matched', LogClass.PASSWORD_EXPIRED),
        ('Role "x" does not exist.\nConnection matched', LogClass.ROLE_UNKNOWN),
        ('Password does not match for user "x".', LogClass.AUTH_FAILED),
        ('Connection matched line 3: "Role "x" does not exist."', LogClass.AUTH_FAILED),
        ("", LogClass.AUTH_FAILED),
    ],
)
def test_why_a_password_was_refused_is_told_by_the_detail(detail: str, expected: LogClass) -> None:
    message = 'password authentication failed for user "x"'
    record = LogRecord(severity="FATAL", sqlstate="28P01", message=message, detail=detail)
    assert classified(record).log_class is expected


@pytest.mark.parametrize("kind", ["csvlog", "stderr"])
def test_a_line_break_in_a_name_costs_stderr_that_record_and_others_nothing(
    make_server: MakeServer, kind: str
) -> None:
    server = make_server(conf={**DESTINATION, "log_destination": kind})
    forged = "x\nLOG:  received fast shutdown"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn(dbname="app"), user=forged)
    _role_limit(server)
    _seen(server, LogClass.TOO_MANY_FOR_ROLE)
    classes = [record.log_class for record in _records(server)]
    assert (LogClass.AUTH_FAILED in classes) == (kind == "csvlog")
    assert classes.count(LogClass.READY) == 1
