"""How much a server does against what is usual for it: the recording tells, or nobody."""

from __future__ import annotations

from collections.abc import Callable

from stanch.diagnose.ask import YES_NO, clue_on_course, clue_on_figures
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.history import Course
from stanch.model.readings import Reading
from stanch.model.symptoms import SymptomKind

MORE = 1.3
"""So many times the usual work done is more, where it also exceeds the highest before."""
MORE_TIMES = 2.0
"""The same, where nobody knows what the highest before was."""
FAR_TIMES = 5.0
FAR_COMMITS = 50.0
LESS = 0.6
MORE_COMMITS_MIN = 20.0
"""A second: what a few people do by hand overloads nobody."""
COMMITS_MIN = 5.0
"""A second: of a server that does next to nothing, no rate says anything."""
PILED_TIMES = 2.0
PILED_MIN = 3.0
PROCESSOR_MANY = 10
LOAD_FULL = 1.0
BY_PEOPLE = frozenset({SymptomKind.REPORTED, SymptomKind.OUTSIDE_ALERT})


def against_usual(
    judge: Callable[[float, float, Course, Evidence], YES_NO],
) -> Callable[[Course, Evidence], YES_NO]:
    """A judgement of now against usual; unknown where either is."""

    def read(course: Course, evidence: Evidence) -> YES_NO:
        if course.now is None:
            return f"{course.name} is not read any more"
        if course.usual is None:
            return f"what is usual for {course.name} is not known yet"
        return judge(course.now, course.usual, course, evidence)

    return read


def _rate(now: float, usual: float) -> str:
    return f"{now:.0f} commits a second, usually {usual:.0f}"


def _told_late(evidence: Evidence) -> bool:
    """Nobody but people said so: it began before they did, and the highest before may be it."""
    return bool(evidence.symptoms) and all(s.kind in BY_PEOPLE for s in evidence.symptoms)


def _more(now: float, usual: float, course: Course, evidence: Evidence) -> YES_NO:
    if _told_late(evidence):
        return now >= max(MORE_TIMES * usual, usual + MORE_COMMITS_MIN), _rate(now, usual)
    above = now > (course.high or 0.0) and now >= max(MORE * usual, usual + MORE_COMMITS_MIN)
    return above, _rate(now, usual)


def _far_more(now: float, usual: float, _course: Course, _evidence: Evidence) -> YES_NO:
    return now >= max(FAR_TIMES * usual, usual + FAR_COMMITS), _rate(now, usual)


def _less(now: float, usual: float, course: Course, evidence: Evidence) -> YES_NO:
    below = usual >= COMMITS_MIN and now <= LESS * usual
    below = below and (_told_late(evidence) or now < (course.low or 0.0))
    return below, _rate(now, usual)


def working(course: Course, evidence: Evidence) -> float:
    """Of active sessions those that wait for no lock, which is another story."""
    history = value_of(evidence.history)
    waiting = history.of("sessions_waiting_on_lock") if history else None
    return max(0.0, (course.now or 0.0) - ((waiting.now if waiting else None) or 0.0))


def _piled(_now: float, usual: float, course: Course, evidence: Evidence) -> YES_NO:
    busy = working(course, evidence)
    above = busy >= PILED_TIMES * usual + PILED_MIN and (
        _told_late(evidence) or busy > (course.high or 0.0)
    )
    return above, f"{busy:.0f} sessions at work at once, usually {usual:.0f}"


def _on_processor(found: tuple[Reading, ...], _evidence: Evidence) -> YES_NO:
    value = found[0].value
    if value is None:
        return "who is on a processor was not read"
    return value >= PROCESSOR_MANY, f"{value:.0f} sessions are on a processor or wait for one"


def _cpu_full(course: Course, _evidence: Evidence) -> YES_NO:
    if course.now is None:
        return "the machine's load is not read any more"
    return course.now >= LOAD_FULL, f"{course.now:.1f} processes want to run for each processor"


more_done = clue_on_course(
    "more_done",
    "Is much more done than usual (commits a second)?",
    ("commits_total", ""),
    against_usual(_more),
)
far_more_done = clue_on_course(
    "far_more_done",
    "Is it many times as much as usual?",
    ("commits_total", ""),
    against_usual(_far_more),
)
less_done = clue_on_course(
    "less_done",
    "Is much less done than usual (commits a second)?",
    ("commits_total", ""),
    against_usual(_less),
)
piled_up = clue_on_course(
    "piled_up",
    "Are many more sessions at work at once than usual?",
    ("active_sessions", ""),
    against_usual(_piled),
)
many_on_processor = clue_on_figures(
    "many_on_processor",
    "Do many sessions want a processor?",
    "active_without_wait",
    _on_processor,
)
cpu_full = clue_on_course(
    "cpu_full",
    "Do more processes want to run than there are processors?",
    ("load_per_cpu", ""),
    _cpu_full,
)
