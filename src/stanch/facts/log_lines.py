"""A server's log, from bytes to records: stderr with any prefix, csvlog and jsonlog.

The parser holds one unfinished record and nothing else, whatever it is fed: lines beyond the limit
are cut, bytes that are not UTF-8 become replacement characters, and both are counted.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from dataclasses import replace
from enum import StrEnum
from typing import Final, cast

from stanch.facts.log_guesses import PrefixGuess
from stanch.facts.log_prefix import AUTO, Prefix, compile_prefix
from stanch.facts.log_records import (
    RECORD_CHARS_MAX,
    LogRecord,
    classified,
    from_fields,
    zone_named,
)

LINE_BYTES_MAX: Final = 32768


class LogFormat(StrEnum):
    """The server's names for what it writes (`log_destination`)."""

    STDERR = "stderr"
    CSVLOG = "csvlog"
    JSONLOG = "jsonlog"

    @classmethod
    def of_path(cls, path: str) -> LogFormat:
        """By the file name's ending, as the server's own collector names them."""
        if path.endswith(".csv"):
            return cls.CSVLOG
        return cls.JSONLOG if path.endswith(".json") else cls.STDERR


class LogParser:
    """Feed it bytes as they come; it gives back the records that are complete.

    A stderr record is complete when the next one begins, since DETAIL and HINT follow on lines of
    their own; call `flush` when nothing more has come for a moment.

    A line break inside a name of the prefix (`%u`, `%d`) tears a stderr record in two: it is then
    read as a continuation of the one before, whose class stays what its beginning says. The other
    formats have no such gap.
    """

    def __init__(
        self,
        log_format: LogFormat,
        *,
        log_line_prefix: str | None = None,
        log_timezone: str | None = None,
    ) -> None:
        self._format = log_format
        self._prefix = None if log_line_prefix is None else compile_prefix(log_line_prefix)
        self._zone = zone_named(log_timezone)
        self._guess = PrefixGuess()
        self._buffer = b""
        self._cutting = False
        self._open: LogRecord | None = None
        self._last_part = "message"
        self._csv: list[str] = []
        self._csv_quoted = False
        self._csv_lost = True
        self.cut_lines = 0
        """Lines longer than the limit; their beginning was kept."""
        self.unreadable_lines = 0
        """Lines that begin no record and continue none."""

    def feed(self, content: bytes) -> list[LogRecord]:
        """The records that these bytes complete."""
        if self._prefix is None:
            self._guess.learn(content)
        records: list[LogRecord] = []
        *whole, rest = content.split(b"\n")
        for piece in whole:
            line, cut = self._complete(piece)
            if line:
                text = line.decode("utf-8", "replace").removesuffix("\r")
                records += self._line(text, cut=cut)
        self._keep(rest)
        return records

    def flush(self) -> list[LogRecord]:
        """The record in hand, as far as it goes; an unfinished line stays for the next bytes."""
        return self._close()

    def restart(self) -> list[LogRecord]:
        """Begin a new file: give back the record in hand and forget the unfinished line."""
        self._buffer, self._cutting = b"", False
        self._csv, self._csv_quoted, self._csv_lost = [], False, True
        return self._close()

    @property
    def pending(self) -> bytes:
        """What belongs to no record yet. Fed first to a new parser, it goes on where this one is.

        Bounded: one unfinished line and, of csvlog, one unfinished record.
        """
        whole = "".join(f"{line}\n" for line in self._csv)
        return whole.encode("utf-8", "replace") + self._buffer

    # --- lines out of bytes ---------------------------------------------------------------------

    def _keep(self, rest: bytes) -> None:
        if self._cutting:
            return
        self._buffer += rest
        if len(self._buffer) > LINE_BYTES_MAX:
            self._buffer, self._cutting = self._buffer[:LINE_BYTES_MAX], True

    def _complete(self, piece: bytes) -> tuple[bytes, bool]:
        line = self._buffer if self._cutting else self._buffer + piece
        cut = self._cutting or len(line) > LINE_BYTES_MAX
        self.cut_lines += cut
        self._buffer, self._cutting = b"", False
        return line[:LINE_BYTES_MAX], cut

    def _line(self, line: str, *, cut: bool) -> list[LogRecord]:
        if self._format is LogFormat.JSONLOG:
            return self._json_line(line)
        if self._format is LogFormat.CSVLOG:
            return self._csv_line(line, cut=cut)
        return self._stderr_line(line)

    def _close(self) -> list[LogRecord]:
        record, self._open = self._open, None
        return [] if record is None else [classified(record)]

    # --- stderr ---------------------------------------------------------------------------------

    def _stderr_line(self, line: str) -> list[LogRecord]:
        if line.startswith("\t"):
            self._continue(line[1:])
            return []
        match = _matched(line, self._prefix)
        if match is None and (early := _EARLY.match(line)) is not None:
            done = self._close()
            self._open = from_fields(
                {"severity": "FATAL", "message": early["message"]}, zone=self._zone
            )
            self._last_part = "message"
            return done
        if match is None:
            # Line breaks inside names are not indented, so this may still belong to the record.
            self._continue(line)
            return []
        severity, message = match["severity"], match["message"][:RECORD_CHARS_MAX]
        part = _PARTS.get(severity)
        if part is not None:
            self._add_part(part, message)
            return []
        done = self._close()
        fields = {name: value for name, value in match.groupdict().items() if value is not None}
        if "prefix" in fields:
            fields |= self._guess.fields(fields["prefix"])
        fields |= {"severity": severity, "message": message}
        self._open = from_fields(fields, zone=self._zone)
        self._last_part = "message"
        return done

    def _continue(self, text: str) -> None:
        if self._open is None:
            self.unreadable_lines += 1
            return
        self._append(self._last_part, f"\n{text}")

    def _add_part(self, part: str, text: str) -> None:
        if self._open is None:
            self.unreadable_lines += 1
            return
        self._last_part = part
        self._append(part, text)

    def _append(self, part: str, text: str) -> None:
        record = self._open
        if record is None or part == "":
            return
        have = str(getattr(record, part))
        if len(have) < RECORD_CHARS_MAX:
            self._open = replace(record, **{part: (have + text)[:RECORD_CHARS_MAX]})

    # --- csvlog ---------------------------------------------------------------------------------

    def _csv_line(self, line: str, *, cut: bool) -> list[LogRecord]:
        """One record may span lines inside quotes: an odd number of quotes so far means more."""
        if self._csv_lost and not _CSV_START.match(line):
            self.unreadable_lines += 1
            return []
        self._csv_lost = False
        self._csv_quoted ^= line.count('"') % 2 == 1
        self._csv.append(line)
        too_long = sum(map(len, self._csv)) > LINE_BYTES_MAX
        if self._csv_quoted and not cut and not too_long:
            return []
        # After a cut nobody knows what is quoted: go on where a record begins for certain.
        self._csv_lost = cut or self._csv_quoted
        self.cut_lines += too_long and not cut
        return self._csv_record()

    def _csv_record(self) -> list[LogRecord]:
        text = "\n".join(self._csv).replace("\0", "\ufffd")
        closing = '"' if self._csv_quoted else ""
        self._csv, self._csv_quoted = [], False
        row: list[str] = []
        with contextlib.suppress(csv.Error, StopIteration):
            row = next(csv.reader([text + closing]))
        if len(row) < _CSV_COLUMNS_MIN:
            self.unreadable_lines += 1
            return []
        row += [""] * (len(_CSV_COLUMNS) - len(row))
        fields: dict[str, str] = dict(zip(_CSV_COLUMNS, row, strict=False))
        return [classified(from_fields(fields, zone=self._zone))]

    # --- jsonlog --------------------------------------------------------------------------------

    def _json_line(self, line: str) -> list[LogRecord]:
        try:
            value = cast("object", json.loads(line))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self.unreadable_lines += 1
            return []
        given = cast("dict[str, object]", value)
        fields = {
            name: str(given[key]).encode("utf-8", "replace").decode("utf-8")
            for key, name in _JSON_KEYS.items()
            if key in given
        }
        if "severity" not in fields:
            self.unreadable_lines += 1
            return []
        return [classified(from_fields(fields, zone=self._zone))]


