"""A rule in plain words: what it judges, when it is told, and what looks like it and is none."""

from __future__ import annotations

from stanch.model.readings import Unit, unit_of
from stanch.model.rules import Direction, Judgement, Rule, RuleSettings, Second
from stanch.model.shown import span
from stanch.policy.limits import limit_kind

_CHANGES = {Direction.UP: "grows", Direction.DOWN: "shrinks", Direction.ANY: "changes"}


def limit_text(rule: Rule, value: float) -> str:
    """A limit as it is written in a policy, with what it is counted by."""
    if rule.limit_unit is Unit.SECONDS:
        return span(value)
    text = limit_kind(rule.limit_unit).show(value)
    if rule.judgement is Judgement.RATE_ABOVE:
        per = "a second" if text[-1] == "B" else "a minute"
        return f"{text} {per}"
    return f"{text} times" if rule.judgement is Judgement.SLOWER_THAN_USUAL else text


def when(rule: Rule, settings: RuleSettings) -> str:
    """When the rule is told, as one sentence."""
    if not rule.declared:
        return "Judged in code, because it takes more than one number."
    parts = [_core(rule, limit_text(rule, settings.limit))]
    if rule.also is not None and settings.also is not None:
        parts.append(f"and {_second(rule.also, settings.also)}")
    if rule.either is not None:
        parts.append(f"or {_second(rule.either, rule.either.limit)}")
    if settings.hold_s:
        parts.append(f"for {span(settings.hold_s)}")
    sentence = " ".join(parts)
    if rule.subjects:
        sentence += f"; only {', '.join(rule.subjects)}"
    if rule.unless is not None:
        sentence += f"; not while {rule.unless.value} is told, or about to be"
    if settings.clear != settings.limit:
        word = "up to" if settings.clear > settings.limit else "down to"
        sentence += f". Once told it stays so {word} {limit_text(rule, settings.clear)}"
    return f"{sentence}."


def _second(second: Second, limit: float) -> str:
    unit = unit_of(second.reading)
    shown = span(limit) if unit is Unit.SECONDS else limit_kind(unit).show(limit)
    side = "above" if second.judgement is Judgement.ABOVE else "below"
    return f"`{second.reading}` is at or {side} {shown}"


def _core(rule: Rule, limit: str) -> str:
    reading, window = f"`{rule.reading}`", span(rule.window_s)
    match rule.judgement:
        case Judgement.ABOVE:
            return f"{reading} is at or above {limit}"
        case Judgement.BELOW:
            return f"{reading} is at or below {limit}"
        case Judgement.RATE_ABOVE:
            return f"{reading} grows by {limit} or more, over {window}"
        case Judgement.FORECAST:
            toward = limit_kind(unit_of(rule.reading)).show(rule.toward)
            return f"the trend of {reading} over {window} reaches {toward} within {limit}"
        case Judgement.SLOWER_THAN_USUAL:
            return (
                f"the median of {reading} over {window} is {limit} its usual value for this hour "
                "of the week"
            )
        case Judgement.BURN:
            short = span(rule.short_window_s)
            return f"the means of {reading} over {short} and over {window} are both {limit} or more"
        case Judgement.ABSENT:
            return f"{reading} came once and has not come for {limit}"
        case Judgement.CHANGED:
            return f"{reading} {_CHANGES[rule.direction]}, told for {limit}"
        case Judgement.FEWER:
            return f"{reading} is less than it was, until it is back, told for {limit} at most"
        case Judgement.CODE:
            raise AssertionError("code has no reading")
