"""Certificates, pg_hba.conf itself, and servers that take no writes."""

from __future__ import annotations

from typing import Final

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.refusals import lately, lines_lately, period
from stanch.diagnose.evidence import Evidence, is_open, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import History
from stanch.diagnose.inside import Changes
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.reach import Reach, ReachState
from stanch.model.readings import Reading
from stanch.model.shown import shortened, span

TEXT_CHARS_MAX: Final = 200
TLS_REFUSED: Final = "tls_refused"
TLS_REFUSED_MIN: Final = 3
READ_ONLY: Final = "read_only"
READ_ONLY_MIN: Final = 5
READ_ONLY_SETTING: Final = "default_transaction_read_only"
# OpenSSL's names for what a client says before it hangs up; they are in no language but theirs.
EXPIRED_WORDS: Final = ("certificate expired", "certificate has expired")
UNTRUSTED_WORDS: Final = ("unknown ca", "bad certificate", "certificate unknown")


# --- certificates -------------------------------------------------------------------------------


def _tls_failed(seen: Reach) -> str:
    """The words with which the encrypted connection failed; empty where it did not."""
    layer = seen.failed_layer
    if seen.state is not ReachState.TLS_FAILURE or layer is None:
        return ""
    return layer.detail


def _expiry_said(seen: Reach, _evidence: Evidence) -> YES_NO:
    detail = _tls_failed(seen)
    if not detail:
        return False, f"a fresh connection ends as {seen.state}"
    return "certificate has expired" in detail, f"a fresh connection is given up: {detail}"


def _distrust_said(seen: Reach, _evidence: Evidence) -> YES_NO:
    detail = _tls_failed(seen)
    if not detail:
        return False, f"a fresh connection ends as {seen.state}"
    verified = "certificate verify failed" in detail and "expired" not in detail
    return verified, f"a fresh connection is given up: {detail}"


def _is_over(seen: Reach, evidence: Evidence) -> YES_NO:
    ends = seen.certificate_ends
    if ends is None:
        history = value_of(evidence.history)
        course = history.of("tls_days_left") if history is not None else None
        if course is None or course.now is None:
            return "until when the certificate holds is not known"
        days = course.now
    else:
        days = (ends - evidence.at).total_seconds() / 86_400
    if days >= 0:
        return False, f"the certificate holds for another {span(days * 86_400)}"
    return True, f"the certificate ended {span(-days * 86_400)} ago", ends


def _hung_up(log: Log, evidence: Evidence, words: tuple[str, ...]) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    found = [e for e in lately(evidence, TLS_REFUSED) if any(word in e.text for word in words)]
    if not found:
        return (
            False,
            f"no client that gives up for it in the log of {period(evidence)}",
        )
    said = f"{len(found)} clients gave up, the newest: {found[-1].text}"
    return len(found) >= TLS_REFUSED_MIN, shortened(said, TEXT_CHARS_MAX), found[-1].at


def _chain_broke(history: History, _evidence: Evidence) -> YES_NO:
    for name, what in (("tls_chain_ok", "its issuer"), ("tls_name_ok", "its name")):
        course = history.of(name)
        if course is None or course.now is None or course.usual is None:
            continue
        if course.usual >= 1 and course.now < 1:
            return True, f"the certificate verified before; now {what} does not"
    if history.of("tls_chain_ok") is None:
        return "whether the certificate verifies is not recorded"
    return False, "the certificate verifies as well as it did before"


expiry_said = clue_on(
    "expiry_said",
    "Does a fresh connection fail because the server's certificate has expired?",
    lambda e: e.reach,
    _expiry_said,
)
certificate_over = clue_on(
    "certificate_over",
    "Is the last day of the server's certificate past?",
    lambda e: e.reach,
    _is_over,
    reads=("tls_days_left",),
)
expiry_hung_up = clue_on(
    "expiry_hung_up",
    "Does the log show clients that give up because the certificate has expired?",
    lambda e: e.log,
    lambda log, e: _hung_up(log, e, EXPIRED_WORDS),
)
distrust_said = clue_on(
    "distrust_said",
    "Does a fresh connection fail because the server's certificate does not verify?",
    lambda e: e.reach,
    _distrust_said,
)
distrust_hung_up = clue_on(
    "distrust_hung_up",
    "Does the log show clients that give up because they do not trust the certificate?",
    lambda e: e.log,
    lambda log, e: _hung_up(log, e, UNTRUSTED_WORDS),
)
chain_broke = clue_on(
    "chain_broke",
    "Did the certificate verify before, and does it no longer?",
    lambda e: e.history,
    _chain_broke,
    reads=("tls_chain_ok", "tls_name_ok"),
)


# --- pg_hba.conf itself -------------------------------------------------------------------------


def hba_not_taken(evidence: Evidence) -> LogEvent | None:
    """The newest line that says that pg_hba.conf was not taken over, with no reload after it."""
    log = value_of(evidence.log)
    for event in reversed(log.events if log is not None else ()):
        if event.kind in ("reloaded", "ready"):
            return None
        if event.kind == "config_error" and "pg_hba.conf was not reloaded" in event.text:
            return event
    return None


