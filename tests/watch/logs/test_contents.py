"""What is made of the bytes of a log: counts that survive pieces, restarts and strangers."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.auth_log import GuardClass
from stanch.facts.log_class import LogClass
from stanch.facts.log_settings import LogSettings
from stanch.watch.logs.guard_log import GuardLog
from stanch.watch.logs.server_log import (
    FROM_TEXT,
    LINE_CHARS_MAX,
    LINES_KEPT,
    ServerLog,
)
from stanch.watch.logs.sources import SOURCES_MAX, SourceCounts

PREFIX = "%m [%p] %q%u@%d %e "
STAMP = "2026-11-21 11:40:00.123 UTC [77] "
DEADLOCK = f"{STAMP}app@shop 40P01 ERROR:  Verklemmung entdeckt\n\tnoch eine Zeile\n"
REFUSED = f'{STAMP}app@shop 28P01 FATAL:  password authentication failed for user "app"\n'
CSV = (
    '2026-11-21 11:40:00.123 UTC,"app","shop",77,"[local]",66f.1,1,"SELECT",'
    "2026-11-21 11:40:00 UTC,3/4,0,ERROR,40P01,"
    '"deadlock\ndetected",,,,,,"SELECT ""1""\n;",,,"psql","client backend",,0\n'
)


def server_log(prefix: str | None = PREFIX, path: str = "/log/db.log") -> ServerLog:
    made = ServerLog(settings=LogSettings(log_line_prefix=prefix))
    made.begin(path, anew=True)
    return made


def values(log: ServerLog | GuardLog, unseen: str = "") -> dict[tuple[str, str], float | None]:
    return {(r.name, r.subject): r.value for r in log.readings(unseen)}


def test_a_line_in_another_language_is_known_by_its_sqlstate() -> None:
    log = server_log()
    log.feed((DEADLOCK + REFUSED).encode())
    log.settle()
    assert log.totals[LogClass.DEADLOCK] == 1
    assert values(log)["auth_failures_total", "database"] == 1
    assert values(log)["log_class_total", "invalid_page"] == 0


def test_without_a_sqlstate_the_class_says_that_it_is_from_english_text() -> None:
    log = server_log("%m [%p] ")
    log.feed(f"{STAMP}ERROR:  deadlock detected\n{STAMP}ERROR:  Verklemmung\n".encode())
    log.settle()
    assert log.totals[LogClass.DEADLOCK] == 1
    assert log.last[LogClass.DEADLOCK][0].endswith(f"({FROM_TEXT})")
    coded = server_log()
    coded.feed(DEADLOCK.encode())
    coded.settle()
    assert FROM_TEXT not in coded.last[LogClass.DEADLOCK][0]


def test_of_a_statement_that_is_quoted_no_literal_is_left() -> None:
    log = server_log()
    log.feed(f"{STAMP}app@shop 00000 LOG:  statement: UPDATE users SET pin = 'hunter2'\n".encode())
    log.settle()
    [quoted] = log.last[LogClass.WHOLE_TABLE_UPDATED]
    assert "UPDATE users SET pin" in quoted
    assert "hunter2" not in quoted


def test_what_nobody_can_read_is_no_zero() -> None:
    log = server_log()
    assert set(values(log, "no such file").values()) == {None}


def test_a_statement_of_many_megabytes_is_one_record_and_takes_no_memory() -> None:
    log = server_log()
    log.feed(DEADLOCK.encode())
    for _ in range(64):
        log.feed(b"x" * 65_536)
    assert len(log.pending) <= 32_768
    log.feed(b"\n\tand its second line\n" + REFUSED.encode())
    log.settle()
    assert (log.totals[LogClass.DEADLOCK], log.totals[LogClass.AUTH_FAILED]) == (1, 1)
    assert log.cut == 1


def test_only_the_last_lines_of_a_class_are_kept_and_only_their_beginnings() -> None:
    log = server_log()
    for n in range(50):
        log.feed(f"{STAMP}app@shop 40P01 ERROR:  {n} {'x' * 5000}\n".encode())
    log.settle()
    lines = log.last[LogClass.DEADLOCK]
    assert [line.split()[2] for line in lines] == ["47", "48", "49"]
    assert len(lines) == LINES_KEPT
    assert max(map(len, lines)) <= LINE_CHARS_MAX


@given(
    cuts=st.lists(st.integers(0, 900), max_size=6),
    which=st.sampled_from(["/log/db.log", "/log/db.csv"]),
    noise=st.binary(max_size=60),
)
def test_counts_are_the_same_however_the_log_is_cut_and_whenever_we_are_restarted(
    cuts: list[int], which: str, noise: bytes
) -> None:
    text = (CSV * 3 if which.endswith("csv") else (DEADLOCK + REFUSED) * 3).encode()
    # Strange bytes are in a line of their own, as a half-written one is.
    content = text + (noise.replace(b"\n", b"").replace(b'"', b"") or b"x") + b"\n" + text
    whole = server_log(path=which)
    whole.feed(content)
    whole.settle()

    log, at = server_log(path=which), 0
    for cut in sorted({min(cut, len(content)) for cut in cuts}):
        log.feed(content[at:cut])
        log.settle()
        kept, pending, at = json.loads(json.dumps(log.kept())), log.pending, cut
        log = ServerLog()
        log.restore(kept)
        log.begin(which, anew=True, pending=pending)
    log.feed(content[at:])
    log.settle()
    del whole.totals[LogClass.OTHER], log.totals[LogClass.OTHER]
    assert log.totals == whole.totals


def test_a_changed_prefix_is_used_from_the_next_line_on_and_loses_none() -> None:
    log = server_log("%m [%p] ")
    log.feed(f"{STAMP}ERROR:  deadlock detected\n{STAMP}ERR".encode())
    log.use(LogSettings(log_line_prefix="%m [%p] "))
    log.feed(b"OR:  deadlock detected\n")
    log.use(LogSettings(log_line_prefix=PREFIX))
    log.feed(DEADLOCK.encode())
    log.settle()
    assert log.totals[LogClass.DEADLOCK] == 3


# --- auth.log and its like ---


def test_the_end_of_a_refused_connection_is_not_counted_once_more() -> None:
    log = GuardLog(path="/var/log/auth.log")
    head = "Nov 21 11:40:00 db1 sshd[7]: "
    log.feed(f"{head}Failed password for a from 192.0.2.7 port 9 ssh2\n".encode())
    log.feed(
        f"{head}Connection closed by authenticating user a 192.0.2.7 port 9 [preauth]\n".encode()
    )
    assert values(log)["auth_failures_total", "/var/log/auth.log"] == 1
    other = head.replace("[7]", "[8]")
    log.feed(f"{other}Connection closed by invalid user b 192.0.2.8 port 9 [preauth]\n".encode())
    assert log.by_class[GuardClass.AUTH_FAILED].top() == "192.0.2.7: 1, 192.0.2.8: 1"


@given(st.lists(st.integers(0, 300), max_size=5), st.binary(max_size=40))
def test_refusals_are_the_same_however_the_log_is_cut(cuts: list[int], noise: bytes) -> None:
    line = b"Nov 21 11:40:00 db1 sshd[7]: Failed password for a from 192.0.2.7 port 9 ssh2\n"
    content = line * 2 + noise.replace(b"\n", b"") + b"\n" + line
    log, at = GuardLog(), 0
    for cut in sorted(min(cut, len(content)) for cut in cuts):
        log.feed(content[at:cut])
        kept, pending, at = json.loads(json.dumps(log.kept())), log.pending, cut
        log = GuardLog()
        log.restore(kept)
        log.begin("/var/log/auth.log", anew=True, pending=pending)
    log.feed(content[at:])
    assert log.by_class[GuardClass.AUTH_FAILED].total == 3


def test_a_line_without_end_takes_no_memory() -> None:
    log = GuardLog()
    for _ in range(64):
        log.feed(b"x" * 65_536)
    assert len(log.pending) < 8192
    log.feed(b"\nNov 21 11:40:00 db1 su: FAILED SU (to root) a on pts/1\n")
    assert log.by_class[GuardClass.AUTH_FAILED].total == 1


def test_a_thousand_addresses_do_not_hide_the_one_that_comes_most() -> None:
    counts = SourceCounts()
    for n in range(20_000):
        counts.add(f"10.{n >> 8}.{n & 255}.1")
        if n % 10 == 0:
            counts.add("192.0.2.7")
    assert len(counts.counts) == SOURCES_MAX
    assert counts.total == 22_000
    assert counts.top().startswith("192.0.2.7: about 2")
