"""The machine is busy with something else: other tenants, other programs, a job of our own."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC
from stanch.diagnose.causes.connections import NEVER_RESTART
from stanch.diagnose.causes.ids import (
    CONNECTIONS_LOAD,
    LOAD_SPIKE,
    MAINTENANCE_OVERLOAD,
    NOISY_NEIGHBOUR,
    POOL_EXHAUSTED,
    STATEMENT_TIMEOUTS,
)
from stanch.diagnose.causes.queues import RUNS
from stanch.diagnose.clues import neighbours, pace
from stanch.diagnose.clues.neighbours import jobs
from stanch.diagnose.evidence import Evidence
from stanch.model.symptoms import SymptomKind


def _tell_neighbour(evidence: Evidence) -> str:
    clues = (neighbours.cpu_stolen, neighbours.programs_burn, neighbours.load_of_others)
    said = [answer.text for clue in clues if (answer := clue.ask(evidence)).yes]
    return f"Somebody else uses the machine: {'; '.join(said) or 'who is not known'}."


noisy_neighbour = Cause(
    id=NOISY_NEIGHBOUR,
    section=Section.WORK,
    sentence="Other virtual machines on the host, or other programs on the machine, take "
    "processors and disks; the server has no more to do than usual and takes longer for it.",
    onset=Onset.AT_ONCE,
    impact="At once for all: everything is slower by the same factor.",
    prior=-3.0,
    weighs=(
        Weigh(clue=neighbours.cpu_stolen, yes=4.5, no=-1.0, now=True),
        Weigh(clue=neighbours.load_of_others, yes=4.0, no=-1.0, now=True),
        Weigh(clue=neighbours.programs_burn, yes=6.5, no=-0.5, now=True),
        Weigh(clue=pace.less_done, yes=1.0, no=-0.5, now=True),
        Weigh(clue=pace.more_done, yes=-2.0, no=0.0, now=True),
        Weigh(clue=neighbours.job_runs, yes=-1.5, no=0.0, now=True),
    ),
    tell=_tell_neighbour,
    facts=lambda _e: (("server_running", True),),
    apart={
        LOAD_SPIKE: "Does the server do more than usual, or the same more slowly?",
        MAINTENANCE_OVERLOAD: "Does a backup, dump or rebuild of this server run (pg_stat_progress_"
        "basebackup, pg_stat_activity)?",
    },
    symptoms=(SymptomKind.CPU_STOLEN, SymptomKind.LOAD_HIGH, SymptomKind.LATENCY_UNUSUAL),
    brings_about=(CONNECTIONS_LOAD, POOL_EXHAUSTED, STATEMENT_TIMEOUTS),
    safe_first="Find the neighbour on the host (or ask the provider) and slow it down, or move the "
    "machine.",
    never=(
        "Do not tune PostgreSQL for it: nothing in it has changed.",
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", "end_blocking_session", *RUNS),
    runbook="",
    source=f"{DOC}monitoring.html",
    shown_by=(
        (neighbours.cpu_stolen, True),
        (neighbours.load_of_others, True),
        (neighbours.programs_burn, True),
    ),
)


def _tell_job(evidence: Evidence) -> str:
    found = jobs(evidence)
    slow = [
        answer.text
        for clue in (pace.less_done, pace.piled_up, neighbours.on_disk, neighbours.dumps_burn)
        if (answer := clue.ask(evidence)).yes
    ]
    what = ", ".join(found[:3]) or "a job"
    return f"Under way: {what[:140]}; meanwhile {'; '.join(slow) or 'others are slow'}."


maintenance_overload = Cause(
    id=MAINTENANCE_OVERLOAD,
    section=Section.WORK,
    sentence="A backup, a dump, a bulk COPY or a rebuild takes the disks (or processors) that "
    "everybody else needs.",
    onset=Onset.AT_ONCE,
    impact="While it runs, for all; it is over when the job is.",
    prior=-4.0,
    weighs=(
        Weigh(clue=neighbours.job_runs, yes=3.0, no=-6.0, now=True),
        Weigh(clue=pace.less_done, yes=2.0, no=-2.0, now=True),
        Weigh(clue=pace.piled_up, yes=1.5, no=-2.0, now=True),
        Weigh(clue=neighbours.on_disk, yes=1.0, no=-1.0, now=True),
        Weigh(clue=neighbours.dumps_burn, yes=3.0, no=0.0, now=True),
        Weigh(clue=pace.more_done, yes=-2.0, no=0.0, now=True),
    ),
    tell=_tell_job,
    facts=lambda e: (
        ("server_running", True),
        ("job", found[0] if (found := jobs(e)) else None),
    ),
    subject=lambda e: found[0] if (found := jobs(e)) else "",
    apart={
        LOAD_SPIKE: "Does the slowness begin and end with the job?",
    },
    symptoms=(SymptomKind.LATENCY_UNUSUAL, SymptomKind.LONG_DUMP, SymptomKind.LOAD_HIGH),
    brings_about=(CONNECTIONS_LOAD, POOL_EXHAUSTED, STATEMENT_TIMEOUTS),
    safe_first="Slow the job down (rate limit, fewer processes) or move it to a standby and a "
    "quiet hour.",
    never=(
        "Do not end a base backup before you know that there is another good one.",
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", "end_blocking_session", *RUNS),
    runbook="",
    source=f"{DOC}app-pgbasebackup.html",
    shown_by=((neighbours.job_runs, True),),
)
