"""From rows to incidents: each change of state told once, the crowd told together.

A row is owed to its incident until the incident has it. Telling looks at the incident first, so
doing it again after a crash adds nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from stanch.incident.outside import MORE, Place, crowded, place, the_rest
from stanch.incident.state import Incident, Status
from stanch.model import events as e
from stanch.model.errors import StaleDecision, StoreError
from stanch.model.ids import ITSELF, IncidentId, TargetName
from stanch.model.signals import SignalStatus, StoredSignal
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.policy import Limits
from stanch.policy.signals import MAIL
from stanch.service.clock import Clock
from stanch.service.doing.watching import Watching
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing
from stanch.store.signal_queries import SignalRows
from stanch.store.signals import Told

TOGETHER_MAX = 500
IDLE_S = 5.0
SWEEP_S = 10.0
VAIN_S = 1.0
MERGES_MAX = 10
EVER = datetime(1970, 1, 1, tzinfo=UTC)

UNMATCHED_TITLE = "alerts that match no target"
HELD = "its cause is held by now, and it is not: it is told by itself"
ALL_OVER = "every outside alert in it was said to be over by its source"

log = structlog.get_logger("signals")


class Attaching:
    """`run` tells incidents what is owed to them; `poke` says that something is."""

    def __init__(
        self,
        rows: SignalRows,
        *,
        book: Book,
        watching: Watching,
        policies: Policies,
        standing: Standing,
        clock: Clock,
    ) -> None:
        self._rows = rows
        self._book = book
        self._watching = watching
        self._policies = policies
        self._standing = standing
        self._clock = clock
        self._owed = asyncio.Event()

    def poke(self) -> None:
        self._owed.set()

    async def run(self) -> None:
        """For ever; a store that fails is asked again a moment later."""
        loop = asyncio.get_running_loop()
        swept_s = float("-inf")
        while True:
            self._owed.clear()
            try:
                if loop.time() - swept_s >= SWEEP_S:
                    await self.sweep()
                    swept_s = loop.time()
                more = await self.tell_owed()
            except (StoreError, StaleDecision) as error:
                log.error("alerts wait to be told", error=str(error))
                await asyncio.sleep(VAIN_S)
                continue
            if not more:
                await self._idle()

    async def _idle(self) -> None:
        due_at = await self._rows.next_owed_at()
        wait_s = IDLE_S
        if due_at is not None:
            wait_s = min(IDLE_S, max(0.02, (due_at - self._clock.now()).total_seconds()))
        try:
            async with asyncio.timeout(wait_s):
                await self._owed.wait()
        except TimeoutError:
            pass

    async def tell_owed(self) -> int:
        """Tell what is owed now; answers how many rows that were."""
        rows = await self._rows.owed(at=self._clock.now(), limit=TOGETHER_MAX)
        told = [await self._over(row, rows) for row in rows if not _fires(row)]
        by_target: dict[TargetName, list[StoredSignal]] = {}
        for row in filter(_fires, rows):
            by_target.setdefault(self._about(row), []).append(row)
        for target, some in by_target.items():
            told += await self._firing(target, some)
        await self._rows.tell(told)
        return len(rows)

    async def sweep(self) -> None:
        """End what nobody repeats, and tell again what fires on although its incident ended, or
        is silenced by now."""
        now = self._clock.now()
        quiet_s = {
            s.name: s.resolve_after_s
            for s in self._policies.current.signals.sources
            if s.resolve_after_s
        }
        await self._rows.expire(quiet_s, at=now)
        for incident_id in await self._rows.incidents_told(limit=TOGETHER_MAX):
            incident = await self._book.at_hand(incident_id)
            if incident.status is Status.MERGED and incident.merged_into is not None:
                await self._rows.follow(incident_id, incident.merged_into)
            elif incident.status.ended and incident.ended_at is not None:
                # A person who closed it knows better for a while.
                quiet = timedelta(
                    seconds=0.0 if incident.ended_verified else self._flap_s(incident.target)
                )
                await self._rows.tell_again(
                    incident_id, heard_after=incident.ended_at + quiet, at=now
                )
            elif over := [s for s in incident.attached.values() if self._unheard(incident, s)]:
                gone = [e.SymptomCleared(key=s.key, detail=HELD) for s in over]
                await self._book.record(incident_id, *gone)
                await self._rows.tell_again(incident_id, heard_after=EVER, at=now)

    def _unheard(self, cause: Incident, symptom: Symptom) -> bool:
        """Whether an alert stands where nobody hears of it, though nobody silenced it."""
        alert = symptom.kind is SymptomKind.OUTSIDE_ALERT
        return alert and self._watching.holding.hides(cause, symptom)

    # --- alerts that fire ---

    async def _firing(self, target: TargetName, rows: Sequence[StoredSignal]) -> list[Told]:
        """All of one target, over one look at its incidents."""
        told = list[Told]()
        # Whoever else opens an incident on this target now waits, and then joins.
        async with self._watching.together.opening(target):
            incidents = {i.id: i for i in await self._incidents(target)}
            for row in rows:
                await self._clear_elsewhere(row, target)
                if target == ITSELF and not self._pages_unmatched(row):
                    told.append(Told(row=row))
                    continue
                symptom = symptom_of(row, target)
                where = place(
                    symptom,
                    self._watching.holding.fitting(list(incidents.values()), symptom),
                    at=self._clock.now(),
                    flap_window_s=self._flap_s(target),
                )
                if where.to == "wait" and where.until is not None:
                    await self._rows.postpone(row, where.until)
                    continue
                if where.to == "new":
                    where = await self._with_its_cause(symptom) or where
                incident, key = await self._put(where, symptom, row)
                if incident.target == target:
                    # The newest stands first.
                    incidents = {incident.id: incident} | {
                        k: i for k, i in incidents.items() if k != incident.id
                    }
                told.append(Told(row=row, incident_id=incident.id, symptom=key))
        return told

    async def _with_its_cause(self, symptom: Symptom) -> Place | None:
        """It tells of what the failure of another server of the cluster brings about."""
        cause = await self._watching.together.cause_of(symptom)
        if cause is None:
            return None
        return Place(to="open", incident_id=cause.id, reason="an effect of it")

    async def _clear_elsewhere(self, row: StoredSignal, target: TargetName) -> None:
        """A route was added: it is about something else than it seemed to be."""
        if row.told is SignalStatus.FIRING and row.incident_id is not None:
            known = await self._book.at_hand(row.incident_id)
            stands = known.everything.get(row.symptom)
            if (stands.target if stands is not None else known.target) != target:
                await self._clear(known, row, [row])

    async def _put(self, where: Place, symptom: Symptom, row: StoredSignal) -> tuple[Incident, str]:
        """The incident it stands in, and under which key."""
        if where.incident_id is None:
            return await self._open(symptom, row), symptom.key
        if where.to == "ended":
            await self._reopen(where.incident_id, symptom, where.reason)
        incident = await self._book.at_hand(where.incident_id)
        stands = the_rest(symptom) if crowded(symptom, incident) else symptom
        known = incident.everything.get(stands.key)
        if known is None or stands.rank < known.rank:
            incident = await self._book.record(incident.id, e.SymptomObserved(symptom=stands))
            await self._watching.holding.settle(incident.id)
        if row.rank < incident.severity_rank and not self._watching.holding.silenced(symptom):
            await self._raise_severity(incident.id, row)
        return incident, stands.key

    async def _open(self, symptom: Symptom, row: StoredSignal) -> Incident:
        policy = self._policies.current
        severity = policy.severity(row.rank)
        unmatched = symptom.target == ITSELF
        said = f"{row.signal.severity or 'nothing'} at {row.signal.source}"
        opened = e.IncidentOpened(
            target=symptom.target,
            title=UNMATCHED_TITLE if unmatched else row.signal.title,
            symptom=symptom,
            severity_rank=severity.rank,
            severity_label=severity.label,
            severity_reason=f"{said} is {severity.label}",
            data_at_risk="possible" if row.rank == 1 else "none seen",
            policy_hash=self._policies.current_hash,
            page_after_s=0.0,
        )
        held = self._watching.holding.of(symptom)
        incident = await self._book.open([opened, *held])
        log.warning("incident opened", incident=incident.id, what=symptom.key)
        return incident

    async def _reopen(self, incident_id: IncidentId, symptom: Symptom, reason: str) -> None:
        held = self._watching.holding.of(symptom)

        def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
            if not incident.status.ended:
                return ()
            return (e.IncidentReopened(reason=reason), *held)

        await self._book.decide(incident_id, decider)

    async def _raise_severity(self, incident_id: IncidentId, row: StoredSignal) -> None:
        severity = self._policies.current.severity(row.rank)

        def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
            if severity.rank >= incident.severity_rank or incident.status.ended:
                return ()
            reason = f"{row.signal.title} is {severity.label}"
            return (e.SeveritySet(rank=severity.rank, label=severity.label, reason=reason),)

        await self._book.decide(incident_id, decider)

    # --- alerts that are over ---

    async def _over(self, row: StoredSignal, together: Sequence[StoredSignal]) -> Told:
        if row.incident_id is not None:
            await self._clear(await self._book.at_hand(row.incident_id), row, together)
        return Told(row=row, incident_id=row.incident_id, symptom=row.symptom)

    async def _clear(
        self, incident: Incident, row: StoredSignal, together: Sequence[StoredSignal]
    ) -> None:
        """`together` are the rows that are told with this one."""
        for _ in range(MERGES_MAX):
            if incident.merged_into is None:
                break
            incident = await self._book.at_hand(incident.merged_into)
        if row.symptom not in incident.everything:
            return
        if row.symptom.endswith(f":{MORE}"):
            # Those that are over, but not yet told so, still count in the store.
            over = sum(r.symptom == row.symptom and not _fires(r) for r in together)
            if await self._rows.under(row.incident_id, row.symptom) > max(1, over):
                return
        detail = f"{row.signal.source} says that it is over: {row.signal.title}"
        await self._book.record(incident.id, e.SymptomCleared(key=row.symptom, detail=detail))
        if incident.target == ITSELF:
            await self._book.decide(incident.id, _over_where_nothing_is_left)

    # --- what it takes ---

    def _about(self, row: StoredSignal) -> TargetName:
        known = row.target is not None and self._policies.current.target(row.target) is not None
        return row.target if known and row.target is not None else ITSELF

    def _pages_unmatched(self, row: StoredSignal) -> bool:
        policy = self._policies.current
        signals = policy.signals
        source = signals.source(row.signal.source)
        listed = source.unmatched == "list" if source else False
        if row.signal.source == MAIL and signals.mailbox is not None:
            listed = signals.mailbox.unmatched == "list"
        return not listed and policy.severity(row.rank).pages

    async def _incidents(self, target: TargetName) -> Sequence[Incident]:
        found = await self._watching.incidents(target)
        if target == ITSELF:
            # Blindness is ours; it ends by itself, and alerts must not keep it open.
            return [i for i in found if SymptomKind.BLIND.value not in i.seen]
        return found

    def _flap_s(self, target: TargetName) -> float:
        known = self._policies.current.target(target)
        return (known.limits if known else Limits()).flap_window_s


def _fires(row: StoredSignal) -> bool:
    return row.signal.status is SignalStatus.FIRING


def symptom_of(row: StoredSignal, target: TargetName) -> Symptom:
    """A row as an incident sees it. What a person reports, only a person calls over."""
    signal = row.signal
    severity = f" ({signal.severity})" if signal.severity else ""
    detail = f"{signal.source}: {signal.title}{severity}"
    return Symptom(
        kind=SymptomKind.REPORTED if signal.reported else SymptomKind.OUTSIDE_ALERT,
        target=target,
        since=min(signal.starts_at or row.changed_at, row.changed_at),
        subject=f"{signal.source}:{signal.key}",
        detail=f"{detail}. {signal.detail}" if signal.detail else detail,
        rank=row.rank,
    )


def _over_where_nothing_is_left(incident: Incident, at: datetime) -> Sequence[e.Event]:
    if incident.status.ended or incident.symptoms:
        return ()
    return (e.IncidentResolved(verified=False, reason=ALL_OVER),)
