"""Pools between applications and the server, limits of one role, and floods of logins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.refusals import lately
from stanch.diagnose.clues.sessions import busy, leaking
from stanch.diagnose.clues.twice import logins_fast
from stanch.diagnose.evidence import Evidence, Reading, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.inside import Sessions
from stanch.diagnose.outside import Log
from stanch.model.diagnosis import Missing
from stanch.model.reach import Reach, ReachState
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind

USAGE: Final = "pool_usage_pct"
WAITING: Final = "pool_waiting"
WAIT: Final = "pool_max_wait_s"
SIZE: Final = "pool_size"
PAUSED: Final = "pool_paused"
CLIENTS: Final = "/clients"
"""The ending of the subject that stands for all clients of one pooler together."""
FULL_PCT: Final = 90.0
CLIENTS_FULL_PCT: Final = 98.0
WAIT_S_MIN: Final = 2.0
"""A client that waits for less waits for another's transaction to end."""
ROOM_SHARE: Final = 0.9
LIMIT_LATELY_S: Final = 300.0
YOUNG_MIN: Final = 20
YOUNG_SHARE: Final = 0.5
SURGE_PER_S: Final = 10.0
SURGE_TIMES: Final = 5.0
YOUNG_S: Final = 10.0
STAYING_TIMES: Final = 1.5
"""Where hardly more sessions begin than are still there, they pile up behind something."""
GROWN_TIMES: Final = 3.0
GROWN_BY: Final = 20.0

