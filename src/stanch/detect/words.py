"""The sentences of symptoms: a rule's own words with the numbers of the moment in them."""

from __future__ import annotations

from typing import NamedTuple

from stanch.detect.look import Look
from stanch.model.readings import Unit, unit_of
from stanch.model.rules import Judgement, Rule
from stanch.model.shown import shortened, span

SENTENCE_CHARS_MAX = 600
SUBJECT_CHARS_MAX = 200

_SIZES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def shown(value: float, unit: Unit) -> str:
    """A number with its unit, as a person reads it."""
    match unit:
        case Unit.PERCENT:
            return f"{_plain(value)} %"
        case Unit.BYTES:
            return size(value)
        case Unit.BYTES_PER_S:
            return f"{size(value)}/s"
        case Unit.SECONDS:
            return span(value) if abs(value) >= 1.0 or value == 0 else f"{value * 1000:.3g} ms"
        case Unit.MILLISECONDS:
            return f"{value:.3g} ms" if abs(value) < 1000 else span(value / 1000)
        case Unit.DAYS:
            return f"{_plain(value)} days"
        case Unit.TIMES:
            return f"{_plain(value)} times"
        case Unit.COUNT | Unit.PER_MINUTE:
            return _plain(value)


def size(value: float) -> str:
    """Bytes in the largest binary unit of which there is at least one."""
    for factor, unit in _SIZES:
        if abs(value) >= factor:
            return f"{value / factor:.1f} {unit}".replace(".0 ", " ")
    return f"{value:.0f} bytes"


def _plain(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.1f}"


def measured_unit(rule: Rule) -> Unit:
    """What the measured value of a rule is counted in: the reading's unit, or a rate of it."""
    if rule.judgement is Judgement.RATE_ABOVE:
        return rule.limit_unit
    if rule.judgement is Judgement.ABSENT:
        return Unit.SECONDS
    return unit_of(rule.reading)


class Figures(NamedTuple):
    """The numbers of a symptom, all three in one unit."""

    measured: float | None
    limit: float | None
    unit: str


def figures_of(rule: Rule, limit: float, look: Look) -> Figures:
    """What was measured against which limit, so that the two can be compared."""
    unit = measured_unit(rule)
    match rule.judgement:
        case Judgement.FORECAST:
            return Figures(look.time_s, limit, rule.unit or Unit.SECONDS)
        case Judgement.SLOWER_THAN_USUAL:
            usual = None if look.usual is None else look.usual * limit
            return Figures(look.measured, usual, rule.unit or unit)
        case Judgement.FEWER:
            return Figures(look.measured, look.usual, rule.unit or unit)
        case Judgement.CHANGED:
            return Figures(look.measured, None, rule.unit or unit)
        case _ if look.measured is None:
            return Figures(None, float(limit), rule.unit or unit)
        case _:
            places = 1 if unit is Unit.PERCENT else 6
            return Figures(round(float(look.measured), places), float(limit), rule.unit or unit)


def sentence(rule: Rule, limit: float, subject: str, look: Look, *, detail: str, names: str) -> str:
    """What a symptom says. `names` is the largest subject of the reading that the rule names."""
    unit = measured_unit(rule)
    text = rule.says.format(
        subject=shortened(subject, SUBJECT_CHARS_MAX),
        value="" if look.measured is None else shown(look.measured, unit),
        limit=shown(limit, rule.limit_unit),
        detail=detail or rule.title,
        time="" if look.time_s is None else span(look.time_s),
        usual="" if look.usual is None else shown(look.usual, unit),
        retainer=f"; oldest retainer: slot {names}" if names else "",
    )
    if detail and "{detail}" not in rule.says:
        text = f"{text} ({detail})"
    if subject and "{subject}" not in rule.says:
        # Of several places, services or certificates it has to be said which one.
        text = f"{shortened(subject, SUBJECT_CHARS_MAX)}: {text}"
    return shortened(text, SENTENCE_CHARS_MAX)


def over(rule: Rule, subject: str, look: Look, *, detail: str) -> str:
    """What is said when a symptom is over."""
    if detail and "{detail}" in rule.says:
        return shortened(detail, SENTENCE_CHARS_MAX)
    match rule.judgement:
        case Judgement.CHANGED:
            return "no change since then"
        case Judgement.ABSENT:
            return "heard again"
        case Judgement.FEWER if look.lapsed and look.measured is not None:
            return _given_up(look.measured, look.usual, measured_unit(rule))
        case _ if look.measured is None:
            return "good again"
        case _:
            return f"now {shown(look.measured, measured_unit(rule))}"


def _given_up(value: float, before: float | None, unit: Unit) -> str:
    """Never: that it is over, for nothing came back."""
    now = shown(value, unit)
    if before is None:
        return f"{now}, counted anew: how many there should be is not known any more"
    return f"still {now}, and {shown(before, unit)} were before: from now on {now} is usual"
