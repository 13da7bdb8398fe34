"""Decisions are refused when the timeline moved on; facts never are."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from stanch.model.errors import StaleDecision, StoreCorrupt
from stanch.model.events import NoteAdded, UnknownEvent
from stanch.model.ids import RESPONDER, BlobKey, IncidentId, PersonId
from stanch.model.timeline import Recorded
from stanch.store import journal, keeping, queries
from stanch.store.sql import SqlStore
from stanch.store.transaction import STREAMS_KEPT_MAX


def opened(kit: Any, store: SqlStore, *more: Any, at_s: float = 0) -> IncidentId:
    first = kit.entry("", 0, kit.opened(), *more, at_s=at_s)
    recorded = store.write(journal.open_incident(kit.at(at_s), first))
    return recorded[0].incident_id


def timeline(store: SqlStore, incident_id: str) -> list[Recorded]:
    known = IncidentId(incident_id)
    return store.read(lambda conn: queries.timeline(conn, known, after_seq=0))


def test_incidents_are_numbered_per_day_in_utc(kit: Any) -> None:
    store = kit.memory()
    first, second = opened(kit, store), opened(kit, store)
    tomorrow = opened(kit, store, at_s=12 * 3600)
    assert (first, second, tomorrow) == ("20260301-001", "20260301-002", "20260302-001")


def test_a_day_with_more_than_999_incidents_keeps_counting(kit: Any) -> None:
    store = kit.memory()
    newest = [opened(kit, store) for _ in range(1001)][-1]
    assert newest == "20260301-1001"
    ids = store.read(lambda conn: queries.incident_ids(conn, open_only=False, limit=3))
    assert ids == ["20260301-1001", "20260301-1000", "20260301-999"]


def test_opening_costs_the_same_however_much_was_written_that_day(kit: Any) -> None:
    store = kit.memory()
    first = opened(kit, store)
    few = steps_of_opening(kit, store)
    store.write(journal.append(kit.entry(first, 1, *(kit.note() for _ in range(5_000)))))
    assert steps_of_opening(kit, store) < 1.5 * few


def steps_of_opening(kit: Any, store: SqlStore) -> int:
    """What SQLite does for it, in twenties of steps of its machine."""
    steps: list[int] = []
    connection = store._connected().connection.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    connection.set_progress_handler(lambda: steps.append(1), 20)
    opened(kit, store)
    connection.set_progress_handler(None, 0)
    return len(steps)


def test_a_decision_on_an_older_event_is_refused_and_leaves_nothing(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)
    store.write(journal.append(kit.entry(incident, 1, kit.note())))
    with pytest.raises(StaleDecision, match="decided at event 1, but the timeline is at 2"):
        store.write(journal.append(kit.entry(incident, 1, kit.note("mine"), kit.ack())))
    assert len(timeline(store, incident)) == 2
    assert store.verify().ok


def test_a_decision_on_the_newest_event_is_taken(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)
    [recorded] = store.write(journal.append(kit.entry(incident, 1, kit.ack())))
    assert (recorded.seq, recorded.late) == (2, False)


def test_facts_on_an_older_event_are_appended_and_marked_late(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store, kit.note())
    rows = store.write(journal.append(kit.entry(incident, 1, kit.note("a"), kit.note("b"))))
    assert [(r.seq, r.basis_seq, r.late) for r in rows] == [(3, 1, True), (4, 1, True)]
    assert [r.late for r in timeline(store, incident)] == [False, False, True, True]


def test_several_events_of_one_append_are_not_late(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)
    rows = store.write(journal.append(kit.entry(incident, 1, kit.note(), kit.ack())))
    assert [(r.seq, r.basis_seq, r.late) for r in rows] == [(2, 1, False), (3, 2, False)]


def test_a_fact_for_an_incident_that_never_was_is_refused(kit: Any) -> None:
    store = kit.memory()
    with pytest.raises(StaleDecision, match="no such incident"):
        store.write(journal.append(kit.entry("20260301-007", 0, kit.note())))


def test_the_responder_has_a_timeline_without_being_an_incident(kit: Any) -> None:
    store = kit.memory()
    store.write(journal.append(kit.entry(RESPONDER, 0, kit.note())))
    assert len(timeline(store, RESPONDER)) == 1
    assert store.read(lambda conn: queries.incident_ids(conn, open_only=False, limit=9)) == []
    assert store.verify().ok


def test_having_read_more_events_than_there_are_is_corruption(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)
    with pytest.raises(StoreCorrupt, match="ends at 1, yet 9"):
        store.write(journal.append(kit.entry(incident, 9, kit.note())))


def test_an_obligation_is_fulfilled_once_per_incident(kit: Any) -> None:
    store = kit.memory()
    incident, other = opened(kit, store), opened(kit, store)
    store.write(journal.append(kit.entry(incident, 1, kit.page("page/1@1"))))
    with pytest.raises(StaleDecision, match="fulfilled already"):
        store.write(journal.append(kit.entry(incident, 2, kit.page("page/1@1"))))
    store.write(journal.append(kit.entry(incident, 2, kit.page("page/2@1"))))
    store.write(journal.append(kit.entry(other, 1, kit.page("page/1@1"))))
    assert store.verify().ok


def test_an_obligation_twice_in_one_append_is_refused(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)
    with pytest.raises(StaleDecision):
        store.write(journal.append(kit.entry(incident, 1, kit.page("p/1@1"), kit.page("p/1@1"))))
    assert len(timeline(store, incident)) == 1


def test_a_refused_obligation_may_be_fulfilled_later(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store, kit.note())
    with pytest.raises(StaleDecision):
        store.write(journal.append(kit.entry(incident, 1, kit.page("p/1@1"))))
    assert store.write(journal.append(kit.entry(incident, 2, kit.page("p/1@1"))))


def test_resolved_incidents_are_not_open_and_reopened_ones_are(kit: Any) -> None:
    store = kit.memory()
    kept, ended = opened(kit, store), opened(kit, store)
    store.write(journal.append(kit.entry(ended, 1, kit.resolved())))
    listed = store.read(lambda conn: queries.incident_ids(conn, open_only=True, limit=9))
    assert listed == [kept]
    everything = store.read(lambda conn: queries.incident_ids(conn, open_only=False, limit=9))
    assert everything == [ended, kept]


def test_an_append_of_nothing_changes_nothing(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)
    assert store.write(journal.append(kit.entry(incident, 1))) == ()
    assert len(timeline(store, incident)) == 1


HOSTILE = [
    "\x00\x1b[2J\u202e",
    "<script>alert(1)</script>'; DROP TABLE journal; --",
    "\udcff half",
    "🦀" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=["control", "sql", "surrogate", "huge"])
def test_hostile_text_is_stored_as_text_and_folds_the_same_after_a_restart(
    kit: Any, tmp_path: Path, text: str
) -> None:
    store = kit.store(tmp_path / "s")
    incident = opened(kit, store)
    [said] = store.write(journal.append(kit.entry(incident, 1, kit.note(text))))
    store.close()
    again = kit.store(tmp_path / "s")
    assert timeline(again, incident)[1] == said
    assert again.verify().ok


@pytest.mark.parametrize("text", HOSTILE[:3], ids=["control", "sql", "surrogate"])
def test_hostile_names_of_incidents_blobs_and_policies_are_simply_not_there(
    kit: Any, text: str
) -> None:
    store = kit.memory()
    assert timeline(store, text) == []
    assert store.read(lambda conn: queries.kept_blob(conn, BlobKey(text))).content is None
    assert store.read(lambda conn: queries.policy_text(conn, text)) is None
    with pytest.raises(StaleDecision, match="no such incident"):
        store.write(journal.append(kit.entry(text, 0, kit.note())))


def test_an_event_of_a_newer_release_keeps_its_bytes(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)
    alien = UnknownEvent(stored_kind="quantum.v9", body='{"b": 1, "a":2 }')
    store.write(journal.append(kit.entry(incident, 1, alien)))
    assert timeline(store, incident)[1].event == alien
    assert store.verify().ok


def test_a_refused_append_does_not_reach_the_folded_state(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)

    def spoilt(tx: Any) -> None:
        journal.append(kit.entry(incident, 1, kit.note("due act 1")))(tx)
        raise ValueError("after the append")

    with pytest.raises(ValueError, match="after the append"):
        store.write(spoilt)
    [recorded] = store.write(journal.append(kit.entry(incident, 1, kit.note())))
    assert (recorded.seq, recorded.n, recorded.late) == (2, 2, False)
    assert store.verify().ok


def test_many_more_timelines_than_are_kept_folded_stay_right(kit: Any) -> None:
    store = kit.memory()
    ids = [opened(kit, store) for _ in range(STREAMS_KEPT_MAX + 20)]
    for incident in ids:
        assert store.write(journal.append(kit.entry(incident, 1, kit.ack())))[0].seq == 2
    assert store.verify().ok


def test_twenty_thousand_events_are_read_in_order_from_any_place(kit: Any) -> None:
    store = kit.memory()
    incident = opened(kit, store)
    for block in range(20):
        notes = tuple(kit.note(str(block * 1000 + i)) for i in range(1000))
        basis = 1 + block * 1000
        store.write(journal.append(kit.entry(incident, basis, *notes)))
    rows = store.read(lambda conn: queries.timeline(conn, incident, after_seq=19_990))
    assert [r.seq for r in rows] == list(range(19_991, 20_002))
    assert rows[-1].event == NoteAdded(by=PersonId("ada"), text="19999")
    report = store.verify()
    assert (report.ok, report.entries) == (True, 20_001)


def test_policies_and_blobs_are_kept_and_a_blob_can_be_erased(kit: Any) -> None:
    store = kit.memory()
    store.write(keeping.put_policy("abc", "targets: []"))
    store.write(keeping.put_policy("abc", "targets: []"))
    assert store.read(lambda conn: queries.policy_text(conn, "abc")) == "targets: []"
    with pytest.raises(StoreCorrupt, match="another text"):
        store.write(keeping.put_policy("abc", "targets: [x]"))
    key = store.write(keeping.put_blob(b"a name"))
    assert key != store.write(keeping.put_blob(b"a name")), "a key must not give content away"
    assert store.read(lambda conn: queries.kept_blob(conn, key)).content == b"a name"
    assert store.write(keeping.erase_blob(key, at=kit.T0))
    assert not store.write(keeping.erase_blob(key, at=kit.T0))
    assert store.read(lambda conn: queries.kept_blob(conn, key)).content is None
    assert store.verify().ok


def test_no_program_can_change_delete_or_replace_an_event(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    opened(kit, store)
    store.close()
    other = sqlite3.connect(tmp_path / "s" / "stanch.db")
    for statement in (
        "UPDATE journal SET body = x'00'",
        "DELETE FROM journal",
        "INSERT OR REPLACE INTO journal SELECT * FROM journal",
        "INSERT INTO journal SELECT writer_id, n + 5, incident_id, seq + 5, 0, 0, kind,"
        " prev_hash, hash, body FROM journal",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            other.execute(statement)
    other.close()
    assert kit.store(tmp_path / "s").verify().ok
