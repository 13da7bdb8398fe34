"""Standbys that their primary does not let in: as their own log tells it, or the primary's.

The walreceiver of a standby logs the primary's refusal word for word, every few seconds. On the
primary the same is a refused login like any other; what makes it a standby's is that one has left,
and that the role is one that replicates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.refusals import lately, roles_in
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.outside import LogEvent
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

UPSTREAM: Final = "primary_unreachable"
WITHIN: Final = timedelta(seconds=120)
"""It tries again every five seconds (wal_retrieve_retry_interval)."""
LEFT_BEFORE: Final = timedelta(seconds=60)
"""The watch misses a standby some time after it was refused for the first time."""
REFUSED_MIN: Final = 2
TEXT_CHARS_MAX: Final = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A standby is turned away."""

    role: str
    """Empty: nobody said which."""
    since: datetime | None
    text: str
    here: bool
    """The server in question is that standby, not its primary."""


def refusal(
    evidence: Evidence, *, words: str, kind: str, of_a_standby: Callable[[LogEvent, Evidence], bool]
) -> Refusal | None:
    """The one that stands, if any: `words` are in what the standby logs, `kind` is the class of
    the primary's own line."""
    figures = value_of(evidence.figures)
    is_primary = figures is not None and figures.value("in_recovery") == 0
    if is_primary:
        return _of_another(evidence, kind, of_a_standby)
    if figures is not None and figures.value("receiver_streaming"):
        return None
    return _of_itself(evidence, words)


def _of_itself(evidence: Evidence, words: str) -> Refusal | None:
    # Whoever is logged in may make a server log any words; a walreceiver is no session.
    lines = [e for e in lately(evidence, UPSTREAM) if not e.who]
    if not lines or words not in lines[-1].text or not _is_new(lines[-1], evidence):
        return None
    same = [e for e in lines if words in e.text]
    return _refusal(same, here=True)


def _of_another(
    evidence: Evidence, kind: str, of_a_standby: Callable[[LogEvent, Evidence], bool]
) -> Refusal | None:
    left = [s.since for s in evidence.symptoms if s.kind is SymptomKind.STANDBY_GONE]
    if not left:
        return None
    since = min(left) - LEFT_BEFORE
    found = [
        event
        for event in lately(evidence, kind)
        if event.at is not None and event.at >= since and of_a_standby(event, evidence)
    ]
    if len(found) < REFUSED_MIN or not _is_new(found[-1], evidence):
        return None
    return _refusal(found, here=False)


def _is_new(event: LogEvent, evidence: Evidence) -> bool:
    return event.at is not None and evidence.at - event.at <= WITHIN


def _refusal(lines: list[LogEvent], *, here: bool) -> Refusal:
    roles = roles_in(lines[-1:])
    return Refusal(
        role=roles[0] if roles else "",
        since=lines[0].at,
        text=shortened(lines[-1].text, TEXT_CHARS_MAX),
        here=here,
    )


def _asks_to_replicate(event: LogEvent, _evidence: Evidence) -> bool:
    return "replication connection" in event.text


def _of_a_replicating_role(event: LogEvent, evidence: Evidence) -> bool:
    figures = value_of(evidence.figures)
    told = figures.named("role_replicates") if figures is not None else ()
    return bool({figure.subject for figure in told} & {*roles_in((event,))})


def by_hba(evidence: Evidence) -> Refusal | None:
    """A standby that pg_hba.conf does not let in."""
    return refusal(
        evidence, words="pg_hba.conf", kind="hba_rejected", of_a_standby=_asks_to_replicate
    )


def by_password(evidence: Evidence) -> Refusal | None:
    """A standby that comes with a wrong password."""
    return refusal(
        evidence,
        words="password authentication failed",
        kind="auth_failed",
        of_a_standby=_of_a_replicating_role,
    )


def told(found: Refusal) -> str:
    """Who is turned away, as the beginning of a sentence."""
    role = f' as role "{found.role}"' if found.role else ""
    return f"This standby is turned away{role}" if found.here else f"A standby{role} is turned away"


def _asking(find: Callable[[Evidence], Refusal | None]) -> Callable[[Evidence], Answer]:
    def ask(evidence: Evidence) -> Answer:
        log = value_of(evidence.log)
        if log is None or not log.records_read:
            return Answer(yes=None, text="")
        found = find(evidence)
        if found is None:
            return Answer(yes=False, text="no standby is turned away")
        since = f" since {span((evidence.at - found.since).total_seconds())}" if found.since else ""
        return Answer(yes=True, text=f"a standby is turned away{since}: {found.text}")

    return ask


standby_hba = Clue(
    id="standby_hba",
    question="Is a standby turned away again and again by its primary's pg_hba.conf?",
    ask=_asking(by_hba),
    reads=("in_recovery", "receiver_streaming"),
)
standby_password = Clue(
    id="standby_password",
    question="Is a standby turned away again and again for its password?",
    ask=_asking(by_password),
    reads=("in_recovery", "receiver_streaming", "role_replicates"),
)
