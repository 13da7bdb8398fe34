"""Processes and the machine below them: kills, crashes, stops, failed starts, memory, the clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stanch.adapters.postgres.os_user import OsUser, as_user
from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means import slow_disk, words
from stanch.drill.lab.means.clock import own_clock, set_clock
from stanch.drill.lab.means.control_group import limit_memory
from stanch.drill.lab.means.slow_disk import forget_cached, wal_on_slow_disk
from stanch.drill.lab.means.starting import does_not_start, enclose, killed, recovers_from
from stanch.drill.lab.rig import Rig

# --- killed, crashed, stopped, paused -----------------------------------------------------------

COUNT_SQL = "SELECT count(*) FROM pg_proc a, pg_proc b, pg_proc c"
"""Keeps a backend busy for minutes, in next to no memory."""


def _postmaster_killed(rig: Rig) -> None:
    application = words.application(rig.rng)
    for _ in range(rig.rng.randint(0, 8)):
        rig.session(application).execute("SELECT 1")
    killed(rig)


def _backend_killed(rig: Rig) -> None:
    _signal_a_backend(rig, signal.SIGKILL)


def _backend_crashed(rig: Rig) -> None:
    _signal_a_backend(rig, rig.rng.choice((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)))


def _signal_a_backend(rig: Rig, number: signal.Signals) -> None:
    session = rig.session(words.application(rig.rng))
    pid = session.info.backend_pid
    if rig.rng.random() < 0.5:
        rig.send(session, COUNT_SQL)
        rig.until(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'")
    else:
        rig.run(session, "SELECT 1")
    said = f"(PID {pid}) was terminated by signal {int(number)}"
    recovers_from(rig, lambda: os.kill(pid, number), said)


def _stopped_fast(rig: Rig) -> None:
    rig.server.stop("fast")


def _stopped_immediately(rig: Rig) -> None:
    rig.server.stop("immediate")


def _postmaster_paused(rig: Rig) -> None:
    rig.server.pause()
    rig.undo(rig.server.resume)


# --- down, and the next start is in vain --------------------------------------------------------

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
"""The kernel gives the next process the number after this one, if it is free."""

PID_TAKEN_S = 5.0
STRANGERS: Sequence[Sequence[str]] = (
    ("sleep", "3600"),
    ("tail", "-f", "/dev/null"),
    ("/bin/sh", "-c", "while :; do sleep 600; done"),
)


def _lock_file_of_the_dead(rig: Rig) -> None:
    pid = killed(rig)
    stranger = _take_pid(rig, pid, rig.rng.choice(STRANGERS))
    rig.undo(lambda: _end(stranger))
    does_not_start(rig, 'lock file "postmaster.pid" already exists', leaving_s_max=0.0)


def _take_pid(rig: Rig, pid: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A process of the server's user under exactly this PID. Raises: NotMade."""
    end = time.monotonic() + PID_TAKEN_S
    while time.monotonic() < end:
        # The dead server's number is free only once somebody has collected its remains.
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if Path(f"/proc/{pid}").exists():
            time.sleep(0.01)
            continue
        LAST_PID.write_text(str(pid - 1))
        process = _program(command, rig.server.folder.user)
        if process.pid == pid:
            return process
        _end(process)
    raise NotMade(f"PID {pid} could not be had within {PID_TAKEN_S:g} s")


