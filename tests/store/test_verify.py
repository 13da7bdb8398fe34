"""Whatever is changed in the stored record, verifying says so and says where."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stanch.model.errors import StoreCorrupt, StoreError
from stanch.model.events import EvidenceKept
from stanch.model.ids import BlobKey, IncidentId, WriterId
from stanch.model.timeline import ChainReport
from stanch.store import journal, keeping, queries
from stanch.store.schema import TRIGGERS
from stanch.store.sql import SqlStore
from stanch.store.verify import PROBLEMS_MAX

CONTENT = ("journal", "incident", "fired", "blob", "policy", "meta")


@pytest.fixture
def filled(kit: Any, tmp_path: Path) -> Path:
    """A state directory with two incidents, evidence, a policy, and a head noted."""
    store = kit.store(tmp_path / "s")
    key = store.write(keeping.put_blob(b"evidence " * 40))
    store.write(keeping.put_policy("abc", "targets: []\n" * 20))
    first = kit.entry("", 0, kit.opened(), kit.note("one"), kit.page("page/1@1"))
    incident = store.write(journal.open_incident(kit.T0, first))[0].incident_id
    kept = EvidenceKept(name="log", blob=key, size_bytes=3)
    store.write(journal.append(kit.entry(incident, 3, kept, kit.note("two"), kit.ack())))
    other = store.write(journal.open_incident(kit.T0, kit.entry("", 0, kit.opened())))
    store.write(journal.append(kit.entry(other[0].incident_id, 1, kit.resolved())))
    store.close()
    return tmp_path / "s"


def tamper(folder: Path, *statements: str) -> None:
    """What somebody with the file and a shell can do, triggers put back in place."""
    db = sqlite3.connect(folder / "stanch.db", isolation_level=None)
    for name in TRIGGERS:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    for trigger in TRIGGERS.values():
        db.execute(trigger.strip())
    db.close()


def report(kit: Any, folder: Path, **anchors: Any) -> ChainReport:
    store = SqlStore.open_reading(folder, kit.Projection())
    try:
        return store.verify(**anchors)
    finally:
        store.close()


def test_what_nobody_touched_verifies(kit: Any, filled: Path) -> None:
    found = report(kit, filled)
    assert (found.ok, found.entries, found.problems) == (True, 8, ())
    [head] = found.heads.values()
    n, _, digest = head.partition(":")
    assert (n, len(digest)) == ("8", 64)


CHANGES = {
    "body": (
        ["UPDATE journal SET body = CAST(replace(body, 'one', 'two') AS BLOB) WHERE n = 2"],
        "entry 2: its",
    ),
    "time": (["UPDATE journal SET at_us = at_us + 1 WHERE n = 4"], "entry 4: its content"),
    "kind": (["UPDATE journal SET kind = 'note.added.v2' WHERE n = 2"], "entry 2: its content"),
    "basis": (["UPDATE journal SET basis_seq = 0 WHERE n = 5"], "entry 5: its content"),
    "type": (["UPDATE journal SET at_us = 'noon' WHERE n = 4"], "entry 4: at_us is no int"),
    "hash": (["UPDATE journal SET hash = zeroblob(32) WHERE n = 3"], "entry 3: its content"),
    "removed row": (["DELETE FROM journal WHERE n = 5"], "entry 6: follows entry 4"),
    "removed head row": (["DELETE FROM journal WHERE n = 1"], "entry 2: follows entry 0"),
    "removed tail": (["DELETE FROM journal WHERE n = 8"], "entry 8: not there with the noted"),
    "swapped": (
        [
            "UPDATE journal SET n = -1, seq = -1 WHERE n = 2",
            "UPDATE journal SET n = 2, seq = 2 WHERE n = 5",
            "UPDATE journal SET n = 5, seq = 5 WHERE n = -1",
        ],
        "entry 2: does not point back",
    ),
    "closed by hand": (["UPDATE incident SET is_open = 0"], "'20260301-001': listed as"),
    "hidden": (["DELETE FROM incident WHERE is_open = 1"], "'20260301-001': listed as None"),
    "invented": (["INSERT INTO incident VALUES ('x', 1, 1, 1)"], "'x': listed as (1, 1, 1)"),
    "obligation gone": (["DELETE FROM fired"], "fulfilled obligations differ"),
    "obligation faked": (
        ["INSERT INTO fired VALUES ('20260301-002', 'page/1@1')"],
        "fulfilled obligations differ",
    ),
    "evidence": (["UPDATE blob SET content = x'00'"], "its content does not match its key"),
    "evidence gone": (["DELETE FROM blob"], "named by an event, but missing"),
    "policy": (["UPDATE policy SET text = 'targets: [x]'"], "does not match its digest"),
    "trigger": (["DROP INDEX wake_due"], "schema: 'wake_due' is missing"),
    "added": (["CREATE TABLE mine (x)"], "schema: 'mine' is not Stanch's"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_reported_with_its_place(kit: Any, filled: Path, change: str) -> None:
    statements, said = CHANGES[change]
    tamper(filled, *statements)
    found = report(kit, filled)
    assert not found.ok
    assert any(said in problem for problem in found.problems), found.problems


def test_nobody_can_start_from_or_read_an_event_that_was_changed(kit: Any, filled: Path) -> None:
    tamper(
        filled, "UPDATE journal SET body = CAST(replace(body, 'one', 'two') AS BLOB) WHERE n = 2"
    )
    before = (filled / "stanch.db").read_bytes()
    with pytest.raises(StoreCorrupt, match="entry 2: its content does not match"):
        kit.store(filled)
    assert (filled / "stanch.db").read_bytes() == before
    reader = SqlStore.open_reading(filled, kit.Projection())
    incident = IncidentId("20260301-001")
    with pytest.raises(StoreCorrupt, match="entry 2"):
        reader.read(lambda conn: queries.timeline(conn, incident, after_seq=0))
    after = reader.read(lambda conn: queries.timeline(conn, incident, after_seq=2))
    assert [one.seq for one in after] == [3, 4, 5, 6]
    reader.close()


def test_a_missing_trigger_is_reported(kit: Any, filled: Path) -> None:
    db = sqlite3.connect(filled / "stanch.db")
    db.execute("DROP TRIGGER journal_no_delete")
    db.close()
    assert "schema: 'journal_no_delete' is missing" in report(kit, filled).problems


def test_a_trigger_that_does_nothing_any_more_is_reported(kit: Any, filled: Path) -> None:
    db = sqlite3.connect(filled / "stanch.db")
    db.execute("DROP TRIGGER journal_no_delete")
    db.execute(
        "CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal WHEN 0"
        " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END"
    )
    db.close()
    assert "schema: 'journal_no_delete' was changed" in report(kit, filled).problems


def test_erased_content_leaves_everything_verifiable(kit: Any, filled: Path) -> None:
    store = kit.store(filled)
    db = sqlite3.connect(filled / "stanch.db")
    [(key,)] = db.execute("SELECT key FROM blob").fetchall()
    db.close()
    store.write(keeping.erase_blob(BlobKey(key), at=kit.T0))
    assert store.verify().ok
    store.close()
    assert b"evidence evidence" not in (filled / "stanch.db").read_bytes()


def test_a_whole_chain_written_anew_is_found_by_a_head_anchored_outside(
    kit: Any, filled: Path, tmp_path: Path
) -> None:
    [(writer, newest)] = report(kit, filled).heads.items()
    n, _, head = newest.partition(":")
    assert n == "8"
    forged = tmp_path / "forged"
    forged.mkdir(mode=0o700)
    (forged / "writer").write_text(writer)
    store = kit.store(forged)
    first = kit.entry("", 0, kit.opened(), *(kit.note("harmless") for _ in range(7)))
    store.write(journal.open_incident(kit.T0, first))
    store.close()
    assert report(kit, forged).ok, "by itself, a forged chain is a chain"
    found = report(kit, forged, anchors={WriterId(writer): (8, head)})
    assert any("not there with the anchored hash" in problem for problem in found.problems)
    assert report(kit, filled, anchors={WriterId(writer): (8, head)}).ok


def test_an_anchor_of_a_writer_that_is_not_there_is_reported(kit: Any, filled: Path) -> None:
    found = report(kit, filled, anchors={WriterId("gone"): (3, "ab" * 32)})
    assert any("writer 'gone' entry 3" in problem for problem in found.problems)


def test_the_list_of_problems_has_an_end(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    notes = [kit.note(str(number)) for number in range(300)]
    store.write(journal.open_incident(kit.T0, kit.entry("", 0, kit.opened(), *notes)))
    store.close()
    tamper(tmp_path / "s", "UPDATE journal SET body = x'00'")
    found = report(kit, tmp_path / "s")
    assert len(found.problems) == PROBLEMS_MAX + 1
    assert found.problems[-1] == f"and {301 - PROBLEMS_MAX} more"


def test_verifying_beside_a_busy_writer_gives_no_false_alarm(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    first = store.write(journal.open_incident(kit.T0, kit.entry("", 0, kit.opened())))
    incident = IncidentId(first[0].incident_id)
    for seq in range(1, 30):
        store.write(journal.append(kit.entry(incident, seq, kit.note())))
        assert report(kit, tmp_path / "s").ok


def content(folder: Path) -> dict[str, list[Any]]:
    """What the tables say, read without the store."""
    db = sqlite3.connect(f"file:{folder / 'stanch.db'}?mode=ro", uri=True)
    db.text_factory = bytes
    try:
        return {
            name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in CONTENT
        }
    finally:
        db.close()


def flips(whole: bytes) -> list[Callable[[bytearray], None]]:
    """Damage at seeded places in use: single bits, single bytes, whole sectors."""
    used = [at for at, byte in enumerate(whole) if byte]
    chance = random.Random(20260301)

    def bit(raw: bytearray, at: int) -> None:
        raw[at] ^= 1 << chance.randrange(8)

    def byte(raw: bytearray, at: int) -> None:
        raw[at] = chance.randrange(256)

    def sector(raw: bytearray, at: int) -> None:
        raw[at // 512 * 512 : at // 512 * 512 + 512] = bytes(512)

    def placed(kind: Any, at: int) -> Callable[[bytearray], None]:
        return lambda raw: kind(raw, at)

    kinds = [bit, bit, byte, sector]
    return [placed(chance.choice(kinds), chance.choice(used)) for _ in range(120)]


def test_wherever_the_file_is_damaged_changed_content_never_verifies(
    kit: Any, filled: Path, tmp_path: Path
) -> None:
    whole = (filled / "stanch.db").read_bytes()
    assert not (filled / "stanch.db-wal").exists(), "the file alone must hold everything"
    before = content(filled)
    noticed = 0
    for number, damage in enumerate(flips(whole)):
        folder = tmp_path / f"d{number}"
        shutil.copytree(filled, folder)
        raw = bytearray(whole)
        damage(raw)
        (folder / "stanch.db").write_bytes(raw)
        try:
            ok = report(kit, folder).ok
        except StoreError:
            ok = False
        if ok:
            assert content(folder) == before, f"damage {number} was not noticed"
        noticed += not ok
        shutil.rmtree(folder)
    assert noticed > 70


def test_wherever_the_log_of_a_live_store_is_damaged_lost_events_never_verify(
    kit: Any, tmp_path: Path
) -> None:
    live = kit.store(tmp_path / "s")
    first = live.write(journal.open_incident(kit.T0, kit.entry("", 0, kit.opened())))
    for seq in range(1, 9):
        live.write(journal.append(kit.entry(first[0].incident_id, seq, kit.note(str(seq)))))
    # Copied while open, as a killed process leaves it; the shared memory is made anew.
    names = ("stanch.db", "stanch.db-wal", "head", "writer")
    whole = {name: (tmp_path / "s" / name).read_bytes() for name in names}
    log = whole["stanch.db-wal"]
    noticed = 0
    for number, damage in enumerate(flips(log)[:60]):
        folder = tmp_path / f"d{number}"
        folder.mkdir(mode=0o700)
        raw = bytearray(log)
        damage(raw)
        for name, before in whole.items():
            (folder / name).write_bytes(bytes(raw) if name == "stanch.db-wal" else before)
        try:
            found = report(kit, folder)
            ok = found.ok
            assert not ok or found.entries == 9, f"damage {number} was not noticed"
        except StoreError:
            ok = False
        noticed += not ok
        shutil.rmtree(folder)
    assert noticed > 50


def test_wherever_the_file_is_damaged_opening_gives_an_answer_and_loses_nothing(
    kit: Any, filled: Path, tmp_path: Path
) -> None:
    whole = (filled / "stanch.db").read_bytes()
    refused = 0
    for number, damage in enumerate(flips(whole)[:50]):
        folder = tmp_path / f"d{number}"
        shutil.copytree(filled, folder)
        raw = bytearray(whole)
        damage(raw)
        (folder / "stanch.db").write_bytes(raw)
        try:
            kit.store(folder).close()
        except StoreError:
            refused += 1
            assert (folder / "stanch.db").read_bytes() == bytes(raw), f"damage {number}"
        shutil.rmtree(folder)
    assert refused > 15


def test_a_store_of_an_older_release_that_nobody_has_opened_yet_is_whole(
    kit: Any, filled: Path
) -> None:
    later = ("change", "inventory", "looked", "usual")
    older = "UPDATE alembic_version SET version_num = '0003'"
    tamper(filled, *(f"DROP TABLE {table}" for table in later), older)
    assert report(kit, filled).problems == ()
    tamper(filled, "DROP TABLE signal", "UPDATE alembic_version SET version_num = '0000'")
    assert "schema: 'signal' is missing" in report(kit, filled).problems
