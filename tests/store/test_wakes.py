"""What is due is claimed by one at a time, and an old lease is worth nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stanch.model.errors import StaleDecision
from stanch.model.ids import IncidentId
from stanch.model.timeline import Claim, Lane
from stanch.store import journal, wakes
from stanch.store.sql import SqlStore

ACT, CLOCK = Lane.ACT, Lane.CLOCK


def due(kit: Any, store: SqlStore, text: str = "due act 10") -> IncidentId:
    first = kit.entry("", 0, kit.opened(), kit.note(text))
    return store.write(journal.open_incident(kit.T0, first))[0].incident_id


def claim(kit: Any, store: SqlStore, lane: Lane = ACT, *, at_s: float = 10) -> tuple[Claim, ...]:
    return store.write(wakes.claim(lane, at=kit.at(at_s), lease_s=30, limit=5))


def next_due(store: SqlStore, lane: Lane = ACT) -> Any:
    now_us = store.lease_now_us()
    return store.read(lambda conn: wakes.next_due(conn, lane, now_us=now_us))


def test_nothing_is_claimed_before_it_is_due(kit: Any) -> None:
    store = kit.memory()
    due(kit, store)
    assert next_due(store) == kit.at(10)
    assert claim(kit, store, at_s=9.999999) == ()
    assert len(claim(kit, store, at_s=10)) == 1


def test_what_is_claimed_is_not_claimed_again_while_the_lease_lives(kit: Any) -> None:
    clock = kit.LeaseClock()
    store = kit.memory(lease_clock_us=clock)
    due(kit, store)
    [first] = claim(kit, store)
    assert claim(kit, store) == ()
    assert next_due(store) is None
    clock.move(29.999)
    assert claim(kit, store) == ()
    clock.move(0.001)
    assert next_due(store) == kit.at(10)
    [second] = claim(kit, store)
    assert second.epoch == first.epoch + 1


def test_lanes_do_not_wait_for_each_other(kit: Any) -> None:
    store = kit.memory()
    incident = due(kit, store)
    store.write(journal.append(kit.entry(incident, 2, kit.note("due clock 5"))))
    assert len(claim(kit, store, ACT)) == 1
    assert len(claim(kit, store, CLOCK)) == 1


def test_the_longest_due_are_claimed_first_up_to_the_limit(kit: Any) -> None:
    store = kit.memory()
    late, soon = due(kit, store, "due act 9"), due(kit, store, "due act 3")
    due(kit, store, "due act 10")
    got = store.write(wakes.claim(ACT, at=kit.at(20), lease_s=30, limit=2))
    assert [c.incident_id for c in got] == [soon, late]


def test_an_append_under_a_lost_lease_is_refused_even_for_facts(kit: Any) -> None:
    clock = kit.LeaseClock()
    store = kit.memory(lease_clock_us=clock)
    incident = due(kit, store)
    [old] = claim(kit, store)
    clock.move(31)
    with pytest.raises(StaleDecision, match="lease 1 on act is no longer held"):
        store.write(journal.append(kit.entry(incident, 2, kit.note(), lease=old)))
    [new] = claim(kit, store)
    with pytest.raises(StaleDecision):
        store.write(journal.append(kit.entry(incident, 2, kit.note(), lease=old)))
    assert store.write(journal.append(kit.entry(incident, 2, kit.note(), lease=new)))


def test_an_append_under_a_released_lease_is_refused(kit: Any) -> None:
    store = kit.memory()
    incident = due(kit, store)
    [held] = claim(kit, store)
    store.write(wakes.release(held, retry_at=None))
    with pytest.raises(StaleDecision):
        store.write(journal.append(kit.entry(incident, 2, kit.note(), lease=held)))


def test_a_lease_outlives_the_append_that_moves_or_ends_what_is_due(kit: Any) -> None:
    store = kit.memory()
    incident = due(kit, store)
    [held] = claim(kit, store)
    store.write(journal.append(kit.entry(incident, 2, kit.note("due act 50"), lease=held)))
    store.write(journal.append(kit.entry(incident, 3, kit.note("done act"), lease=held)))
    assert store.write(journal.append(kit.entry(incident, 4, kit.note(), lease=held)))
    store.write(wakes.release(held, retry_at=kit.at(99)))
    assert next_due(store) is None
    assert claim(kit, store, at_s=1000) == ()


def test_the_epoch_grows_even_when_nothing_was_due_in_between(kit: Any) -> None:
    store = kit.memory()
    incident = due(kit, store)
    [first] = claim(kit, store)
    store.write(journal.append(kit.entry(incident, 2, kit.note("done act"))))
    store.write(wakes.release(first, retry_at=None))
    store.write(journal.append(kit.entry(incident, 3, kit.note("due act 5"))))
    [second] = claim(kit, store)
    assert second.epoch == first.epoch + 1
    with pytest.raises(StaleDecision):
        store.write(journal.append(kit.entry(incident, 4, kit.note(), lease=first)))


def test_a_retry_puts_off_what_was_claimed(kit: Any) -> None:
    store = kit.memory()
    due(kit, store)
    [held] = claim(kit, store)
    store.write(wakes.release(held, retry_at=kit.at(40)))
    assert next_due(store) == kit.at(40)
    assert claim(kit, store, at_s=39) == ()
    assert len(claim(kit, store, at_s=40)) == 1


def test_a_retry_does_not_put_off_what_an_append_made_due_meanwhile(kit: Any) -> None:
    store = kit.memory()
    incident = due(kit, store)
    [held] = claim(kit, store)
    store.write(journal.append(kit.entry(incident, 2, kit.note("due act 12"))))
    store.write(wakes.release(held, retry_at=kit.at(600)))
    assert next_due(store) == kit.at(12)


def test_a_retry_in_the_past_does_not_bring_anything_forward(kit: Any) -> None:
    store = kit.memory()
    due(kit, store)
    [held] = claim(kit, store)
    store.write(wakes.release(held, retry_at=kit.at(1)))
    assert next_due(store) == kit.at(10)


def test_releasing_a_lease_that_somebody_else_holds_by_now_leaves_theirs(kit: Any) -> None:
    clock = kit.LeaseClock()
    store = kit.memory(lease_clock_us=clock)
    incident = due(kit, store)
    [old] = claim(kit, store)
    clock.move(31)
    [new] = claim(kit, store)
    store.write(wakes.release(old, retry_at=kit.at(1000)))
    assert claim(kit, store) == ()
    assert store.write(journal.append(kit.entry(incident, 2, kit.note(), lease=new)))


def test_a_lease_clock_that_jumps_back_leaves_one_holder_and_ends_the_wait(kit: Any) -> None:
    clock = kit.LeaseClock()
    store = kit.memory(lease_clock_us=clock)
    incident = due(kit, store)
    [held] = claim(kit, store)
    clock.move(-600)
    assert claim(kit, store) == ()
    assert store.write(journal.append(kit.entry(incident, 2, kit.note(), lease=held)))
    # Back by more than any lease may last: it cannot be a lease of this clock.
    clock.move(-2 * wakes.LEASE_S_MAX)
    with pytest.raises(StaleDecision):
        store.write(journal.append(kit.entry(incident, 3, kit.note(), lease=held)))
    [new] = claim(kit, store)
    assert new.epoch == held.epoch + 1


def test_leases_of_a_dead_process_are_void_at_the_next_opening(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    incident = due(kit, store)
    [held] = claim(kit, store)
    store.close()
    again = kit.store(tmp_path / "s")
    with pytest.raises(StaleDecision):
        again.write(journal.append(kit.entry(incident, 2, kit.note(), lease=held)))
    [taken] = claim(kit, again)
    assert taken.epoch == held.epoch + 1
    assert taken.owner != held.owner


def test_wakes_are_computed_anew_at_every_opening(kit: Any, tmp_path: Path) -> None:
    store = kit.store(tmp_path / "s")
    due(kit, store)
    [held] = claim(kit, store)
    store.write(wakes.release(held, retry_at=kit.at(9_999)))
    store.close()
    assert next_due(kit.store(tmp_path / "s")) == kit.at(10)
