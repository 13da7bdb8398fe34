"""What a line of a server's log is about: by SQLSTATE first, by its text second.

The texts are PostgreSQL's own English messages (`lc_messages`); in another language only what has
a SQLSTATE in the log is recognised. Any session can raise any text and any SQLSTATE (RAISE LOG …),
so a class is evidence, never proof; what only the postmaster says should come from its pid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from stanch.facts.log_class import LogClass
from stanch.facts.log_rule import LineRule
from stanch.facts.log_rules import BY_SQLSTATE, BY_TEXT, SERVER
from stanch.facts.log_rules_by_words import WITHOUT_SQLSTATE

_TEXT_MAX: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """The class of one line and the numbers its text names."""

    log_class: LogClass
    named_pid: int | None = None
    """The process the line is about, where that is not its writer."""
    signal: int | None = None


@cache
def _rules_for(severity: str, sqlstate: str) -> tuple[LineRule, ...]:
    """What can fit a record at all, in the order in which it is tried."""
    rules = BY_SQLSTATE + BY_TEXT if sqlstate else BY_TEXT + WITHOUT_SQLSTATE
    return tuple(
        rule
        for rule in rules
        if (not rule.sqlstates or sqlstate in rule.sqlstates)
        and (not rule.severities or severity in rule.severities)
    )


_KNOWN_STATES: Final = frozenset[str]().union(*(rule.sqlstates for rule in BY_SQLSTATE))
_KNOWN_SEVERITIES: Final = SERVER | {"ERROR"}
_UNKNOWN: Final = "?"
"""For every state or severity that no rule names: strangers' words must not fill a cache."""


def classify(severity: str, sqlstate: str | None, message: str) -> Classified:
    """What one record is about. Cost: some dozens of anchored patterns over 2,048 characters."""
    text = message[:_TEXT_MAX]
    known = "" if sqlstate in (None, "", "00000") else sqlstate
    state = known if not known or known in _KNOWN_STATES else _UNKNOWN
    rules = _rules_for(severity if severity in _KNOWN_SEVERITIES else _UNKNOWN, state)
    for rule in rules:
        match = None if rule.text is None else rule.text.search(text)
        if rule.text is None or match is not None:
            groups = {} if match is None else match.groupdict()
            return Classified(
                log_class=rule.log_class,
                named_pid=_number(groups.get("pid")),
                signal=_number(groups.get("signal")),
            )
    return Classified(log_class=LogClass.OTHER)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
