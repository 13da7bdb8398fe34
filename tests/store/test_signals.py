"""Signals in the store: collapsed, bounded, owed until told, and there after a crash."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from signals_at import signal
from stanch.model.ids import IncidentId, TargetName
from stanch.model.signals import Routed, SignalStatus, StoredSignal
from stanch.store import signal_queries as q
from stanch.store import signals as s
from stanch.store.sql import SqlStore

T0 = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
INCIDENT = IncidentId("20260301-001")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def routed(key: str = "k", *, rank: int = 1, target: str | None = "orders", **more: Any) -> Routed:
    name = None if target is None else TargetName(target)
    return Routed(signal=signal(key, **more), target=name, rank=rank)


class Shelf:
    """A store with short names for what is asked of it."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store

    def take(self, *arrivals: Routed, after: float = 0, rows_max: int = 100) -> s.Taken:
        return self.store.write(s.take(arrivals, at=at(after), rows_max=rows_max))

    def rows(self) -> dict[str, StoredSignal]:
        found = self.store.read(lambda c: q.listed(c, firing_only=False, limit=1000))
        return {row.signal.key: row for row in found}

    def one(self) -> StoredSignal:
        [row] = self.rows().values()
        return row

    def owed(self, *, after: float = 1e6) -> list[str]:
        found = self.store.read(lambda c: q.owed(c, at=at(after), limit=1000))
        return sorted(row.signal.key for row in found)

    def tell(self, row: StoredSignal | None = None) -> None:
        told = s.Told(row=row or self.one(), incident_id=INCIDENT, symptom="outside_alert:k")
        self.store.write(s.tell([told]))


@pytest.fixture
def shelf(kit: Any) -> Shelf:
    return Shelf(kit.memory())


def test_everything_of_a_signal_comes_back(shelf: Shelf) -> None:
    sent = signal(
        "k",
        severity="P1",
        detail="d \ud800 x",
        starts_at=at(-5),
        occurred_at=at(-1),
        labels={"a": "b"},
        links=("https://example.com",),
        reported=True,
        digest="00",
    )
    shelf.take(Routed(signal=sent, target=None, rank=2), after=1)
    row = shelf.one()
    assert row.signal.labels == {"a": "b"}
    assert row.signal.links == sent.links
    assert (row.signal.starts_at, row.signal.occurred_at) == (at(-5), at(-1))
    assert (row.signal.severity, row.signal.reported, row.target, row.rank) == ("P1", True, None, 2)
    assert row.first_at == row.heard_at == row.changed_at == row.owed_at == at(1)


def test_repeats_are_counted_in_one_row_and_owe_nothing_new(shelf: Shelf) -> None:
    shelf.take(routed(), routed(), routed())
    shelf.tell()
    taken = shelf.take(routed(), after=9)
    row = shelf.one()
    assert (row.count, row.changes, row.heard_at) == (4, 1, at(9))
    assert (taken.stored, taken.owed) == (1, 0)
    assert shelf.owed() == []


def test_an_end_is_owed_to_the_incident_that_heard_of_the_start(shelf: Shelf) -> None:
    shelf.take(routed(title="down"))
    shelf.tell()
    shelf.take(routed(resolved=True, title="OK"), after=5)
    row = shelf.one()
    assert (row.signal.status, row.changes, row.owed_at) == (SignalStatus.RESOLVED, 2, at(5))
    # The words of the start say what it was.
    assert row.signal.title == "down"


def test_an_alert_that_was_over_before_anybody_was_told_owes_nothing(shelf: Shelf) -> None:
    shelf.take(routed())
    shelf.take(routed(resolved=True), after=1)
    assert shelf.owed() == []
    assert shelf.one().changes == 2


def test_an_end_of_what_never_began_makes_no_row(shelf: Shelf) -> None:
    taken = shelf.take(routed(resolved=True))
    assert (taken.stored, taken.never_began) == (0, 1)
    assert shelf.rows() == {}


