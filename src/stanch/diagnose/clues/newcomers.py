"""Whether whoever misses a table had it before: by when their sessions began, and by the log."""

from __future__ import annotations

from typing import Final

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.loss import dropped_by
from stanch.diagnose.clues.missed import began_with_it, missed
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import Log

KIND: Final = "no_such_table"
LOGGED: Final = frozenset({"ddl", "mod", "all"})


def _newcomers(log: Log, evidence: Evidence) -> YES_NO:
    found, figures = missed(evidence, KIND), value_of(evidence.figures)
    if found is None:
        return ""
    if figures is None or not figures.named("session_age_s"):
        return "how old the sessions are was not told"
    new, old = began_with_it(log, evidence, KIND, found.first_at)
    if old:
        return False, f"{old} of {new + old} sessions that miss it were there long before"
    if not new:
        return "none of the sessions that missed it is among the youngest that are left"
    return True, f"all {new} sessions that miss it began as it was missed first"


def _drops_logged(figures: Figures, evidence: Evidence) -> YES_NO:
    found, log = missed(evidence, KIND), value_of(evidence.log)
    if found is None or log is None:
        return ""
    logged = figures.setting("log_statement")
    if logged not in LOGGED:
        return "statements that drop tables are not logged (log_statement)"
    if not found.is_new:
        return "the log that was read does not reach back far enough"
    if dropped_by(evidence, KIND, "table") is not None:
        return False, "the log shows the statement that dropped it"
    return True, f"log_statement is {logged}, and the log shows nobody who dropped it"


missed_by_newcomers = clue_on(
    "missed_by_newcomers",
    "Did the sessions that miss it begin only as it was first missed?",
    lambda e: e.log,
    _newcomers,
    reads=("session_age_s",),
)
drops_logged = clue_on(
    "drops_logged",
    "Would the log show that it was dropped, and does not?",
    lambda e: e.figures,
    _drops_logged,
    reads=("setting",),
)
