"""Crash recoveries in a server's log, and what only looks like one."""

from __future__ import annotations

import re
import time

import pytest

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.log_lines import LogFormat, LogParser
from stanch.facts.log_records import LogRecord
from stanch.facts.recoveries import longest_recovery_s

STAMP = "2026-03-01 02:59:58.123 UTC [100] "
USAGE = "system usage: CPU: user: 0.01 s, system: 0.02 s, elapsed: {s} s"
STARTING = "LOG:  starting PostgreSQL 15.10 on x86_64"
CRASHED = "LOG:  database system was not properly shut down; automatic recovery in progress"
INTERRUPTED = "LOG:  database system was interrupted; last known up at 2026-03-01 02:00:00 UTC"
READY = "LOG:  database system is ready to accept connections"


def done(seconds: str) -> str:
    return "LOG:  redo done at 0/1A2B3C8 " + USAGE.format(s=seconds)


def records(*messages: str) -> list[LogRecord]:
    parser = LogParser(LogFormat.STDERR)
    text = "".join(f"{STAMP}{message}\n" for message in messages)
    return [*parser.feed(text.encode()), *parser.flush()]


def crash(seconds: str) -> tuple[str, ...]:
    return STARTING, INTERRUPTED, CRASHED, "LOG:  redo starts at 0/1A00000", done(seconds), READY


def test_the_longest_replay_after_a_crash_counts() -> None:
    assert longest_recovery_s(records(*crash("2.50"), *crash("31.07"), *crash("0.00"))) == 31.07


def test_a_log_without_a_crash_tells_of_no_recovery() -> None:
    assert longest_recovery_s(records(STARTING, READY)) is None
    assert longest_recovery_s([]) is None


def test_version_13_says_no_duration_so_its_two_records_are_compared() -> None:
    parser = LogParser(LogFormat.STDERR)
    said = [(58, CRASHED), (58, "LOG:  redo starts at 0/1A00000"), (61, "LOG:  redo done at 0/1B2")]
    text = "".join(
        f"2026-03-01 03:{second // 60:02}:{second % 60:02}.500 UTC [100] {message}\n"
        for second, message in said
    )
    assert longest_recovery_s([*parser.feed(text.encode()), *parser.flush()]) == 3.0
    backwards = records(CRASHED, "LOG:  redo done at 0/1B2C3C8")
    assert longest_recovery_s(backwards) is None, "without a beginning there is no duration"


@pytest.mark.parametrize(
    "other",
    [
        "LOG:  entering standby mode",
        "LOG:  starting archive recovery",
        "LOG:  starting point-in-time recovery to earliest consistent point",
        'LOG:  restored log file "000000010000000000000003" from archive',
    ],
)
def test_a_standbys_or_a_restores_replay_is_no_crash_recovery(other: str) -> None:
    assert longest_recovery_s(records(STARTING, INTERRUPTED, other, done("86400.00"))) is None


@pytest.mark.parametrize(
    "said",
    [
        (done("900.00"),),
        (STARTING, READY, done("900.00")),
        (*crash("1.00")[:-1], READY, done("900.00")),
        (STARTING, CRASHED, done("900.00").replace("LOG:", "ERROR:")),
        (STARTING, CRASHED, "LOG:  statement: SELECT 'redo done at 0/1 elapsed: 900.00 s'"),
        (STARTING, CRASHED, done("9" * 40)),
    ],
)
def test_words_of_a_session_are_no_recovery(said: tuple[str, ...]) -> None:
    assert longest_recovery_s(records(*said)) in (None, 1.0)


def test_a_real_servers_crash_recovery_is_read_from_its_log(
    server: ScratchServer, pg_major: int
) -> None:
    def recovery_s() -> float | None:
        parser = LogParser(LogFormat.STDERR)
        return longest_recovery_s([*parser.feed(server.log_text().encode()), *parser.flush()])

    server.restart()
    assert recovery_s() is None
    with server.connect(dbname="app") as conn:
        conn.execute("CREATE TABLE filled AS SELECT generate_series(1, 200000) AS n")
    server.kill()
    while server.processes():
        time.sleep(0.02)
    server.start()
    found = recovery_s()
    assert found is not None
    told = re.search(r"redo done at .* elapsed: ([0-9.]+) s", server.log_text())
    assert (told is None) == (pg_major < 14)
    assert told is None or found == float(told[1])