def _program(command: Sequence[str], user: OsUser | None = None) -> subprocess.Popen[bytes]:
    """Something of that user that has nothing to do with the server."""
    return subprocess.Popen(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **as_user(user),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        # With whatever it has started itself: it leads a session of its own.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


MODES = (0o755, 0o777, 0o770, 0o775)
"""What somebody sets who is told "permission denied" and wants to be rid of it."""

FORBIDDEN = (
    "invalid permissions",
    "wrong ownership",
    "Permission denied",
    "could not access directory",
    "could not open",
)


def _permissions_changed(rig: Rig) -> None:
    killed(rig)
    data = rig.server.data_directory
    way = rig.rng.choice(("mode", "owner", "all") if os.geteuid() == 0 else ("mode",))
    if way == "mode":
        data.chmod(rig.rng.choice(MODES))
    elif way == "owner":
        os.chown(data, 0, 0)
    else:
        # chown -R, by somebody who copied the files back as root.
        for folder, _, names in os.walk(data):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                os.chown(path, 0, 0, follow_symlinks=False)
    does_not_start(rig, *FORBIDDEN)


LISTENER = """
import socket, sys, time
door = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    guest, _ = door.accept()
    if sys.argv[3] == "closes":
        guest.close()
    elif sys.argv[3] == "greets":
        guest.sendall(b"220 mail.example.com ESMTP\\r\\n")
        guest.close()
    else:
        globals().setdefault("guests", []).append(guest)
"""
LISTENER_WAYS = ("closes", "greets", "says nothing", "http")


def _port_taken(rig: Rig) -> None:
    rig.server.stop("fast")
    way, at, port = rig.rng.choice(LISTENER_WAYS), "127.0.0.1", str(rig.server.port)
    if way == "http":
        # It serves the folder of sockets, which is empty while the server is down.
        where = ("--bind", at, "--directory", str(rig.server.folder.sockets))
        command = (sys.executable, "-m", "http.server", port, *where)
    else:
        command = (sys.executable, "-c", LISTENER, at, port, way)
    other = _program(command)
    rig.undo(lambda: _end(other))
    rig.until(lambda: _listens(other.pid, rig.server.port))
    does_not_start(rig, "could not bind")


def _listens(pid: int, port: int) -> bool:
    """Whether it is alive and somebody listens there; asked without a connection."""
    wanted = f":{port:04X} 00000000:0000 0A "
    alive = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return alive and wanted in Path("/proc/net/tcp").read_text()


CHECKPOINT_SQL = "SELECT pg_walfile_name(checkpoint_lsn) FROM pg_control_checkpoint()"


def _newest_wal_deleted(rig: Rig) -> None:
    rig.admin("CHECKPOINT")
    [(newest,)] = rig.admin(CHECKPOINT_SQL)
    killed(rig)
    wal = rig.server.data_directory / "pg_wal"
    for path in wal.iterdir():
        # What cleans up by age or by name takes those after the last checkpoint as well.
        if path.is_file() and path.name >= newest:
            path.unlink()
    does_not_start(rig, "could not locate a valid checkpoint record")


# --- memory -------------------------------------------------------------------------------------

HUNGRY = (
    # Each of them wants between one and several gigabytes.
    "SELECT length(string_agg(repeat('x', 1000), '')) FROM (SELECT generate_series(1, 900000)) s",
    "SELECT cardinality(array_agg(md5(n::text))) FROM (SELECT generate_series(1, 20000000) n) s",
    "SELECT length(jsonb_agg(md5(n::text))::text) FROM (SELECT generate_series(1, 9000000) n) s",
)


def _little_memory(rig: Rig) -> None:
    limit_memory(rig, rig.rng.randint(160, 400))


def _backend_eats_memory(rig: Rig) -> None:
    session, hungry = rig.session(words.job(rig.rng)), rig.rng.choice(HUNGRY)
    said = f"(PID {session.info.backend_pid}) was terminated by signal 9"
    recovers_from(rig, lambda: rig.send(session, hungry), said)


ADDRESS_SPACE_KB = (300_000, 450_000)
"""As ulimit -v takes it; an idle backend has 220,000."""


def _little_address_space(rig: Rig) -> None:
    script = f'ulimit -v {rig.rng.randint(*ADDRESS_SPACE_KB)}; exec "$@"'
    enclose(rig, "/bin/sh", "-c", script, "-")


def _queries_get_no_memory(rig: Rig) -> None:
    for _ in range(rig.rng.randint(1, 3)):
        hungry, application = rig.rng.choice(HUNGRY), words.application(rig.rng)
        rig.keep_asking(hungry, application=application, pause_s=rig.rng.uniform(0.3, 1.5))
    rig.logged("out of memory")


# --- a long recovery ----------------------------------------------------------------------------

WAL_DISK_MB = 700
WAL_READ_MB_PER_S = (2, 4)


def _slow_wal_disk(rig: Rig) -> None:
    speed = rig.rng.randint(*WAL_READ_MB_PER_S)
    wal_on_slow_disk(rig, size_mb=WAL_DISK_MB, read_mb_per_s=speed)


def _machine_reset_after_a_bulk_load(rig: Rig) -> None:
    table, rows = words.table(rig.rng), rig.rng.randint(240_000, 340_000)
    filler = "repeat(md5(n::text), 30)"
    rig.sql(f"CREATE TABLE {table} AS SELECT n, {filler} FROM generate_series(1, {rows}) n")
    killed(rig)
    forget_cached(rig)
    folder = rig.server.folder
    start = [rig.server.binaries.program("pg_ctl"), "-D", folder.data, "-l", folder.log]
    folder.run_inside(rig.server.options.enter, [*start, "-W", "start"])
    # A recovery of one second is nothing: from 15 on the server says when it takes ten.
    rig.logged("redo in progress" if rig.server.binaries.major >= 15 else "redo starts at")


# --- the clock ----------------------------------------------------------------------------------


def _clock_jumps(rig: Rig) -> None:
    set_clock(rig, rig.rng.choice((-1, 1)) * rig.rng.uniform(1.5, 30) * 3600)


FAULTS = (
    Fault(
        id="postmaster-killed",
        area=Area.PROCESS,
        story="Somebody killed the postmaster with kill -9, and nothing started it again.",
        causes=("killed",),
        make=_postmaster_killed,
        answers=False,
    ),
    Fault(
        id="backend-killed",
        area=Area.PROCESS,
        story="Somebody ended one session with kill -9, and the server started itself anew.",
        causes=("killed",),
        make=_backend_killed,
        is_over=True,
    ),
    Fault(
        id="backend-crashed",
        area=Area.PROCESS,
        story="A backend crashed in its own code, and the server started itself anew.",
        causes=("crashed",),
        make=_backend_crashed,
        is_over=True,
    ),
    Fault(
        id="stopped-fast",
        area=Area.PROCESS,
        story="Somebody stopped the server with pg_ctl stop, and told nobody.",
        causes=("stopped_cleanly",),
        make=_stopped_fast,
        answers=False,
    ),
    Fault(
        id="stopped-immediately",
        area=Area.PROCESS,
        story="Somebody in a hurry stopped the server with -m immediate.",
        causes=("stopped_cleanly",),
        make=_stopped_immediately,
        answers=False,
    ),
    Fault(
        id="postmaster-paused",
        area=Area.PROCESS,
        story="The postmaster was sent SIGSTOP; whoever connects waits for ever.",
        causes=("postmaster_stopped",),
        make=_postmaster_paused,
        answers=False,
    ),
    Fault(
        id="pid-taken",
        area=Area.PROCESS,
        story="The postmaster was killed, another process got its PID, and the start was refused.",
        causes=("stale_lock_file",),
        make=_lock_file_of_the_dead,
        needs=Needs(root=True),
        answers=False,
    ),
    Fault(
        id="data-permissions-changed",
        area=Area.PROCESS,
        story="After a kill somebody changed the data directory's owner or mode: no start since.",
        causes=("cannot_start",),
        make=_permissions_changed,
        answers=False,
    ),
    Fault(
        id="port-taken",
        area=Area.PROCESS,
        story="While the server was down for a minute, another program took its port.",
        causes=("cannot_start",),
        make=_port_taken,
        answers=False,
    ),
    Fault(
        id="newest-wal-deleted",
        area=Area.PROCESS,
        story="After a kill somebody made room by deleting the newest files in pg_wal.",
        causes=("no_valid_checkpoint",),
        make=_newest_wal_deleted,
        answers=False,
    ),
    Fault(
        id="memory-limit-kill",
        area=Area.PROCESS,
        story="A query ate all the memory that the service may have; the kernel killed it.",
        causes=("oom_killed",),
        make=_backend_eats_memory,
        needs=Needs(root=True, prepare=(_little_memory,)),
        is_over=True,
    ),
    Fault(
        id="address-space-limit",
        area=Area.PROCESS,
        story="The server runs under ulimit -v, and large queries fail with out of memory.",
        causes=("out_of_memory",),
        make=_queries_get_no_memory,
        needs=Needs(prepare=(_little_address_space,)),
        shows_after_s=3.0,
    ),
    Fault(
        id="reset-with-slow-disk",
        area=Area.PROCESS,
        story="The machine went down hard after a bulk load, and reads its WAL from a slow volume.",
        causes=("long_recovery",),
        make=_machine_reset_after_a_bulk_load,
        needs=Needs(
            root=True,
            conf={"max_wal_size": "4GB", "checkpoint_timeout": "1h"},
            programs=slow_disk.PROGRAMS,
            prepare=(_slow_wal_disk,),
        ),
        # After ten seconds its pace tells how long it will take.
        shows_after_s=12.0,
        answers=False,
    ),
    Fault(
        id="clock-jumped",
        area=Area.PROCESS,
        story="The machine's clock was set hours off while the server ran.",
        causes=("clock_wrong",),
        make=_clock_jumps,
        needs=Needs(prepare=(own_clock,)),
        shows_after_s=3.0,
    ),
)
