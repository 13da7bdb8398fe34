"""Evidence on which causes in the machine, the start and the settings have to be named."""

from __future__ import annotations

from dataclasses import replace

import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.inside import Retention
from stanch.diagnose.outside import Control, Kernel, LogEvent, ServerProcesses
from stanch.model.diagnosis import Missing
from stanch.model.ports.traces import StartFiles

NOT_SERVED = Missing(what="sessions", reason="no session: starting_up")
NO_CONTROL = Missing(what="control", reason="the control file could not be read as one")


def last_words(*events: LogEvent) -> Evidence:
    """Stopped in order; then a start gave up."""
    ordered = (
        w.line("shutdown_request_fast", 40, "received fast shutdown request"),
        w.line("shut_down", 39, "database system is shut down"),
    )
    return replace(w.STOPPED, log=w.log(*ordered, *events))


def fatal(kind: str, text: str, **more: str) -> LogEvent:
    return w.line(kind, 20, text, **({"severity": "FATAL"} | more))


SHUT_DOWN = w.line("shut_down", 20, "database system is shut down", severity="LOG")
INCOMPATIBLE = fatal(
    "start_gave_up",
    "database files are incompatible with server",
    detail="The data directory was initialized by PostgreSQL version 15, which is not compatible "
    "with this version 18.6.",
)
NO_HUGE_PAGES = fatal(
    "start_gave_up", "could not map anonymous shared memory: Cannot allocate memory"
)
NO_LIBRARY = fatal("library_missing", 'could not access file "pg_cron": No such file or directory')
BAD_VALUE = w.line(
    "config_error", 20, 'invalid value for parameter "shared_buffers": "lots"', severity="LOG"
)
CONTAINS_ERRORS = fatal("config_error", 'configuration file "/srv/pg/x.conf" contains errors')
NO_CHECKPOINT = (
    fatal("no_checkpoint", "could not locate a valid checkpoint record", severity="PANIC"),
    w.line(
        "crash_child_signal", 20, "startup process (PID 7) was terminated by signal 6", signal=6
    ),
    SHUT_DOWN,
)
UPGRADED = w.read(
    StartFiles(
        version="15", control_file=True, upgrade_output="20260301T024500.123", upgrade_at=w.ago(600)
    )
)
SET_ASIDE = w.read(StartFiles(version="15", control_file=False, control_set_aside=True))
NO_DATABASE = fatal("start_gave_up", "could not find the database system")


def progress(seconds_ago: float, elapsed: int, lsn: str) -> LogEvent:
    text = f"redo in progress, elapsed time: {elapsed}.00 s, current LSN: {lsn}"
    return w.line("redo_in_progress", seconds_ago, text, severity="LOG")


RECOVERS = (
    w.line("starting", 120),
    w.line("interrupted_recovery", 120, "database system was interrupted; last known up at x"),
    w.line("redo_in_progress", 119, "redo starts at 1/00000028"),
    progress(29, 90, "1/40000000"),
    progress(19, 100, "1/4A000000"),
    progress(9, 110, "1/54000000"),
)
RECOVERING = w.down(
    reach=w.reach("starting_up"),
    sessions=NOT_SERVED,
    chains=NOT_SERVED,
    log=w.log(*RECOVERS),
    processes=w.read(
        ServerProcesses(
            postmaster_pid=w.PID,
            children=4,
            recovering="postgres: startup recovering 000000010000000100000054",
        )
    ),
    lock_file=w.LIVE_LOCK,
    control=w.read(Control(state="in crash recovery", system_identifier="7")),
    retention=w.read(Retention(wal_end_bytes=(1 << 32) + 0x68000000)),
)
OOM_LINE = w.line(
    "out_of_memory",
    15,
    "out of memory",
    severity="ERROR",
    sqlstate="53200",
    who="report@app (nightly)",
    detail='Failed on request of size 1048576 in memory context "ExecutorState".',
)
SHM_LINE = w.line(
    "no_space_shared_memory",
    15,
    'could not resize shared memory segment "/PostgreSQL.118" to 8388608 bytes: No space left on '
    "device",
    severity="ERROR",
    sqlstate="53100",
    who="report@app (nightly)",
)
FORK_LINE = w.line(
    "fork_failed",
    15,
    "could not fork new process for connection: Resource temporarily unavailable",
    severity="LOG",
)
EXTENSION_LINE = w.line(
    "library_missing",
    15,
    'could not access file "$libdir/postgis-3": No such file or directory',
    severity="ERROR",
    sqlstate="58P01",
    who="app@app (shop)",
)
RELOADED = w.line("reloaded", 30, "received SIGHUP, reloading configuration files", severity="LOG")
REFUSED_VALUE = w.line(
    "config_error", 30, 'invalid value for parameter "work_mem": "lots"', severity="LOG"
)
UNAFFECTED = w.line(
    "config_error",
    30,
    'configuration file "/srv/pg/x.conf" contains errors; unaffected changes were applied',
    severity="LOG",
)
NEEDS_RESTART = w.line(
    "needs_restart",
    30,
    'parameter "max_connections" cannot be changed without restarting the server',
    severity="LOG",
)
PENDING = w.figure("settings_pending_restart", 1, "", "max_connections")
MEMORY_GONE = w.read(
    Kernel(oom_kills=0, memory_total_bytes=16 * w.GIB, memory_available_bytes=w.GIB // 2)
)

CASES: dict[str, Evidence] = {
    "version_mismatch": last_words(INCOMPATIBLE),
    "kernel_resources_short": last_words(NO_HUGE_PAGES, SHUT_DOWN),
    "preload_library_missing": last_words(NO_LIBRARY, SHUT_DOWN),
    "no_valid_checkpoint": last_words(*NO_CHECKPOINT),
    "bad_configuration": last_words(BAD_VALUE, CONTAINS_ERRORS),
    "upgrade_failed": replace(w.STOPPED, files=UPGRADED),
    "long_recovery": RECOVERING,
    "out_of_memory": w.healthy(log=w.log(OOM_LINE)),
    "shared_memory_small": w.healthy(log=w.log(SHM_LINE)),
    "os_limit_reached": w.healthy(log=w.log(FORK_LINE)),
    "extension_library_missing": w.healthy(log=w.log(*[EXTENSION_LINE] * 4)),
    "reload_refused": w.healthy(log=w.log(RELOADED, REFUSED_VALUE, UNAFFECTED)),
    "restart_pending": w.healthy(
        figures=w.figures(*w.HEALTHY_FIGURES, PENDING, **w.SETTINGS),
        log=w.log(RELOADED, NEEDS_RESTART, UNAFFECTED),
    ),
    "clock_wrong": w.healthy(
        history=w.history(*w.HEALTHY_COURSES, w.course("clock_offset_s", 0.01, 95.0))
    ),
    "work_mem_too_high": w.healthy(
        kernel=MEMORY_GONE,
        activity=w.activity(w.doing(40)),
        figures=w.figures(*w.HEALTHY_FIGURES, **(w.SETTINGS | {"work_mem": "512MB"})),
    ),
}
