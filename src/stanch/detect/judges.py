"""The ways to judge a reading: each takes one value and says bad, good, or no verdict.

A judge keeps a bounded memory per subject where it needs one; time is a value passed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from stanch.detect.counts import Changed, Fewer
from stanch.detect.look import SUBJECTS_MAX, UNKNOWN, Judge, Look
from stanch.detect.trend import seconds_until
from stanch.detect.usual import Baseline, Recent
from stanch.detect.windows import Window
from stanch.model.readings import Unit
from stanch.model.rules import Judgement, Rule, RuleSettings

BASELINES_MAX = 40
"""The same for what is usual, of one rule on one target: each takes 5.5 kB for good."""
GIVES_WAY_S = 86_400.0


@dataclass(slots=True)
class Above:
    """At or above the limit; a standing one stays bad down to the clear limit."""

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        if value is None:
            return UNKNOWN
        bad = value >= settings.limit or (standing and value > settings.clear)
        return Look(bad, value)

    def due(self, value: float | None, at_s: float) -> bool:
        return True


@dataclass(slots=True)
class Below:
    """At or below the limit; a standing one stays bad up to the clear limit."""

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        if value is None:
            return UNKNOWN
        bad = value <= settings.limit or (standing and value < settings.clear)
        return Look(bad, value)

    def due(self, value: float | None, at_s: float) -> bool:
        return True


@dataclass(slots=True)
class Memory:
    """Per subject one window, bounded in number."""

    span_s: float
    windows: dict[str, Window] = field(default_factory=dict[str, Window])

    def of(self, subject: str) -> Window | None:
        window = self.windows.get(subject)
        if window is None and len(self.windows) < SUBJECTS_MAX:
            window = self.windows[subject] = Window(self.span_s)
        return window


@dataclass(slots=True)
class RateAbove:
    """Growth over the whole window: until it is covered, what was not seen counts as none.

    A counter that went down was reset and starts again. So a first event in a new window is never
    a storm, and a storm is told before the window is full.
    """

    rule: Rule
    memory: Memory

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        window = self.memory.of(subject)
        if value is None or window is None:
            return UNKNOWN
        if window.last is not None and value < window.last:
            window.clear()
        window.add(at_s, value)
        began_at = value if window.first is None else window.first
        per_s = (value - began_at) / max(self.rule.window_s, window.covered_s)
        rate = per_s if self.rule.limit_unit is Unit.BYTES_PER_S else 60.0 * per_s
        if rate >= settings.limit or (standing and rate > settings.clear):
            return Look(True, rate)
        # Too little was seen to call it good.
        return Look(False if window.covered_s >= 0.9 * self.rule.window_s else None, rate)

    def due(self, value: float | None, at_s: float) -> bool:
        window = self.memory.windows.get("")
        return window is None or window.due(at_s)


@dataclass(slots=True)
class Forecast:
    """Time until the trend of the window reaches what must not be reached."""

    rule: Rule
    memory: Memory
    known: dict[str, float | None] = field(default_factory=dict[str, "float | None"])
    """The last answer for a subject: a trend is reckoned anew with a new point only."""

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        window = self.memory.of(subject)
        if value is None or window is None:
            return UNKNOWN
        if window.add(at_s, value) or subject not in self.known:
            self.known[subject] = seconds_until(window.points, self.rule.toward)
        if window.covered_s < self.rule.window_s / 3:
            return UNKNOWN
        left_s = self.known[subject]
        if left_s is None:
            return Look(False, value)
        bad = left_s <= settings.limit or (standing and left_s < settings.clear)
        return Look(bad, value, left_s)

    def due(self, value: float | None, at_s: float) -> bool:
        return True


@dataclass(slots=True)
class SlowerThanUsual:
    """Against the median of this hour of the week; cold start is no verdict."""

    rule: Rule
    baselines: dict[str, Baseline] = field(default_factory=dict[str, Baseline])
    recent: dict[str, Recent] = field(default_factory=dict[str, Recent])

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        if value is None:
            return UNKNOWN
        baseline = self._of(subject, at_s)
        if baseline is None:
            return UNKNOWN
        recent = self.recent.setdefault(subject, Recent(self.rule.window_s))
        middle = recent.add(at_s, value)
        usual = baseline.usual(at_s)
        baseline.learn(at_s, value)
        if usual is None or middle is None:
            return UNKNOWN
        factor = settings.clear if standing else settings.limit
        return Look(usual.is_beyond(middle, factor), middle, None, usual.median)

    def _of(self, subject: str, at_s: float) -> Baseline | None:
        baseline = self.baselines.get(subject)
        if baseline is None and self._has_room(at_s):
            baseline = self.baselines[subject] = Baseline()
        return baseline

    def _has_room(self, at_s: float) -> bool:
        """A subject that has not been heard of for a day gives way."""
        if len(self.baselines) < BASELINES_MAX:
            return True
        oldest = min(self.baselines, key=lambda subject: self.baselines[subject].last_s)
        if at_s - self.baselines[oldest].last_s < GIVES_WAY_S:
            return False
        del self.baselines[oldest]
        self.recent.pop(oldest, None)
        return True

    def due(self, value: float | None, at_s: float) -> bool:
        return True


@dataclass(slots=True)
class Burn:
    """The means of a short and of a long window; half of the long one must have been seen."""

    rule: Rule
    short: Memory
    long: Memory

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        short, long = self.short.of(subject), self.long.of(subject)
        if value is None or short is None or long is None:
            return UNKNOWN
        short.add(at_s, value)
        long.add(at_s, value)
        if long.covered_s < self.rule.window_s / 2:
            return UNKNOWN
        lately = short.mean(at_s - self.rule.short_window_s)
        over_all = long.mean(at_s - self.rule.window_s)
        if lately is None or over_all is None:
            return UNKNOWN
        least = min(lately, over_all)
        bad = least >= settings.limit or (standing and least > settings.clear)
        return Look(bad, over_all)

    def due(self, value: float | None, at_s: float) -> bool:
        return True


@dataclass(slots=True)
class Absent:
    """Silence of what once spoke. A value that could not be had is silence, too."""

    heard: dict[str, float] = field(default_factory=dict[str, float])

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        if value is not None and (subject in self.heard or len(self.heard) < SUBJECTS_MAX):
            self.heard[subject] = at_s
        return self.silence(subject, at_s, settings)

    def silence(self, subject: str, at_s: float, settings: RuleSettings) -> Look:
        """How long nothing was heard; never heard is no verdict."""
        heard_at = self.heard.get(subject)
        if heard_at is None:
            return UNKNOWN
        silent_s = max(0.0, at_s - heard_at)
        return Look(silent_s >= settings.limit, silent_s, silent_s)

    def subjects(self) -> Iterator[str]:
        yield from self.heard

    def due(self, value: float | None, at_s: float) -> bool:
        return True


def judge_of(rule: Rule) -> Judge:
    """The judge of a declared rule, with an empty memory."""
    match rule.judgement:
        case Judgement.ABOVE:
            return Above()
        case Judgement.BELOW:
            return Below()
        case Judgement.RATE_ABOVE:
            return RateAbove(rule, Memory(rule.window_s))
        case Judgement.FORECAST:
            return Forecast(rule, Memory(rule.window_s))
        case Judgement.SLOWER_THAN_USUAL:
            return SlowerThanUsual(rule)
        case Judgement.BURN:
            return Burn(rule, Memory(rule.short_window_s), Memory(rule.window_s))
        case Judgement.ABSENT:
            return Absent()
        case Judgement.CHANGED:
            return Changed(rule.direction)
        case Judgement.FEWER:
            return Fewer()
        case Judgement.CODE:
            raise AssertionError(f"{rule.kind} is judged in code")
