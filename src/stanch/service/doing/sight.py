"""Which silences are believed, and one page where we are blind: many at once, or long in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.errors import StoreError
from stanch.model.ids import ITSELF, RESPONDER, IncidentId, TargetName
from stanch.model.samples import Sample
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.service.clock import Clock
from stanch.service.doing.endings import over
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing
from stanch.watch.blindness import (
    CROWD_HOLD_S,
    DOUBTED_S_MAX,
    TOGETHER_S,
    Crowd,
    blinded,
    doubted_too_long,
)
from stanch.watch.silence import SILENT_STATES, UNHEARD_STATES

log = structlog.get_logger("watching")


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A silence that would be told, but for doubts about ourselves."""

    since: datetime
    late_s: float
    """How late this process had been by then, in all."""


class Sight:
    """Keeps the account of who is silent. One call of `weigh` per target at a time."""

    def __init__(
        self,
        *,
        book: Book,
        policies: Policies,
        standing: Standing,
        clock: Clock,
        emergency: Callable[[Symptom], Awaitable[None]],
        opened: Callable[[Symptom], Awaitable[Incident]],
        incidents: Callable[[TargetName], Awaitable[list[Incident]]],
        late_s: Callable[[], float],
    ) -> None:
        """`opened` opens an incident of its own; `incidents` are those of a target; `late_s` is how
        long this process has stood still in all: in that time nobody stays silent."""
        self._book = book
        self._policies = policies
        self._standing = standing
        self._clock = clock
        self._emergency = emergency
        self._opened = opened
        self._incidents = incidents
        self._late_s = late_s
        self._silent: dict[TargetName, datetime] = {}
        self._heard: set[TargetName] = set()
        """Targets of which this process knows whether they answer."""
        self._crowd = Crowd()
        self._doubted: dict[TargetName, _Doubt] = {}
        self._told_doubted: set[TargetName] = set()
        """Those among them that people were told of."""
        self._incident: IncidentId | None = None
        self._changing = asyncio.Lock()

    def resume(self, incident: Incident) -> None:
        """Take up a blindness that an earlier process left open, for the targets it named."""
        self._incident = incident.id
        named = self._standing.blind_to
        self._crowd = Crowd(names=frozenset(named))
        # Which of them were in doubt is not written down: their next answer or verdict tells.
        since = incident.opened_at or self._clock.now()
        self._doubted = dict.fromkeys(named, _Doubt(since, self._late_s()))
        self._told_doubted = {*named}

    async def weigh(self, sample: Sample, *, news: bool) -> Sample:
        """The sample, without a verdict that is not believed. `news`: people would hear of this
        target, and have not yet, if it were called down."""
        self._note(sample, news=news)
        if _silent(sample) and sample.confirmed:
            async with self._changing:
                withheld = await self._withheld(sample.target)
                with suppress(StoreError):
                    await self._see_again(sample)
            doubts = (*sample.doubts, "many targets fell silent at once")
            return replace(sample, confirmed=False, doubts=doubts) if withheld else sample
        if sample.doubted and self._overdue():
            async with self._changing:
                await self._tell_doubts(sample.doubts)
        if self._incident is not None or self._crowd.names:
            async with self._changing:
                await self._see_again(sample)
        return sample

    # --- the account ---

    def _note(self, sample: Sample, *, news: bool) -> None:
        target = sample.target
        if sample.reach is not None or sample.vitals is not None:
            self._heard.add(target)
        if not _silent(sample):
            self._silent.pop(target, None)
        else:
            # Also while nobody is sure: who is silent together shows before anybody is.
            self._silent.setdefault(target, sample.lost_at or sample.at)
        if sample.doubted:
            if news:
                self._doubted.setdefault(target, _Doubt(sample.at, self._late_s()))
        elif sample.confirmed and _silent(sample):
            if self._doubted.pop(target, None) is not None:
                # Nobody could judge it until now, so it begins now, as for others that still are.
                self._silent[target] = sample.at
        elif _serves(sample) or sample.confirmed:
            self._doubted.pop(target, None)

    def _watched(self) -> set[TargetName]:
        """Those that are looked at; who left the policy, or sleeps, is forgotten here."""
        targets = self._policies.current.targets
        names = {TargetName(t.name) for t in targets if t.wake != "never"}
        self._silent = {name: at for name, at in self._silent.items() if name in names}
        self._doubted = {name: one for name, one in self._doubted.items() if name in names}
        return names

    # --- many at once ---

    async def _withheld(self, target: TargetName) -> bool:
        """Whether this silence is one of a crowd; said to people when the crowd first shows."""
        watched, now = self._watched(), self._clock.now()
        if self._crowd.dark and target not in self._crowd.names:
            self._crowd = self._crowd.joined_by({target})
        elif target not in self._crowd.names:
            judged_now = {name: now for name in self._doubted if name in self._silent}
            others = {
                name: since
                for name, since in {**self._silent, **judged_now}.items()
                if name not in self._crowd.names
            }
            of = len(watched - self._crowd.names)
            together = blinded(others, judged=target, watched=of, at=now)
            if not together:
                return False
            self._crowd = self._crowd.joined_by({*together, target})
            # Where it cannot be written down people were told from memory, of us alone.
            with suppress(StoreError):
                await self._say_blind(_many(together), together)
                await self._hold_pages_of(together)
        elif not self._standing.blind_because:
            with suppress(StoreError):
                names = tuple(sorted(self._crowd.names))
                await self._say_blind(_many(names), names)
        return True

    async def _hold_pages_of(self, together: tuple[TargetName, ...]) -> None:
        """Those that were told as down a moment before the crowd showed wake nobody yet."""
        now = self._clock.now()
        until = now + timedelta(seconds=CROWD_HOLD_S)
        held = e.PageHeld(until=until, reason=f"many fell silent at once: {self._incident}")
        for target in together:
            for incident in await self._incidents(target):
                recent = incident.opened_at is not None and (
                    now - incident.opened_at <= timedelta(seconds=TOGETHER_S)
                )
                if recent and not incident.told:
                    await self._book.decide(
                        incident.id, lambda i, at: () if i.status.ended else (held,)
                    )

    # --- long in doubt ---

    def _overdue(self) -> tuple[TargetName, ...]:
        now, late_s = self._clock.now(), self._late_s()
        since = {
            name: one.since + timedelta(seconds=late_s - one.late_s)
            for name, one in self._doubted.items()
        }
        return doubted_too_long(since, told=self._told_doubted, at=now)

    async def _tell_doubts(self, doubts: tuple[str, ...]) -> None:
        self._watched()
        overdue = self._overdue()
        if overdue:
            with suppress(StoreError):
                await self._say_blind(_doubtful(overdue, doubts), overdue)
                self._told_doubted |= {*overdue}

    # --- blind and seeing ---

    async def _say_blind(self, reason: str, targets: tuple[TargetName, ...]) -> None:
        """One page; what comes to it later is written into the same incident."""
        symptom = Symptom(
            kind=SymptomKind.BLIND, target=ITSELF, since=self._clock.now(), detail=reason
        )
        if self._incident is not None:
            await self._book.record(self._incident, e.SymptomObserved(symptom=symptom))
        else:
            try:
                self._incident = (await self._opened(symptom)).id
            except StoreError:
                await self._emergency(symptom)
                raise
        named = tuple(sorted({*self._standing.blind_to, *targets}))
        entered = e.BlindnessEntered(reason=reason, targets=named)
        await self._book.record(RESPONDER, entered)
        self._standing.apply(entered)

    async def _see_again(self, sample: Sample) -> None:
        """Blindness ends when no crowd is silent any more, or for too long, and nothing that was
        told stands in doubt."""
        watched = self._watched()
        # After a start who has not been heard of yet may well be silent, as the others were.
        left = {*self._silent} | (watched - self._heard)
        if self._crowd.names:
            self._crowd = self._answers(sample, dark=watched <= left).after(
                left, watched=len(watched), at=self._clock.now()
            )
        self._told_doubted &= self._doubted.keys()
        if self._incident is None or self._crowd.names or self._told_doubted:
            return
        incident_id, reason = self._incident, _why_over(tuple(sorted(self._silent)))
        await self._book.record(incident_id, e.SymptomCleared(key=SymptomKind.BLIND.value))
        await self._book.decide(incident_id, lambda i, at: over(i, reason))
        seen = e.BlindnessLeft(reason=reason)
        await self._book.record(RESPONDER, seen)
        self._standing.apply(seen)
        self._incident = None

    def _answers(self, sample: Sample, *, dark: bool) -> Crowd:
        if dark:
            return replace(self._crowd, answered_since=None)
        seen = sample.reach is not None or sample.vitals is not None
        if seen and not _silent(sample):
            return self._crowd.answered(self._clock.now())
        return self._crowd


def _silent(sample: Sample) -> bool:
    return sample.reach is not None and sample.reach.state in SILENT_STATES


def _serves(sample: Sample) -> bool:
    """Somebody spoke, and new connections are let in as far as anybody knows."""
    if sample.reach is not None:
        return sample.reach.state not in UNHEARD_STATES
    return sample.vitals is not None and sample.lets_in


def _many(together: tuple[TargetName, ...]) -> str:
    return f"{len(together)} targets fell silent within seconds: {', '.join(together)}"


def _doubtful(targets: tuple[TargetName, ...], doubts: tuple[str, ...]) -> str:
    who = f"{len(targets)} targets give" if len(targets) > 1 else "a target gives"
    why = "; ".join(doubts)
    names = ", ".join(targets)
    return f"{who} no answer for {DOUBTED_S_MAX:.0f} s, and it may be us, as {why}: {names}"


def _why_over(silent: tuple[TargetName, ...]) -> str:
    if not silent:
        return "targets answer again"
    return f"silences are believed again, and no answer comes from {', '.join(silent)}"