_PARTS: Final = {
    "DETAIL": "detail",
    "HINT": "hint",
    "STATEMENT": "statement",
    "QUERY": "",
    "CONTEXT": "",
    "LOCATION": "",
    "BACKTRACE": "",
}
"""Where the lines after a record's first belong; empty: not kept."""

_CSV_COLUMNS: Final = (
    "stamp_ms",
    "user",
    "database",
    "pid",
    "remote",
    "session_id",
    "line",
    "command_tag",
    "session_start",
    "virtual_xid",
    "xid",
    "severity",
    "sqlstate",
    "message",
    "detail",
    "hint",
    "internal_query",
    "internal_position",
    "context",
    "statement",
    "position",
    "location",
    "application_name",
    "backend_type",
    "leader_pid",
    "query_id",
)
_CSV_COLUMNS_MIN: Final = 23
_CSV_START: Final = re.compile(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,"]{1,40},')

_JSON_KEYS: Final = {
    "timestamp": "stamp_ms",
    "user": "user",
    "dbname": "database",
    "pid": "pid",
    "error_severity": "severity",
    "state_code": "sqlstate",
    "message": "message",
    "detail": "detail",
    "hint": "hint",
    "statement": "statement",
    "application_name": "application_name",
    "backend_type": "backend_type",
}


def _matched(line: str, prefix: Prefix | None) -> re.Match[str] | None:
    if prefix is None:
        return AUTO.match(line)
    # A server writes its first lines before it has read its settings: under the default prefix.
    return prefix.pattern.match(line) or _DEFAULT.match(line) or _BARE.match(line)


_DEFAULT: Final = compile_prefix("%m [%p] ").pattern
_BARE: Final = compile_prefix("").pattern
_EARLY: Final = re.compile(
    r"postgres: (?P<message>(?:\"?superuser_reserved_connections\"? |could not (?:find the "
    r"database system|access (?:directory|the server configuration file)))[^\n]*)"
)
"""What a server says before it can log: without prefix and severity, and it ends then."""
