"""Settings that somebody changed and that are not in force: they bite at the next start."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, container_facts, running_server_facts
from stanch.diagnose.causes.ids import BAD_CONFIGURATION, RELOAD_REFUSED, RESTART_PENDING
from stanch.diagnose.clues import settings, wire
from stanch.diagnose.clues.startup import said
from stanch.diagnose.evidence import Evidence
from stanch.model.symptoms import SymptomKind


def _tell_refused(evidence: Evidence) -> str:
    wrong = settings.refused(evidence)
    named = f": {said(wrong[-1])}" if wrong else ""
    nothing = settings.nothing_applied(evidence)
    what = "changed nothing at all" if nothing else "left out what it could not read"
    if not wrong:
        return "The settings files have errors: the next start of the server would fail."
    return f"The newest reload {what}{named}. The next start of the server would fail on it."


def _refused_facts(evidence: Evidence) -> Facts:
    wrong = settings.refused(evidence)
    return (
        ("server_running", True),
        ("said", said(wrong[-1]) if wrong else None),
        ("nothing_applied", settings.nothing_applied(evidence) if wrong else None),
    )


def _tell_pending(evidence: Evidence) -> str:
    found = settings.pending(evidence)
    which = f": {found.detail}" if found is not None and found.detail else ""
    return f"Settings were changed that only a restart brings into force{which}."


def _pending_facts(evidence: Evidence) -> Facts:
    found = settings.pending(evidence)
    return (
        *container_facts(evidence),
        ("settings", found.detail if found is not None and found.detail else None),
        *running_server_facts(evidence),
    )


reload_refused = Cause(
    id=RELOAD_REFUSED,
    section=Section.PROCESS,
    sentence="The settings files hold something that the server cannot read: a reload leaves it "
    "out, or changes nothing, and the next start fails.",
    onset=Onset.AT_START,
    impact="Later: what was meant to change did not, and the server would not come back from a "
    "restart.",
    prior=-2.5,
    weighs=(
        Weigh(clue=wire.refused, yes=-6.0, no=0.0, now=True),
        Weigh(clue=wire.answers, yes=0.5, no=-2.0, now=True),
        Weigh(clue=settings.reload_refused, yes=4.5, no=-3.0, now=True),
        Weigh(clue=settings.files_have_errors, yes=4.5, no=-2.0, now=True),
    ),
    shown_by=((settings.reload_refused, True), (settings.files_have_errors, True)),
    tell=_tell_refused,
    facts=_refused_facts,
    apart={
        BAD_CONFIGURATION: "Does the server still run, with the settings it had before?",
        RESTART_PENDING: "Could the server not read the setting, or does it only wait for a "
        "restart (pg_settings.pending_restart)?",
    },
    began=lambda e: next((event.at for event in settings.refused(e)), None),
    hurts_later=lambda _e: True,
    symptoms=(SymptomKind.SETTINGS_ERRORS, SymptomKind.LOG_CONFIG_ERROR),
    safe_first="See pg_file_settings for the line, mend or take back that one setting, and reload "
    "again.",
    never=(
        "Do not restart the server before the files are mended: it would not start.",
        "Do not replace the whole file: the other settings in it are needed, too.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}view-pg-file-settings.html",
)

restart_pending = Cause(
    id=RESTART_PENDING,
    section=Section.PROCESS,
    sentence="Settings were changed that only a restart brings into force: the next start runs "
    "with them, whoever starts it and whenever.",
    onset=Onset.CREEPING,
    impact="At the next start, planned or not: then an edit that nobody remembers takes effect.",
    prior=-2.5,
    weighs=(
        Weigh(clue=wire.refused, yes=-6.0, no=0.0, now=True),
        Weigh(clue=wire.answers, yes=0.5, no=-2.0, now=True),
        # Low on purpose: it waits, and is not what hurts at this moment.
        Weigh(clue=settings.restart_waits, yes=3.0, no=-4.0, now=True),
        Weigh(clue=settings.restart_recorded, yes=3.0, no=-2.0, now=True),
        Weigh(clue=settings.restart_logged, yes=0.5, no=0.0, now=True),
    ),
    shown_by=((settings.restart_waits, True), (settings.restart_recorded, True)),
    tell=_tell_pending,
    facts=_pending_facts,
    began=lambda e: next(
        (x.at for x in settings.last_reload(e) if x.kind == "needs_restart"), None
    ),
    hurts_later=lambda _e: True,
    # The server says of its file that it "contains errors", where a setting only waits.
    symptoms=(SymptomKind.PENDING_RESTART, SymptomKind.LOG_CONFIG_ERROR),
    safe_first="Ask who changed it; then plan the restart, or take the change back (ALTER SYSTEM "
    "RESET of that one setting, and a reload).",
    never=(
        "Do not restart the server in the middle of an incident only to bring them into force.",
    ),
    forbids=(),
    runbook="restart-pending",
    source=f"{DOC}view-pg-settings.html",
)
