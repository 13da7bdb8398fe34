"""A state directory that cannot keep promises is refused, and nothing in it is ever lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from stanch.model.errors import (
    StaleDecision,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    StoreUnsuitable,
)
from stanch.model.ids import IncidentId
from stanch.store import journal, queries, statedir
from stanch.store.mounts import Mount
from stanch.store.sql import SqlStore

AS_NOBODY = 65534


def opened(kit: Any, store: SqlStore) -> IncidentId:
    first = kit.entry("", 0, kit.opened())
    return store.write(journal.open_incident(kit.T0, first))[0].incident_id


def everything(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != "lock"}


def test_a_new_state_directory_is_private(kit: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "state"
    opened(kit, kit.store(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir() if p.is_file()}
    assert set(names) == {"stanch.db", "stanch.db-wal", "stanch.db-shm", "lock", "writer", "head"}
    assert set(names.values()) == {0o600}


def test_what_was_written_is_there_after_closing_and_opening(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    incident = opened(kit, store)
    writer = store.writer_id
    store.close()
    again = kit.store(tmp_path / "s")
    assert again.writer_id == writer
    [recorded] = again.write(journal.append(kit.entry(incident, 1, kit.ack())))
    assert (recorded.n, recorded.seq, recorded.late) == (2, 2, False)
    assert again.verify().ok


def test_a_second_process_is_told_who_holds_the_directory(kit: Any, tmp_path: Path) -> None:
    kit.store(tmp_path / "s")
    script = (
        "import sys; from pathlib import Path; from stanch.store import statedir\n"
        "from stanch.model.errors import StoreLocked\n"
        "try: statedir.take_lock(statedir.StateDir(path=Path(sys.argv[1])))\n"
        "except StoreLocked as error: print(error.what, '|', error.hint)"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "s")]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"process {os.getpid()} is writing here | Only one")


def test_a_second_store_in_the_same_process_is_refused_too(kit: Any, tmp_path: Path) -> None:
    kit.store(tmp_path / "s")
    with pytest.raises(StoreLocked):
        kit.store(tmp_path / "s")


def test_the_directory_is_free_again_after_closing_or_a_failed_opening(
    kit: Any, tmp_path: Path
) -> None:
    kit.store(tmp_path / "s").close()
    assert statedir.holder(statedir.StateDir(path=tmp_path / "s")) is None
    db = tmp_path / "s" / "stanch.db"
    kept = db.read_bytes()
    db.write_bytes(b"\0" * len(kept))
    with pytest.raises(StoreCorrupt):
        kit.store(tmp_path / "s")
    db.write_bytes(kept)
    kit.store(tmp_path / "s")


def test_a_child_started_later_does_not_inherit_the_lock(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        store.close()
        assert kit.store(tmp_path / "s")
        child.kill()


def test_reading_beside_a_writer_sees_its_events_and_cannot_write(kit: Any, tmp_path: Path) -> None:
    incident = opened(kit, kit.store(tmp_path / "s"))
    reader = SqlStore.open_reading(tmp_path / "s", kit.Projection())
    rows = reader.read(lambda conn: queries.timeline(conn, incident, after_seq=0))
    assert len(rows) == 1
    assert reader.verify().ok
    with pytest.raises(StoreLocked, match="reading only"):
        reader.write(journal.append(kit.entry(incident, 1, kit.note())))
    reader.close()


def test_reading_where_nothing_was_ever_written_is_refused(kit: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreUnsuitable, match="holds no store"):
        SqlStore.open_reading(tmp_path / "s", kit.Projection())
    assert not (tmp_path / "s").exists()


def test_a_network_file_system_is_refused(kit: Any, tmp_path: Path) -> None:
    mounts = [Mount(point="/", fstype="ext4"), Mount(point=str(tmp_path), fstype="nfs4")]
    with pytest.raises(StoreUnsuitable, match="nfs4") as refused:
        kit.store(tmp_path / "s", mounts=mounts)
    assert "local disk" in refused.value.hint
    assert not (tmp_path / "s").exists()


def test_a_path_that_is_a_file_is_refused(kit: Any, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    with pytest.raises(StoreUnsuitable):
        kit.store(tmp_path / "s")


def test_an_open_directory_of_somebody_elses_files_is_left_as_it_is(
    kit: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    (folder / "letter.txt").write_text("hello")
    with pytest.raises(StoreUnsuitable, match="not Stanch's"):
        kit.store(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_an_empty_open_directory_is_made_private(kit: Any, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o755)
    kit.store(tmp_path / "s")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become somebody else")
def test_a_directory_that_cannot_be_written_is_refused_with_a_hint(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "s").mkdir(mode=0o500)
    os.chown(tmp_path / "s", AS_NOBODY, AS_NOBODY)
    script = (
        "import os, sys; from pathlib import Path; from stanch.store import statedir\n"
        "from stanch.model.errors import StoreUnsuitable\n"
        "os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534)\n"
        "try: statedir.prepare(Path('s'), mounts=())\n"
        "except StoreUnsuitable as error: print(error.what, '|', error.hint)"
    )
    argv = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "cannot write in the state directory: permission denied | Check" in done.stdout


def test_a_database_of_a_newer_release_is_refused_and_kept(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    opened(kit, store)
    store.close()
    with sqlite3.connect(tmp_path / "s" / "stanch.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    db.close()
    before = everything(tmp_path / "s")
    with pytest.raises(StoreUnsuitable, match="'9999'") as refused:
        kit.store(tmp_path / "s")
    assert "newer release" in refused.value.hint
    assert everything(tmp_path / "s") == before


@pytest.mark.parametrize("left_bytes", [None, 0, 100, 4096, 9000])
def test_a_missing_or_truncated_database_is_refused_and_never_made_anew(
    kit: Any, tmp_path: Path, left_bytes: int | None
) -> None:
    store = kit.store(tmp_path / "s")
    opened(kit, store)
    store.close()
    db = tmp_path / "s" / "stanch.db"
    if left_bytes is None:
        db.unlink()
    else:
        os.truncate(db, left_bytes)
    before = everything(tmp_path / "s")
    with pytest.raises(StoreCorrupt) as refused:
        kit.store(tmp_path / "s")
    assert "nothing was deleted" in refused.value.hint
    assert {k: v for k, v in everything(tmp_path / "s").items() if k in before} == before


def test_an_older_copy_put_back_in_place_is_noticed(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    incident = opened(kit, store)
    store.close()
    old = (tmp_path / "s" / "stanch.db").read_bytes()
    store = kit.store(tmp_path / "s")
    store.write(journal.append(kit.entry(incident, 1, kit.note())))
    store.close()
    (tmp_path / "s" / "stanch.db").write_bytes(old)
    with pytest.raises(StoreCorrupt, match="ends at entry 1, but had come to 2"):
        kit.store(tmp_path / "s")
    # Somebody who restores on purpose, and says so by removing the note, is not held up.
    (tmp_path / "s" / "head").unlink()
    assert kit.store(tmp_path / "s").verify().ok


def test_a_database_of_another_writer_is_refused(kit: Any, tmp_path: Path) -> None:
    kit.store(tmp_path / "a").close()
    kit.store(tmp_path / "b").close()
    (tmp_path / "a" / "stanch.db").replace(tmp_path / "b" / "stanch.db")
    with pytest.raises(StoreCorrupt, match="belongs to writer"):
        kit.store(tmp_path / "b")


def test_a_damaged_log_of_a_killed_process_is_refused_with_all_its_bytes_kept(
    kit: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    kill_in_the_middle(folder, acknowledged=20)
    wal = folder / "stanch.db-wal"
    raw = bytearray(wal.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    wal.write_bytes(raw)
    with pytest.raises(StoreCorrupt):
        kit.store(folder)
    assert wal.read_bytes() == bytes(raw)


APPENDING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from stanch.model.events import NoteAdded
from stanch.model.ids import RESPONDER, PersonId
from stanch.model.timeline import Append
from stanch.store import journal
from stanch.store.sql import SqlStore

class Nothing:
    def initial(self, incident_id): return 0
    def apply(self, state, recorded): return recorded.seq
    def wakes(self, state): return {}

store = SqlStore.open(Path(sys.argv[1]), Nothing())

def notes(count):
    at = datetime(2026, 3, 1, tzinfo=UTC)
    events = tuple(NoteAdded(by=PersonId("a"), text="x" * 300) for _ in range(count))
    return Append(incident_id=RESPONDER, basis_seq=0, at=at, events=events)

n = store.write(journal.append(notes(1)))[0].n
while True:
    print(n, flush=True)
    n = store.write(journal.append(notes(3)))[-1].n
"""