POOL_WAITS: Final = (SymptomKind.POOL_WAITING, SymptomKind.POOL_WAIT_LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolNow:
    """One pool as it was last read."""

    name: str
    """`<pooler>/<database>/<role>`, or as the source calls it."""
    usage_pct: float | None
    waiting: float
    max_wait_s: float
    size: float | None = None
    paused: bool | None = None


Told = Mapping[tuple[str, str], float]
"""What pools say now: name and subject to value."""


def _told(evidence: Evidence) -> Reading[Told] | Missing:
    """As poolers were asked for this diagnosis, else as they were last recorded."""
    item, history = evidence.beside, evidence.history
    if not isinstance(item, Missing):
        told = {(f.name, f.subject): f.value for f in item.value.items if f.value is not None}
        return Reading(value=told, at=item.at, source=item.source, took_ms=item.took_ms)
    if isinstance(history, Missing):
        return item if item.reason else history
    seen = _recorded(history)
    return Reading(value=seen, at=history.at, source=history.source, took_ms=history.took_ms)


def _recorded(history: Reading[History]) -> Told:
    courses = (c for name in (USAGE, WAITING, WAIT) for c in history.value.named(name))
    return {(c.name, c.subject): c.now for c in courses if c.now is not None}


def pool_of(evidence: Evidence) -> PoolNow | None:
    """The pool in which clients wait the longest, where any wait."""
    told = value_of(_told(evidence)) or {}
    found = [p for p in _pools(told) if p.waiting >= 1]
    return max(found, key=lambda p: (p.max_wait_s, p.waiting, p.name), default=None)


def clients_of(evidence: Evidence) -> tuple[str, float] | None:
    """The pooler whose client connections are the fullest, and how full they are, in percent."""
    told = value_of(_told(evidence)) or {}
    found = [
        (subject.removesuffix(CLIENTS), share)
        for (name, subject), share in told.items()
        if name == USAGE and subject.endswith(CLIENTS)
    ]
    return max(found, key=lambda one: (one[1], one[0]), default=None)


def _pools(told: Told) -> list[PoolNow]:
    return [
        PoolNow(
            name=subject,
            usage_pct=told.get((USAGE, subject)),
            waiting=waiting,
            max_wait_s=told.get((WAIT, subject), 0.0),
            size=told.get((SIZE, subject)),
            paused=None if (flag := told.get((PAUSED, subject))) is None else flag > 0,
        )
        for (name, subject), waiting in told.items()
        if name == WAITING
    ]


def _no_pools(told: Told) -> bool:
    return all(name != WAITING for name, _ in told)


def _queue(told: Told, evidence: Evidence) -> YES_NO:
    if _no_pools(told):
        return "no pool told of itself"
    pool = pool_of(evidence)
    if pool is None:
        return False, "no client waits for a pool"
    stands = any(s.kind in POOL_WAITS and s.subject == pool.name for s in evidence.symptoms)
    waited = f", the longest for {span(pool.max_wait_s)}" if pool.max_wait_s else ""
    said = f"{pool.waiting:.0f} clients wait for pool {pool.name}{waited}"
    return pool.max_wait_s >= WAIT_S_MIN or stands, said


def _full(told: Told, evidence: Evidence) -> YES_NO:
    if _no_pools(told):
        return "no pool told of itself"
    pool = pool_of(evidence)
    if pool is None:
        return False, "no client waits for a pool"
    if pool.usage_pct is None:
        return f"how full pool {pool.name} is was not told"
    return pool.usage_pct >= FULL_PCT, f"pool {pool.name} is {pool.usage_pct:.0f} % in use"


def _paused(told: Told, evidence: Evidence) -> YES_NO:
    if _no_pools(told):
        return "no pool told of itself"
    pool = pool_of(evidence)
    if pool is None:
        return False, "no client waits for a pool"
    if pool.paused is None:
        return f"whether pool {pool.name} is paused was not told"
    said = f"pool {pool.name} is {'paused' if pool.paused else 'not paused'}"
    return pool.paused, f"{said}, and {pool.waiting:.0f} clients wait for it"


def _clients_full(_told: Told, evidence: Evidence) -> YES_NO:
    fullest = clients_of(evidence)
    if fullest is None:
        return "no pooler told of its clients"
    name, share = fullest
    said = f"{share:.0f} % of the client connections of pooler {name} are taken"
    return share >= CLIENTS_FULL_PCT, said


def _has_room(sessions: Sessions, _evidence: Evidence) -> YES_NO:
    usable = sessions.usable
    if not usable:
        return "the limit of connections was not read"
    said = f"{sessions.client_backends} of {usable} usable connections of the server are taken"
    return sessions.client_backends < ROOM_SHARE * usable, said


def _pooler_says(seen: Reach, words: tuple[str, ...]) -> YES_NO:
    layer = seen.failed_layer
    if seen.state is not ReachState.TOO_MANY_CLIENTS or layer is None:
        return False, f"a fresh connection ends as {seen.state}"
    return any(word in layer.detail for word in words), f"a fresh login is told: {layer.detail}"


pool_queue = clue_on(
    "pool_queue",
    "Do clients wait for a connection of a pool, and for long?",
    _told,
    _queue,
    reads=(WAITING, WAIT),
)
pool_full = clue_on(
    "pool_full",
    "Is that pool nearly or wholly in use?",
    _told,
    _full,
    reads=(USAGE,),
)
pool_held = clue_on(
    "pool_held",
    "Did somebody pause the pool for which clients wait?",
    _told,
    _paused,
    reads=(PAUSED,),
)
pool_clients_full = clue_on(
    "pool_clients_full",
    "Are all client connections of a pooler taken (max_client_conn)?",
    _told,
    _clients_full,
    reads=(USAGE,),
)
server_has_room = clue_on(
    "server_has_room",
    "Has the server itself connections left?",
    lambda e: e.sessions,
    _has_room,
)
# PgBouncer's own words, always English; other poolers have others.
pool_timeout_said = clue_on(
    "pool_timeout_said",
    "Does a pooler say that a client waited too long for a server connection?",
    lambda e: e.reach,
    lambda seen, _e: _pooler_says(seen, ("query_wait_timeout",)),
)
pool_clients_said = clue_on(
    "pool_clients_said",
    "Does a pooler say that it takes no more client connections (max_client_conn)?",
    lambda e: e.reach,
    lambda seen, _e: _pooler_says(seen, ("no more connections allowed",)),
)


# --- limits of one role or database -------------------------------------------------------------


def _limit_hit(sessions: Sessions, _evidence: Evidence) -> YES_NO:
    if not sessions.limits_hit:
        return False, "no role or database is at a limit of its own"
    return True, "; ".join(sessions.limits_hit)[:300]


def _limit_said(seen: Reach, _evidence: Evidence) -> YES_NO:
    layer = seen.failed_layer
    detail = f": {layer.detail}" if layer is not None and layer.detail else ""
    said = f"a fresh connection ends as {seen.state}{detail}"
    return seen.state is ReachState.CONNECTION_LIMIT, said


def _limit_logged(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    found = [
        event
        for event in lately(evidence, "too_many_for_role")
        if event.at is None or (evidence.at - event.at).total_seconds() <= LIMIT_LATELY_S
    ]
    if not found:
        return False, "no login refused for a limit of its role or database in the log"
    return (
        True,
        f"{len(found)} refused logins in the log, the newest: {found[-1].text}",
        found[-1].at,
    )


limit_hit = clue_on(
    "limit_hit",
    "Has a role or a database as many sessions as its own limit allows?",
    lambda e: e.sessions,
    _limit_hit,
)
limit_said = clue_on(
    "limit_said",
    "Is a fresh login turned away for a limit of its role or database (53300)?",
    lambda e: e.reach,
    _limit_said,
)
limit_logged = clue_on(
    "limit_logged",
    "Does the log show logins refused for a limit of a role or database (53300)?",
    lambda e: e.log,
    _limit_logged,
)


# --- floods of logins ---------------------------------------------------------------------------


def _young(figures: Figures, evidence: Evidence) -> YES_NO:
    found, sessions = figures.of("sessions_begun_10s"), value_of(evidence.sessions)
    if found is None or found.value is None:
        return "how old the sessions are was not told"
    young = found.value
    total = sessions.client_backends if sessions is not None else young
    of = f" ({found.detail})" if found.detail else ""
    said = f"{young:.0f} of {total:.0f} client sessions are younger than 10 s{of}"
    return young >= YOUNG_MIN and young >= YOUNG_SHARE * total, said


def _surged(course: Course, _evidence: Evidence) -> YES_NO:
    if course.now is None:
        return "connections are not logged any more"
    usual = course.usual or 0.0
    said = f"{course.now:.1f} connections a second arrive; usual are {usual:.1f}"
    return _surges(course.now, usual), said


def _surges(now: float, usual: float) -> bool:
    return now >= SURGE_PER_S and now >= SURGE_TIMES * usual


def _begun(course: Course, evidence: Evidence) -> YES_NO:
    if course.usual is None or course.now is None:
        return "how many sessions usually begin is not known"
    said = f"{course.now:.1f} sessions begin a second; usual are {course.usual:.1f}"
    figures = value_of(evidence.figures)
    staying = figures.value("sessions_begun_10s") if figures is not None else None
    if staying is not None and course.now * YOUNG_S < STAYING_TIMES * staying:
        return False, f"{said}, and most of them stay"
    return _surges(course.now, course.usual), said


def _grown(course: Course, _evidence: Evidence) -> YES_NO:
    if course.usual is None or course.now is None:
        return "how many are usual is not known"
    said = f"{course.now:.0f} client sessions; usual are {course.usual:.0f}"
    return course.now >= max(GROWN_TIMES * course.usual, course.usual + GROWN_BY), said


sessions_young = clue_on(
    "sessions_young",
    "Are most sessions only seconds old?",
    lambda e: e.figures,
    _young,
    reads=("sessions_begun_10s",),
)
logins_surged = clue_on_course(
    "logins_surged",
    "Do many times as many connections arrive as usual (log_connections)?",
    ("log_class_total", "connection_received"),
    _surged,
)
sessions_surged = clue_on_course(
    "sessions_surged",
    "Do many times as many sessions begin as usual?",
    ("sessions_total", ""),
    _begun,
)
sessions_grown = clue_on_course(
    "sessions_grown",
    "Are there several times as many client sessions as usual?",
    ("client_backends", ""),
    _grown,
)


def _stay(evidence: Evidence) -> Answer:
    rates = [clue.ask(evidence).yes for clue in (logins_fast, sessions_surged, logins_surged)]
    if True in rates:
        return Answer(yes=False, text="so many log in each second that they must leave again")
    at_work = busy.ask(evidence)
    if at_work.yes and False in rates:
        # A crowd that came for work, and fills the server with it.
        return at_work
    return leaking.ask(evidence)


sessions_stay = Clue(
    id="sessions_stay",
    question="Do those who hold most connections stay, idle or at work?",
    ask=_stay,
)
