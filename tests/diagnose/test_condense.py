from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.diagnose.condense import (
    kernel_from,
    processes_from,
    sessions_from_titles,
    volumes_from,
)
from stanch.diagnose.condense_files import EVENTS_MAX, lock_from, log_from
from stanch.diagnose.outside import LockFileSeen
from stanch.facts.lock_file import (
    LockFileState,
    LockFileVerdict,
    parse_lock_file,
)
from stanch.model import host
from stanch.model.diagnosis import Missing
from stanch.model.ports.traces import KernelKill, KernelStall

AT = datetime(2026, 3, 1, 3, 0, 0, tzinfo=UTC)
GONE = Missing(what="x", reason="permission denied")
STAMP = "2026-03-01 03:00:00.000"


def chunk(text: str | bytes, path: str = "/var/log/pg.log") -> host.LogChunk:
    content = text if isinstance(text, bytes) else text.encode()
    position = host.LogPosition(path=path, device=1, inode=1, offset=len(content))
    return host.LogChunk(path=path, content=content, position=position)


def test_a_flood_of_refused_logins_does_not_push_the_shutdown_out() -> None:
    flood = f"{STAMP} UTC [9] FATAL:  sorry, too many clients already\n" * 2000
    log = log_from(chunk(f"{STAMP} UTC [1] LOG:  received fast shutdown request\n{flood}"))
    assert log.events[0].kind == "shutdown_request_fast"
    assert len(log.events) == EVENTS_MAX + 1


def test_a_flood_of_complaints_does_not_push_out_the_statement_that_they_are_about() -> None:
    flood = f'{STAMP} UTC [9] ERROR:  relation "orders" does not exist\n' * 2000
    log = log_from(chunk(f"{STAMP} UTC [1] LOG:  statement: DROP TABLE orders;\n{flood}"))
    assert (log.events[0].kind, log.events[0].text) == (
        "object_dropped",
        "statement: DROP TABLE orders;",
    )


def test_what_a_session_asked_for_is_kept_of_damage_only_and_without_literals() -> None:
    def event(message: str, statement: str) -> tuple[str, str]:
        line = f"{STAMP} UTC [9] ERROR:  {message}\n{STAMP} UTC [9] STATEMENT:  {statement}\n"
        [found] = log_from(chunk(line)).events
        return found.kind, found.statement

    asked = "INSERT INTO orders VALUES (1, 'hunter2')"
    kept = event("integer out of range", asked)
    assert kept == ("integer_out_of_range", "INSERT INTO orders VALUES (?, '…')")
    assert event('relation "x" does not exist', asked) == ("no_such_table", "")
    line = f"{STAMP} UTC [9] LOG:  statement: UPDATE users SET pin = 'hunter2'\n"
    [told] = log_from(chunk(line)).events
    assert told.text == "statement: UPDATE users SET pin = '…'"


def test_the_detail_of_a_failed_start_is_kept_and_that_of_rows_is_not() -> None:
    lines = (
        f"{STAMP} UTC [1] FATAL:  database files are incompatible with server\n"
        f"{STAMP} UTC [1] DETAIL:  The data directory was initialized by PostgreSQL version 12.\n"
        f"{STAMP} UTC [2] FATAL:  could not map anonymous shared memory: Cannot allocate memory\n"
        f"{STAMP} UTC [2] HINT:  This error usually means {'x' * 500}\n"
        f'{STAMP} UTC [3] 23505 ERROR:  duplicate key value violates unique constraint "k"\n'
        f"{STAMP} UTC [3] 23505 DETAIL:  Key (email)=(ann@example.com) already exists.\n"
    )
    incompatible, memory, row = log_from(chunk(lines)).events
    assert "initialized by PostgreSQL version 12" in incompatible.detail
    assert memory.detail.startswith("This error usually means")
    assert len(memory.detail) <= 300
    assert row.detail == ""


