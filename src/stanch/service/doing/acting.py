"""Everything that reads or touches a target for an incident: diagnose, propose, step, settle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from stanch.incident.correlate import same_story
from stanch.incident.due import REDIAGNOSE_S, is_gap
from stanch.incident.merging import taken_in
from stanch.incident.state import Incident
from stanch.incident.work import Due
from stanch.model import events as e
from stanch.model.diagnosis import CauseFinding, Diagnosis, Scalar
from stanch.model.errors import StaleDecision
from stanch.model.ids import BlobKey, IncidentId, TargetName
from stanch.model.plans import Plan
from stanch.model.ports.timelines import Timelines
from stanch.model.restarts import PageAfter
from stanch.model.timeline import Claim
from stanch.policy.policy import Policy, TargetPolicy
from stanch.respond.blast_radius import Acts
from stanch.service.clock import Clock
from stanch.service.doing.budgets import SessionBudgets
from stanch.service.doing.underway import UnderWay
from stanch.service.engine import LEASE_S
from stanch.service.record.book import Book
from stanch.service.record.standing import Standing
from stanch.steps.action import Action
from stanch.steps.run import Authority, Clocks, Executed, Record, execute, settle
from stanch.steps.world import World

HALTED_RETRY_S = 0.5
MAINTENANCE_RETRY_S = 5.0

log = structlog.get_logger("acting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What Stanch can do with one target; made once per target by the wiring."""

    diagnose: Callable[[Incident], Awaitable[tuple[Diagnosis, bytes]]]
    """A diagnosis and the evidence behind it, as bytes to keep."""
    world: Callable[[Diagnosis | None], World]
    check_rescue: Callable[[Incident], Awaitable[e.RescueChecked]]
    page_after: Callable[[], PageAfter]
    """How long to leave it to whoever restarts it, from now on."""


Proposal = Callable[[Incident, TargetPolicy, datetime, Acts], Plan | e.PlanWithheld]


