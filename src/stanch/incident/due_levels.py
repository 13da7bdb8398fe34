"""What is due because an incident has lasted so long: levels, their pages, their plans. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from stanch.incident.fold_people import obligation
from stanch.incident.state import Incident, PlanState, Status
from stanch.incident.work import Due, Job
from stanch.model.events import LevelReached
from stanch.model.ids import ObligationId, PersonId
from stanch.model.timeline import Lane
from stanch.policy.levels import Level, after, standing_level
from stanch.policy.policy import Policy, TargetPolicy


def levels(policy: Policy, target: TargetPolicy, i: Incident, now: datetime) -> Iterator[Due]:
    """The next level, and the page of the one that was reached.

    Small matters have none, and nothing is reached while the target serves: the clock goes on, so
    that a relapse before it was rescued finds the level it would have had.
    """
    if not _runs(policy, i) or i.levels.clock_from is None:
        return
    coming = after(target.levels, i.levels.reached_s)
    if coming:
        ready = [level for level in coming if _begins(i, level) <= now] or [coming[0]]
        yield Due(
            lane=Lane.CLOCK,
            job=Job.LEVEL,
            at=max(_begins(i, ready[-1]), i.held_until() or i.levels.clock_from),
            obligation=ObligationId(obligation("reach", len(ready), i.levels.seq)),
            reason=ready[-1].name,
            level=len(ready),
        )
    if i.levels.page and i.levels.reached_at is not None:
        yield Due(
            lane=Lane.CLOCK,
            job=Job.PAGE,
            at=i.levels.reached_at,
            level=max(1, i.page_level),
            persons=_with_first(policy, i),
            obligation=ObligationId(obligation("level", 1, i.levels.seq)),
            reason=f"level {i.levels.name}",
        )


def reached(target: TargetPolicy, i: Incident, count: int) -> LevelReached:
    """The last of the next `count` levels, with everybody that those before it name."""
    passed = after(target.levels, i.levels.reached_s)[:count]
    level, before = passed[-1], standing_level(target.levels, i.levels.reached_s)
    return LevelReached(
        name=level.name,
        after_s=level.from_s,
        asks=_asks_more(level, before),
        page=tuple(dict.fromkeys(person for one in passed for person in one.page)),
        propose=next((one.propose for one in reversed(passed) if one.propose), ""),
        says=level.says,
    )


def wants_plan(i: Incident) -> bool:
    """Whether the level that was reached has a plan to prepare, and a cause to prepare it for."""
    return bool(i.levels.propose) and i.diagnosis is not None and i.standing


def overtaken(target: TargetPolicy, i: Incident, state: PlanState) -> str:
    """Why the level that was reached ends a plan that was not begun; empty where it does not."""
    if state.begun or state.approved_by is not None:
        return ""
    if wants_plan(i) and state.plan.runbook != i.levels.propose:
        return f"level {i.levels.name}: a plan of {i.levels.propose} is prepared instead"
    standing = standing_level(target.levels, i.levels.reached_s)
    if not state.runnable or standing is None:
        return ""
    asked = next((s.action for s in state.plan.effects if not standing.lets_act(s.action)), None)
    return f"level {standing.name}: a person decides on {asked} now" if asked else ""


def _runs(policy: Policy, i: Incident) -> bool:
    failing = i.rescue.last_at is not None and not i.rescue.last_ok
    open_still = i.status is Status.OPEN and (i.standing or failing)
    return open_still and policy.severity(i.severity_rank).pages


def _begins(i: Incident, level: Level) -> datetime:
    assert i.levels.clock_from is not None
    return i.levels.clock_from + timedelta(seconds=level.from_s)


def _asks_more(level: Level, before: Level | None) -> bool:
    if level.act is None:
        return False
    return before is None or before.act is None or not set(before.act) <= set(level.act)


def _with_first(policy: Policy, i: Incident) -> tuple[PersonId, ...]:
    """Whom the level names, and the first of the ladder where nobody was paged yet."""
    first = policy.ladder[:1] if i.page_level == 0 else ()
    return tuple(dict.fromkeys((*first, *i.levels.page)))
