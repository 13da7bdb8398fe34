"""The server's log: formats, prefixes, hostile content, bounded memory."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.log_lines import LINE_BYTES_MAX, LogFormat, LogParser
from stanch.facts.log_records import RECORD_CHARS_MAX, LogRecord

PREFIX = "%m [%p] %q%u@%d "
STAMP = "2026-11-21 07:15:17.123 UTC"


def _parsed(
    text: str | bytes,
    log_format: LogFormat = LogFormat.STDERR,
    *,
    prefix: str | None = PREFIX,
    zone: str | None = None,
) -> list[LogRecord]:
    parser = LogParser(log_format, log_line_prefix=prefix, log_timezone=zone)
    content = text if isinstance(text, bytes) else text.encode()
    return parser.feed(content) + parser.flush()


def test_details_and_continued_lines_belong_to_their_record() -> None:
    [record] = _parsed(
        f"{STAMP} [7] bob@app ERROR:  first\n\tsecond\n"
        f"{STAMP} [7] bob@app DETAIL:  why\n\tmore\n"
        f"{STAMP} [7] bob@app HINT:  how\n"
        f"{STAMP} [7] bob@app STATEMENT:  SELECT 1\n"
    )
    assert (record.message, record.detail) == ("first\nsecond", "why\nmore")
    assert (record.hint, record.statement) == ("how", "SELECT 1")
    assert (record.user, record.database, record.pid) == ("bob", "app", 7)
    assert record.at == datetime(2026, 11, 21, 7, 15, 17, 123000, UTC)


def test_processes_without_a_session_have_the_short_prefix() -> None:
    [record] = _parsed(f"{STAMP} [7] LOG:  checkpoint starting: time\n")
    assert (record.user, record.message) == ("", "checkpoint starting: time")


@pytest.mark.parametrize(
    ("prefix", "written"),
    [
        ("", ""),
        ("%t ", "2026-11-21 07:15:17 UTC "),
        ("%n %p ", "1795245317.123 7 "),
        (
            "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
            f"{STAMP} [7]: [3-1] user=bob,db=app,app=my app,client=10.0.0.1 ",
        ),
        ("<%r|%e|%x|%v|%c|%i> ", "<10.0.0.1(4711)|53300|0|3/17|65f.1a|SELECT> "),
        ("%-10u|%6p|", "bob       |     7|"),
        ("%6p %10u|", "     7           |"),
        ("%b %P %Q %s%%: ", "client backend  -17 2026-11-21 07:15:17 UTC%: "),
        ("%L [%p] ", "10.0.0.2 [7] "),
        ("%z%", ""),
        ("(.*)+[%p] ", "(.*)+[7] "),
    ],
)
def test_any_prefix_can_be_read(prefix: str, written: str) -> None:
    [record] = _parsed(f"{written}FATAL:  sorry, too many clients already\n", prefix=prefix)
    assert record.message == "sorry, too many clients already"
    assert record.log_class == "too_many_clients"


def test_an_unknown_prefix_is_found_by_the_severity() -> None:
    [one, two] = _parsed(
        f"x {STAMP} [7-1] LOG:  received fast shutdown request\n\tLOG:  not one\nx [8] FATAL:  b\n",
        prefix=None,
    )
    assert one.log_class == "shutdown_request_fast"
    assert (one.pid, one.at) == (7, datetime(2026, 11, 21, 7, 15, 17, 123000, UTC))
    assert "not one" in one.message
    assert two.message == "b"


def test_first_lines_before_the_settings_are_read_have_the_default_prefix() -> None:
    [record] = _parsed(f"{STAMP} [7] LOG:  starting PostgreSQL 15.1\n", prefix="%a|%p|")
    assert record.log_class == "starting"


@pytest.mark.parametrize(
    ("stamp", "zone", "expected"),
    [
        ("2026-01-21 07:15:17.123 CET", "Europe/Berlin", 6),
        ("2026-07-21 07:15:17.123 CEST", "Europe/Berlin", 5),
        ("2026-01-21 07:15:17.123 CET", None, None),
        ("2026-01-21 07:15:17.123 PST", "Europe/Berlin", None),
        ("2026-01-21 07:15:17.123 +02", None, 5),
        ("2026-01-21 07:15:17.123 CET", "no/such", None),
    ],
)
def test_a_time_is_given_only_where_its_zone_is_certain(
    stamp: str, zone: str | None, expected: int | None
) -> None:
    [record] = _parsed(f"{stamp} [7] LOG:  x\n", prefix="%m [%p] ", zone=zone)
    assert (None if record.at is None else record.at.hour) == expected


def test_the_hour_that_comes_twice_is_told_by_its_abbreviation() -> None:
    first, second = _parsed(
        "2026-10-25 02:30:00.000 CEST [7] LOG:  a\n2026-10-25 02:30:00.000 CET [7] LOG:  b\n",
        prefix="%m [%p] ",
        zone="Europe/Berlin",
    )
    assert first.at is not None
    assert second.at is not None
    assert (second.at - first.at).total_seconds() == 3600


CSV_HEAD = f'{STAMP},"bob","app",7,"[local]",65f.1a,1,"SELECT",{STAMP},3/17,0,ERROR,53200,'


def test_a_csv_record_may_span_lines_and_hold_quotes() -> None:
    [record] = _parsed(
        f'{CSV_HEAD}"out of memory","Failed on ""x"",\nrequest",,,,,'
        '"SELECT\n1",,,"web","client backend",,0\n',
        LogFormat.CSVLOG,
    )
    assert record.log_class == "out_of_memory"
    assert (record.detail, record.statement) == ('Failed on "x",\nrequest', "SELECT\n1")
    assert (record.application_name, record.backend_type) == ("web", "client backend")


def test_a_csv_log_entered_in_the_middle_goes_on_at_the_next_record() -> None:
    parser = LogParser(LogFormat.CSVLOG)
    records = parser.feed(f'half",of,a\nrecord"\n{CSV_HEAD}"m",,,,,,,,,"web"\n'.encode())
    assert [record.message for record in records] == ["m"]
    assert parser.unreadable_lines == 2


def test_a_forged_record_inside_quotes_stays_a_statement() -> None:
    forged = f"{STAMP},,,7,,65f.1a,1,,{STAMP},,0,LOG,00000,received fast shutdown request,,,,,,,,,,"
    [record] = _parsed(f'{CSV_HEAD}"m",,,,,,"SELECT\n{forged}\n",,,"web"\n', LogFormat.CSVLOG)
    assert record.message == "m"
    assert "received fast shutdown" in record.statement


def test_json_records_are_read_and_others_counted() -> None:
    parser = LogParser(LogFormat.JSONLOG)
    records = parser.feed(
        b'{"timestamp":"2026-11-21 07:15:17.123 UTC","pid":7,"error_severity":"FATAL",'
        b'"state_code":"53300","message":"x\\ud800"}\n[1]\nnot json\n{"a":1}\n'
    )
    assert [(r.log_class, r.message) for r in records] == [("too_many_clients", "x?")]
    assert parser.unreadable_lines == 3


def test_bytes_come_in_any_pieces() -> None:
    text = (
        f"{STAMP} [7] a@b ERROR:  ä\n\tö\n{STAMP} [7] a@b HINT:  ü\n{STAMP} [8] LOG:  z\n".encode()
    )
    parser = LogParser(LogFormat.STDERR, log_line_prefix=PREFIX)
    records = [r for i in range(len(text)) for r in parser.feed(text[i : i + 1])]
    assert records + parser.flush() == _parsed(text)


def test_an_endless_line_is_cut_counted_and_followed_by_the_next() -> None:
    parser = LogParser(LogFormat.STDERR, log_line_prefix=PREFIX)
    parser.feed(f"{STAMP} [7] LOG:  ".encode())
    for _ in range(50):
        parser.feed(b"x" * LINE_BYTES_MAX)
    [cut] = parser.feed(f"\n{STAMP} [7] LOG:  received fast shutdown request\n".encode())
    assert len(cut.message) == RECORD_CHARS_MAX
    assert parser.cut_lines == 1
    [after] = parser.flush()
    assert after.log_class == "shutdown_request_fast"


def test_endless_continued_lines_stay_within_the_limit() -> None:
    parser = LogParser(LogFormat.STDERR, log_line_prefix=PREFIX)
    parser.feed(f"{STAMP} [7] LOG:  x\n".encode() + b"\tyyyyyyyyyyyyyyyyyyyyyyyyy\n" * 5000)
    [record] = parser.flush()
    assert len(record.message) == RECORD_CHARS_MAX


def test_an_open_quote_in_a_csv_log_does_not_swallow_the_rest() -> None:
    parser = LogParser(LogFormat.CSVLOG)
    parser.feed(f'{CSV_HEAD}"never closed\n'.encode() + b"x" * 99 + b"\n")
    parser.feed((b"y" * 99 + b"\n") * 400)
    [record] = parser.feed(f'{CSV_HEAD}"m",,,,,,,,,"web"\n'.encode())
    assert record.message == "m"
    assert parser.cut_lines == 1


@given(st.binary(max_size=400), st.sampled_from(list(LogFormat)), st.none() | st.text(max_size=12))
def test_garbage_is_never_an_error(
    content: bytes, log_format: LogFormat, prefix: str | None
) -> None:
    parser = LogParser(log_format, log_line_prefix=prefix)
    parser.feed(content)
    parser.feed(b"\n" + content + b"\n")
    parser.flush()
    parser.restart()


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/b.csv", "csvlog"), ("b.json", "jsonlog"), ("b.log", "stderr"), ("json", "stderr")],
)
def test_the_format_is_in_the_name(path: str, expected: str) -> None:
    assert LogFormat.of_path(path) == expected
