"""How the server's last run ended: its log, its control file.

The stretch of the log that matters is the one after the newest "ready to accept connections";
while the server answers it is the one before that line, so that a past failure can be told too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.evidence import Evidence, is_open, postmaster_lives, value_of
from stanch.diagnose.outside import Control, Log, LogEvent

SHUTDOWN_REQUESTS = {
    "shutdown_request_smart": "smart",
    "shutdown_request_fast": "fast",
    "shutdown_request_immediate": "immediate",
}
CLEAN = frozenset({"shut down", "shut down in recovery"})
UNCLEAN = frozenset({"in production", "in crash recovery", "in archive recovery", "shutting down"})
SIGKILL = 9
LATELY_S = 60.0
JUST_NOW_S = 20.0
"""A server that crashed so lately and serves may crash again before anybody has read this."""
AGAIN_MIN = 2
FULL_VOLUME = frozenset({"no_space_wal", "no_space_data"})


def ending(evidence: Evidence) -> tuple[LogEvent, ...]:
    """The log events in which the run that concerns us came to its end."""
    log = value_of(evidence.log)
    if log is None:
        return ()
    ready = [n for n, event in enumerate(log.events) if event.kind == "ready"]
    reach = value_of(evidence.reach)
    if not ready:
        return log.events
    if reach is None or not is_open(reach):
        return log.events[ready[-1] + 1 :]
    start = ready[-2] + 1 if len(ready) > 1 else 0
    return log.events[start : ready[-1]]


def request(evidence: Evidence) -> LogEvent | None:
    """The newest request to shut down in that stretch."""
    return _last(e for e in ending(evidence) if e.kind in SHUTDOWN_REQUESTS)


def lock_file_gone(evidence: Evidence) -> LogEvent | None:
    """The server's own word that its lock file is gone or another's, for which it stops itself."""
    return _first(e for e in ending(evidence) if e.kind == "lock_file_removed")


def gave_up(evidence: Evidence) -> LogEvent | None:
    """The line with which the newest start ended before the server was ready."""
    events = ending(evidence)
    fatal = [n for n, e in enumerate(events) if e.severity in {"FATAL", "PANIC"}]
    return _last(events[n] for n in fatal if _ends_a_start(events[n], events[n + 1 : n + 2]))


def _ends_a_start(event: LogEvent, following: tuple[LogEvent, ...]) -> bool:
    if event.kind == "library_missing":
        # A session that wants one (session_preload_libraries) ends alone; after a postmaster's
        # word the server itself says that it is gone.
        return any(e.kind == "shut_down" for e in following)
    # A session may be refused a file as well; of its folder only the postmaster speaks.
    folder = event.kind == "wrong_permissions" and event.text.startswith("data directory ")
    return folder or event.kind in {"config_error", "start_gave_up", "no_checkpoint"}


def crash(evidence: Evidence) -> LogEvent | None:
    """The first sign of a crash by the server's own fault: signal other than 9, or PANIC.

    A PANIC for want of space, and the abort that follows it, are the volume's fault.
    """
    events = ending(evidence)
    if any(e.kind in FULL_VOLUME and e.severity == "PANIC" for e in events):
        return None
    return _first(
        event
        for event in events
        if (event.kind == "crash_child_signal" and event.signal not in (None, SIGKILL))
        or event.severity == "PANIC"
    )


def killed_child(evidence: Evidence) -> LogEvent | None:
    """A server process that somebody ended with signal 9."""
    return _first(
        e for e in ending(evidence) if e.kind == "crash_child_signal" and e.signal == SIGKILL
    )


def crashes(evidence: Evidence, within_s: float) -> tuple[LogEvent, ...]:
    """Every time lately that a server process crashed and took all others along."""
    log = value_of(evidence.log)
    since = evidence.at - timedelta(seconds=within_s)
    return tuple(
        event
        for event in (log.events if log else ())
        if event.kind == "crash_child_signal" and event.at is not None and event.at >= since
    )


def goes_on(evidence: Evidence) -> tuple[LogEvent, ...]:
    """The crashes of a server that comes back again and again, for moments only."""
    found = crashes(evidence, LATELY_S)
    return found if len(found) >= AGAIN_MIN and crashes(evidence, JUST_NOW_S) else ()


def _first(events: Iterable[LogEvent]) -> LogEvent | None:
    return next(iter(events), None)


def _last(events: Iterable[LogEvent]) -> LogEvent | None:
    found = None
    for event in events:
        found = event
    return found


def _logged(event: LogEvent | None, absent: str) -> YES_NO:
    if event is None:
        return False, absent
    return True, f"the log says: {event.text}", event.at


def _requested(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    return _logged(request(evidence), "no shutdown request in the log")


def _crashed(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    return _logged(crash(evidence), "no crash of a server process in the log")


def _child_killed(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    return _logged(killed_child(evidence), "no server process ended by signal 9 in the log")


def _gave_up(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    return _logged(gave_up(evidence), "no start that gave up in the log")


def fell_for_space(evidence: Evidence) -> LogEvent | None:
    """The line with which the server went down, or failed to come back, for want of space."""
    return _last(
        e for e in ending(evidence) if e.kind in FULL_VOLUME and e.severity in {"PANIC", "FATAL"}
    )


def _panic_for_space(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    return _logged(fell_for_space(evidence), "the server did not go down for want of space")


def _recovered(log: Log, evidence: Evidence) -> YES_NO:
    reach = value_of(evidence.reach)
    if reach is None or not is_open(reach):
        return ""
    if not log.events:
        return f"nothing of use in {log.path}"
    event = _last(e for e in ending(evidence) if e.kind == "interrupted_recovery")
    return _logged(event, "the server did not have to recover at its last start")


def _crashed_just_now(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    found = crashes(evidence, JUST_NOW_S)
    return _logged(_last(found), "no server process crashed a moment ago")


def _clean(control: Control, evidence: Evidence) -> YES_NO:
    said = f'pg_controldata says "{control.state}"'
    if postmaster_lives(evidence):
        # It tells of an end only when no server runs: the checkpoint at the end of crash recovery
        # writes "shut down", too.
        return ""
    if control.state in CLEAN:
        return True, said
    return (False, said) if control.state in UNCLEAN else f"{said}, which decides nothing"


shutdown_requested = clue_on(
    "shutdown_requested",
    "Does the log show a request to shut down?",
    lambda e: e.log,
    _requested,
)
crash_logged = clue_on(
    "crash_logged",
    "Does the log show a server process crashing (signal other than 9, PANIC)?",
    lambda e: e.log,
    _crashed,
)
child_killed = clue_on(
    "child_killed",
    "Does the log show a server process ended by signal 9?",
    lambda e: e.log,
    _child_killed,
)
start_gave_up = clue_on(
    "start_gave_up",
    "Did the server give up when it was last started?",
    lambda e: e.log,
    _gave_up,
)
panic_for_space = clue_on(
    "panic_for_space",
    "Did the server go down because it could not write?",
    lambda e: e.log,
    _panic_for_space,
)
had_to_recover = clue_on(
    "had_to_recover",
    "Did the server have to recover when it came back?",
    lambda e: e.log,
    _recovered,
)
crashed_just_now = clue_on(
    "crashed_just_now",
    "Did a server process crash a moment ago, so that all of them begin anew?",
    lambda e: e.log,
    _crashed_just_now,
)
control_clean = clue_on(
    "control_clean",
    "Does the control file say that the server was shut down in order?",
    lambda e: e.control,
    _clean,
)
