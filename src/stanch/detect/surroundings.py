"""One sample while it is judged: what else it says, what stands, and what is bad already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

from stanch.detect.plan import Ready
from stanch.detect.tracker import Condition, Tracks
from stanch.detect.vitals import MANY, ONE, Lasting, detail_of
from stanch.detect.volumes import volume_readings
from stanch.detect.words import SUBJECT_CHARS_MAX, size
from stanch.model.readings import Reading
from stanch.model.rules import Judgement, Rule, Second
from stanch.model.samples import Sample
from stanch.model.shown import shortened
from stanch.model.vitals import Vitals

SUBJECTS_TOLD_MAX = 20
"""Of one rule so many subjects are told at once: a thousand bad slots are one story. Those that
stand already stay judged."""

NAMED_BYTES_MIN = 64 * 2**20
"""What retains less than this is not why a volume fills."""

Readings = Mapping[str, Mapping[str, Reading]]
"""By name, then by subject."""


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What the judging of one value may look at beside it."""

    sample: Sample
    at_s: float
    tracks: Tracks
    readings: Readings
    last_vitals: Vitals | None
    """Of this sample, or of the last one that had any."""
    lasting: Lasting
    out: list[Condition]
    bad: set[str] = field(default_factory=set[str])
    told: dict[str, int] = field(default_factory=dict[str, int])

    def second(self, second: Second, subject: str) -> float | None:
        """The value of another reading of the same subject, in this very sample."""
        reading = self.readings.get(second.reading, {}).get(subject)
        if reading is not None:
            return reading.value
        get, vitals = ONE.get(second.reading), self.sample.vitals
        return get(vitals, self.lasting) if get and vitals and not subject else None

    def detail(self, name: str, subject: str) -> str:
        """The sentence that a reading brings along; empty where it brings none."""
        known = self.readings.get(name, {}).get(subject)
        if known is not None:
            return known.detail
        vitals = self.sample.vitals
        return detail_of(name, vitals) if vitals and not subject else ""

    def beside(self, worse: Ready | None, subject: str, *, hold_s: float) -> bool | None:
        """The verdict on what is bad and has a worse rule: good where that one is told.

        None while the worse one is bad and takes no longer to be told than this one, so that what
        fills up at once is told once.
        """
        if worse is None or key_of(worse, subject) not in self.bad:
            return True
        track = self.tracks.get(key_of(worse, subject))
        if worse.settings.hold_s == 0.0 or (track is not None and track.standing):
            return False
        return None if worse.settings.hold_s <= hold_s else True

    def may_tell(self, ready: Ready, key: str) -> bool:
        """Whether one more subject of this rule may become a symptom."""
        if key in self.tracks:
            return True
        told = self.told.get(ready.key)
        if told is None:
            told = sum(1 for known in self.tracks if known.startswith(f"{ready.key}:"))
        self.told[ready.key] = told + 1
        return told < SUBJECTS_TOLD_MAX

    def largest(self, rule: Rule, detail: str) -> str:
        """The largest subject of the reading that the rule names, with its size."""
        words = set(detail.replace("(", " ").replace(")", " ").replace(",", " ").split())
        if rule.names_for and not words & set(rule.names_for):
            return ""
        values = [(r.value, s) for s, r in self.readings.get(rule.names, {}).items()]
        many = MANY.get(rule.names)
        if not values and many is not None and self.last_vitals is not None:
            values = [(value, s) for s, value in many(self.last_vitals, self.lasting) or ()]
        largest = max(((v, s) for v, s in values if v is not None), default=None)
        if largest is None or largest[0] < NAMED_BYTES_MIN:
            return ""
        return f"{largest[1]} ({size(largest[0])})"


def by_name(sample: Sample) -> Readings:
    """The readings beside the vitals; those of the volumes are made here."""
    if not sample.readings and not sample.volumes:
        return {}
    found: dict[str, dict[str, Reading]] = {}
    for reading in (*sample.readings, *volume_readings(sample.volumes or ())):
        found.setdefault(reading.name, {})[bounded(reading.subject)] = reading
    return found


def bounded(subject: str) -> str:
    """A subject that fits into a key: what is longer ends in a checksum of the whole."""
    if len(subject) <= SUBJECT_CHARS_MAX:
        return subject
    checksum = crc32(subject.encode("utf-8", "surrogatepass"))
    return f"{shortened(subject, SUBJECT_CHARS_MAX - 10)} {checksum:08x}"


def key_of(ready: Ready, subject: str) -> str:
    """The key of the rule's symptom on a subject."""
    return f"{ready.key}:{subject}" if subject else ready.key


def passed(second: Second, limit: float, value: float) -> bool:
    """Whether a second reading is at or beyond its limit."""
    return value >= limit if second.judgement is Judgement.ABOVE else value <= limit
