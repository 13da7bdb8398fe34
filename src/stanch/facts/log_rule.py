"""What one rule over the lines of a log is made of, and the words that several of them share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from stanch.facts.log_class import LogClass

FATAL: Final = frozenset({"FATAL", "PANIC"})
NO_SPACE: Final = r"No space left on device"
_ANY: Final = frozenset[str]()


@dataclass(frozen=True, slots=True)
class LineRule:
    log_class: LogClass
    sqlstates: frozenset[str]
    """Empty: whatever the SQLSTATE, or none known."""
    text: re.Pattern[str] | None
    severities: frozenset[str]
    """Empty: any. A client's ERROR may quote anything, so what only the server says names its
    own severities."""


def rule(
    log_class: LogClass, sqlstates: str, text: str | None, severities: frozenset[str] = _ANY
) -> LineRule:
    pattern = None if text is None else re.compile(text)
    return LineRule(log_class, frozenset(sqlstates.split()), pattern, severities)