class Acting:
    """One claim at a time per incident: the lease on its `act` lane is the right to touch."""

    def __init__(
        self,
        *,
        book: Book,
        timelines: Timelines,
        clock: Clock,
        clocks: Clocks,
        standing: Standing,
        hands: Callable[[TargetName], Hands | None],
        propose: Proposal,
        actions: Mapping[str, Action],
        open_incidents: Callable[[TargetName], Awaitable[Sequence[Incident]]],
        under_way: UnderWay,
    ) -> None:
        self._book = book
        self._timelines = timelines
        self._clock = clock
        self._clocks = clocks
        self._standing = standing
        self._hands = hands
        self._propose = propose
        self._actions = actions
        self._open_incidents = open_incidents
        self._under_way = under_way
        self._budgets = SessionBudgets(lambda: self._clocks.boot.now_ns())

    async def diagnose(
        self, claim: Claim, incident: Incident, what: Due, policy: Policy
    ) -> datetime | None:
        """Look, rank, and write down what is new; the same answer again is not news."""
        hands = self._hands(incident.target)
        if hands is None:
            return self._clock.now() + timedelta(seconds=REDIAGNOSE_S[-1])
        diagnosis, evidence = await hands.diagnose(incident)
        if incident.diagnosis is not None and not _news(incident, diagnosis):
            return self._clock.now() + timedelta(
                seconds=REDIAGNOSE_S[min(incident.diagnoses + 2, len(REDIAGNOSE_S) - 1)]
            )
        blob: BlobKey = await self._timelines.put_blob(evidence)
        found = e.DiagnosisRecorded(diagnosis=diagnosis, evidence=blob)
        after = await self._book.record(incident.id, found)
        await self._merge_same_stories(after)
        return None

    async def _merge_same_stories(self, incident: Incident) -> None:
        """Two timelines that turn out to tell one failure: the older one goes on."""
        for other in await self._open_incidents(incident.target):
            if other.id == incident.id or not same_story(incident, other):
                continue
            newer, older = max(incident, other, key=_by_id), min(incident, other, key=_by_id)
            symptoms = [e.SymptomObserved(symptom=s) for s in newer.everything.values()]
            reason = "a diagnosis traced both to one cause"
            await self._book.record(older.id, *symptoms)
            # Before the newer one ends: a crash in between has people told twice, and not never.
            same = f"{newer.id}, which is the same,"
            await self._book.decide(older.id, taken_in(newer, reason=same))
            await self._book.decide(newer.id, _merge_into(older.id, reason))

    async def propose(
        self, claim: Claim, incident: Incident, what: Due, policy: Policy
    ) -> datetime | None:
        """Turn the diagnosis into a plan, or into the reason why there is none and options."""
        target = policy.target(incident.target)
        assert target is not None
        assert incident.diagnosis is not None
        acts = [act for one in self._of(incident) for act in one.acts]
        now = self._clock.now()
        proposal = self._propose(incident, target, now, acts)
        event = e.PlanProposed(plan=proposal) if isinstance(proposal, Plan) else proposal

        def decider(now_is: Incident, at: datetime) -> Sequence[e.Event]:
            fresh = now_is.diagnosis_seq == incident.diagnosis_seq
            return (event,) if fresh and now_is.plan == incident.plan else ()

        await self._book.decide(incident.id, decider, lease=claim)
        return None

    def _of(self, incident: Incident) -> Sequence[Incident]:
        """This and the others at hand that are about the same target."""
        others = (one for one in self._book.known() if one.id != incident.id)
        return (incident, *(one for one in others if one.target == incident.target))

    async def step(
        self, claim: Claim, incident: Incident, what: Due, policy: Policy
    ) -> datetime | None:
        """Run one step, once. A halt or maintenance puts it off; every other no is an outcome."""
        now = self._clock.now()
        target = policy.target(incident.target)
        if self._standing.halted or target is None or self._other_of_its_cluster(policy, target):
            return now + timedelta(seconds=HALTED_RETRY_S)
        with self._under_way.step(incident.target):
            hands, state = self._hands(incident.target), incident.plan
            if hands is None or state is None:
                return now + timedelta(seconds=HALTED_RETRY_S)
            if self._standing.maintenance(incident.target, now) and state.approved_by is None:
                # Nothing is done under the hands of who is at work there but what they approve.
                return now + timedelta(seconds=MAINTENANCE_RETRY_S)
            planned = next(s for s in state.plan.steps if s.id == what.step_id)
            lease_ends_ns = self._clocks.boot.now_ns() + int(LEASE_S[claim.lane] * 1e9)
            done = await execute(
                planned,
                state.plan,
                action=self._actions[planned.action],
                attempt=state.steps[planned.id].attempts + 1,
                authority=Authority(
                    claim=claim,
                    lease_until_boot_ns=lambda: lease_ends_ns,
                    halted=lambda: self._standing.halted,
                    spend=self._budgets.of(target, planned.action),
                ),
                world=hands.world(incident.diagnosis),
                record=self._recorder(incident),
                clocks=self._clocks,
            )
            return self._when_next(done)

    def _other_of_its_cluster(self, policy: Policy, target: TargetPolicy) -> bool:
        """One at a time: what is done to one changes what is right for the others."""
        cluster = policy.cluster_of(target.name)
        others = () if cluster is None else cluster.targets
        return any(self._under_way.on(TargetName(o)) for o in others if o != target.name)

    async def settle(
        self, claim: Claim, incident: Incident, what: Due, policy: Policy
    ) -> datetime | None:
        """Look what became of a step that was begun and never ended; never repeat it."""
        with self._under_way.step(incident.target):
            hands, state = self._hands(incident.target), incident.plan
            if hands is None or state is None:
                return self._clock.now() + timedelta(seconds=HALTED_RETRY_S)
            planned = next(s for s in state.plan.steps if s.id == what.step_id)
            done = await settle(
                planned,
                state.plan,
                action=self._actions[planned.action],
                intended=state.steps[planned.id].intended,
                abandoned=state.steps[planned.id].abandoned,
                world=hands.world(incident.diagnosis),
                record=self._recorder(incident),
                clocks=self._clocks,
            )
            return self._when_next(done)

    async def check_rescue(
        self, claim: Claim, incident: Incident, what: Due, policy: Policy
    ) -> datetime | None:
        """One look at whether the target really serves again."""
        hands = self._hands(incident.target)
        if hands is None:
            return self._clock.now() + timedelta(seconds=REDIAGNOSE_S[-1])
        target = policy.target(incident.target)
        checked = await hands.check_rescue(incident)
        if target is not None and is_gap(target, incident, self._clock.now()):
            checked = replace(checked, after_gap=True)
        if target is not None and _fails_as_before(incident, checked):
            # The same no again is not news, and a long outage must not fill its own timeline.
            return self._clock.now() + timedelta(seconds=target.rescue.check_every_s)
        await self._book.record(incident.id, checked)
        return None

    def _recorder(self, incident: Incident) -> Record:
        async def record(event: e.Event, lease: Claim | None) -> None:
            if event.nature == "fact":
                await self._book.record(incident.id, event)
                return
            # The intent: only while the lease is held, and only on the very plan it is for.
            await self._book.decide(incident.id, _only_on(incident, event), lease=lease)

        return record

    def _when_next(self, done: Executed) -> datetime | None:
        if done.outcome is None and done.refusal is not None:
            log.info("not begun", refusal=done.refusal.reason)
            return self._clock.now() + timedelta(seconds=HALTED_RETRY_S)
        return done.retry_at


