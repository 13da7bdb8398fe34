"""What people can ask of a responder, the same whether it is up, down or hung.

`stanch run` answers these over its local socket; with nobody running a command opens the store and
answers them itself; while a hung `stanch run` holds the store they wait in the inbox.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from weakref import WeakValueDictionary

from stanch.incident import commands as c
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.errors import StoreError, StoreUnavailable
from stanch.model.ids import RESPONDER, CommandId, IncidentId, PlanId, TargetName
from stanch.model.plans import Refusal
from stanch.model.ports.timelines import Timelines
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.model.timeline import Recorded
from stanch.policy.policy import Severity
from stanch.respond.planner import still_bound
from stanch.service.asked_plans import AskedPlans
from stanch.service.clock import Clock
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing
from stanch.service.requests import (
    Answer,
    BadRequest,
    Request,
    person_in,
    rank_in,
    stamped,
    text_in,
)
from stanch.service.windows import Windows

ANSWERED_MAX = 1000
INCIDENTS_MAX = 100_000


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
        self._windows = Windows(
            book=book,
            policies=policies,
            standing=standing,
            clock=clock,
            open_incidents=lambda: self.incidents(open_only=True, limit=INCIDENTS_MAX),
        )
        self.asked_plans = AskedPlans(book, policies, find=self.find)
        self._by_name: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "declare": self._declare,
            "ack": self._ack,
            "note": self._note,
            "severity": self._severity,
            "resolve": self._resolve,
            "reopen": self._reopen,
            "approve": self._approve,
            "plan": self.asked_plans.plan,
            "halt": self._halt,
            "maintenance": self._windows.maintenance,
            "silence": self._windows.silence,
        }

    async def execute(self, request: Request) -> Answer:
        """Do one request. Raises BadRequest, StoreError."""
        name = text_in(request, "command", required=True)
        operation = self._by_name.get(name)
        if operation is None:
            raise BadRequest(f"there is no command {name!r}", hint="See `stanch --help`.")
        request_id = text_in(request, "id")
        if not request_id:
            return await operation(request)
        # One command may arrive twice: an answer was lost, and it was left in the inbox as well.
        # After a hang both are read in the same moment, so the second waits for the first. What an
        # earlier process did stands in its events.
        async with self._turn(request_id):
            answered = self._answered.get(request_id) or await self._done_before(request)
            if answered is None:
                answered = await operation(request)
            self._remember(request_id, answered)
        return answered

    async def _done_before(self, request: Request) -> Answer | None:
        """The answer to a command that an earlier process did, and perhaps died before saying so.

        A command that was refused made no event: it is decided on again.
        """
        asked = e.obligation_to(CommandId(text_in(request, "id")))
        found = await self._timelines.fulfilled_in(asked)
        if found is None:
            return None
        if found == RESPONDER:
            await self._windows.follow_up(request)
            return Answer(ok=True, text="this was done already, when it arrived before")
        text = f"{found}: this was done already, when it arrived before"
        return Answer(ok=True, text=text, incident_id=found)

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
        title = text_in(request, "title", required=True)
        target = policy.target(text_in(request, "target", required=True))
        if target is None:
            names = ", ".join(sorted(t.name for t in policy.targets))
            raise BadRequest(
                f"no target {request['target']!r} in the policy", hint=f"Targets: {names}."
            )
        severity = policy.severity(rank_in(request, self._policies.current))
        at = self._clock.now()
        by = person_in(request)
        symptom = Symptom(
            kind=SymptomKind.REPORTED, target=TargetName(target.name), since=at, detail=title
        )
        opened = e.IncidentOpened(
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
        incident = await self._book.open(stamped(request, [opened]))
        return Answer(
            ok=True,
            text=f"opened {incident.id} as {severity.label}; {self._paging(severity)}",
            incident_id=incident.id,
        )

    async def _ack(self, request: Request) -> Answer:
        command = c.Acknowledge(
            by=person_in(request), via=text_in(request, "via") or "command line"
        )
        return await self._decide(request, command, "acknowledged: nobody else is paged for it")

    async def _note(self, request: Request) -> Answer:
        command = c.AddNote(by=person_in(request), text=text_in(request, "text", required=True))
        return await self._decide(request, command, "noted")

    async def _severity(self, request: Request) -> Answer:
        rank = rank_in(request, self._policies.current)
        command = c.SetSeverity(
            by=person_in(request),
            rank=rank,
            reason=text_in(request, "reason") or "a person said so",
        )
        label = self._policies.current.severity(rank).label
        return await self._decide(request, command, f"severity is now {label}; timers follow")

    async def _resolve(self, request: Request) -> Answer:
        unverified = bool(request.get("unverified"))
        command = c.Resolve(
            by=person_in(request),
            reason=text_in(request, "reason", required=unverified) or "a person said so",
            unverified=unverified,
        )
        done = "resolved without verification" if unverified else "resolved"
        return await self._decide(request, command, done)

    async def _reopen(self, request: Request) -> Answer:
        command = c.Reopen(by=person_in(request), reason=text_in(request, "reason", required=True))
        return await self._decide(request, command, "reopened", pages=True)

    async def _approve(self, request: Request) -> Answer:
        plan = text_in(request, "plan")
        command = c.Approve(
            by=person_in(request),
            plan_id=PlanId(plan) if plan else None,
            digest=text_in(request, "digest"),
            target=text_in(request, "target"),
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
        incident = await self.find(text_in(request, "incident", required=True))

        def decider(now_is: Incident, at: datetime) -> c.Decided:
            policy = self._policies.for_incident(now_is.policy_hash)
            unbound = _unbound(now_is) if isinstance(command, c.Approve) else None
            decided = unbound or c.decide(command, now_is, policy, at)
            return decided if isinstance(decided, Refusal) else stamped(request, decided)

        decided = await self._book.decide(incident.id, decider)
        if isinstance(decided, Refusal):
            return Answer(ok=False, text=decided.reason, incident_id=incident.id, refusal=decided)
        if pages:
            done += f"; {self._paging(self._policies.current.severity(decided.severity_rank))}"
        return Answer(ok=True, text=f"{incident.id} {done}", incident_id=incident.id)

    async def _halt(self, request: Request) -> Answer:
        by = person_in(request)
        if request.get("lift"):
            reason = text_in(request, "reason") or "lifted"
            await self._record_standing(request, e.HaltLifted(by=by, reason=reason))
            return Answer(ok=True, text="halt lifted: Stanch acts again where policy says so")
        halt = e.HaltSet(by=by, reason=text_in(request, "reason") or "a person said so")
        # In force before it is written down: a disk that is full or slow must not put it off.
        self._standing.apply(halt)
        try:
            await self._record_standing(request, halt)
        except StoreError as error:
            raise StoreUnavailable(
                f"halted until this process ends, but not written down: {error.what}",
                on=error.on,
                hint="Halt again once the store works, or a restart forgets it.",
            ) from error
        return Answer(
            ok=True,
            text="halted: Stanch watches, diagnoses and pages, but acts on no target"
            " until `stanch halt --lift`",
        )

    async def _record_standing(self, request: Request, event: e.Commanded) -> None:
        [fact] = stamped(request, [event])
        await self._book.record(RESPONDER, fact)
        self._standing.apply(fact)


def _unbound(incident: Incident) -> Refusal | None:
    """An approval is void once a fact the plan was made from no longer holds."""
    if incident.plan is None or incident.diagnosis is None:
        return None
    return still_bound(incident.plan.plan, incident.diagnosis)
