"""Maintenance of a target and silence of a rule: begun, moved, ended, and what they hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import RESPONDER, IncidentId, TargetName
from stanch.model.symptoms import SymptomKind
from stanch.policy.reading import nearest
from stanch.policy.rules import declared_rules
from stanch.policy.rules.planned import held_in_maintenance
from stanch.policy.silences import (
    MAY_GET_WORSE,
    MILDEST,
    NAME_ONE,
    NEVER_SILENT,
    ONE_BY_ONE,
    UP_TO,
    mildest,
)
from stanch.service.clock import Clock
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.silences import Silences
from stanch.service.record.standing import Standing
from stanch.service.requests import (
    Answer,
    BadRequest,
    Request,
    person_in,
    rank_in,
    seconds_in,
    stamped,
    text_in,
)

OpenIncidents = Callable[[], Awaitable[Sequence[Incident]]]


class Windows:
    """The operations behind `stanch maintenance` and `stanch silence`."""

    def __init__(
        self,
        *,
        book: Book,
        policies: Policies,
        standing: Standing,
        clock: Clock,
        open_incidents: OpenIncidents,
    ) -> None:
        self._book = book
        self._policies = policies
        self._standing = standing
        self._silences = Silences(standing, policies)
        self._clock = clock
        self._open_incidents = open_incidents

    async def maintenance(self, request: Request) -> Answer:
        """Expect trouble on a target for a while, or no longer. Raises BadRequest."""
        target = self._target(request)
        by, reason = person_in(request), text_in(request, "reason") or "planned work"
        if request.get("end"):
            ended = e.MaintenanceEnded(target=target, by=by, reason=reason)
            await self._record(request, ended)
            await self._release(target, _lift_hold)
            return Answer(ok=True, text=f"maintenance of {target} is over")
        until = self._clock.now() + timedelta(seconds=seconds_in(request))
        await self._record(
            request, e.MaintenanceSet(target=target, until=until, by=by, reason=reason)
        )
        paged = await self._hold(target, _held_until(until))
        text = f"nobody is paged for what work on {target} brings about until {_shown(until)}"
        rest = "nothing is done to it unasked; whatever may cost data pages as ever"
        return Answer(ok=True, text=f"{text}, and {rest}{_told(paged)}")

    async def silence(self, request: Request) -> Answer:
        """Wake nobody for one rule on a target, or for one subject of it, for a while, or again.

        Raises BadRequest.
        """
        target, rule = self._target(request), self._rule(request)
        by, subject = person_in(request), text_in(request, "subject")
        what = f"{rule} of {subject}" if subject else rule
        if request.get("end"):
            reason = text_in(request, "reason") or "a person said so"
            ended = e.SilenceEnded(target=target, rule=rule, by=by, reason=reason, subject=subject)
            await self._record(request, ended)
            held = await self._follow(target)
            text = f"{what} on {target} is no longer silenced"
            return Answer(ok=True, text=f"{text} by this{self._still(target, rule, held)}")
        if rule == ONE_BY_ONE and not subject:
            raise BadRequest(f"{rule} is silenced alert by alert: which one?", hint=NAME_ONE)
        reason = text_in(request, "reason", required=True)
        until = self._clock.now() + timedelta(seconds=seconds_in(request))
        up_to = await self._up_to(request, target, SymptomKind(rule), subject)
        silence = e.SilenceSet(
            target=target,
            rule=rule,
            until=until,
            by=by,
            reason=reason,
            subject=subject,
            up_to=up_to,
        )
        await self._record(request, silence)
        paged = [i.id for i in await self._follow(target) if _paged_for(i, rule, subject)]
        worse = "" if up_to == 1 else f" up to {self._policies.current.severity(up_to).label}"
        text = f"nobody is paged for {what} on {target}{worse} until {_shown(until)}; every other"
        return Answer(ok=True, text=f"{text} rule pages as ever{_told(paged)}")

    async def _up_to(
        self, request: Request, target: TargetName, rule: SymptomKind, subject: str
    ) -> int:
        """What was asked for, else as severe as it stands now, else as it would be."""
        policy = self._policies.current
        known = policy.target(target)
        if text_in(request, "severity"):
            asked = rank_in(request, policy)
            rank = MILDEST if known is None else mildest(rule, known.rank(rule))
            if asked > rank:
                what = (
                    f"{rule.value} of {target} is never milder than {policy.severity(rank).label}"
                )
                up_to = f"a silence up to {policy.severity(asked).label} would never hold it"
                raise BadRequest(f"{what}: {up_to}", hint="Leave out --up-to, or name a worse one.")
            return asked
        if rule not in MAY_GET_WORSE:
            return 1
        mine = [i for i in await self._open_incidents() if i.target == target]
        stands = [s for i in mine for s in i.symptoms.values() if s.kind is rule and s.rank]
        ranks = [s.rank for s in stands if not subject or s.subject == subject]
        if rule is SymptomKind.SERVER_DOWN and known is not None:
            alone = target not in self._standing.follows
            ranks = ranks or [known.rank(rule) if alone else max(known.rank(rule), UP_TO)]
        return min(ranks, default=UP_TO)

    async def _follow(self, target: TargetName) -> list[Incident]:
        """Have the target's open incidents held for what is silenced now, and for nothing else."""
        found = [i for i in await self._open_incidents() if i.target == target]
        for incident in found:
            await self._book.decide(incident.id, self._silences.changes)
        return found

    def _still(self, target: TargetName, rule: str, incidents: Sequence[Incident]) -> str:
        """What goes on to hold symptoms of it that stand."""
        now = self._clock.now()
        standing = (s for i in incidents for s in i.symptoms.values() if s.kind.value == rule)
        held = sorted({h.reason for s in standing for h in self._silences.of(s, now)})
        return f"; what stands is still {'; '.join(held)}" if held else ""

    async def follow_up(self, request: Request) -> None:
        """What a crash may have left undone in other timelines; done once more it does no harm."""
        name, now = request.get("command"), self._clock.now()
        target = TargetName(text_in(request, "target"))
        if name == "maintenance":
            window = self._standing.maintenance(target, now)
            if request.get("end") and window is None:
                await self._release(target, _lift_hold)
            elif window is not None and not request.get("end"):
                await self._hold(target, _held_until(window.until))
        elif name == "silence":
            await self._follow(target)

    def _target(self, request: Request) -> TargetName:
        target = TargetName(text_in(request, "target", required=True))
        if self._policies.current.target(target) is None:
            names = ", ".join(sorted(t.name for t in self._policies.current.targets))
            raise BadRequest(f"no target {target!r} in the policy", hint=f"Targets: {names}.")
        return target

    def _rule(self, request: Request) -> str:
        rule = text_in(request, "rule", required=True)
        known = tuple(kind.value for kind in declared_rules())
        if rule not in known:
            hint = nearest(rule, known) or "`stanch rules` lists every rule."
            raise BadRequest(f"there is no rule {rule!r}", hint=hint)
        if rule in NEVER_SILENT:
            raise BadRequest(f"{rule} cannot be silenced", hint="Acknowledge the incident.")
        return rule

    async def _record(self, request: Request, event: e.Commanded) -> None:
        [fact] = stamped(request, [event])
        await self._book.record(RESPONDER, fact)
        self._standing.apply(fact)

    async def _hold(self, target: TargetName, event: Held) -> list[IncidentId]:
        """Bind what is open to this window; returns what people were paged for already."""
        paged: list[IncidentId] = []
        for incident in await self._open_incidents():
            held = event(incident, self._clock.now())
            if incident.target != target or not held:
                continue
            if incident.page_level > 0 and incident.acknowledged_by is None:
                paged.append(incident.id)
            await self._book.decide(
                incident.id,
                lambda i, at: () if i.status.ended or i.page_level else event(i, at),
            )
        return paged

    async def _release(self, target: TargetName, event: Held) -> None:
        for incident in await self._open_incidents():
            if incident.target == target and event(incident, self._clock.now()):
                await self._book.decide(incident.id, event)


Held = Callable[[Incident, datetime], Sequence[e.Event]]


def _held_until(until: datetime) -> Held:
    held = e.PageHeld(until=until, reason="maintenance began, or its end was moved")
    return lambda incident, at: (held,) if _expected(incident) else ()


def _expected(incident: Incident) -> bool:
    """Whether planned work may have brought about all that stands."""
    return all(held_in_maintenance(key) for key in incident.symptoms)


def _lift_hold(incident: Incident, at: datetime) -> Sequence[e.Event]:
    if incident.page_held_until is None:
        return ()
    return (e.PageHeld(until=at, reason="maintenance ended"),)


def _paged_for(incident: Incident, rule: str, subject: str) -> bool:
    if not incident.page_level or incident.acknowledged_by is not None:
        return False
    standing = (s for s in incident.symptoms.values() if s.kind.value == rule)
    return any(not subject or s.subject == subject for s in standing)


def _shown(until: datetime) -> str:
    return until.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _told(paged: Sequence[IncidentId]) -> str:
    if not paged:
        return ""
    return f"; paged for before, until somebody acknowledges: {', '.join(paged)}"
