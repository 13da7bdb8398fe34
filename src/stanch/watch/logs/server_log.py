"""What a server's log told since we first looked: counts by class, and the last lines of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from stanch.facts.log_class import STATEMENTS, LogClass
from stanch.facts.log_lines import LogFormat, LogParser
from stanch.facts.log_records import LogRecord
from stanch.facts.log_settings import LogSettings
from stanch.facts.redacting import redacted
from stanch.model.readings import Reading
from stanch.policy.rules import declared_rules
from stanch.watch.logs.sources import SourceCounts

LINES_KEPT: Final = 3
LINE_CHARS_MAX: Final = 240
REFUSED: Final = (
    LogClass.AUTH_FAILED,
    LogClass.PASSWORD_EXPIRED,
    LogClass.ROLE_UNKNOWN,
    LogClass.LOGIN_NOT_PERMITTED,
    LogClass.HBA_REJECTED,
)
FROM_TEXT: Final = "told from its English text, as log_line_prefix has no %e"


@dataclass(slots=True)
class ServerLog:
    """Fed bytes in the order they were written; keeps counts and a few lines, whatever comes."""

    settings: LogSettings = field(default_factory=LogSettings)
    totals: dict[LogClass, int] = field(default_factory=lambda: dict.fromkeys(LogClass, 0))
    last: dict[LogClass, deque[str]] = field(default_factory=dict[LogClass, "deque[str]"])
    users: SourceCounts = field(default_factory=SourceCounts)
    """Roles whose logins failed."""
    unreadable: int = 0
    """Lines that were part of no record."""
    cut: int = 0
    """Lines that were longer than is read."""
    hear: Callable[[LogRecord], None] = field(default=lambda record: None)
    """Told of every record; for what is more than counted."""
    _format: LogFormat | None = None
    _parser: LogParser | None = None

    def begin(self, path: str, *, anew: bool, pending: bytes = b"") -> None:
        """Say which file the next bytes are of, and whether they are its first."""
        log_format = LogFormat.of_path(path)
        if self._parser is None or log_format is not self._format:
            self._close()
            self._format, self._parser = log_format, self._new_parser(log_format)
        elif anew:
            self._take(self._parser.restart())
        if pending:
            self.feed(pending)

    def use(self, settings: LogSettings) -> None:
        """Read on by these settings; what is unfinished is kept."""
        if settings == self.settings:
            return
        self.settings = settings
        if self._format is not None:
            pending = self.pending
            self._close()
            self._parser = self._new_parser(self._format)
            self.feed(pending)

    def feed(self, content: bytes) -> None:
        if self._parser is not None:
            self._take(self._parser.feed(content))

    def settle(self) -> None:
        """Nothing more came for now: count the record in hand. An unfinished line stays so."""
        if self._parser is not None:
            self._take(self._parser.flush())
            self.unreadable += self._parser.unreadable_lines
            self.cut += self._parser.cut_lines
            self._parser.unreadable_lines = self._parser.cut_lines = 0

    @property
    def pending(self) -> bytes:
        return b"" if self._parser is None else self._parser.pending

    def _new_parser(self, log_format: LogFormat) -> LogParser:
        return LogParser(
            log_format,
            log_line_prefix=self.settings.log_line_prefix,
            log_timezone=self.settings.log_timezone,
        )

    def _close(self) -> None:
        if self._parser is not None:
            self._take(self._parser.restart())
            self.settle()

    def _take(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            log_class = record.log_class
            self.totals[log_class] += 1
            self.hear(record)
            if log_class is LogClass.OTHER:
                continue
            if log_class in REFUSED:
                self.users.add(record.user[:LINE_CHARS_MAX] or "unnamed")
            lines = self.last.setdefault(log_class, deque(maxlen=LINES_KEPT))
            lines.append(_quoted(record))

    # --- told and kept ---

    def readings(self, unseen: str = "") -> Iterator[Reading]:
        """Classes with their count: those that a rule reads, and the others once they were seen.

        `unseen`: why nobody knows.
        """
        judged = _judged()
        for log_class, total in self.totals.items():
            if not total and log_class.value not in judged:
                continue
            lines = self.last.get(log_class)
            yield Reading(
                name="log_class_total",
                subject=log_class.value,
                value=None if unseen else total,
                detail=unseen or (lines[-1] if lines else ""),
            )
        refused = sum(self.totals[log_class] for log_class in REFUSED)
        yield Reading(
            name="auth_failures_total",
            subject="database",
            value=None if unseen else refused,
            detail=unseen or self.users.top(),
        )

    def kept(self) -> dict[str, Any]:
        return {
            "totals": {c.value: n for c, n in self.totals.items() if n},
            "last": {c.value: list(lines) for c, lines in self.last.items()},
            "prefix": self.settings.log_line_prefix,
            "timezone": self.settings.log_timezone,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up what `kept` gave. Raises KeyError, TypeError, ValueError: it is none of ours."""
        totals = {LogClass(name): _count(n) for name, n in kept["totals"].items()}
        last = {
            LogClass(name): deque([str(line)[:LINE_CHARS_MAX] for line in lines], LINES_KEPT)
            for name, lines in kept["last"].items()
        }
        self.settings = LogSettings(
            log_line_prefix=_text(kept["prefix"]), log_timezone=_text(kept["timezone"])
        )
        self.totals = {log_class: totals.get(log_class, 0) for log_class in LogClass}
        self.last = last


@cache
def _judged() -> frozenset[str]:
    """Classes whose count has to be known before the first line of them comes."""
    rules = declared_rules().values()
    return frozenset(s for r in rules if r.reading == "log_class_total" for s in r.subjects)


def _quoted(record: LogRecord) -> str:
    """The beginning of a record, in one line, with what its class was told from."""
    said = redacted(record.message) if record.log_class in STATEMENTS else record.message
    text = " ".join(said[: 2 * LINE_CHARS_MAX].split())[:LINE_CHARS_MAX]
    code = f" [{record.sqlstate}]" if record.sqlstate else ""
    line = f"{record.severity}{code}: {text}"[:LINE_CHARS_MAX]
    if record.sqlstate:
        return line
    return f"{line[: LINE_CHARS_MAX - len(FROM_TEXT) - 3]} ({FROM_TEXT})"


def _count(kept: Any) -> int:
    if not isinstance(kept, int) or kept < 0:
        raise ValueError("no count")
    return kept


def _text(kept: Any) -> str | None:
    if kept is not None and not isinstance(kept, str):
        raise TypeError("no text")
    return kept
