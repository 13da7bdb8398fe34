"""What a declared rule is: one reading, one way to judge it, and the words for what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stanch.model.readings import Unit, unit_of
from stanch.model.symptoms import SymptomKind


class Judgement(StrEnum):
    """The ways to judge a reading. All of them know "no verdict"."""

    ABOVE = "above"
    """Bad at or above the limit."""
    BELOW = "below"
    """Bad at or below the limit."""
    RATE_ABOVE = "rate_above"
    """Bad when a counter grew by more than the limit a minute, over the window."""
    FORECAST = "forecast"
    """Bad when the robust trend of the window reaches `toward` within the limit."""
    SLOWER_THAN_USUAL = "slower_than_usual"
    """Bad at so many times the median of this hour of the week, and clear of its spread."""
    BURN = "burn"
    """Bad when the means of a short and of a long window both pass the limit."""
    ABSENT = "absent"
    """Bad when what once came has not come for longer than the limit."""
    CHANGED = "changed"
    """Bad for as long as the limit after the value changed."""
    FEWER = "fewer"
    """Bad while there are fewer than there were, for as long as the limit at most: then the lower
    number is the usual one."""
    CODE = "code"
    """Needs several witnesses and is written in code; listed here with its words."""


class Direction(StrEnum):
    """Which change of a value is told."""

    UP = "up"
    DOWN = "down"
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """Another reading of the same subject that has a say."""

    reading: str
    judgement: Judgement
    """`above` or `below`."""
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One declared rule, as its file says."""

    kind: SymptomKind
    judgement: Judgement
    title: str
    """What an incident is called that begins with it."""
    impact: str
    """One sentence for the post-mortem: what people met."""
    source: str
    """Where the reading comes from, and what right it needs."""
    quiet: tuple[str, ...]
    """Near misses: what looks like it and is none."""
    severity: int
    reading: str = ""
    says: str = "{detail}"
    """The sentence of the symptom; see `words` in detect."""
    limit: float | None = None
    clear: float | None = None
    """Where it is good again; None: at the limit."""
    hold_s: float = 0.0
    clear_hold_s: float | None = None
    """How long it must be good; None: what the target's `clear_hold` says."""
    window_s: float = 0.0
    short_window_s: float = 0.0
    toward: float = 0.0
    direction: Direction = Direction.ANY
    subjects: tuple[str, ...] = ()
    """Only these; empty: all."""
    also: Second | None = None
    """Has to be passed as well."""
    either: Second | None = None
    """Alone is enough, too."""
    unless: SymptomKind | None = None
    """Not told where this worse one is."""
    names: str = ""
    """Reading whose largest subject is named in the sentence as {retainer}."""
    names_for: tuple[str, ...] = ()
    """Only where the detail of the subject has one of these words; empty: always."""
    lasting: bool = False
    """The value, or that of `also`, is how long it has lasted: this is the onset."""
    at_risk: bool = False
    """Data may be at risk until a diagnosis says otherwise."""
    planned: bool = False
    """Planned work brings it about, although data may be at risk by it."""
    along: bool = False
    """Suffers from everything: told in whatever incident of its target is open."""
    apart: bool = False
    """May stand for weeks: neither takes other symptoms into its incident nor joins theirs."""
    off: bool = False
    unit: str = ""
    """The word after the measured value, where the unit's own does not say enough."""
    promql: str = ""
    """The same for Prometheus; {limit} stands for the limit in the unit of the metric."""
    promql_scale: float = 1.0
    """The metric's limit is this times ours."""

    @property
    def declared(self) -> bool:
        """Judged by its declaration, not by code."""
        return self.judgement is not Judgement.CODE

    @property
    def of_a_moment(self) -> bool:
        """It tells that something happened, not how things are now: it stands to be seen.

        Where data may be at risk by it, what happened goes on until somebody has looked.
        """
        up = self.direction is Direction.UP
        return self.judgement is Judgement.CHANGED and up and not self.at_risk

    @property
    def held_in_maintenance(self) -> bool:
        """Planned work may bring it about and take it away again, so nobody is woken for it then.

        No work is meant to put data at risk: that is told at once, whatever is planned.
        """
        return self.planned or not self.at_risk

    @property
    def limit_unit(self) -> Unit:
        """What its limit is counted in."""
        match self.judgement:
            case Judgement.FORECAST | Judgement.ABSENT | Judgement.CHANGED | Judgement.FEWER:
                return Unit.SECONDS
            case Judgement.SLOWER_THAN_USUAL:
                return Unit.TIMES
            case Judgement.RATE_ABOVE:
                is_bytes = unit_of(self.reading) is Unit.BYTES
                return Unit.BYTES_PER_S if is_bytes else Unit.PER_MINUTE
            case _:
                return unit_of(self.reading)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """What a policy says about one rule; None is not said."""

    kind: str
    limit: float | None = None
    clear: float | None = None
    also: float | None = None
    hold_s: float | None = None
    severity: int | None = None
    off: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """What holds for one rule on one target."""

    limit: float
    clear: float
    also: float | None
    hold_s: float
    severity: int
    off: bool


def settings_of(rule: Rule, *changes: RuleChange | None) -> RuleSettings:
    """The declared settings with the changes laid over them, the last one on top.

    A clear limit that nobody set keeps its share of the limit, so that a changed limit alone
    never turns the two around.
    """
    limit, clear = rule.limit or 0.0, rule.clear
    also = rule.also.limit if rule.also else None
    hold_s, severity, off = rule.hold_s, rule.severity, rule.off
    for change in changes:
        if change is None:
            continue
        if change.limit is not None:
            clear = None if clear is None or not limit else clear * change.limit / limit
            limit = change.limit
        clear = clear if change.clear is None else change.clear
        also = also if change.also is None else change.also
        hold_s = hold_s if change.hold_s is None else change.hold_s
        severity = severity if change.severity is None else change.severity
        off = off if change.off is None else change.off
    return RuleSettings(
        limit=limit,
        clear=limit if clear is None else clear,
        also=also,
        hold_s=hold_s,
        severity=severity,
        off=off,
    )
