"""Two writers' views over one store, in any order: facts stay, stale decisions are refused."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from stanch.model.errors import StaleDecision
from stanch.model.ids import IncidentId
from stanch.model.timeline import Claim, Lane
from stanch.store import journal, queries, wakes

WRITERS = ("ada", "bob")
LANES = st.sampled_from([Lane.ACT, Lane.CLOCK])
QUICK = settings(
    max_examples=200 if os.environ.get("STANCH_SOAK") == "1" else 20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Writers(RuleBasedStateMachine):
    kit: ClassVar[Any] = None

    def __init__(self) -> None:
        super().__init__()
        self.clock = self.kit.LeaseClock()
        self.store = self.kit.memory(lease_clock_us=self.clock)
        self.incidents: list[IncidentId] = []
        self.read_to: dict[tuple[str, IncidentId], int] = {}
        self.facts: dict[IncidentId, list[str]] = {}
        self.held: list[Claim] = []
        self.epochs: dict[tuple[IncidentId, Lane], int] = {}
        self.counter = 0

    def head(self, incident: IncidentId) -> int:
        rows = self.store.read(lambda c: queries.timeline(c, incident, after_seq=0))
        return rows[-1].seq

    def pick(self, number: int) -> IncidentId:
        return self.incidents[number % len(self.incidents)]

    @initialize()
    def first(self) -> None:
        self.open()

    @rule()
    def open(self) -> None:
        rows = self.store.write(
            journal.open_incident(self.kit.T0, self.kit.entry("", 0, self.kit.opened()))
        )
        incident = rows[0].incident_id
        assert incident not in self.incidents
        self.incidents.append(incident)
        self.facts[incident] = []
        for writer in WRITERS:
            self.read_to[writer, incident] = 1

    @rule(writer=st.sampled_from(WRITERS), number=st.integers(0, 9))
    def read(self, writer: str, number: int) -> None:
        incident = self.pick(number)
        self.read_to[writer, incident] = self.head(incident)

    @rule(
        writer=st.sampled_from(WRITERS),
        number=st.integers(0, 9),
        count=st.integers(1, 3),
        lane=LANES,
        due=st.one_of(st.none(), st.integers(0, 50)),
    )
    def fact(self, writer: str, number: int, count: int, lane: Lane, due: int | None) -> None:
        incident, basis = self.pick(number), self.read_to[writer, self.pick(number)]
        head = self.head(incident)
        texts = [f"fact {self.counter + i}" for i in range(count - 1)]
        texts.append(f"done {lane}" if due is None else f"due {lane} {due}")
        self.counter += count
        notes = [self.kit.note(text) for text in texts]
        rows = self.store.write(journal.append(self.kit.entry(incident, basis, *notes)))
        assert [r.seq for r in rows] == list(range(head + 1, head + 1 + count))
        assert all(r.late == (basis != head) for r in rows)
        self.facts[incident] += texts

    @rule(writer=st.sampled_from(WRITERS), number=st.integers(0, 9), mixed=st.booleans())
    def decide(self, writer: str, number: int, mixed: bool) -> None:
        incident, basis = self.pick(number), self.read_to[writer, self.pick(number)]
        head = self.head(incident)
        events = (self.kit.note("with it"), self.kit.ack()) if mixed else (self.kit.ack(),)
        try:
            self.store.write(journal.append(self.kit.entry(incident, basis, *events)))
        except StaleDecision:
            assert basis < head
            assert self.head(incident) == head
        else:
            assert basis == head
            self.facts[incident] += ["with it"] if mixed else []

    @rule(number=st.integers(0, 9), ordinal=st.integers(1, 3))
    def fulfil(self, number: int, ordinal: int) -> None:
        incident = self.pick(number)
        rows = self.store.read(lambda c: queries.timeline(c, incident, after_seq=0))
        before = {getattr(r.event, "obligation", None) for r in rows}
        page = self.kit.page(f"page/{ordinal}@1")
        try:
            self.store.write(journal.append(self.kit.entry(incident, rows[-1].seq, page)))
        except StaleDecision:
            assert page.obligation in before
        else:
            assert page.obligation not in before

    @rule(lane=LANES, at_s=st.integers(0, 60), lease_s=st.integers(1, 100))
    def claim(self, lane: Lane, at_s: int, lease_s: int) -> None:
        op = wakes.claim(lane, at=self.kit.at(at_s), lease_s=lease_s, limit=2)
        for claim in self.store.write(op):
            key = (claim.incident_id, lane)
            assert claim.due_at <= self.kit.at(at_s)
            assert claim.epoch > self.epochs.get(key, 0)
            assert not any(self.living(c) for c in self.held if (c.incident_id, c.lane) == key)
            self.epochs[key] = claim.epoch
            self.held.append(claim)

    def living(self, claim: Claim) -> bool:
        head = self.head(claim.incident_id)
        try:
            self.store.write(journal.append(self.kit.entry(claim.incident_id, head, lease=claim)))
        except StaleDecision:
            return False
        return True

    @rule(number=st.integers(0, 9))
    def write_under_a_lease(self, number: int) -> None:
        if not self.held:
            return
        claim = self.held[number % len(self.held)]
        newest = self.epochs[claim.incident_id, claim.lane] == claim.epoch
        head = self.head(claim.incident_id)
        entry = self.kit.entry(claim.incident_id, head, self.kit.note("leased"), lease=claim)
        try:
            self.store.write(journal.append(entry))
        except StaleDecision:
            return
        assert newest, "an older epoch wrote"
        self.facts[claim.incident_id].append("leased")

    @rule(number=st.integers(0, 9), retry=st.one_of(st.none(), st.integers(0, 90)))
    def release(self, number: int, retry: int | None) -> None:
        if self.held:
            claim = self.held[number % len(self.held)]
            at = None if retry is None else self.kit.at(retry)
            newer = [
                c
                for c in self.held
                if (c.incident_id, c.lane) == (claim.incident_id, claim.lane)
                and c.epoch > claim.epoch
            ]
            alive = [c for c in newer if self.living(c)]
            self.store.write(wakes.release(claim, retry_at=at))
            assert all(self.living(c) for c in alive)
            assert not self.living(claim)

    @rule(seconds=st.integers(-300, 300))
    def lease_clock_moves(self, seconds: int) -> None:
        self.clock.move(seconds)

    @rule()
    def a_new_process_takes_over(self) -> None:
        self.store.take_over()
        assert not any(self.living(claim) for claim in self.held)

    @invariant()
    def at_most_one_lease_a_lane_lives(self) -> None:
        keys = [(c.incident_id, c.lane) for c in self.held if self.living(c)]
        assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        for incident in self.incidents:
            rows = self.store.read(lambda c, i=incident: queries.timeline(c, i, after_seq=0))
            assert [r.seq for r in rows] == list(range(1, len(rows) + 1))
            texts = [t for r in rows if (t := getattr(r.event, "text", None)) is not None]
            assert texts == self.facts[incident]
            self.wakes_are_those_of_the_timeline(incident)
        report = self.store.verify()
        assert report.ok, report.problems
        self.store.close()

    def wakes_are_those_of_the_timeline(self, incident: IncidentId) -> None:
        self.store.take_over()
        folded = self.kit.Projection()
        state = folded.initial(incident)
        for row in self.store.read(lambda c: queries.timeline(c, incident, after_seq=0)):
            state = folded.apply(state, row)
        for lane in Lane:
            due = state.lanes.get(lane)
            op = wakes.claim(lane, at=self.kit.at(10**6), lease_s=60, limit=10**6)
            claimed = {c.incident_id: c.due_at for c in self.store.write(op)}
            assert claimed.get(incident) == due
        self.store.take_over()


def test_any_interleaving_of_two_writers_keeps_facts_and_refuses_stale_decisions(
    kit: Any,
) -> None:
    bound = type("BoundWriters", (Writers,), {"kit": kit})
    run_state_machine_as_test(bound, settings=QUICK)