def test_old_news_by_the_sources_own_clock_changes_nothing(shelf: Shelf) -> None:
    shelf.take(routed(occurred_at=at(-30)), routed(resolved=True, occurred_at=at(-10)))
    shelf.take(routed(occurred_at=at(-20)), after=5)
    assert shelf.one().signal.status is SignalStatus.RESOLVED
    shelf.take(routed(occurred_at=at(1)), after=6)
    assert shelf.one().signal.status is SignalStatus.FIRING


def test_what_got_worse_or_is_about_something_else_is_told_again(shelf: Shelf) -> None:
    shelf.take(routed(rank=3))
    shelf.tell()
    shelf.take(routed(rank=2), after=1)
    assert shelf.owed() == ["k"]
    shelf.tell()
    shelf.take(routed(rank=2, target="billing"), after=2)
    assert shelf.owed() == ["k"]
    shelf.tell()
    shelf.take(routed(rank=4, target="billing"), after=3)
    assert shelf.owed() == []


def test_what_changed_while_it_was_told_stays_owed(shelf: Shelf) -> None:
    shelf.take(routed())
    read_before = shelf.one()
    shelf.take(routed(resolved=True), after=1)
    shelf.tell(read_before)
    assert shelf.one().told is SignalStatus.FIRING
    assert shelf.owed() == ["k"]


def test_what_is_put_off_is_owed_later(shelf: Shelf) -> None:
    shelf.take(routed())
    shelf.store.write(s.postpone(shelf.one().id, at(60)))
    assert shelf.owed(after=59) == []
    assert shelf.owed(after=60) == ["k"]
    assert shelf.store.read(q.next_owed_at) == at(60)


def test_more_different_alerts_than_there_are_rows_stand_in_one_more(shelf: Shelf) -> None:
    some = [routed(f"k{n}") for n in range(8)]
    taken = shelf.take(*some, *some, rows_max=5)
    rows = shelf.rows()
    assert len(rows) == 6
    rest = rows["more-than-are-kept/orders"]
    assert (rest.count, taken.beyond, taken.stored) == (6, 6, 16)
    assert rest.signal.title == "more than 5 different alerts of prom; this stands for the rest"
    # Other sources are not affected.
    shelf.take(routed("x", source="other"), rows_max=5)
    assert shelf.rows()["x"].signal.source == "other"


def test_what_is_over_gives_way_to_what_fires(shelf: Shelf) -> None:
    shelf.take(*(routed(f"k{n}") for n in range(5)), rows_max=5)
    shelf.take(routed("k0", resolved=True), rows_max=5, after=1)
    taken = shelf.take(routed("new"), rows_max=5, after=2)
    assert taken.beyond == 0
    assert sorted(shelf.rows()) == ["k1", "k2", "k3", "k4", "new"]


def test_what_fires_and_is_not_told_never_gives_way(shelf: Shelf) -> None:
    shelf.take(*(routed(f"k{n}") for n in range(5)), rows_max=5)
    for row in shelf.rows().values():
        shelf.tell(row)
    shelf.take(routed("k0", resolved=True), rows_max=5, after=1)
    assert shelf.take(routed("new"), rows_max=5, after=2).beyond == 1


def test_an_alert_that_nobody_repeats_ends_by_the_rule_of_its_source(shelf: Shelf) -> None:
    shelf.take(routed("a"), routed("b", source="other"))
    assert shelf.store.write(s.expire({"prom": 60}, at=at(59))) == 0
    assert shelf.store.write(s.expire({"prom": 60}, at=at(61))) == 1
    states = {key: row.signal.status.value for key, row in shelf.rows().items()}
    assert states == {"a": "resolved", "b": "firing"}


def test_the_row_for_the_rest_ends_after_a_quiet_hour(shelf: Shelf) -> None:
    shelf.take(routed("a"), routed("b"), rows_max=1)
    assert shelf.store.write(s.expire({}, at=at(s.REST_QUIET_S + 1))) == 1
    assert shelf.rows()["a"].signal.status is SignalStatus.FIRING


