"""Who else uses the machine: other tenants, other programs, and jobs of the server's own."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course
from stanch.diagnose.clues.work import IDLE_SHARE_MAX, at_work
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.history import Course, History
from stanch.diagnose.inside import Activity
from stanch.model.host import ProcessorUse

STEAL_PCT = 10.0
"""As the rule `cpu_stolen` has it."""
OTHERS_LOAD = 1.5
OTHERS_TIMES = 2.0
QUIET_TIMES = 1.3
QUIET_MORE = 1.0
BURNS_FROM = 0.4
"""Of one processor."""
BURNT_SHARE = 0.6
WAITS_SHARE = 0.2
WANTED_MIN = 0.4
"""Of one processor, by the server: what hardly wants one loses nothing by waiting for it."""
IO_SHARE = 0.5
IO_MIN = 3
JOB_SHARE_MIN = 0.25
JOBS = ("pg_dump", "pg_dumpall", "pg_basebackup", "pgbackrest", "wal-g", "barman", "vacuumdb")
PROGRESS = {
    "basebackup": "a base backup",
    "copy": "COPY",
    "cluster": "CLUSTER or VACUUM FULL",
    "create index": "an index being built",
}


def _stolen(course: Course, _evidence: Evidence) -> YES_NO:
    if course.now is None:
        return "stolen processor time is not read any more"
    usually = "" if course.usual is None else f", usually {course.usual:.0f} %"
    often = course.usual is not None and course.now < 2 * course.usual
    said = f"{course.now:.0f} % of processor time goes to other machines{usually}"
    return course.now >= STEAL_PCT and not often, said


def _load_of_others(history: History, _evidence: Evidence) -> YES_NO:
    load, active = history.of("load_per_cpu"), history.of("active_sessions")
    if load is None or load.now is None or load.usual is None:
        return "the machine's load is not recorded"
    if active is None or active.now is None or active.usual is None:
        return "what the server itself usually does is not recorded"
    said = (
        f"load for each processor {load.now:.1f}, usually {load.usual:.1f}, with "
        f"{active.now:.0f} sessions active, usually {active.usual:.0f}"
    )
    loaded = load.now >= OTHERS_LOAD and load.now >= OTHERS_TIMES * load.usual
    quiet = active.now <= QUIET_TIMES * active.usual + QUIET_MORE
    return loaded and quiet, said


def _programs_burn(use: ProcessorUse, _evidence: Evidence) -> YES_NO:
    """A few programs that go on and on; many that come and go are told by the load. A busy machine
    on which the server gets its processor at once has no bad neighbours."""
    burning = [program for program in use.programs if program.used >= BURNS_FROM]
    theirs = sum(program.used for program in burning)
    said = f"other programs use little of {use.processors} processors"
    if burning:
        names = ", ".join(f"{p.name[:30]} (pid {p.pid})" for p in burning[:3])
        said = f"{names} use {theirs:.1f} of {use.processors} processors"
    waited = use.server_waited_share
    said += f", the server {use.server:.1f}"
    said += "" if waited is None else f", and it waits for one {waited:.0%} of its time"
    taken = theirs >= BURNT_SHARE * (use.processors - use.looking) and theirs >= 2 * use.server
    full = use.idle <= IDLE_SHARE_MAX * use.processors
    return taken and full and _is_short(use), said


def _is_short(use: ProcessorUse) -> bool:
    """The server wants more than it gets."""
    waited = use.server_waited_share
    if waited is None:
        return use.server >= WANTED_MIN / 2
    wanted = use.server / max(0.01, 1 - waited)
    return waited >= WAITS_SHARE and wanted >= WANTED_MIN


def jobs(evidence: Evidence) -> tuple[str, ...]:
    """Backups, dumps and rebuilds under way, in words."""
    found: list[str] = []
    figures, activity = value_of(evidence.figures), value_of(evidence.activity)
    for one in figures.named("progress") if figures else ():
        if one.value and one.subject in PROGRESS:
            phase = f" ({one.detail[:60]})" if one.detail else ""
            found.append(f"{PROGRESS[one.subject]}{phase}")
    for doing in activity.doings if activity else ():
        name = doing.application_name
        if doing.state == "active" and name.casefold().startswith(JOBS):
            found.append(f'"{name[:60]}" (pid {doing.oldest_pid})')
    return tuple(dict.fromkeys(found))


def _job_runs(_activity: Activity, evidence: Evidence) -> YES_NO:
    if found := jobs(evidence):
        return True, f"under way: {', '.join(found[:4])}"
    return False, "no backup, dump, COPY or rebuild is under way"


def _dumps_burn(use: ProcessorUse, _evidence: Evidence) -> YES_NO:
    dumps = [one for one in use.programs if one.name in JOBS]
    share = sum(one.used for one in dumps) / use.processors
    names = ", ".join(sorted({one.name for one in dumps})) or "none of them"
    full = use.idle <= IDLE_SHARE_MAX * use.processors
    said = f"{names} on {share:.0%} of the processors, of which {use.idle:.1f} are idle"
    return full and share >= JOB_SHARE_MIN, said


def _on_disk(activity: Activity, _evidence: Evidence) -> YES_NO:
    doings = at_work(activity)
    total = sum(one.sessions for one in doings)
    waiting = sum(one.sessions for one in doings if one.wait_type == "IO")
    said = f"{waiting} of {total} sessions at work wait for the disk"
    return waiting >= IO_MIN and waiting >= IO_SHARE * total, said


cpu_stolen = clue_on_course(
    "cpu_stolen",
    "Is processor time stolen by other machines on the same host?",
    ("cpu_steal_pct", ""),
    _stolen,
)
load_of_others = clue_on(
    "load_of_others",
    "Is the machine loaded while the server does no more than usual?",
    lambda e: e.history,
    _load_of_others,
    reads=("load_per_cpu", "active_sessions"),
)
programs_burn = clue_on(
    "programs_burn",
    "Do a few other programs use most of the processors, so that the server waits for one?",
    lambda e: e.machine,
    _programs_burn,
)
job_runs = clue_on(
    "job_runs",
    "Is a backup, a dump, a COPY or a rebuild under way?",
    lambda e: e.activity,
    _job_runs,
    reads=("progress",),
)
dumps_burn = clue_on(
    "dumps_burn",
    "Does a dump take much of the processors, while none is idle?",
    lambda e: e.machine,
    _dumps_burn,
)
on_disk = clue_on(
    "on_disk",
    "Do most sessions at work wait for the disk?",
    lambda e: e.activity,
    _on_disk,
)
