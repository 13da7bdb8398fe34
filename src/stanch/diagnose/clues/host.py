"""What the machine gives its server: memory, processes, open files, shared memory, the time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course, clue_on_log
from stanch.diagnose.clues import memory
from stanch.diagnose.evidence import Evidence, is_lately, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course
from stanch.diagnose.outside import Kernel, Log, LogEvent
from stanch.model.diagnosis import Missing
from stanch.model.shown import human_bytes, span

RECENT_S = 900.0
MEMORY_SHORT_SHARE = 0.1
"""Of all memory; page cache counts as available."""
CLAIM_SHARE_MIN = 0.5
"""Of all memory, that the sessions at work may take for one sort each."""
WORK_MEM_LARGE = 32 * 1024 * 1024
"""Below it, hundreds of sessions are needed to fill any machine: then they are the cause."""
CLOCK_OFF_S = 2.0
"""From where on the watch says so."""
CLOCK_DIFFERS_S = 5.0
"""More than passes between the server's answer and the moment that is noted for it."""
DISORDER = timedelta(seconds=5)
"""Two processes write their lines in another order by milliseconds, never by this."""
NO_PROCESS = "Resource temporarily unavailable"
"""EAGAIN: a limit of processes. A fork for which there is no memory says so."""


# --- memory ---------------------------------------------------------------------------------------


def newest(evidence: Evidence, *kinds: str) -> LogEvent | None:
    """The last line of these kinds that is not too old."""
    log = value_of(evidence.log)
    event = log.newest(*kinds) if log else None
    if event is None or event.at is None:
        return event
    return event if (evidence.at - event.at).total_seconds() <= RECENT_S else None


out_of_memory = clue_on_log(
    "out_of_memory_logged",
    "Does the log show sessions that were refused memory (53200)?",
    ("out_of_memory",),
    within_s=RECENT_S,
)
shared_memory_refused = clue_on_log(
    "shared_memory_refused",
    "Does the log show shared memory of parallel queries that could not grow (53100)?",
    ("no_space_shared_memory",),
    within_s=RECENT_S,
)


def _memory_short(kernel: Kernel, _evidence: Evidence) -> YES_NO:
    total, available = kernel.memory_total_bytes, kernel.memory_available_bytes
    if not total or available is None:
        return "how much memory is available was not read"
    said = f"{human_bytes(available)} of {human_bytes(total)} of memory are available"
    return available / total <= MEMORY_SHORT_SHARE, said


memory_short = clue_on(
    "memory_short", "Is nearly all memory taken?", lambda e: e.kernel, _memory_short
)


def _ran_out(kernel: Kernel, evidence: Evidence) -> YES_NO:
    """Who was killed for it gave the memory back: a moment later there is enough again."""
    kill = memory.oom_kill(evidence)
    if kill is not None and is_lately(evidence, kill.at):
        ago = span((evidence.at - kill.at).total_seconds())
        said = f"{ago} ago the kernel killed process {kill.pid} ({kill.name}) for want of memory"
        return True, said, kill.at
    if kernel.new_oom_kills and kernel.own_group:
        return True, "the kernel has killed in this server's control group for want of memory"
    return _memory_short(kernel, evidence)


memory_ran_out = clue_on(
    "memory_ran_out",
    "Is nearly all memory taken, or did the kernel kill this server's processes for it lately?",
    lambda e: e.kernel,
    _ran_out,
)


_MEMORY = re.compile(r"(\d{1,12})(kB|MB|GB|TB|B)?")
_UNITS = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


def memory_bytes(setting: str) -> int | None:
    """`64MB` as the server writes it; a bare number is of kB, as work_mem counts."""
    match = _MEMORY.fullmatch(setting.strip())
    return int(match[1]) * _UNITS[match[2] or "kB"] if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the sessions at work may take, if each sorts or hashes once."""

    work_mem: int
    whose: str
    """`role@database` whose own setting it is; empty: everybody's."""
    sessions: int

    @property
    def bytes(self) -> int:
        return self.work_mem * self.sessions


def largest_claim(evidence: Evidence) -> Claim | None:
    """The most that any one setting of work_mem allows the sessions of the moment."""
    figures, activity = value_of(evidence.figures), value_of(evidence.activity)
    common = memory_bytes(figures.setting("work_mem") or "") if figures else None
    if figures is None or activity is None or common is None:
        return None
    clients = [
        d for d in activity.doings if d.backend_type in {"client backend", "parallel worker"}
    ]
    active = [d for d in clients if d.state == "active"]
    claims = [Claim(work_mem=common, whose="", sessions=sum(d.sessions for d in active))]
    for whose, work_mem in _own_settings(figures):
        role, _, database = whose.rpartition("@")
        sessions = sum(
            d.sessions for d in active if role in {"", d.usename} and database in {"", d.datname}
        )
        claims.append(Claim(work_mem=work_mem, whose=whose, sessions=sessions))
    return max(claims, key=lambda claim: (claim.bytes, claim.whose))


def _own_settings(figures: Figures) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for figure in figures.named("role_settings"):
        for part in figure.detail.split(", "):
            name, _, value = part.partition("=")
            amount = memory_bytes(value) if name == "work_mem" else None
            if amount is not None:
                found.append((figure.subject, amount))
    return found


def _claims(figures: Figures, evidence: Evidence) -> YES_NO:
    claim, kernel = largest_claim(evidence), value_of(evidence.kernel)
    if claim is None:
        return "work_mem was not told"
    if kernel is None or not kernel.memory_total_bytes:
        return "how much memory there is was not read"
    whose = f" (of {claim.whose})" if claim.whose else ""
    each = f"{claim.sessions} sessions at work with work_mem = {human_bytes(claim.work_mem)}{whose}"
    large = claim.work_mem >= WORK_MEM_LARGE
    share = claim.bytes / kernel.memory_total_bytes
    said = f"{each}: {human_bytes(claim.bytes)} of {human_bytes(kernel.memory_total_bytes)}"
    return large and share >= CLAIM_SHARE_MIN, said


