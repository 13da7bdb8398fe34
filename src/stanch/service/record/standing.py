"""What stands for the responder as a whole: the halt, maintenance windows, blindness.

Folded from the responder's own stream, so it survives restarts like everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from stanch.model import events as e
from stanch.model.ids import PersonId, TargetName
from stanch.model.symptoms import Symptom
from stanch.model.timeline import Recorded


class Standing:
    """Applied event by event; asked right before anything is touched."""

    def __init__(self) -> None:
        self.halted_by: e.HaltSet | None = None
        self.blind_because: str = ""
        self.blind_to: tuple[TargetName, ...] = ()
        """The targets that this was said of."""
        self.follows: dict[TargetName, e.TopologyLearned] = {}
        """Standbys that were seen to receive the WAL of another target."""
        self._maintenance: dict[TargetName, e.MaintenanceSet] = {}
        self._silences: dict[tuple[TargetName, str, str], e.SilenceSet] = {}

    def apply_all(self, timeline: Iterable[Recorded]) -> None:
        for recorded in timeline:
            self.apply(recorded.event)

    def apply(self, event: e.Event) -> None:
        match event:
            case e.HaltSet():
                self.halted_by = event
            case e.HaltLifted():
                self.halted_by = None
            case e.MaintenanceSet(target=target):
                self._maintenance[target] = event
            case e.MaintenanceEnded(target=target):
                self._maintenance.pop(target, None)
            case e.SilenceSet(target=target, rule=rule, subject=subject):
                self._silences[target, rule, subject] = event
            case e.SilenceEnded(target=target, rule=rule, subject=subject):
                self._silences.pop((target, rule, subject), None)
            case e.TopologyLearned(target=target):
                self.follows[target] = event
            case e.TopologyForgotten(target=target):
                self.follows.pop(target, None)
            case e.BlindnessEntered(reason=reason, targets=targets):
                self.blind_because, self.blind_to = reason, targets
            case e.UnknownEvent(stored_kind=kind):
                # Of a newer release, and it may forbid something: nothing is done until a lift.
                self.halted_by = e.HaltSet(by=PersonId(""), reason=f"{kind} is not understood here")
            case e.BlindnessLeft():
                self.blind_because, self.blind_to = "", ()
            case _:
                pass

    @property
    def halted(self) -> bool:
        return self.halted_by is not None

    def maintenance(self, target: TargetName, at: datetime) -> e.MaintenanceSet | None:
        """The window the target is in at this moment; windows end by themselves."""
        window = self._maintenance.get(target)
        return window if window is not None and at < window.until else None

    def silences(self, symptom: Symptom, at: datetime) -> Sequence[e.SilenceSet]:
        """The silences that a symptom falls under at this moment; silences end by themselves."""
        scopes = dict.fromkeys(("", symptom.subject))
        known = [self._silences.get((symptom.target, symptom.kind, scope)) for scope in scopes]
        standing = [one for one in known if one is not None and at < one.until]
        return [one for one in standing if not 0 < symptom.rank < one.up_to]

    def windows(self, at: datetime) -> Sequence[e.MaintenanceSet | e.SilenceSet]:
        """Everything that holds pages at this moment; what ends first comes first."""
        known = (*self._maintenance.values(), *self._silences.values())
        return sorted((w for w in known if at < w.until), key=lambda w: w.until)