def _not_taken(log: Log, evidence: Evidence) -> YES_NO:
    reach = value_of(evidence.reach)
    if reach is None or not is_open(reach):
        # Of a server that is down the start tells, in its own cause.
        return ""
    if not log.records_read:
        return f"nothing of use in {log.path}"
    event = hba_not_taken(evidence)
    if event is None:
        return False, "the newest reload took pg_hba.conf over, as far as the log was read"
    return True, f"the log says: {event.text}", event.at


def _hba_errors(history: History, _evidence: Evidence) -> YES_NO:
    course = history.of("hba_errors")
    if course is None or course.now is None:
        return "lines of pg_hba.conf are not read"
    return course.now >= 1, f"{course.now:.0f} lines of pg_hba.conf have errors"


hba_not_reloaded = clue_on(
    "hba_not_reloaded",
    "Does the log say that pg_hba.conf was not taken over at the newest reload?",
    lambda e: e.log,
    _not_taken,
)
hba_errors_read = clue_on(
    "hba_errors_read",
    "Does the server itself find errors in pg_hba.conf (pg_hba_file_rules)?",
    lambda e: e.history,
    _hba_errors,
    reads=("hba_errors",),
)


# --- no writes ----------------------------------------------------------------------------------


def _is_standby(evidence: Evidence) -> Answer:
    figures, sessions = value_of(evidence.figures), value_of(evidence.sessions)
    told = figures.value("in_recovery") if figures is not None else None
    if told is None and sessions is not None:
        told = float(sessions.in_recovery)
    if told is None:
        return Answer(yes=None, text="whether the server is a standby was not told")
    text = "the server is in recovery: a standby" if told else "the server is a primary"
    return Answer(yes=bool(told), text=text)


def _was_primary(history: History, _evidence: Evidence) -> YES_NO:
    course = history.of("in_recovery")
    if course is None or course.now is None or course.usual is None:
        return "what the server was before is not recorded"
    if course.now >= 1 and course.usual < 1:
        return True, "the server was a primary before, and is a standby now"
    return False, "the server is what it was before"


def _writes_refused(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    events, lines = lately(evidence, READ_ONLY), lines_lately(evidence, READ_ONLY)
    if not events:
        return False, f"no write refused as read-only in {period(evidence)}"
    said = f"{lines} writes refused in {period(evidence)}, the newest: {events[-1].text}"
    return lines >= READ_ONLY_MIN, shortened(said, TEXT_CHARS_MAX), events[-1].at


def _switched_said(seen: Reach, _evidence: Evidence) -> YES_NO:
    layer = seen.failed_layer
    if seen.state is not ReachState.READ_ONLY or layer is None:
        return False, f"a fresh connection ends as {seen.state}"
    return READ_ONLY_SETTING in layer.detail, f"a fresh session is read-only: {layer.detail}"


def read_only_by_role(evidence: Evidence) -> Reading | None:
    """A setting of one role or database that makes its sessions read-only."""
    figures = value_of(evidence.figures)
    if figures is None:
        return None
    for found in figures.named("role_settings"):
        if f"{READ_ONLY_SETTING}=on" in found.detail or f"{READ_ONLY_SETTING}=true" in found.detail:
            return found
    return None


def _server_wide(_figures: Figures, evidence: Evidence) -> YES_NO:
    reach = value_of(evidence.reach)
    switched = switched_said.ask(evidence).yes if reach is not None else None
    if not switched:
        return ""
    found = read_only_by_role(evidence)
    if found is not None:
        role, _, database = found.subject.partition("@")
        whose = f'role "{role}"' if role else f'database "{database}"'
        return False, f"it is a setting of {whose}"
    return True, "no role and no database has it set for itself: it holds for the whole server"


def _setting_changed(changes: Changes, _evidence: Evidence) -> YES_NO:
    for change in changes.changes:
        if READ_ONLY_SETTING in change.what or READ_ONLY_SETTING in change.told:
            said = f"{change.kind} {change.what}: {change.told}"
            return True, shortened(said, TEXT_CHARS_MAX), change.at
    return False, f"no change of {READ_ONLY_SETTING} was seen"


is_standby = Clue(
    id="is_standby",
    question="Is the server a standby?",
    ask=_is_standby,
    reads=("in_recovery",),
)
was_primary = clue_on(
    "was_primary",
    "Was it a primary before?",
    lambda e: e.history,
    _was_primary,
    reads=("in_recovery",),
)
writes_refused = clue_on(
    "writes_refused",
    "Does the log show writes refused as read-only, again and again (25006)?",
    lambda e: e.log,
    _writes_refused,
)
switched_said = clue_on(
    "switched_said",
    "Are fresh sessions read-only by default_transaction_read_only?",
    lambda e: e.reach,
    _switched_said,
)
switched_for_all = clue_on(
    "switched_for_all",
    "Does that hold for the whole server, not for one role or database?",
    lambda e: e.figures,
    _server_wide,
    reads=("role_settings",),
)
switched_lately = clue_on(
    "switched_lately",
    "Was default_transaction_read_only seen to change?",
    lambda e: e.changes,
    _setting_changed,
)
