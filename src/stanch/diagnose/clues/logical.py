"""Subscriptions whose worker fails, and transactions too large to decode in memory."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_figures
from stanch.diagnose.clues.wal import setting_bytes
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.inside import Activity
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.readings import Reading as Figure
from stanch.model.shown import human_bytes

LOOP_WITHIN_S = 300.0
LOOP_ENDS_MIN = 3
"""A worker that ended once was cancelled, or its publisher restarted; it tries every 5 s."""
ERROR_WITHIN_S = 60.0
SPILLED_BYTES_MIN = 8 * 1024 * 1024
"""What goes to disk and back within a moment keeps nobody waiting."""
WORK_MEM_BYTES = 64 * 1024 * 1024
"""logical_decoding_work_mem of its own accord."""
AT_WORK = ("", "reorderbufferwrite", "reorderbufferread", "walread", "walsenderwaitforwal")
"""Where a walsender is that decodes; later versions write some of them in other letters.

At the last it has read all WAL there is and keeps what it has not handed over: the transaction is
still open.
"""


def worker_ends(evidence: Evidence) -> tuple[LogEvent, ...]:
    """The ends of apply workers in the last minutes."""
    log = value_of(evidence.log)
    return tuple(
        event
        for event in (log.events if log else ())
        if event.kind == "apply_worker_ended"
        and event.at is not None
        and (evidence.at - event.at).total_seconds() <= LOOP_WITHIN_S
    )


def apply_error(evidence: Evidence) -> LogEvent | None:
    """The newest error of a process that nobody is logged in to: what ended the worker."""
    log = value_of(evidence.log)
    found = [
        event
        for event in (log.events if log else ())
        if event.severity == "ERROR"
        and not event.who
        and event.at is not None
        and (evidence.at - event.at).total_seconds() <= ERROR_WITHIN_S
    ]
    return found[-1] if found else None


def failing_subscription(evidence: Evidence) -> str:
    """The one with the most errors; empty where none is told."""
    figures = value_of(evidence.figures)
    errors = [f for f in figures.named("apply_errors_total") if f.value] if figures else []
    if errors:
        return max(errors, key=lambda f: (f.value or 0.0, f.subject)).subject
    workers = figures.named("subscription_worker") if figures else ()
    return next((w.subject for w in workers if not w.value), "")


def spilling(evidence: Evidence) -> tuple[str, float, float] | None:
    """The slot that spills: its name, the bytes on disk so far, and what it has not confirmed.

    Where the server lists the files of a transaction that is not over, they decide; else what was
    ever spilled has to do, together with what is not confirmed, as a spill of last night counts as
    well.
    """
    figures = value_of(evidence.figures)
    if figures is None:
        return None
    files = {f.subject: f.value for f in figures.named("decoding_spill_files_bytes")}
    fits = setting_bytes(evidence, "logical_decoding_work_mem") or WORK_MEM_BYTES
    least = max(SPILLED_BYTES_MIN, fits)
    found: list[tuple[str, float, float]] = []
    for slot in figures.named("decoding_spilled_bytes_total"):
        waiting = figures.value("slot_unconfirmed_bytes", slot.subject) or 0.0
        on_disk, ever = files.get(slot.subject), slot.value or 0.0
        if not figures.value("slot_active", slot.subject):
            continue
        if on_disk is not None and on_disk >= SPILLED_BYTES_MIN:
            found.append((slot.subject, on_disk, waiting))
        if on_disk is None and min(ever, waiting) >= least:
            found.append((slot.subject, ever, waiting))
    return max(found, key=lambda f: (f[2], f[1], f[0]), default=None)


def _loop(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    ends = worker_ends(evidence)
    if not ends:
        return False, "no apply worker ended in the last minutes"
    said = f"{len(ends)} apply workers ended in the last minutes: {ends[-1].text}"
    return len(ends) >= LOOP_ENDS_MIN, said, ends[-1].at


def _worker_error(log: Log, evidence: Evidence) -> YES_NO:
    if not worker_ends(evidence):
        return ""
    error = apply_error(evidence)
    if error is None:
        return f"the error before it is of no known kind: it stands in {log.path}"
    return True, f"before it ended: {error.text}", error.at


def _errors(errors: tuple[Figure, ...], _evidence: Evidence) -> YES_NO:
    worst = max(errors, key=lambda f: (f.value or 0.0, f.subject))
    if not worst.value:
        return False, f"no subscription of {len(errors)} has had an error while applying"
    return True, f'{worst.value:.0f} errors while applying subscription "{worst.subject}"'


def _absent(workers: tuple[Figure, ...], _evidence: Evidence) -> YES_NO:
    gone = [w.subject for w in workers if not w.value and w.detail != "disabled"]
    if gone:
        return True, f'no worker runs for subscription "{gone[0]}"'
    return False, f"the workers of {len(workers)} subscriptions run, or are switched off"


def _gave_up(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    words = "has been disabled because of an error"
    found = [e for e in log.events if e.kind == "apply_failed" and words in e.text and not e.who]
    if not found:
        return False, "no subscription was disabled because of an error"
    return True, found[-1].text, found[-1].at


def _spills(figures: Figures, evidence: Evidence) -> YES_NO:
    if not figures.named("decoding_spilled_bytes_total"):
        return "there is no logical slot that has decoded anything, or version 13"
    found = spilling(evidence)
    if found is None:
        return False, "no active slot has spilled much and waits to be confirmed"
    name, spilled, waiting = found
    return True, (
        f'slot "{name}" has spilled {human_bytes(spilled)} and has not confirmed the last '
        f"{human_bytes(waiting)}"
    )


def _reorders(activity: Activity, evidence: Evidence) -> YES_NO:
    if spilling(evidence) is None:
        return ""
    senders = [d for d in activity.doings if d.backend_type == "walsender"]
    found = [d for d in senders if d.wait_event.lower() in AT_WORK]
    if found:
        return True, f"a walsender is at {found[0].wait_event or 'work on a processor'}"
    return False, "no walsender decodes just now"


apply_loop = clue_on(
    "apply_worker_ends",
    "Does the log show an apply worker that ends again and again?",
    lambda e: e.log,
    _loop,
)
worker_error = clue_on(
    "apply_worker_error",
    "Does the log show the error that ended it?",
    lambda e: e.log,
    _worker_error,
)
apply_errors = clue_on_figures(
    "apply_errors",
    "Has a subscription had errors while applying?",
    "apply_errors_total",
    _errors,
)
worker_absent = clue_on_figures(
    "apply_worker_absent",
    "Does a subscription that is switched on have no worker?",
    "subscription_worker",
    _absent,
)
gave_up = clue_on(
    "subscription_disabled",
    "Did a subscription switch itself off because of an error?",
    lambda e: e.log,
    _gave_up,
)
spills = clue_on(
    "decoding_spills",
    "Has an active slot spilled a transaction to disk that is not confirmed yet?",
    lambda e: e.figures,
    _spills,
    reads=("decoding_spilled_bytes_total", "slot_unconfirmed_bytes", "slot_active"),
)
reorders = clue_on(
    "decoding_at_work",
    "Is a walsender at work on it (a processor, or its spill files)?",
    lambda e: e.activity,
    _reorders,
)