work_mem_claims = clue_on(
    "work_mem_claims",
    "May the sessions at work take half of all memory by their work_mem alone?",
    lambda e: e.figures,
    _claims,
    reads=("setting", "role_settings"),
)


# --- processes and open files -------------------------------------------------------------------


def no_process(evidence: Evidence) -> LogEvent | None:
    """The last fork that a limit of processes refused."""
    return _last_of(evidence, "fork_failed", NO_PROCESS)


def no_file(evidence: Evidence) -> LogEvent | None:
    """The last file that a limit of open files refused."""
    return _last_of(evidence, "too_many_files", "")


def _last_of(evidence: Evidence, kind: str, words: str) -> LogEvent | None:
    log = value_of(evidence.log)
    for event in reversed(log.events if log else ()):
        if event.kind == kind and words in event.text:
            late = event.at is not None and (evidence.at - event.at).total_seconds() > RECENT_S
            return None if late else event
    return None


def _limit(log: Log, evidence: Evidence, event: LogEvent | None, what: str) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    if event is None:
        return False, f"no {what} was refused lately"
    return True, f"the log says: {event.text}", event.at


process_refused = clue_on(
    "process_refused",
    "Did the kernel refuse the server a process because of a limit (EAGAIN)?",
    lambda e: e.log,
    lambda log, e: _limit(log, e, no_process(e), "process"),
)
file_refused = clue_on(
    "file_refused",
    "Did the kernel refuse the server an open file because of a limit (EMFILE, ENFILE)?",
    lambda e: e.log,
    lambda log, e: _limit(log, e, no_file(e), "open file"),
)


# --- the time -----------------------------------------------------------------------------------


def _off(course: Course, _evidence: Evidence) -> YES_NO:
    if course.now is None:
        return "the clock is not compared any more"
    before = "" if course.usual is None else f"; usual were {span(abs(course.usual))}"
    return abs(course.now) >= CLOCK_OFF_S, f"its clock is off by {span(abs(course.now))}{before}"


def _disorder(log: Log, evidence: Evidence) -> YES_NO:
    times = [event.at for event in log.events if event.at is not None]
    if not times:
        return "no line of the log tells its time"
    ahead = max(times) - evidence.at
    if ahead > DISORDER:
        seconds = span(ahead.total_seconds())
        return True, f"the newest line of the log is of a time that is {seconds} ahead"
    back = max((a - b for a, b in pairwise(times)), default=timedelta())
    if back > DISORDER:
        return True, f"the times in the log step back by {span(back.total_seconds())}"
    return False, "the times in the log go forward and end before now"


def clock_ahead_s(evidence: Evidence) -> float | None:
    """How far the server's clock is ahead of ours, to some seconds; None: it was not told."""
    figures = evidence.figures
    told = None if isinstance(figures, Missing) else figures.value.value("server_clock_s")
    if told is None or isinstance(figures, Missing):
        return None
    return told - figures.at.timestamp()


def _differs(_figures: Figures, evidence: Evidence) -> YES_NO:
    ahead_s = clock_ahead_s(evidence)
    if ahead_s is None:
        return "the server's clock was not read"
    way = "ahead of" if ahead_s > 0 else "behind"
    said = f"the server's clock is {span(abs(ahead_s))} {way} the one here"
    if abs(ahead_s) < CLOCK_DIFFERS_S:
        return False, "the server's clock says what the one here says"
    return True, said


clock_differs = clue_on(
    "clock_differs",
    "Does the server's clock say another time than the one here?",
    lambda e: e.figures,
    _differs,
    reads=("server_clock_s",),
)
clock_off = clue_on_course(
    "clock_off",
    f"Is the machine's clock off by {CLOCK_OFF_S:g} s or more?",
    ("clock_offset_s", ""),
    _off,
)
log_disordered = clue_on(
    "log_disordered",
    "Do times in the log step back, or lie ahead of now?",
    lambda e: e.log,
    _disorder,
)


# --- libraries ------------------------------------------------------------------------------------

OFTEN = 3
"""So many refused loads are no slip of somebody's hand."""


def libraries_of_sessions(evidence: Evidence) -> tuple[LogEvent, ...]:
    """Loads that failed in sessions lately; a start that lacks a library is another cause."""
    log = value_of(evidence.log)
    return tuple(
        e
        for e in (log.events if log else ())
        if e.kind == "library_missing"
        and e.severity == "ERROR"
        and (e.at is None or (evidence.at - e.at).total_seconds() <= RECENT_S)
    )


def library_of_a_session(evidence: Evidence) -> LogEvent | None:
    found = libraries_of_sessions(evidence)
    return found[-1] if found else None


def _missed(log: Log, evidence: Evidence, at_least: int) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    found = libraries_of_sessions(evidence)
    if len(found) < at_least:
        return False, f"{len(found) or 'no'} loads of a library failed lately"
    return True, f"{len(found)} loads failed, the newest: {found[-1].text}", found[-1].at


library_missed = clue_on(
    "library_missed",
    "Does the log show sessions that could not load a library (58P01)?",
    lambda e: e.log,
    lambda log, e: _missed(log, e, 1),
)
library_missed_often = clue_on(
    "library_missed_often",
    f"Does it show {OFTEN} or more of them?",
    lambda e: e.log,
    lambda log, e: _missed(log, e, OFTEN),
)
