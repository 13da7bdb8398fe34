"""Signs of numbers that have come to their end: sequences, and integer keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_log
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.evidence import Evidence, is_lately, value_of
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.shown import shortened

SEQUENCE_USED, KEY_USED = "sequence_used_pct", "int4_key_used_pct"
USED_UP_PCT = 99.99
FAR_PCT = 90.0
SAME_PCT = 0.5
"""Of a sequence and of the column that it fills, where they end at the same number."""
LINES_MIN = 3
WRITES = re.compile(r"(?i)\s*(insert|update|copy|merge|with\b[\s\S]{0,250}\b(insert|update)\b)")

_SEQUENCE = re.compile(
    r"nextval: reached (?:maximum|minimum) value of sequence \"(?P<name>[^\n]{1,130})\" "
    r"\((?P<value>-?\d{1,20})\)"
)
_TARGET = re.compile(r"(?i)\s*(?:insert\s+into|update|copy|merge\s+into)\s+(?:only\s+)?([^\s(;]+)")


def exhausted(evidence: Evidence) -> tuple[str, int] | None:
    """The sequence that the newest line of the log names, with its last number."""
    log = value_of(evidence.log)
    for event in reversed(log.events if log else ()):
        found = _SEQUENCE.search(event.text) if event.kind == "sequence_exhausted" else None
        if found is not None:
            return found["name"], int(found["value"])
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """How much of a sequence or of a key column is used up."""

    subject: str
    pct: float


def used_most(evidence: Evidence, name: str) -> Used | None:
    """What is nearest to its end: as the server was just asked, else by the watch's last look."""
    figures, history = value_of(evidence.figures), value_of(evidence.history)
    asked = [(f.subject, f.value) for f in (figures.named(name) if figures else ())]
    seen = asked or [(c.subject, c.now) for c in (history.named(name) if history else ())]
    told = [Used(subject=subject, pct=pct) for subject, pct in seen if pct is not None]
    return max(told, key=lambda u: (u.pct, u.subject), default=None)


def nearly_used(evidence: Evidence, name: str) -> Used | None:
    """What is near its end and has not come to it."""
    most = used_most(evidence, name)
    return most if most is not None and FAR_PCT <= most.pct < USED_UP_PCT else None


def overflows(evidence: Evidence) -> list[LogEvent]:
    """Recent refusals of a number that does not fit an integer."""
    log = value_of(evidence.log)
    return [
        event
        for event in (log.events if log else ())
        if event.kind == "integer_out_of_range"
        and event.at is not None
        and is_lately(evidence, event.at)
    ]


def overflowing_table(evidence: Evidence) -> str:
    """What the newest refused statement wrote to; empty where the log does not say."""
    for event in reversed(overflows(evidence)):
        found = _TARGET.match(event.statement)
        if found is not None:
            return shortened(found[1], 120)
    return ""


def _used(evidence: Evidence, name: str) -> YES_NO:
    most = used_most(evidence, name)
    if most is None:
        return f"{name} was not told"
    said = f"{most.subject} has used {most.pct:.2f}%"
    if most.pct >= USED_UP_PCT:
        return True, said
    if most.pct >= FAR_PCT:
        return f"{said}, as of the last look"
    return False, f"the nearest to its end: {said}"


def _key_near(evidence: Evidence) -> YES_NO:
    near = nearly_used(evidence, KEY_USED)
    return "" if near is None else (True, f"{near.subject} has used {near.pct:.1f}%")


def _sequence_near(evidence: Evidence) -> YES_NO:
    """Of a sequence that ends with the column it fills, the column is what has to change."""
    near, key = nearly_used(evidence, SEQUENCE_USED), used_most(evidence, KEY_USED)
    if near is None or (key is not None and key.pct >= near.pct - SAME_PCT):
        return ""
    return True, f"{near.subject} has used {near.pct:.1f}%"


def _overflow(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    found = overflows(evidence)
    if not found:
        return False, f"no such line in {log.path} of late"
    said = f"{len(found)} statements met it, the newest: {shortened(found[-1].text, 120)}"
    return len(found) >= LINES_MIN, said, found[-1].at


def _while_writing(_log: Log, evidence: Evidence) -> YES_NO:
    said = [event.statement for event in overflows(evidence) if event.statement]
    if not said:
        return "the log does not say which statements met it"
    writes = sum(WRITES.match(one) is not None for one in said)
    return writes * 2 > len(said), f"{writes} of {len(said)} such statements write"


def _clue(clue_id: str, question: str, reads: str, judge: Callable[[Evidence], YES_NO]) -> Clue:
    """A clue on what is used up, as the server was asked or else as the watch saw it last."""

    def ask(evidence: Evidence) -> Answer:
        said = judge(evidence)
        if isinstance(said, str):
            return Answer(yes=None, text=said)
        return Answer(yes=said[0], text=said[1], at=evidence.at)

    return Clue(id=clue_id, question=question, ask=ask, reads=(reads,))


sequence_logged = clue_on_log(
    "sequence_logged",
    "Does the log tell of a sequence that has no number left (2200H)?",
    ("sequence_exhausted",),
)
sequence_used_up = _clue(
    "sequence_used_up",
    "Has a sequence given out its last number?",
    SEQUENCE_USED,
    lambda e: _used(e, SEQUENCE_USED),
)
sequence_nearly_used = _clue(
    "sequence_nearly_used",
    "Has a sequence given out nine tenths of its numbers, before the column it fills is full?",
    SEQUENCE_USED,
    _sequence_near,
)
integer_overflows = clue_on(
    "integer_overflows",
    "Do statements meet numbers that do not fit an integer (22003), again and again?",
    lambda e: e.log,
    _overflow,
)
overflows_while_writing = clue_on(
    "overflows_while_writing",
    "Is it statements that write which meet them?",
    lambda e: e.log,
    _while_writing,
)
key_used_up = _clue(
    "key_used_up",
    "Has an integer key come to the largest number that it can hold?",
    KEY_USED,
    lambda e: _used(e, KEY_USED),
)
key_nearly_used = _clue(
    "key_nearly_used",
    "Has an integer key used nine tenths of its numbers?",
    KEY_USED,
    _key_near,
)
