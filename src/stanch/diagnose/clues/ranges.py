"""Signs of numbers that have come to their end: sequences, and integer keys."""

from __future__ import annotations

import re

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_log
from stanch.diagnose.evidence import Evidence, is_lately, value_of
from stanch.diagnose.history import Course
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.shown import shortened

USED_UP_PCT = 99.99
FAR_PCT = 90.0
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


def used_most(evidence: Evidence, name: str) -> Course | None:
    """What is nearest to its end."""
    history = value_of(evidence.history)
    told = [c for c in history.named(name) if c.now is not None] if history else []
    return max(told, key=lambda c: (c.now or 0.0, c.subject), default=None)


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
        return f"{name} is not recorded"
    said = f"{most.subject} has used {most.now:.2f}%"
    if (most.now or 0.0) >= USED_UP_PCT:
        return True, said
    if (most.now or 0.0) >= FAR_PCT:
        return f"{said}, as of the last look"
    return False, f"the nearest to its end: {said}"


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


sequence_logged = clue_on_log(
    "sequence_logged",
    "Does the log tell of a sequence that has no number left (2200H)?",
    ("sequence_exhausted",),
)
sequence_used_up = clue_on(
    "sequence_used_up",
    "Has a sequence given out its last number?",
    lambda e: e.history,
    lambda _h, e: _used(e, "sequence_used_pct"),
    reads=("sequence_used_pct",),
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
key_used_up = clue_on(
    "key_used_up",
    "Has an integer key come to the largest number that it can hold?",
    lambda e: e.history,
    lambda _h, e: _used(e, "int4_key_used_pct"),
    reads=("int4_key_used_pct",),
)
