"""What people can ask of a responder, the same whether it is up, down or hung.

`stanch run` answers these over its local socket; with nobody running a command opens the store and
answers them itself; while a hung `stanch run` holds the store they wait in the inbox.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

from stanch.incident import commands as c
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.errors import StanchError
from stanch.model.ids import RESPONDER, IncidentId, PersonId, PlanId, TargetName
from stanch.model.plans import Refusal
from stanch.model.ports.timelines import Timelines
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.model.timeline import Recorded
from stanch.policy.policy import Severity
from stanch.respond.planner import still_bound
from stanch.service.clock import Clock
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing

TEXT_CHARS_MAX = 4000
ANSWERED_MAX = 1000
INCIDENTS_MAX = 100_000


class BadRequest(StanchError):
    """The request cannot be understood; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request, ready to be shown."""

    ok: bool
    text: str
    incident_id: str = ""
    refusal: Refusal | None = None

    def plain(self) -> dict[str, Any]:
        refusal = self.refusal
        return {
            "ok": self.ok,
            "text": self.text,
            "incident": self.incident_id,
            "refused_by": refusal.guard if refusal else None,
            "lifts": refusal.lifts if refusal else None,
        }


Request = Mapping[str, Any]


class Operations:
    """Reads requests, decides through the book, answers in sentences."""

    def __init__(
        self,
        *,
        timelines: Timelines,
        book: Book,
        policies: Policies,
        standing: Standing,
        clock: Clock,
        attended: bool = True,
    ) -> None:
        """`attended`: a responder runs on this store, so what is due now is done now."""
        self._attended = attended
        self._timelines = timelines
        self._book = book
        self._policies = policies
        self._standing = standing
        self._clock = clock
        self._answered: OrderedDict[str, Answer] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._by_name: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "declare": self._declare,
            "ack": self._ack,
            "note": self._note,
            "severity": self._severity,
            "resolve": self._resolve,
            "reopen": self._reopen,
            "approve": self._approve,
            "halt": self._halt,
            "maintenance": self._maintenance,
        }

    async def execute(self, request: Request) -> Answer:
        """Do one request. Raises BadRequest, StoreError."""
        name = _text(request, "command", required=True)
        operation = self._by_name.get(name)
        if operation is None:
            raise BadRequest(f"there is no command {name!r}", hint="See `stanch --help`.")
        request_id = _text(request, "id")
        if not request_id:
            return await operation(request)
        # One command may arrive twice: an answer was lost, and it was left in the inbox as well.
        # After a hang both are read in the same moment, so the second waits for the first.
        async with self._turn(request_id):
            answered = self._answered.get(request_id)
            if answered is None:
                answered = await operation(request)
                self._remember(request_id, answered)
        return answered

    def _turn(self, request_id: str) -> asyncio.Lock:
        return self._turns.setdefault(request_id, asyncio.Lock())

    def _remember(self, request_id: str, answer: Answer) -> None:
        self._answered[request_id] = answer
        while len(self._answered) > ANSWERED_MAX:
            self._answered.popitem(last=False)

    # --- looking ---

    async def find(self, wanted: str) -> Incident:
        """By whole id, or by the counter alone (`7`, `007`) as pages give it.

        Counters start anew every day, so among those with the same one an open incident is meant;
        where several are open, nobody guesses.
        """
        alike = await self._alike(wanted, open_only=True)
        if len(alike) > 1:
            raise BadRequest(
                f"{wanted!r} may be any of {', '.join(alike)}", hint="Give the whole id."
            )
        alike = alike or await self._alike(wanted, open_only=False)
        if not alike:
            raise BadRequest(
                f"there is no incident {wanted!r}", hint="`stanch incidents --all` lists them."
            )
        return await self._book.get(alike[0])

    async def _alike(self, wanted: str, *, open_only: bool) -> list[IncidentId]:
        """Incidents this may mean, newest first."""
        ids = await self._timelines.incident_ids(open_only=open_only, limit=INCIDENTS_MAX)
        if wanted in ids:
            return [IncidentId(wanted)]
        if not (wanted.isascii() and wanted.isdigit()):
            return []
        return [i for i in ids if int(i.rsplit("-", 1)[-1]) == int(wanted)]

    async def incidents(self, *, open_only: bool, limit: int) -> Sequence[Incident]:
        ids = await self._timelines.incident_ids(open_only=open_only, limit=limit)
        return [await self._book.get(incident_id) for incident_id in ids]

    async def timeline(self, wanted: str) -> tuple[Incident, Sequence[Recorded]]:
        incident = await self.find(wanted)
        return incident, await self._timelines.read(incident.id)

    # --- changing ---

    async def _declare(self, request: Request) -> Answer:
        policy = self._policies.current
        title = _text(request, "title", required=True)
        target = policy.target(_text(request, "target", required=True))
        if target is None:
            names = ", ".join(sorted(t.name for t in policy.targets))
            raise BadRequest(
                f"no target {request['target']!r} in the policy", hint=f"Targets: {names}."
            )
        severity = policy.severity(_rank(request, self._policies))
        at = self._clock.now()
        by = _by(request)
        symptom = Symptom(
            kind=SymptomKind.REPORTED, target=TargetName(target.name), since=at, detail=title
        )
        incident = await self._book.open(
            [
                e.IncidentOpened(
                    target=TargetName(target.name),
                    title=title,
                    symptom=symptom,
                    severity_rank=severity.rank,
                    severity_label=severity.label,
                    severity_reason="declared by a person",
                    data_at_risk="possible",
                    policy_hash=self._policies.current_hash,
                    page_after_s=0.0,
                    declared_by=by,
                )
            ]
        )
        return Answer(
            ok=True,
            text=f"opened {incident.id} as {severity.label}; {self._paging(severity)}",
            incident_id=incident.id,
        )

    async def _ack(self, request: Request) -> Answer:
        command = c.Acknowledge(by=_by(request), via=_text(request, "via") or "command line")
        return await self._decide(request, command, "acknowledged: nobody else is paged for it")

    async def _note(self, request: Request) -> Answer:
        command = c.AddNote(by=_by(request), text=_text(request, "text", required=True))
        return await self._decide(request, command, "noted")

    async def _severity(self, request: Request) -> Answer:
        rank = _rank(request, self._policies)
        command = c.SetSeverity(
            by=_by(request), rank=rank, reason=_text(request, "reason") or "a person said so"
        )
        label = self._policies.current.severity(rank).label
        return await self._decide(request, command, f"severity is now {label}; timers follow")

    async def _resolve(self, request: Request) -> Answer:
        unverified = bool(request.get("unverified"))
        command = c.Resolve(
            by=_by(request),
            reason=_text(request, "reason", required=unverified) or "a person said so",
            unverified=unverified,
        )
        done = "resolved without verification" if unverified else "resolved"
        return await self._decide(request, command, done)

    async def _reopen(self, request: Request) -> Answer:
        command = c.Reopen(by=_by(request), reason=_text(request, "reason", required=True))
        return await self._decide(request, command, "reopened", pages=True)

    async def _approve(self, request: Request) -> Answer:
        plan = _text(request, "plan")
        command = c.Approve(
            by=_by(request),
            plan_id=PlanId(plan) if plan else None,
            digest=_text(request, "digest"),
        )
        return await self._decide(
            request, command, "approved; every guard is read again right before each step"
        )

    def _paging(self, severity: Severity) -> str:
        """Whether anybody is being told now: only what is true may be promised."""
        if not self._attended:
            return "NOBODY is told until `stanch run` is started"
        if not severity.pages:
            return f"{severity.label} pages nobody; the first on the ladder gets a notice"
        return "the ladder is being paged"

    async def _decide(
        self, request: Request, command: c.Command, done: str, *, pages: bool = False
    ) -> Answer:
        incident = await self.find(_text(request, "incident", required=True))

        def decider(now_is: Incident, at: datetime) -> c.Decided:
            policy = self._policies.for_incident(now_is.policy_hash)
            unbound = _unbound(now_is) if isinstance(command, c.Approve) else None
            return unbound or c.decide(command, now_is, policy, at)

        decided = await self._book.decide(incident.id, decider)
        if isinstance(decided, Refusal):
            return Answer(ok=False, text=decided.reason, incident_id=incident.id, refusal=decided)
        if pages:
            done += f"; {self._paging(self._policies.current.severity(decided.severity_rank))}"
        return Answer(ok=True, text=f"{incident.id} {done}", incident_id=incident.id)

    async def _halt(self, request: Request) -> Answer:
        by = _by(request)
        if request.get("lift"):
            reason = _text(request, "reason") or "lifted"
            await self._record_standing(e.HaltLifted(by=by, reason=reason))
            return Answer(ok=True, text="halt lifted: Stanch acts again where policy says so")
        await self._record_standing(
            e.HaltSet(by=by, reason=_text(request, "reason") or "a person said so")
        )
        return Answer(
            ok=True,
            text="halted: Stanch watches, diagnoses and pages, but acts on no target"
            " until `stanch halt --lift`",
        )

    async def _maintenance(self, request: Request) -> Answer:
        target = TargetName(_text(request, "target", required=True))
        if self._policies.current.target(target) is None:
            names = ", ".join(sorted(t.name for t in self._policies.current.targets))
            raise BadRequest(f"no target {target!r} in the policy", hint=f"Targets: {names}.")
        by, reason = _by(request), _text(request, "reason") or "planned work"
        if request.get("end"):
            await self._record_standing(e.MaintenanceEnded(target=target, by=by, reason=reason))
            await self._release_pages(target)
            return Answer(ok=True, text=f"maintenance of {target} is over")
        seconds = _seconds(request)
        until = self._clock.now() + timedelta(seconds=seconds)
        await self._record_standing(
            e.MaintenanceSet(target=target, until=until, by=by, reason=reason)
        )
        paged = await self._hold_pages(target, until)
        when = until.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        text = f"nobody is paged for {target} until {when}, and nothing is done to it unasked"
        if paged:
            text += f"; paged for before, until somebody acknowledges: {', '.join(paged)}"
        return Answer(ok=True, text=text)

    async def _record_standing(self, event: e.Event) -> None:
        await self._book.record(RESPONDER, event)
        self._standing.apply(event)

    async def _hold_pages(self, target: TargetName, until: datetime) -> list[IncidentId]:
        """Bind what is open to this window; returns what people were paged for already."""
        held = e.PageHeld(until=until, reason="maintenance began, or its end was moved")
        paged: list[IncidentId] = []
        for incident in await self.incidents(open_only=True, limit=INCIDENTS_MAX):
            if incident.target != target:
                continue
            if incident.page_level > 0 and incident.acknowledged_by is None:
                paged.append(incident.id)
            await self._book.decide(
                incident.id, lambda i, at: () if i.status.ended or i.page_level else (held,)
            )
        return paged

    async def _release_pages(self, target: TargetName) -> None:
        for incident in await self.incidents(open_only=True, limit=INCIDENTS_MAX):
            if incident.target == target and incident.page_held_until is not None:
                await self._book.decide(incident.id, _lift_hold)


def _unbound(incident: Incident) -> Refusal | None:
    """An approval is void once a fact the plan was made from no longer holds."""
    if incident.plan is None or incident.diagnosis is None:
        return None
    return still_bound(incident.plan.plan, incident.diagnosis)


def _lift_hold(incident: Incident, at: datetime) -> Sequence[e.Event]:
    return (e.PageHeld(until=at, reason="maintenance ended"),)


def _text(request: Request, name: str, *, required: bool = False) -> str:
    value = request.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        if required:
            raise BadRequest(f"{name} is missing")
        return ""
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise BadRequest(f"{name} must be text of at most {TEXT_CHARS_MAX} characters")
    return value


def _by(request: Request) -> PersonId:
    return PersonId(_text(request, "by", required=True))


def _seconds(request: Request) -> float:
    value = request.get("seconds")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 30 * 86400:
        raise BadRequest("seconds must be a number above 0 and at most 30 days")
    return float(value)


def _rank(request: Request, policies: Policies) -> int:
    """Severity by rank (`1`) or by the policy's own label (`P0`); default: the second worst."""
    wanted = _text(request, "severity")
    scale = policies.current.severities
    if not wanted:
        return min(2, max(s.rank for s in scale))
    for severity in scale:
        if wanted.casefold() in (str(severity.rank), severity.label.casefold()):
            return severity.rank
    labels = ", ".join(f"{s.label} ({s.rank})" for s in scale)
    raise BadRequest(f"there is no severity {wanted!r}", hint=f"The policy has: {labels}.")
