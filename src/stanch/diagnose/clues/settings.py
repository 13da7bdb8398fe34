"""Settings that were changed and are not in force: refused, or waiting for a restart."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_figures
from stanch.diagnose.clues.startup import said
from stanch.diagnose.evidence import Evidence, is_open, value_of
from stanch.diagnose.history import History
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.readings import Reading as Figure

ERRORS = "settings_errors"
PENDING = "settings_pending_restart"


def last_reload(evidence: Evidence) -> tuple[LogEvent, ...]:
    """What the server said of its newest reload, its first line included."""
    log = value_of(evidence.log)
    events = log.events if log else ()
    for n in range(len(events) - 1, -1, -1):
        if events[n].kind in {"ready", "starting"}:
            return ()
        if events[n].kind == "reloaded":
            return events[n:]
    return ()


def refused(evidence: Evidence) -> tuple[LogEvent, ...]:
    """Entries that the newest reload could not read; pg_hba.conf is another story.

    A setting that only waits for a restart also makes the server say that its file "contains
    errors": that line counts only beside one that names an error.
    """
    said_of_it = [e for e in last_reload(evidence) if e.kind == "config_error"]
    if any(_is_hba(e) for e in said_of_it):
        # It is read after the settings; what it has wrong does not name the file.
        ends = [n for n, e in enumerate(said_of_it) if "contains errors" in e.text]
        said_of_it = said_of_it[: ends[-1] if ends else 0]
    return tuple(e for e in said_of_it if not _is_hba(e) and "contains errors" not in e.text)


def _is_hba(event: LogEvent) -> bool:
    return "pg_hba.conf" in event.text or "pg_ident.conf" in event.text


def nothing_applied(evidence: Evidence) -> bool:
    """The newest reload changed nothing at all: a name or a line is wrong, not only a value."""
    return any("no changes were applied" in e.text for e in last_reload(evidence))


def _refused(log: Log, evidence: Evidence) -> YES_NO:
    reload = last_reload(evidence)
    if not log.records_read:
        return f"nothing of use in {log.path}"
    if not reload:
        return "the log tells of no reload since the server started"
    wrong = refused(evidence)
    if not wrong:
        return False, "the newest reload found no error"
    return True, f"the newest reload found: {said(wrong[-1])}", wrong[-1].at


def _errors(history: History, _evidence: Evidence) -> YES_NO:
    course = history.of(ERRORS)
    if course is None or course.now is None:
        return "pg_file_settings was not read; it takes a superuser or a grant"
    entries = f"{course.now:.0f} entries of the settings files have errors"
    return course.now >= 1, entries


reload_refused = clue_on(
    "reload_refused",
    "Did the newest reload find errors in the settings files?",
    lambda e: e.log,
    _refused,
)
files_have_errors = clue_on(
    "settings_files_have_errors",
    "Does pg_file_settings show entries with errors?",
    lambda e: e.history,
    _errors,
    reads=(ERRORS,),
)


def pending(evidence: Evidence) -> Figure | None:
    """How many settings wait for a restart, and which."""
    figures = value_of(evidence.figures)
    return figures.of(PENDING) if figures else None


def _pending(found: tuple[Figure, ...], _evidence: Evidence) -> YES_NO:
    one = found[0]
    if one.value is None:
        return "the server does not tell which settings wait"
    if one.value < 1:
        return False, "no setting waits for a restart"
    return True, f"{one.value:.0f} settings wait for a restart: {one.detail}"


def _recorded(history: History, evidence: Evidence) -> YES_NO:
    if pending(evidence) is not None:
        return ""  # The server itself has said it just now.
    course = history.of(PENDING)
    if course is None or course.now is None:
        return f"{PENDING} is not recorded"
    return course.now >= 1, f"{course.now:.0f} settings wait for a restart"


def _logged(log: Log, evidence: Evidence) -> YES_NO:
    reach = value_of(evidence.reach)
    if reach is None or not is_open(reach) or not log.records_read:
        return ""
    named = [e for e in last_reload(evidence) if e.kind == "needs_restart"]
    if not named:
        return ""
    return True, f"the log says: {named[-1].text}", named[-1].at


restart_waits = clue_on_figures(
    "restart_waits", "Do settings wait for a restart (pending_restart)?", PENDING, _pending
)
restart_recorded = clue_on(
    "restart_recorded",
    "Did settings wait for a restart when they were last looked at?",
    lambda e: e.history,
    _recorded,
    reads=(PENDING,),
)
restart_logged = clue_on(
    "restart_logged",
    "Did the newest reload meet settings that only a restart brings into force?",
    lambda e: e.log,
    _logged,
)
