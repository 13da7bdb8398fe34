"""How long crash recoveries took, from the log: what a restart after the next crash may take."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from stanch.facts.log_class import LogClass
from stanch.facts.log_records import LogRecord

_STARTS = re.compile(r"^redo starts at [0-9A-F]+/[0-9A-F]+$")
_DONE = re.compile(
    r"^redo done at [0-9A-F]+/[0-9A-F]+(?: .*\belapsed: (\d{1,7}(?:\.\d{1,3})?) s)?$"
)
_NO_CRASH = re.compile(
    r"^(entering standby mode|starting (archive|point-in-time|backup) recovery|restored log file)"
)
_OVER = frozenset({LogClass.READY, LogClass.STARTING})
_SERVERS_OWN = frozenset({"LOG", "FATAL", "PANIC"})


def longest_recovery_s(records: Iterable[LogRecord]) -> float | None:
    """The longest replay after a crash; None where the log shows none.

    Source: `redo done … elapsed`, on PostgreSQL 13 the time since `redo starts`, in an English log,
    between a start that was interrupted before and the server being ready. A standby's replay ends
    with the same words after days and does not count, nor does what a session says with RAISE LOG
    meanwhile.
    """
    longest: float | None = None
    crashed = False
    began: datetime | None = None
    for record in records:
        if record.severity not in _SERVERS_OWN or record.user:
            continue
        if record.log_class is LogClass.INTERRUPTED_RECOVERY:
            crashed = True
        elif record.log_class in _OVER or _NO_CRASH.match(record.message):
            crashed = False
        elif crashed and _STARTS.match(record.message):
            began = record.at
        elif crashed and (done := _DONE.match(record.message)) is not None:
            took_s = _elapsed_s(done[1], began, record.at)
            longest = longest if took_s is None else max(longest or 0.0, took_s)
    return longest


def _elapsed_s(told: str | None, began: datetime | None, ended: datetime | None) -> float | None:
    if told is not None:
        return float(told)
    if began is None or ended is None or ended < began:
        return None
    return (ended - began).total_seconds()
