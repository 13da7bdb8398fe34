"""The parts of a check-up: lines that are judged, in sections that may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Figure = str | int | float | bool | None


class Judgement(StrEnum):
    OK = "ok"
    LOOK = "look"
    """Worth a look this week."""
    DANGER = "danger"
    """Data or service is at risk; look today."""


ORDER = (Judgement.OK, Judgement.LOOK, Judgement.DANGER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was looked at. Names in it are other people's words."""

    what: str
    value: str
    judgement: Judgement = Judgement.OK
    why: str = ""
    """One sentence: why it matters. Empty where nothing is to be said."""
    do: str = ""
    """One sentence: what to do about it."""
    share: float | None = None
    """How full or how large beside the others, 0 to 1; what a bar shows."""
    detail: str = ""
    """A text of the server's, such as a statement."""
    figures: Mapping[str, Figure] = field(default_factory=dict[str, Figure])
    """The numbers behind `value`, with their units in the names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question of the check-up."""

    id: str
    title: str
    lines: tuple[Line, ...] = ()
    missing: str = ""
    """Why there is no answer; empty where there is one."""
    note: str = ""
    """What limits the answer: an estimate, a right that was lacking for a part."""

    @property
    def judgement(self) -> Judgement:
        """The worst of its lines."""
        return max((line.judgement for line in self.lines), key=ORDER.index, default=Judgement.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole check-up of one server."""

    label: str
    at: datetime
    elapsed_ms: float
    version: str
    database: str
    role: str
    started_at: datetime | None
    in_recovery: bool | None
    sections: tuple[Section, ...]

    @property
    def judgement(self) -> Judgement:
        """The worst of all sections."""
        return max((s.judgement for s in self.sections), key=ORDER.index, default=Judgement.OK)

    def count(self, judgement: Judgement) -> int:
        """How many lines are judged so."""
        return sum(line.judgement is judgement for s in self.sections for line in s.lines)

    @property
    def missing(self) -> tuple[Section, ...]:
        """Sections without an answer."""
        return tuple(section for section in self.sections if section.missing)


def judged(value: float, *, look: float, danger: float) -> Judgement:
    """By two limits, each of which counts as reached."""
    if value >= danger:
        return Judgement.DANGER
    return Judgement.LOOK if value >= look else Judgement.OK


def size(count: float) -> str:
    """1536 -> `1.5 KiB`; whole bytes below 1 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def thousands(count: float) -> str:
    """1234567 -> `1,234,567`."""
    return f"{count:,.0f}"


def part(share: float) -> str:
    """0.123 -> `12 %`; `under 1 %` rather than nothing."""
    return "under 1 %" if 0 < share < 0.01 else f"{share * 100:.0f} %"
