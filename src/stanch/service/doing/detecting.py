"""The rules of every target at work: made when it is first heard of, and changed by its policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from stanch.detect.engine import Detector, Remembered
from stanch.detect.in_force import plan_for
from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom
from stanch.policy.policy import TargetPolicy
from stanch.service.record.baselines import Learned


class Detecting:
    """One detector a target, with everything it remembers."""

    def __init__(self, usual: Callable[[TargetName], Remembered]) -> None:
        """`usual`: what an earlier process learned about a target."""
        self._usual = usual
        self._detectors: dict[TargetName, tuple[TargetPolicy, Detector]] = {}
        self._standing: dict[TargetName, list[Symptom]] = {}

    def stands(self, symptom: Symptom) -> None:
        """An earlier process told it; to be said before the first sample of its target."""
        self._standing.setdefault(symptom.target, []).append(symptom)

    def of(self, target: TargetPolicy) -> Detector:
        """The rules of a target at work; a changed policy changes them, not what they remember."""
        name = TargetName(target.name)
        known = self._detectors.get(name)
        if known is not None and known[0] is target:
            return known[1]
        if known is None:
            standing = self._standing.pop(name, ())
            detector = Detector(plan_for(target), self._usual(name), standing)
        else:
            detector = known[1]
            detector.adopt(plan_for(target))
        self._detectors[name] = (target, detector)
        return detector

    def give_up(self, target: TargetPolicy, keys: Collection[str]) -> None:
        """What is missing by these symptoms is not waited for any more: a person closed them."""
        if keys:
            self.of(target).give_up(keys)

    def forget(self, target: TargetName) -> None:
        self._detectors.pop(target, None)

    def learned(self) -> Iterator[Learned]:
        """Everything that the rules of this process know to be usual."""
        for name, (_, detector) in self._detectors.items():
            for kind, subject, baseline in detector.learned():
                yield Learned(name, kind, subject, baseline)