def kill_in_the_middle(folder: Path, *, acknowledged: int) -> int:
    """Append in another process, kill it once so many lines were acknowledged; the last of them."""
    argv = [sys.executable, "-c", APPENDING, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledged)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    whole = [line for line in lines if line.endswith("\n")]
    return int(whole[-1])


@pytest.mark.parametrize("acknowledged", [1, 2, 7, 40, 333])
def test_what_was_acknowledged_before_a_kill_is_all_there(
    kit: Any, tmp_path: Path, acknowledged: int
) -> None:
    folder = tmp_path / "s"
    last = kill_in_the_middle(folder, acknowledged=acknowledged)
    last = max(last, kill_in_the_middle(folder, acknowledged=3))
    store = kit.store(folder)
    report = store.verify()
    assert report.ok, report.problems
    assert report.entries >= last
    # Appends of three events are there whole or not at all; two lives began with one each.
    assert (report.entries - 2) % 3 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may mount a small volume")
def test_a_full_disk_is_an_error_that_ends_when_space_is_back(
    kit: Any, tmp_path: Path, small_volume: Any
) -> None:
    volume = small_volume(tmp_path / "v", 4)
    store = kit.store(volume / "s")
    incident = opened(kit, store)
    ballast = volume / "ballast"
    fill(ballast)
    seq = append_until_refused(kit, store, incident)
    refused = 0
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as error:
            store.write(journal.append(kit.entry(incident, seq, kit.note("x" * 50_000))))
        refused += "Free space" in error.value.hint
    assert refused == 3
    assert store.read(lambda c: queries.timeline(c, incident, after_seq=0))[-1].seq == seq
    ballast.unlink()
    [recorded] = store.write(journal.append(kit.entry(incident, seq, kit.ack())))
    assert recorded.seq == seq + 1
    report = store.verify()
    assert report.ok, report.problems
    store.close()
    assert kit.store(volume / "s").verify().entries == recorded.n


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may mount a small volume")
def test_a_full_volume_is_refused_at_opening_with_a_hint(
    kit: Any, tmp_path: Path, small_volume: Any
) -> None:
    volume = small_volume(tmp_path / "v", 1)
    fill(volume / "ballast")
    with pytest.raises(StoreUnavailable) as error:
        kit.store(volume / "s")
    assert "Free space" in error.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may mount a small volume")