def test_what_is_long_over_is_forgotten_and_what_fires_is_not(shelf: Shelf) -> None:
    shelf.take(routed("a"), routed("b"))
    shelf.take(routed("a", resolved=True))
    shelf.store.write(s.expire({}, at=at(s.KEPT_S + 1)))
    assert list(shelf.rows()) == ["b"]


def test_what_fires_on_after_its_incident_ended_is_told_again_once_it_is_heard_again(
    shelf: Shelf,
) -> None:
    shelf.take(routed())
    shelf.tell()
    again = s.tell_again(INCIDENT, heard_after=at(10), at=at(20))
    assert shelf.store.write(again) == 0
    shelf.take(routed(), after=15)
    assert shelf.store.write(again) == 1
    assert shelf.owed() == ["k"]


def test_what_matches_no_target_is_listed_first(shelf: Shelf) -> None:
    shelf.take(routed("a"), routed("over"))
    shelf.take(routed("over", resolved=True), after=1)
    shelf.take(routed("lost", target=None), after=2)
    shelf.take(routed("b"), after=3)
    found = shelf.store.read(lambda c: q.listed(c, firing_only=False, limit=9))
    assert [row.signal.key for row in found] == ["lost", "b", "a", "over"]
    standing = shelf.store.read(q.standing)
    assert (standing.firing, standing.unmatched, standing.owed) == (3, 1, 3)


# --- heartbeats ---------------------------------------------------------------------------------


def test_a_beat_is_counted_and_takes_the_grace_away(shelf: Shelf) -> None:
    shelf.store.write(q.expect(["dump"], at=at(0), started=True))
    shelf.store.write(q.expect(["dump"], at=at(10), started=True))
    [waiting] = shelf.store.read(q.beats)
    assert (waiting.since, waiting.heard_at, waiting.grace_from) == (at(0), None, at(10))
    shelf.store.write(q.expect(["dump"], at=at(20), started=True))
    assert shelf.store.read(q.beats)[0].grace_from == at(10), "given once a silence"
    shelf.store.write(q.beat("dump", at=at(30)))
    [heard] = shelf.store.read(q.beats)
    assert (heard.heard_at, heard.count, heard.grace_from) == (at(30), 1, None)


def test_a_heartbeat_that_is_no_longer_expected_is_forgotten(shelf: Shelf) -> None:
    shelf.store.write(q.expect(["a", "b"], at=at(0), started=True))
    shelf.store.write(q.expect(["b"], at=at(1), started=False))
    assert [beat.name for beat in shelf.store.read(q.beats)] == ["b"]


# --- on disk ------------------------------------------------------------------------------------


def test_signals_notes_and_beats_are_there_when_the_store_is_opened_again(
    kit: Any, tmp_path: Path
) -> None:
    store = kit.store(tmp_path / "state")
    store.write(s.take([routed()], at=at(0), notes={"mailbox": "7:9"}))
    store.write(q.beat("dump", at=at(1)))
    store.close()
    again = Shelf(kit.store(tmp_path / "state"))
    assert again.owed() == ["k"]
    assert again.store.read(lambda c: q.note(c, "mailbox")) == "7:9"
    assert again.store.read(q.beats)[0].heard_at == at(1)
    assert again.store.verify().ok


def test_a_store_of_the_first_release_gets_its_tables(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "state")
    store.write(lambda tx: _back_to_0002(tx.conn))
    store.close()
    again = Shelf(kit.store(tmp_path / "state"))
    again.take(routed())
    assert again.one().count == 1


def _back_to_0002(conn: Any) -> None:
    later = ("signal", "heartbeat", "usual", "change", "inventory", "looked")
    for statement in (
        *(f"DROP TABLE {table}" for table in later),
        "UPDATE alembic_version SET version_num = '0002'",
    ):
        conn.exec_driver_sql(statement)
