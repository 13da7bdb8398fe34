"""The whole order of an incident on one screen.

    sample -> detect -> incident            service/doing/watching.py
    clock:   page, update, end plan, rescued, resolve
    deliver: hand over
    act:     diagnose -> propose -> step -> settle -> check rescue

What is due, and when, is decided in `incident/due.py` from the timeline alone; here each kind of
work is given to the room that does it. One claim does one piece of work and lets go: the next one
is due by the events it made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog

from stanch.incident.due import due
from stanch.incident.due_levels import reached
from stanch.incident.state import Incident
from stanch.incident.work import Due, Job
from stanch.model import events as e
from stanch.model.timeline import Claim, Lane
from stanch.policy.policy import Policy
from stanch.service.clock import Clock
from stanch.service.doing.acting import Acting
from stanch.service.doing.paging import Paging
from stanch.service.record.book import Book
from stanch.service.record.looked import LOOKS, Looked
from stanch.service.record.policies import Policies

IDLE_RETRY_S = 1.0
"""A wake for which nothing is due any more is looked at again after this."""

log = structlog.get_logger("pipeline")

Piece = Callable[[Claim, Incident, Due, Policy], Awaitable[datetime | None]]
"""One kind of work; returns when to look again where it made no event."""


class Pipeline:
    """Takes claims from the engine and does what is due for them."""

    def __init__(
        self, *, book: Book, policies: Policies, clock: Clock, paging: Paging, acting: Acting
    ) -> None:
        self._book = book
        self._policies = policies
        self._clock = clock
        self._paging = paging
        self._looked = Looked()
        self._pieces: dict[Job, Piece] = {
            Job.PAGE: self._page,
            Job.LEVEL: self._level,
            Job.UPDATE: self._update,
            Job.EXPIRE_PLAN: self._end_plan,
            Job.END_PLAN: self._end_plan,
            Job.RESCUED: self._rescued,
            Job.RESOLVE: self._resolve,
            Job.DIAGNOSE: acting.diagnose,
            Job.PROPOSE: acting.propose,
            Job.STEP: acting.step,
            Job.SETTLE: acting.settle,
            Job.CHECK_RESCUE: acting.check_rescue,
        }

    async def work(self, claim: Claim) -> datetime | None:
        """Do the earliest piece that is due; deliveries all at once, side by side."""
        incident = await self._book.at_hand(claim.incident_id)
        policy = self._policies.for_incident(incident.policy_hash)
        now = self._clock.now()
        ready = [d for d in due(policy, incident, now) if d.lane is claim.lane and d.at <= now]
        if not ready:
            return now + timedelta(seconds=IDLE_RETRY_S)
        if claim.lane is Lane.DELIVER:
            return await self._paging.deliver(incident, ready, policy)
        first = next((d for d in ready if not self._looked.put_off(incident, d.job, now)), None)
        if first is None:
            return self._looked.soonest(incident, ready) or now + timedelta(seconds=IDLE_RETRY_S)
        log.debug("due", incident=incident.id, job=first.job.value, reason=first.reason)
        again_at = await self._pieces[first.job](claim, incident, first, policy)
        if again_at is None or first.job not in LOOKS:
            return again_at
        self._looked.without_news(incident, first.job, now=now, until=again_at)
        # Whatever else is ready comes next: a look without news must not stand before it.
        return now if len(ready) > 1 else again_at

    async def _page(self, claim: Claim, i: Incident, what: Due, policy: Policy) -> None:
        await self._paging.page(claim, i, what, policy)

    async def _update(self, claim: Claim, i: Incident, what: Due, policy: Policy) -> None:
        await self._paging.update(claim, i, what, policy)

    async def _level(self, claim: Claim, i: Incident, what: Due, policy: Policy) -> None:
        target = policy.target(i.target)
        assert target is not None
        await self._unless_moved_on(claim, i, reached(target, i, what.level))

    async def _end_plan(self, claim: Claim, i: Incident, what: Due, policy: Policy) -> None:
        assert i.plan is not None
        plan_id = i.plan.plan.id
        ended = e.PlanEnded(plan_id=plan_id, completed=what.completed, reason=what.reason)
        await self._unless_moved_on(claim, i, ended)

    async def _rescued(self, claim: Claim, i: Incident, what: Due, policy: Policy) -> None:
        since, last = i.rescue.ok_since, i.rescue.last_at
        assert since is not None
        assert last is not None
        rescued = e.IncidentRescued(
            window_s=(last - since).total_seconds(),
            checks=i.rescue.ok_checks,
            detail=i.rescue.last_detail,
            obligation=what.obligation,
        )
        await self._unless_moved_on(claim, i, rescued)

    async def _resolve(self, claim: Claim, i: Incident, what: Due, policy: Policy) -> None:
        resolved = e.IncidentResolved(
            verified=what.verified, reason=what.reason, self_healed=what.self_healed
        )
        await self._unless_moved_on(claim, i, resolved)

    async def _unless_moved_on(self, claim: Claim, seen: Incident, event: e.Event) -> None:
        """Append what was decided on `seen`; if anything happened since, it is due anew or not."""

        def decider(now_is: Incident, at: datetime) -> Sequence[e.Event]:
            return (event,) if now_is.seq == seen.seq else ()

        await self._book.decide(seen.id, decider, lease=claim)
