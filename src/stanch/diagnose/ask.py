"""How a question reads the evidence: present or missing, yes or no."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.outside import Log
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading as Figure
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

T = TypeVar("T")

YES_NO = tuple[bool, str] | tuple[bool, str, datetime | None] | str
"""Yes or no with a sentence (and a time); a bare sentence: it cannot say, and why; empty: the
question does not arise."""


def clue_on(
    clue_id: str,
    question: str,
    read: Callable[[Evidence], Reading[T] | Missing],
    judge: Callable[[T, Evidence], YES_NO],
    *,
    reads: tuple[str, ...] = (),
) -> Clue:
    """A clue that rests on one reading; where that is missing, so is the answer. `reads` are the
    numbers by name that it takes out of figures or history."""

    def ask(evidence: Evidence) -> Answer:
        item = read(evidence)
        if isinstance(item, Missing):
            return Answer(yes=None, text=item.reason)
        said = judge(item.value, evidence)
        if isinstance(said, str):
            return Answer(yes=None, text=said)
        at = said[2] if len(said) == 3 else None
        return Answer(yes=said[0], text=said[1], at=at or item.at)

    return Clue(id=clue_id, question=question, ask=ask, reads=reads)


def clue_on_figures(
    clue_id: str,
    question: str,
    name: str,
    judge: Callable[[tuple[Figure, ...], Evidence], YES_NO],
) -> Clue:
    """A clue that rests on all subjects of one number of the server's own; where the server was
    not asked for it, or does not have it in this version, it cannot say."""

    def read(figures: Figures, evidence: Evidence) -> YES_NO:
        found = figures.named(name)
        if not found:
            return f"{name} was not told"
        return judge(found, evidence)

    return clue_on(clue_id, question, lambda e: e.figures, read, reads=(name,))


def clue_on_course(
    clue_id: str,
    question: str,
    series: tuple[str, str],
    judge: Callable[[Course, Evidence], YES_NO],
) -> Clue:
    """A clue that rests on how one recorded number went; `series` is its name and subject."""

    def read(history: History, evidence: Evidence) -> YES_NO:
        found = history.of(*series)
        if found is None:
            return f"{series[0]} is not recorded"
        return judge(found, evidence)

    return clue_on(clue_id, question, lambda e: e.history, read, reads=(series[0],))


def clue_on_log(
    clue_id: str, question: str, kinds: tuple[str, ...], *, within_s: float | None = None
) -> Clue:
    """Whether lines of these classes stand in the part of the log that was read, not too long ago:
    within what is looked back over, unless said otherwise.

    Any session can make a server log any text: the weight of such a clue says how far to trust it.
    """

    def read(log: Log, evidence: Evidence) -> YES_NO:
        if not log.records_read:
            return f"nothing of use in {log.path}"
        counts = [count for kind in kinds if (count := log.count(kind)) is not None]
        newest = log.newest(*kinds)
        at = max((c.last_at for c in counts if c.last_at is not None), default=None)
        if not counts or newest is None:
            return False, f"no such line in {log.path}"
        most_s = evidence.lookback_s if within_s is None else within_s
        if at is not None and (evidence.at - at).total_seconds() > most_s:
            return False, f"the newest such line is {span((evidence.at - at).total_seconds())} old"
        lines = sum(count.lines for count in counts)
        return True, f"{lines} such line{'s' if lines > 1 else ''}, the newest: {newest.text}", at

    return clue_on(clue_id, question, lambda e: e.log, read)


def clue_on_symptom(clue_id: str, question: str, *kinds: SymptomKind) -> Clue:
    """Whether the watch sees one of these standing; where nobody watches, it cannot say."""

    def ask(evidence: Evidence) -> Answer:
        standing = [s for s in evidence.symptoms if s.kind in kinds]
        if not standing:
            unwatched = evidence.onset is None and not evidence.symptoms
            raised = " or ".join(kind.value for kind in kinds)
            watched = Answer(yes=False, text=f"the watch has raised no {raised}")
            return Answer(yes=None, text="nobody watches this server") if unwatched else watched
        first = min(standing, key=lambda s: (s.since, s.key))
        about = f" at {shortened(first.subject, 80)}" if first.subject else ""
        said = f": {shortened(first.detail, 120)}" if first.detail else ""
        text = f"{first.kind.value}{about} stands since {first.since:%H:%M:%S} UTC{said}"
        return Answer(yes=True, text=text, at=first.since)

    return Clue(id=clue_id, question=question, ask=ask)
