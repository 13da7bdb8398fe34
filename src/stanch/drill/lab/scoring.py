"""How good the answers of many trials were: who was named, how surely, how soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from stanch.drill.lab.trial import Answer, Outcome

STANDS_FROM = 0.5
"""A cause is named where it is at least as likely as not."""

NOTHING = "(nothing)"
"""In the confusion matrix: no cause was named, or there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One answer held against the truth."""

    truth: tuple[str, ...]
    first: str
    """The cause that was named first."""
    is_first: bool
    among_three: bool
    all_named: bool
    """Every root stands; for one fault the same as that its cause stands."""
    verdict: str
    expected: tuple[str, ...]
    """The verdicts that are right."""
    probability: float
    """Of the first cause."""
    took_s: float


def judge(outcome: Outcome, answer: Answer | None) -> Judged:
    """Whether the answer is right; nobody's answer is a wrong one."""
    truth = _truth(outcome)
    ranked = answer.ranked if answer is not None else ()
    named = [one for one in ranked if one.probability >= STANDS_FROM]
    first = named[0].id if named else NOTHING
    verdict = answer.verdict if answer is not None else NOTHING
    expected = expected_verdicts(outcome)
    three = [one.id for one in ranked[:3]]
    # What is over may be called by its name; told as healthy it needs none.
    quiet = verdict in expected if outcome.trial.heal_first else not named
    return Judged(
        truth=truth,
        first=first,
        is_first=first in (*truth, *_as_right(outcome)) if truth else quiet,
        among_three=any(one in three for one in truth) if truth else quiet,
        all_named={*truth} <= {one.id for one in named},
        verdict=verdict,
        expected=expected,
        probability=named[0].probability if named else 0.0,
        took_s=answer.took_s if answer is not None else float("inf"),
    )


def expected_verdicts(outcome: Outcome) -> tuple[str, ...]:
    """What a good diagnosis concludes."""
    trial = outcome.trial
    if not trial.faults:
        return ("healthy",)
    if trial.heal_first:
        # Not everything that has ended leaves a trace.
        return ("recovered", "healthy")
    return ("recovered",) if all(fault.is_over for fault in trial.faults) else ("cause",)


def _truth(outcome: Outcome) -> tuple[str, ...]:
    """The first cause of each fault; none where nothing is wrong any more."""
    if outcome.trial.heal_first:
        return ()
    return tuple(dict.fromkeys(fault.causes[0] for fault in outcome.trial.faults))


def _as_right(outcome: Outcome) -> tuple[str, ...]:
    return tuple(name for fault in outcome.trial.faults for name in fault.or_else)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of trials of one kind."""

    trials: int
    first: float
    three: float
    all_named: float
    verdicts: float
    """Shares from 0 to 1."""
    false_alarms: int
    """A cause stood where nothing was wrong."""
    brier: float
    """Mean square of what was said of the first cause, less whether it was right; 0 is best, 0.25
    is what saying "one half" always gets."""
    took_s: float
    took_s_p95: float


def score(judged: Sequence[Judged]) -> Score:
    """The figures of some trials; at least one."""
    named = [one for one in judged if one.first != NOTHING]
    times = sorted(one.took_s for one in judged)
    return Score(
        trials=len(judged),
        first=_share(judged, lambda j: j.is_first),
        three=_share(judged, lambda j: j.among_three),
        all_named=_share(judged, lambda j: j.all_named),
        verdicts=_share(judged, lambda j: j.verdict in j.expected),
        false_alarms=sum(1 for j in judged if "healthy" in j.expected and j.verdict == "cause"),
        brier=_mean((one.probability - one.is_first) ** 2 for one in named),
        took_s=median(times),
        took_s_p95=times[min(len(times) - 1, int(len(times) * 0.95))],
    )


def confusion(judged: Iterable[Judged]) -> Counter[tuple[str, str]]:
    """How often each truth was told as each cause."""
    return Counter((" + ".join(j.truth) or NOTHING, j.first) for j in judged)


def _share(judged: Sequence[Judged], holds: Callable[[Judged], bool]) -> float:
    return sum(1 for one in judged if holds(one)) / len(judged)


def _mean(values: Iterable[float]) -> float:
    found = [*values]
    return sum(found) / len(found) if found else 0.0