def test_times_in_the_machines_own_zone_are_understood() -> None:
    line = f"{STAMP} CET [1] LOG:  received fast shutdown request\n"
    assert log_from(chunk(line)).events[0].at is None
    known = log_from(chunk(line), log_timezone="Europe/Paris").events[0].at
    assert known == datetime(2026, 3, 1, 2, 0, 0, tzinfo=UTC)


@given(st.binary(max_size=2000))
def test_no_log_breaks_the_reading(content: bytes) -> None:
    for path in ("/log/a.log", "/log/a.csv", "/log/a.json"):
        log_from(chunk(content, path))


def volume(use: host.VolumeUse, mount: str) -> host.Volume:
    return host.Volume(
        use=use,
        path="/srv/pg",
        mount_point=mount,
        device="/dev/vdb",
        fs_type="ext4",
        total_bytes=100,
        free_bytes=40,
        inodes_total=None,
        inodes_free=None,
        network=False,
        read_only=False,
    )


def test_parts_on_one_volume_are_told_as_one_and_others_apart() -> None:
    seen = (
        volume(host.VolumeUse.DATA, "/srv"),
        volume(host.VolumeUse.LOG, "/srv"),
        volume(host.VolumeUse.WAL, "/wal"),
        GONE,
    )
    found = volumes_from(seen, GONE)
    assert not isinstance(found, Missing)
    assert [(v.mount_point, v.holds) for v in found.volumes] == [
        ("/srv", ("data", "log")),
        ("/wal", ("wal",)),
    ]
    assert found.wal_bytes is None


def test_no_volume_at_all_is_missing_with_the_reasons() -> None:
    assert volumes_from((GONE,), GONE) == Missing(what="volumes", reason="permission denied")


def test_what_takes_the_space_is_told_beside_the_volumes() -> None:
    sizes = host.DirectorySizes(
        wal_bytes=1, wal_segments=1, archive_ready=0, base_bytes=2, temp_bytes=3, log_bytes=None
    )
    found = volumes_from((volume(host.VolumeUse.DATA, "/srv"),), sizes)
    assert not isinstance(found, Missing)
    assert (found.wal_bytes, found.temp_bytes, found.log_bytes) == (1, 3, None)


def test_the_servers_own_processes_that_wait_for_storage_are_counted() -> None:
    states = ("disk-sleep", "sleeping", "disk-sleep")
    members = tuple(replace(process(n, "COMMIT"), state=s) for n, s in enumerate(states))
    seen = host.DataDirectoryProcesses(postmaster=None, members=members, orphans=(), holders=())
    assert processes_from(seen).waiting_for_storage == 2


def test_the_servers_own_processes_that_are_suspended_are_named() -> None:
    states = ("stopped", "sleeping", "tracing-stop")
    members = tuple(replace(process(n, "walsender"), state=s) for n, s in enumerate(states))
    seen = host.DataDirectoryProcesses(postmaster=None, members=members, orphans=(), holders=())
    assert processes_from(seen).suspended == (0, 2)


def kills(n: int) -> host.OomKills:
    return host.OomKills(host=n, cgroup=None)


def test_kills_since_the_last_look_are_counted() -> None:
    found = kernel_from(GONE, kills(5), GONE, before=kills(3))
    assert not isinstance(found, Missing)
    assert (found.oom_kills, found.new_oom_kills) == (5, 2)


def test_a_readable_kernel_log_without_a_kill_settles_an_old_count() -> None:
    found = kernel_from((), kills(5), GONE, before=None)
    assert not isinstance(found, Missing)
    assert found.oom_kills == 0


def test_only_kills_of_servers_are_kept() -> None:
    told = (
        KernelKill(pid=1, name="java", at=AT),
        KernelKill(pid=2, name="postgres", at=AT),
    )
    found = kernel_from(told, kills(2), GONE, before=None)
    assert not isinstance(found, Missing)
    assert [k.pid for k in found.kills] == [2]