def test_a_volume_that_turns_read_only_is_an_error_that_ends_when_it_is_writable_again(
    kit: Any, tmp_path: Path, small_volume: Any
) -> None:
    volume = small_volume(tmp_path / "v", 8)
    store = kit.store(volume / "s")
    incident = opened(kit, store)
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
    with pytest.raises(StoreError) as error:
        kit.store(volume / "s")
    assert "read-write" in error.value.hint
    subprocess.run(["mount", "-o", "remount,rw", str(volume)], check=True)
    assert kit.store(volume / "s").write(journal.append(kit.entry(incident, 1, kit.ack())))


def test_a_commit_that_failed_yet_reached_the_disk_is_found_and_built_upon(
    kit: Any, tmp_path: Path
) -> None:
    store = kit.store(tmp_path / "s")
    incident = opened(kit, store)

    def in_doubt(tx: Any) -> None:
        journal.append(kit.entry(incident, 1, kit.note("in doubt")))(tx)
        tx.conn.exec_driver_sql("COMMIT")
        failed = sqlite3.OperationalError("disk I/O error")
        failed.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise OperationalError("COMMIT", {}, failed)

    with pytest.raises(StoreUnavailable):
        store.write(in_doubt)
    with pytest.raises(StaleDecision):
        store.write(journal.append(kit.entry(incident, 1, kit.ack())))
    [recorded] = store.write(journal.append(kit.entry(incident, 2, kit.ack())))
    assert (recorded.seq, recorded.n) == (3, 3)
    assert store.verify().ok


def test_a_database_locked_by_another_program_is_an_error_that_ends_with_the_lock(
    kit: Any, tmp_path: Path
) -> None:
    store = kit.store(tmp_path / "s")
    incident = opened(kit, store)
    shell = sqlite3.connect(tmp_path / "s" / "stanch.db", isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as error:
        store.write(journal.append(kit.entry(incident, 1, kit.note())))
    assert "Another program" in error.value.hint
    shell.execute("ROLLBACK")
    shell.close()
    assert store.write(journal.append(kit.entry(incident, 1, kit.ack())))


def test_a_database_deleted_under_a_running_process_takes_no_more_events(
    kit: Any, tmp_path: Path
) -> None:
    store = kit.store(tmp_path / "s")
    incident = opened(kit, store)
    aside = tmp_path / "aside"
    (tmp_path / "s").rename(aside)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.write(journal.append(kit.entry(incident, 1, kit.note())))
    assert not (tmp_path / "s").exists()
    aside.rename(tmp_path / "s")
    assert store.write(journal.append(kit.entry(incident, 1, kit.ack())))[0].seq == 2
    assert store.verify().ok


def test_another_database_put_in_place_under_a_running_process_is_refused(
    kit: Any, tmp_path: Path
) -> None:
    other = kit.store(tmp_path / "other")
    opened(kit, other)
    other.close()
    store = kit.store(tmp_path / "s")
    incident = opened(kit, store)
    for file in (tmp_path / "s").glob("stanch.db*"):
        file.unlink()
    (tmp_path / "other" / "stanch.db").rename(tmp_path / "s" / "stanch.db")
    with pytest.raises(StoreUnavailable, match="moved or deleted"):
        store.write(journal.append(kit.entry(incident, 1, kit.note())))
    with pytest.raises(StoreCorrupt):
        store.write(journal.append(kit.entry(incident, 1, kit.note())))


def fill(path: Path) -> None:
    """Take all the space that is left."""
    for piece in (65_536, 4_096):
        try:
            with path.open("ab", buffering=0) as file:
                while file.write(bytes(piece)) == piece:
                    pass
        except OSError:
            continue


def append_until_refused(kit: Any, store: SqlStore, incident: IncidentId) -> int:
    for seq in range(1, 2_000):
        try:
            store.write(journal.append(kit.entry(incident, seq, kit.note("y" * 2_000))))
        except StoreUnavailable:
            return seq
    raise AssertionError("the volume never filled up")
