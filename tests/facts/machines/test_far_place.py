"""Where a server lives on a far machine: what speaks for a folder, and what must not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stanch.facts.machines.far_files import boot_time, parse_files, parse_sizes
from stanch.facts.machines.far_place import Seen, Whereabouts, parse_seen, whereabouts
from stanch.facts.machines.far_processes import of_directory
from stanch.facts.machines.far_scripts import bytes_of, parts_of
from stanch.model.diagnosis import Missing
from stanch.model.host import LockFileRead

BOOT = datetime(2026, 3, 1, tzinfo=UTC)
MAIN = "/var/lib/postgresql/16/main"
TICKS = " ".join(["0"] * 17) + " 6000 0 0"


def process(
    pid: int,
    title: str,
    *,
    ppid: int = 1,
    state: str = "S",
    about: str = "",
    name: str = "postgres",
) -> str:
    return f"{pid} ({name}) {state} {ppid} {TICKS}\n{title}\n{about}\n"


def links(pid: int, cwd: str = "", exe: str = "", output: str = "", uid: int = 105) -> str:
    aims = (("cwd", cwd), ("exe", exe), ("fd/2", output))
    return "".join(
        f"lrwxrwxrwx 1 {uid} {uid} 0 Mar  1 00:00 /proc/{pid}/{link}"
        + (f" -> {aim}\n" if aim else "\n")
        for link, aim in aims
    )


HEAD = process(900, f"/usr/lib/postgresql/16/bin/postgres -D {MAIN}", about="8 77 5432")
CHILD = process(901, "postgres: 16/main: checkpointer", ppid=900)
SEEN_LINKS = links(900, MAIN, "/usr/lib/postgresql/16/bin/postgres", "/var/log/pg/16.log")
CLUSTERS = (
    f"/etc/postgresql/16/main/postgresql.conf:data_directory = '{MAIN}'\t\t# use data\n"
    "/etc/postgresql/16/main/postgresql.conf:port = 5432\n"
    "/etc/postgresql/14/old/postgresql.conf:data_directory = '/srv/old'\n"
    "/etc/postgresql/14/old/postgresql.conf:port=5433\n"
)


def seen(**parts: str) -> Seen:
    return parse_seen({"end": "", **parts}, boot_at=BOOT)


def place(found: Seen, *, port: int = 5432, given: str = "", own: bool = False) -> Whereabouts:
    told = whereabouts(found, port=port, given=given, own=own)
    assert isinstance(told, Whereabouts), told
    return told


def no_place(found: Seen, *, port: int = 5432, own: bool = False) -> str:
    told = whereabouts(found, port=port, given="", own=own)
    assert isinstance(told, Missing), told
    return told.reason


def test_a_running_server_is_known_by_the_port_in_its_lock_file() -> None:
    found = place(seen(processes=HEAD + CHILD, links=SEEN_LINKS, zone="/usr/share/zoneinfo/CET"))
    assert found.data_directory == MAIN
    assert found.log == "/var/log/pg/16.log"
    assert (found.zone, found.programs) == ("CET", "/usr/lib/postgresql/16/bin")
    assert "process 900" in found.source


def test_a_server_of_another_user_is_known_by_its_command_line_and_debians_settings() -> None:
    hidden = process(900, f"/usr/lib/postgresql/16/bin/postgres -D {MAIN}", about=" ")
    found = place(seen(processes=hidden, links=links(900), clusters=CLUSTERS))
    assert found.data_directory == MAIN
    assert found.log == "/var/log/postgresql/postgresql-16-main.log"


def test_a_server_of_another_port_is_not_taken_for_ours() -> None:
    reason = no_place(seen(processes=HEAD, links=SEEN_LINKS), port=5499)
    assert "no server of port 5499" in reason
    assert MAIN in reason
    assert "--data-directory" in reason


def test_in_a_container_the_only_server_is_ours_whatever_its_port_is_outside() -> None:
    found = place(seen(processes=HEAD + CHILD, links=SEEN_LINKS), port=15432, own=True)
    assert found.data_directory == MAIN


def test_of_a_list_that_was_cut_short_the_only_server_is_not_known_to_be_the_only_one() -> None:
    cut = parse_seen({"processes": HEAD, "links": SEEN_LINKS}, boot_at=BOOT)
    assert isinstance(whereabouts(cut, port=15432, given="", own=True), Missing)


def test_of_two_servers_in_a_container_none_is_guessed() -> None:
    other = process(950, "/usr/bin/postgres -D /srv/b", about="8 78 5440")
    both = seen(processes=HEAD + other, links=SEEN_LINKS + links(950, "/srv/b"))
    assert "no server of port 15432" in no_place(both, port=15432, own=True)


def test_a_container_whose_server_is_gone_is_known_by_pgdata() -> None:
    assert place(seen(pgdata="/var/lib/data"), own=True).data_directory == "/var/lib/data"
    assert "no server" in no_place(seen(pgdata="/var/lib/data")), "but no machine is"


def test_a_stopped_cluster_is_known_by_its_port_in_debians_settings() -> None:
    assert place(seen(clusters=CLUSTERS), port=5433).data_directory == "/srv/old"


def test_a_lock_file_in_tmp_names_a_folder_only_for_its_owner() -> None:
    assert place(seen(sockets="105|105|/srv/pg\n")).data_directory == "/srv/pg"
    for forged in ("1000|105|/srv/pg\n", "||/srv/pg\n", "105|105|srv/pg\n", "105|105\n", "x"):
        no_place(seen(sockets=forged))


def test_hidden_processes_are_said_and_not_taken_for_absent() -> None:
    assert "hidepid" in no_place(seen(self="hidden"))


def test_what_somebody_names_wins() -> None:
    found = place(seen(processes=HEAD, links=SEEN_LINKS), port=5499, given="/srv/named")
    assert (found.data_directory, found.source) == ("/srv/named", "named")


# --- processes ----------------------------------------------------------------------------------


def at_work(listed: str, linked: str, *, folder: tuple[int, int] | None = (8, 77)):
    found = seen(processes=listed, links=linked)
    return of_directory(found.processes, MAIN, folder=folder, lock_pid=None)


def test_a_postmaster_and_its_children_are_told_from_another_server() -> None:
    other = process(950, "postgres -D /srv/b", about="8 78 5440")
    others = process(951, "postgres: walwriter", ppid=950)
    found = at_work(HEAD + CHILD + other + others, SEEN_LINKS + links(950, "/srv/b"))
    assert found.postmaster is not None
    assert found.postmaster.pid == 900
    assert found.postmaster.uid == 105
    assert found.postmaster.started_at == datetime(2026, 3, 1, 0, 1, tzinfo=UTC)
    assert [p.pid for p in found.members] == [901]
    assert not found.orphans
    assert found.complete


def test_the_same_path_in_another_mount_is_another_folder() -> None:
    """A container on that machine may call its own folder the same."""
    elsewhere = process(900, f"postgres -D {MAIN}", about="9 12 5432")
    assert at_work(elsewhere, links(900, MAIN)).postmaster is None


def test_children_of_a_dead_postmaster_are_orphans() -> None:
    found = at_work(process(901, "postgres: writer", about="8 77 "), links(901, MAIN))
    assert found.postmaster is None
    assert [p.pid for p in found.orphans] == [901]


def test_a_server_that_shows_neither_folder_nor_command_line_is_not_called_absent() -> None:
    found = at_work(process(900, "postgres", about=" "), links(900))
    assert found.postmaster is None
    assert (found.unreadable, found.unreadable_pids) == (1, (900,))


def test_a_suspended_postmaster_and_one_that_waits_for_storage_say_so() -> None:
    held = process(900, f"postgres -D {MAIN}", state="T", about="8 77 5432")
    waits = process(901, "postgres: a", ppid=900, state="D")
    found = at_work(held + waits, links(900, MAIN))
    assert found.postmaster is not None
    assert found.postmaster.state == "stopped"
    assert [p.state for p in found.members] == ["disk-sleep"]


def test_another_program_under_the_name_of_a_server_is_none() -> None:
    found = at_work(HEAD, links(900, MAIN, "/usr/bin/python3"))
    assert found.postmaster is None


@pytest.mark.parametrize("junk", ["", "x", "\x00\n\n\n", "1 (a) S\n\n\n", "9" * 500])
def test_no_listing_is_too_strange(junk: str) -> None:
    assert at_work(junk, junk).postmaster is None


# --- files --------------------------------------------------------------------------------------

WORD = "==secret"


def output(**parts: str) -> dict[str, str]:
    text = "".join(f"\n{WORD} {name}\n{content}" for name, content in parts.items())
    return parts_of(WORD, text.encode())


LOCK = "8 5 1700000000\n 39 30 30 0a 2f 73 0a\n"
WHOLE = {
    "user": "stanch\n",
    "folder": "105 8 77 700\n",
    "namespace": "pid:[4026531836]\n",
    "boot": "b-1\n",
    "segments": "key shmid perms size cpid lpid nattch uid\n 1 9 600 56 1 1 6 105\n",
    "lock": LOCK,
    "holder": "none\n",
    "links": "",
    "control": "",
    "version": "16\n",
    "marks": "global/pg_control\n",
    "owner": "105\n",
    "upgrade": "",
    "wal": "16777216 0000000100000000000000A1\n",
    "slots": "slot s1/state\n 01 02\nslot ../x/state\n 03\n",
    "end": "",
}


def files(**differs: str):
    parts = output(**{**WHOLE, **differs})
    return parse_files(parts, MAIN, boot_at=BOOT)


def test_a_data_directory_is_read_part_by_part() -> None:
    found = files()
    assert not isinstance(found, Missing)
    assert isinstance(found.lock_file, LockFileRead)
    assert found.lock_file.content == b"900\n/s\n"
    assert (found.holder, found.owner_uid, found.same_pids) == (None, 105, True)
    assert found.segment == ("0000000100000000000000A1", 16777216)
    assert dict(found.slots) == {"s1": b"\x01\x02"}
    assert found.segments == {9: 6}
    assert isinstance(found.controldata, Missing)


def test_no_lock_file_is_an_answer_and_one_that_may_not_be_read_is_none() -> None:
    none = files(lock="none\n")
    denied = files(lock="8 5 1700000000\n")
    assert not isinstance(none, Missing)
    assert not isinstance(denied, Missing)
    assert none.lock_file is None
    assert isinstance(denied.lock_file, Missing)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("absent\n", f"{MAIN} is not there, or stanch may not look"),
        ("", f"{MAIN} could not be looked at"),
    ],
)
def test_a_folder_that_is_closed_says_to_whom(said: str, reason: str) -> None:
    found = files(folder=said)
    assert isinstance(found, Missing)
    assert found.reason == reason


def test_a_folder_that_may_not_be_entered_says_by_whom_and_whose_it_is() -> None:
    found = files(folder="denied 105 8 77 700\n")
    assert not isinstance(found, Missing)
    assert isinstance(found.lock_file, Missing)
    assert found.lock_file.reason == f"{MAIN} may not be read by stanch"
    assert not isinstance(found.start, Missing)
    assert (found.start.closed, found.start.owner_uid, found.start.mode) == (True, 105, 0o700)


def test_what_was_not_reached_in_time_is_not_taken_for_absent() -> None:
    cut = dict(list(WHOLE.items())[:11])
    found = parse_files(output(**cut), MAIN, boot_at=None)
    assert not isinstance(found, Missing)
    assert isinstance(found.start, Missing)
    assert found.segment is None


def test_a_part_cannot_be_forged_by_what_a_file_holds() -> None:
    parts = output(version="16\n==other folder\n0 0 0\n")
    assert parts["version"].startswith("16")
    assert "folder" not in parts


def test_a_count_that_ended_early_is_a_lower_bound() -> None:
    sizes = parse_sizes(output(sizes="wal 16384\nsegments 1\nready 2\ntemp 0\n"), MAIN)
    assert not isinstance(sizes, Missing)
    assert (sizes.wal_bytes, sizes.archive_ready, sizes.complete) == (16384 * 1024, 2, False)
    assert isinstance(parse_sizes(output(sizes="denied\n"), MAIN), Missing)
    assert isinstance(parse_sizes(output(sizes=""), MAIN), Missing)


def test_when_the_machine_was_started_is_told_by_its_own_clock() -> None:
    assert boot_time({"clock": "1700000100 100.50\n"}) == datetime.fromtimestamp(
        1700000100 - 100.5, UTC
    )
    assert boot_time({"clock": " \n"}) is None


@pytest.mark.parametrize("dump", ["", "zz", " 0", "\n"])
def test_a_dump_that_is_none_has_no_bytes(dump: str) -> None:
    assert bytes_of(dump) is None