def test_neither_count_nor_log_is_missing() -> None:
    assert isinstance(kernel_from(GONE, GONE, GONE, before=None), Missing)


def process(pid: int, title: str, **more: object) -> host.ProcessInfo:
    given: dict[str, object] = {"exe": "/usr/bin/postgres", "cwd": "/srv/pg", "uid": 100}
    return host.ProcessInfo(
        pid=pid,
        ppid=1,
        started_at=None,
        title=title,
        state="sleeping",
        **{**given, **more},  # type: ignore[arg-type]
    )


LOCK_BYTES = b"812\n/srv/pg\n1772330400\n5432\n/tmp\n127.0.0.1\n 5432001 7\nready   \n"


def seen_lock(
    holder: host.ProcessInfo | Missing | None, owner: int | Missing = 100
) -> LockFileSeen:
    read = host.LockFileRead(
        path="/srv/pg/postmaster.pid", content=LOCK_BYTES, device=1, inode=77, modified_at=AT
    )
    verdict = LockFileVerdict(state=LockFileState.UNPROVEN, proofs=())
    return lock_from(
        read,
        parse_lock_file(LOCK_BYTES),
        verdict,
        holder=holder,
        shared_memory=GONE,
        owner_uid=owner,
        boot_id="b",
    )


HOLDERS = {
    "a sleep of the same user": (process(812, "sleep 9", exe="/bin/sleep"), (False, True)),
    "a sleep of another user": (process(812, "sleep 9", exe="/bin/sleep", uid=0), (False, False)),
    "the server itself": (process(812, "postgres -D /srv/pg"), (True, True)),
    "a server of another directory": (process(812, "postgres", cwd="/srv/other"), (False, True)),
    "a process that hides": (process(812, "", exe=None, cwd=None, uid=None), (None, None)),
}


@pytest.mark.parametrize("who", sorted(HOLDERS))
def test_who_has_the_pid_of_the_lock_file(who: str) -> None:
    holder, expected = HOLDERS[who]
    seen = seen_lock(holder)
    assert (seen.holder_is_postmaster, seen.holder_blocks_start) == expected


def test_a_killed_postmaster_that_nobody_has_collected_yet_is_no_living_server() -> None:
    # What /proc shows of one: the name alone, neither command line nor executable nor folder.
    dead = replace(process(812, "postgres", exe=None, cwd=None), state="zombie")
    seen = seen_lock(dead)
    assert (seen.holder_pid, seen.holder_unknown) == (None, False)
    assert (seen.holder_is_postmaster, seen.holder_blocks_start) == (None, None)


def test_whether_a_process_blocks_is_unknown_where_the_owner_is() -> None:
    seen = seen_lock(process(812, "sleep 9", exe="/bin/sleep"), owner=GONE)
    assert seen.holder_blocks_start is None


def test_a_dead_pid_and_an_unreadable_one_are_told_apart() -> None:
    assert (seen_lock(None).holder_pid, seen_lock(None).holder_unknown) == (None, False)
    assert seen_lock(GONE).holder_unknown is True


@given(st.lists(st.text(max_size=80), max_size=8))
def test_no_title_of_a_process_breaks_the_counting(titles: list[str]) -> None:
    seen = host.DataDirectoryProcesses(
        postmaster=None,
        members=tuple(process(n, f"postgres: {t}") for n, t in enumerate(titles)),
        orphans=(),
        holders=(),
    )
    sessions_from_titles(seen)


def test_of_processes_that_hung_the_servers_are_kept() -> None:
    hung = tuple(KernelStall(pid=n, name=name, at=AT) for n, name in ((7, "postgres"), (8, "cp")))
    found = kernel_from((), kills(0), GONE, before=None, stalls=hung)
    assert not isinstance(found, Missing)
    assert [s.pid for s in found.stalls] == [7]