def _fails_as_before(incident: Incident, checked: e.RescueChecked) -> bool:
    before = incident.rescue
    if checked.ok or before.last_at is None or before.last_ok:
        return False
    return before.last_parts == (checked.login_ok, checked.write_ok, checked.headroom_ok)


def _news(incident: Incident, diagnosis: Diagnosis) -> bool:
    """Would anybody decide differently on this than on the last one?"""
    before = incident.diagnosis
    if before is None or incident.diagnosis_seq < incident.symptoms_seq:
        return True
    if incident.plan is not None and incident.plan.proposed_seq > incident.diagnosis_seq:
        # The plan made from it has ended, or waits: a fresh look is the basis of the next one.
        return incident.plan.ended or not _same(before, diagnosis)
    return not _same(before, diagnosis)


def _same(before: Diagnosis, now: Diagnosis) -> bool:
    """Same verdict on the same things; how many of them there are changes all the time."""
    return _outline(before) == _outline(now)


def _outline(diagnosis: Diagnosis) -> tuple[object, ...]:
    first_two = diagnosis.causes[:2]
    return (diagnosis.verdict, *((c.id, c.subject, _identities(c)) for c in first_two))


def _identities(cause: CauseFinding) -> tuple[tuple[str, Scalar], ...]:
    return tuple(
        (name, value)
        for name, value in cause.facts
        if isinstance(value, str | bool) or name.endswith(("_pid", "_inode"))
    )


def _by_id(incident: Incident) -> IncidentId:
    return incident.id


def _merge_into(into: IncidentId, reason: str) -> Callable[[Incident, datetime], Sequence[e.Event]]:
    def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
        return () if incident.status.ended else (e.IncidentMerged(into=into, reason=reason),)

    return decider


def _only_on(seen: Incident, event: e.Event) -> Callable[[Incident, datetime], Sequence[e.Event]]:
    """The very plan, still to be run, in an incident that is open under the same policy."""

    def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
        assert seen.plan is not None
        current = incident.plan
        if current is None or not current.runnable or current.plan.id != seen.plan.plan.id:
            raise StaleDecision("the plan has ended", on=incident.id)
        if incident.status.ended or incident.policy_hash != seen.policy_hash:
            raise StaleDecision("the incident ended or its policy changed", on=incident.id)
        return (event,)

    return decider
