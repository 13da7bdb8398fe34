"""What a prefix that nobody told of gives away, and what it must not be taken for."""

from __future__ import annotations

import pytest

from stanch.facts.log_lines import LogFormat, LogParser
from stanch.facts.log_records import LogRecord

STAMP = "2026-11-21 07:15:17.123 UTC"
BADGER = f"{STAMP} [7]: [3-1] user=%s,db=%s,app=%s,client=10.0.0.1,code=%s "


def read(text: str) -> list[LogRecord]:
    parser = LogParser(LogFormat.STDERR)
    return parser.feed(text.encode()) + parser.flush()


def last(text: str) -> LogRecord:
    return read(text)[-1]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (f"{STAMP} [7] 00000 ", f"{STAMP} [12345] 53300 app@shop "),
        (f"00000 {STAMP} [7] ", f"53300 {STAMP} [12345] app@shop "),
        (f"{STAMP}:10.0.0.1(4711):00000:", f"{STAMP}:10.0.0.1(4711):53300:app@shop:"),
        (BADGER % ("[unknown]", "[unknown]", "", "00000"), BADGER % ("app", "shop", "x", "53300")),
    ],
)
def test_where_the_sqlstate_stands_is_learnt_from_lines_without_an_error(
    first: str, then: str
) -> None:
    record = last(f"{first}LOG:  checkpoint starting: time\n{then}FATAL:  in no language known\n")
    assert (record.sqlstate, record.log_class) == ("53300", "too_many_clients")
    assert (record.user, record.database) == ("app", "shop")


def test_the_lines_before_the_first_one_that_tells_it_are_read_so_as_well() -> None:
    said = f"{STAMP} [9] 53300 app@shop FATAL:  voll\n{STAMP} [7] 00000 LOG:  checkpoint starting\n"
    assert read(said)[0].log_class == "too_many_clients"


def test_a_code_with_letters_is_known_wherever_it_stands() -> None:
    said = 'could not read block 7 in file "base/5/16402": read only 0 of 8192 bytes'
    record = last(f"{STAMP} [7] XX001 app@shop ERROR:  {said}\n")
    assert (record.sqlstate, record.log_class) == ("XX001", "invalid_page")


@pytest.mark.parametrize(
    "prefix",
    [
        f"{STAMP} 53300 ",
        f"{STAMP} [53300] ",
        f"{STAMP} [7] [53300-1] ",
    ],
)
def test_a_process_or_a_line_with_the_number_of_an_error_is_none(prefix: str) -> None:
    record = last(f"{STAMP} [7] 00000 LOG:  x\n{prefix}ERROR:  division by zero\n")
    assert record.sqlstate is None
    assert record.log_class == "other"


def test_what_a_statement_says_teaches_nothing() -> None:
    said = f"{STAMP} [7] LOG:  statement: SELECT '] 00000 LOG:  x'\n"
    record = last(f"{said}{STAMP} [12345] 53300 ERROR:  division by zero\n")
    assert record.sqlstate is None


def test_a_process_without_a_session_is_nobodys() -> None:
    record = last(BADGER % ("[unknown]", "[unknown]", "[unknown]", "00000") + "LOG:  x\n")
    assert (record.user, record.database, record.application_name) == ("", "", "")


def test_the_application_is_told_where_the_prefix_names_it() -> None:
    record = last(BADGER % ("app", "shop", "my app", "42P01") + "ERROR:  x\n")
    assert (record.user, record.database, record.application_name) == ("app", "shop", "my app")
