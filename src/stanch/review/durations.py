"""How long each part of an incident took, and when the target did not serve. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stanch.model import events as e
from stanch.model.diagnosis import Verdict
from stanch.model.messages import MessageKind
from stanch.model.shown import span
from stanch.model.timeline import Recorded
from stanch.policy.rules.moments import wrong_now

NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """From one moment to another; without the second it has not been reached."""

    name: str
    counted: str
    """From what to what."""
    start: datetime | None = None
    end: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """None where either end is missing, or where a clock that jumped makes it negative."""
        if self.start is None or self.end is None:
            return None
        seconds = (self.end - self.start).total_seconds()
        return seconds if seconds >= 0 else None

    @property
    def shown(self) -> str:
        if self.seconds is not None:
            return span(self.seconds)
        both = self.start is not None and self.end is not None
        return "unknown: the clock moved back" if both else NOT_REACHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One stretch in which the target was not known to serve."""

    start: datetime
    end: datetime | None
    """The first good look of the run that held; None: no end is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    detect: Duration
    acknowledge: Duration
    diagnose: Duration
    mitigate: Duration
    resolve: Duration
    outages: tuple[Outage, ...] = ()

    @property
    def all(self) -> tuple[Duration, ...]:
        return (self.detect, self.acknowledge, self.diagnose, self.mitigate, self.resolve)


def durations(timeline: Sequence[Recorded]) -> Durations:
    """Every duration the timeline gives, whatever prefix of an incident it is."""
    opened_at, since = _opening(timeline)
    paged_at = _paged_at(timeline)
    taken_at = _first(timeline, lambda event: isinstance(event, e.IncidentAcknowledged))
    # Who takes an incident before any page was never made to wait.
    asked_at = paged_at if paged_at and not (taken_at and taken_at < paged_at) else opened_at
    outages = outages_in(timeline)
    return Durations(
        detect=Duration(
            name="detect", counted="onset to incident open", start=since, end=opened_at
        ),
        acknowledge=Duration(
            name="acknowledge", counted="first page to taken", start=asked_at, end=taken_at
        ),
        diagnose=Duration(
            name="diagnose",
            counted="incident open to cause named",
            start=opened_at,
            end=_first(timeline, _names_a_cause),
        ),
        mitigate=Duration(
            name="mitigate",
            counted="onset to serving again, as proven since",
            start=since,
            end=outages[-1].end if outages else None,
        ),
        resolve=Duration(
            name="resolve", counted="onset to resolved", start=since, end=_resolved_at(timeline)
        ),
        outages=outages,
    )


def _opening(timeline: Sequence[Recorded]) -> tuple[datetime | None, datetime | None]:
    for recorded in timeline:
        if isinstance(recorded.event, e.IncidentOpened):
            return recorded.at, recorded.event.symptom.since
    return None, None


def _first(timeline: Sequence[Recorded], fits: Callable[[e.Event], bool]) -> datetime | None:
    return next((recorded.at for recorded in timeline if fits(recorded.event)), None)


def _paged_at(timeline: Sequence[Recorded]) -> datetime | None:
    """The first page, also one that went out while nothing could be written down."""
    raised = _first(timeline, _is_page)
    unrecorded = [r.event.sent_at for r in timeline if isinstance(r.event, e.PagedUnrecorded)]
    return min([*unrecorded, *([raised] if raised else [])], default=None)


def _is_page(event: e.Event) -> bool:
    return isinstance(event, e.MessageRaised) and event.message_kind is MessageKind.PAGE


def _names_a_cause(event: e.Event) -> bool:
    return isinstance(event, e.DiagnosisRecorded) and event.diagnosis.verdict is Verdict.CAUSE


def _resolved_at(timeline: Sequence[Recorded]) -> datetime | None:
    """The last resolution that was not taken back."""
    at: datetime | None = None
    for recorded in timeline:
        if isinstance(recorded.event, e.IncidentResolved):
            at = recorded.at
        elif isinstance(recorded.event, e.IncidentReopened):
            at = None
    return at


def outages_in(timeline: Sequence[Recorded]) -> tuple[Outage, ...]:
    """Each stretch without service; a relapse or a reopening begins a new one."""
    scan = _OutageScan()
    for recorded in timeline:
        scan.take(recorded)
    if scan.start is not None:
        scan.ended.append(Outage(start=scan.start, end=None))
    return tuple(scan.ended)


@dataclass(slots=True)
class _OutageScan:
    """One pass over a timeline, like the incident's own fold, but keeping every stretch."""

    start: datetime | None = None
    good_since: datetime | None = None
    cleared_at: datetime | None = None
    standing: set[str] = field(default_factory=set[str])
    seen: set[str] = field(default_factory=set[str])
    ended: list[Outage] = field(default_factory=list[Outage])

    def take(self, recorded: Recorded) -> None:
        event, at = recorded.event, recorded.at
        match event:
            case e.IncidentOpened() | e.SymptomObserved():
                self._broken(event.symptom.since)
                self.standing.add(event.symptom.key)
                self.seen.add(event.symptom.key)
                self._as_it_stands(at)
            case e.SymptomCleared():
                self.standing.discard(event.key)
                self._as_it_stands(at)
            case e.IncidentReopened():
                self.standing.clear()
                self.seen.clear()
                self._broken(at)
                self._as_it_stands(at)
            case e.RescueChecked():
                self._checked(at, ok=event.ok)
            case e.ResponderResumed():
                # Nobody looked for a while: the run of good looks begins again.
                self.good_since = None
            case e.IncidentRescued():
                self._serves(self.good_since or at)
            case e.IncidentResolved():
                self._resolved(event, at)
            case _:
                pass

    def _broken(self, since: datetime) -> None:
        self.good_since = None
        if self.start is None:
            # A symptom known before the last outage ended is part of that outage's story, and a
            # stretch of service that was proven is not taken back.
            last = self.ended[-1].end if self.ended else None
            self.start = max(since, last) if last else since

    def _as_it_stands(self, at: datetime) -> None:
        wrong = wrong_now(self.standing, self.seen)
        self.cleared_at = None if wrong else (self.cleared_at or at)

    def _checked(self, at: datetime, *, ok: bool) -> None:
        if ok:
            self.good_since = self.good_since or at
        else:
            self._broken(at)

    def _serves(self, since: datetime) -> None:
        if self.start is not None:
            self.ended.append(Outage(start=self.start, end=since))
            self.start = None

    def _resolved(self, event: e.IncidentResolved, at: datetime) -> None:
        if self.start is None:
            return
        # Said by a person without proof: no end is known, only that it was closed.
        end = (self.good_since or self.cleared_at or at) if event.verified else self.cleared_at
        self.ended.append(Outage(start=self.start, end=end))
        self.start = None
        self.standing.clear()
