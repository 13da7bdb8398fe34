"""Samples to incidents: detect, correlate, open or join, clear."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from stanch.detect.engine import Remembered
from stanch.detect.tracker import Change, Cleared, Raised, Track, Tracks, step
from stanch.incident.correlate import Explains, belongs
from stanch.incident.effects import own, own_key
from stanch.incident.page_after import NOT_LOOKED, page_after
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.errors import StoreError
from stanch.model.ids import ITSELF, IncidentId, TargetName
from stanch.model.restarts import PageAfter
from stanch.model.samples import Sample
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.policy import TargetPolicy
from stanch.policy.rules import declared_rules
from stanch.service.clock import Clock
from stanch.service.doing.detecting import Detecting
from stanch.service.doing.endings import (
    close_removed,
    closed,
    known_better,
    no_longer_asked,
    switched_off,
    without_untold,
)
from stanch.service.doing.holding import Holding
from stanch.service.doing.opening import opened_with
from stanch.service.doing.sight import Sight
from stanch.service.doing.together import Together
from stanch.service.doing.topology import Topology
from stanch.service.record.baselines import Learned, nothing_kept
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing

STANDBY_RANK = 2

log = structlog.get_logger("watching")

Emergency = Callable[[Symptom], Awaitable[None]]
"""Pages without a timeline, because none can be written."""


def as_said(target: TargetPolicy) -> PageAfter:
    """Of a target that nobody looks at: what the policy says, else at once."""
    return page_after(target.page_after_s, NOT_LOOKED, recovery_s=None)


class Watching:
    """Turns what every target's watch emits into events. One call per target at a time."""

    def __init__(
        self,
        *,
        book: Book,
        policies: Policies,
        standing: Standing,
        clock: Clock,
        explains: Explains,
        emergency: Emergency,
        page_after: Callable[[TargetPolicy], PageAfter] = as_said,
        usual: Callable[[TargetName], Remembered] = nothing_kept,
        busy: Callable[[TargetName], bool] = lambda target: False,
        late_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`usual`: what an earlier process learned about a target. `busy`: a step is being taken
        there just now, so its incident cannot end yet. `late_s`: how long this process has stood
        still in all."""
        self._book = book
        self._policies = policies
        self._standing = standing
        self._clock = clock
        self._explains = explains
        self._emergency = emergency
        self._page_after = page_after
        self._busy = busy
        self._detecting = Detecting(usual)
        self._tracks: dict[TargetName, Tracks] = {}
        self._recent: dict[TargetName, list[IncidentId]] = {}
        self.topology = Topology(book=book, policies=policies, standing=standing)
        self.holding = Holding(book=book, standing=standing, policies=policies, clock=clock)
        """What nobody is woken for just now."""
        self.together = Together(
            book, self.topology, self.holding, clock=clock, incidents=self.incidents
        )
        """What belongs to one failure although it is seen on several servers."""
        self._sight = Sight(
            book=book,
            policies=policies,
            standing=standing,
            clock=clock,
            emergency=emergency,
            opened=self._opened_of_ourselves,
            incidents=self.incidents,
            late_s=late_s,
        )
        book.on_open = self.remember

    async def resume(self, incidents: Sequence[Incident]) -> None:
        """Take up what an earlier process left open; its symptoms still have to clear."""
        for incident in sorted(incidents, key=lambda i: i.id):
            self.remember(incident)
            if incident.status.ended:
                continue
            if incident.target == ITSELF and SymptomKind.BLIND.value in incident.symptoms:
                self._sight.resume(incident)
            for key, symptom in incident.everything.items():
                elsewhere = symptom.target != incident.target
                key = own_key(symptom) if elsewhere else key
                of = symptom.target if elsewhere else incident.target
                if elsewhere:
                    self.together.is_guest(of, incident.id)
                self._detecting.stands(own(symptom) if elsewhere else symptom)
                self._tracks[of] = {**self._tracks.get(of, {}), key: Track(standing=True)}

    async def take(self, sample: Sample) -> None:
        """One sample. Never raises for a store that cannot be written: then people are paged."""
        target = self._policies.target(sample.target)
        if target is None:
            return
        try:
            await self.topology.learn(sample)
            news = sample.doubted and self._would_be_news(target, sample)
            sample = await self._sight.weigh(sample, news=news)
            before = await self._still_told(sample.target, target)
        except StoreError as error:
            log.error("store unavailable", target=sample.target, error=str(error))
            before = self._tracks.get(sample.target, {})
        after, changes = step(
            before,
            [
                *self._detecting.of(target).conditions(sample, before),
                *switched_off(target, before),
                *no_longer_asked(target, before),
            ],
            target=sample.target,
            at=sample.at,
            clear_hold_s=target.limits.clear_hold_s,
        )
        for change in changes:
            try:
                await self._take_change(target, change)
            except StoreError as error:
                log.error("store unavailable", target=sample.target, error=str(error))
                if isinstance(change, Raised):
                    await self._emergency(change.symptom)
                # The tracks stay as they were, so that the change is told again once it can be.
                return
        self._tracks[sample.target] = after

    async def let_go(self) -> None:
        """End what stands on targets that left the policy, and hold what it silences from now on;
        to be called now and then."""
        try:
            if self.holding.to_follow():
                found = [i for target in [*self._recent] for i in await self.incidents(target)]
                await self.holding.follow(found)
            left = {*self._recent} - {t.name for t in self._policies.current.targets} - {ITSELF}
            idle = [target for target in left if not self._busy(target)]
            known = [i for target in idle for i in await self.incidents(target)]
            known += [i for i in self._book.known() if i.attached]
            gone = await close_removed(self._book, self._policies.current, known)
        except StoreError as error:
            log.error("store unavailable", error=str(error))
            return
        for target in gone:
            self._tracks.pop(target, None)
            self._detecting.forget(target)

    def learned(self) -> Iterator[Learned]:
        """Everything that the rules of this process know to be usual."""
        return self._detecting.learned()

    async def _still_told(self, target: TargetName, policy: TargetPolicy) -> Tracks:
        """The tracks, without what stands on the target but in no incident any more.

        An incident that was closed while its symptom stood has to be told again: at once where
        nobody said so, and after the flap window where a person closed it knowing better.
        """
        tracks = self._tracks.get(target, {})
        if not any(track.standing for track in tracks.values()):
            return tracks
        incidents = await self.incidents(target)
        told = {key for i in incidents if not i.status.ended for key in i.symptoms}
        told |= await self.together.told(target)
        told |= closed(tracks, incidents, policy.limits, self._clock.now())
        self._detecting.give_up(policy, known_better(tracks, incidents))
        return without_untold(tracks, told)

    def _would_be_news(self, target: TargetPolicy, sample: Sample) -> bool:
        """Whether people would hear of it, and have not yet, if the target were called down."""
        down = SymptomKind.SERVER_DOWN
        track = self._tracks.get(sample.target, {}).get(down.value)
        if target.settings(down).off or (track is not None and track.standing):
            return False
        symptom = Symptom(kind=down, target=sample.target, since=sample.at)
        return not self.holding.of(replace(symptom, rank=self._rank(target, symptom)))

    # --- changes ---

    async def _take_change(self, target: TargetPolicy, change: Change) -> None:
        match change:
            case Raised(symptom=symptom):
                # An alert from outside may be opening an incident on this target just now.
                async with self.together.opening(symptom.target):
                    await self._raised(target, symptom)
            case Cleared(key=key, detail=detail, lapsed=lapsed):
                await self.together.clear(TargetName(target.name), key, detail, lapsed=lapsed)

    async def _raised(self, target: TargetPolicy, symptom: Symptom) -> None:
        symptom = replace(symptom, rank=self._rank(target, symptom))
        incidents = self.holding.fitting(await self.incidents(symptom.target), symptom)
        where = belongs(
            symptom,
            incidents,
            explains=self._explains,
            at=self._clock.now(),
            flap_window_s=target.limits.flap_window_s,
        )
        cause = await self.together.cause_of(symptom) if where.to != "open" else None
        if cause is not None:
            await self.together.attach(cause, symptom)
            await self._raise_severity(target, cause.id, symptom)
            return
        if where.to == "new" or where.incident_id is None:
            await self.together.take_in(await self._open(target, symptom))
            return
        if where.to == "ended":
            await self._reopen(where.incident_id, symptom)
        else:
            await self.holding.hold(where.incident_id, symptom)
        incident = await self._book.get(where.incident_id)
        await self.together.attach(incident, symptom, wait=self._wait(target, symptom))
        await self.holding.settle(where.incident_id)
        await self.together.take_in(await self._book.get(where.incident_id))
        await self._raise_severity(target, where.incident_id, symptom)

    async def _reopen(self, incident_id: IncidentId, symptom: Symptom) -> None:
        held = self.holding.of(symptom)

        def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
            if not incident.status.ended:
                return ()
            return (e.IncidentReopened(reason=f"{symptom.key} came back"), *held)

        await self._book.decide(incident_id, decider)

    async def _raise_severity(
        self, target: TargetPolicy, incident_id: IncidentId, symptom: Symptom
    ) -> None:
        if self.holding.silenced(symptom):
            return
        severity = self._policies.current.severity(self._rank(target, symptom))

        def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
            if severity.rank >= incident.severity_rank or incident.status.ended:
                return ()
            reason = f"{symptom.key} is {severity.label}"
            return (e.SeveritySet(rank=severity.rank, label=severity.label, reason=reason),)

        await self._book.decide(incident_id, decider)

    async def _open(self, target: TargetPolicy | None, symptom: Symptom) -> Incident:
        policy = self._policies.current
        rank = self._rank(target, symptom)
        opened = opened_with(policy, rank, target, symptom, policy_hash=self._policies.current_hash)
        wait = self._wait(target, symptom)
        if wait is not None:
            opened = replace(opened, page_after_s=wait.seconds, page_after_source=wait.source)
        incident = await self._book.open([opened, *self.holding.of(symptom)])
        log.warning(
            "incident opened", incident=incident.id, target=symptom.target, what=symptom.key
        )
        return incident

    async def _opened_of_ourselves(self, symptom: Symptom) -> Incident:
        return await self._open(None, symptom)

    def _wait(self, target: TargetPolicy | None, symptom: Symptom) -> PageAfter | None:
        """Only a restart heals by itself; a full disk or a blocking chain does not wait."""
        down = symptom.kind is SymptomKind.SERVER_DOWN
        return self._page_after(target) if target is not None and down else None

    def _rank(self, target: TargetPolicy | None, symptom: Symptom) -> int:
        if target is None:
            return declared_rules()[symptom.kind].severity
        rank = target.rank(symptom.kind)
        if symptom.kind.value in target.severity_of or not self.topology.is_standby(
            TargetName(target.name)
        ):
            return rank
        # A standby that fails by itself is a smaller matter than its primary.
        return max(rank, STANDBY_RANK) if symptom.kind is SymptomKind.SERVER_DOWN else rank

    def remember(self, incident: Incident) -> None:
        """A later symptom of its target may belong to this incident. May be told again."""
        recent = self._recent.setdefault(incident.target, [])
        if incident.id not in recent:
            recent.append(incident.id)
            recent.sort(key=lambda i: (i[:8], len(i), i), reverse=True)

    async def still_open(self, target: TargetName) -> Sequence[Incident]:
        """The target's open incidents, newest first."""
        return [i for i in await self.incidents(target) if not i.status.ended]

    async def incidents(self, target: TargetName) -> list[Incident]:
        """Newest first. What ended longer ago than it flaps is forgotten here."""
        found = [await self._book.get(i) for i in tuple(self._recent.get(target, ()))]
        policy = self._policies.target(target)
        window = timedelta(seconds=policy.limits.flap_window_s if policy is not None else 0.0)
        over = {i.id for i in found if i.ended_at and self._clock.now() - i.ended_at > window}
        self._recent[target] = [i for i in self._recent.get(target, ()) if i not in over]
        return found
