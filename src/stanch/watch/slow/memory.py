"""What is known of one server from look to look: what is told of it, and whose turn is next.

Where an answer failed once, or a database has to wait for its turn, the answer before stands in.
That has an end: from then on everything told before is unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf

from stanch.facts.slow.questions import (
    OF_A_DATABASE,
    OF_THE_SERVER,
    SlowAnswer,
    SlowQuestion,
)
from stanch.model.changes import ItemKind
from stanch.model.readings import Reading
from stanch.model.shown import span

DATABASES_MAX = 20
"""Visited in one look; the others have their turn in the next ones."""
BRIDGED_FOR = timedelta(minutes=45)
"""Less than the longest time for which a rule over these waits: one answer alone fires none."""
FAILURES_BRIDGED = 1
WAITING_MAX = 400
"""Readings of one question that are told again of databases that wait for their turn."""
NOT_LET_IN = "the database takes nobody any more, or this role has lost CONNECT on it"

Place = tuple[str, str]
"""Database (empty: of the server) and question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of one question in one place."""

    said: SlowAnswer | str
    """The answer, or why there is none."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Which databases one look is about."""

    visited: Sequence[str] = ()
    waiting: Sequence[str] = ()
    """Those that have to wait for the next looks."""
    shut: Sequence[str] = ()
    """Those that were visited before, are still there, and may not be visited any more."""

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.visited, *self.waiting, *self.shut)

    @property
    def left_out(self) -> str:
        """How many were not visited; empty where all were."""
        found = len(self.visited) + len(self.waiting)
        if not self.waiting:
            return ""
        return f"{len(self.waiting)} of {found} databases wait for their turn in the next looks"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The last answer from one place."""

    answer: SlowAnswer
    at: datetime
    failures: int = 0
    """How often there was none since."""

    def stands_in(self, at: datetime, *, failures_max: int) -> bool:
        return self.failures <= failures_max and at - self.at < BRIDGED_FOR


class SlowMemory:
    """Of one server. Of each place no more than one answer without its items."""

    def __init__(self) -> None:
        self._kept: dict[Place, _Kept] = {}
        self._databases: tuple[str, ...] = ()
        """As they were listed last."""
        self._looks = 0
        self._visited: dict[str, int] = {}
        """In which look each database was visited last."""
        self._home = ""
        """Where the statements are read: visited in every look."""

    def turns(self, listed: SlowAnswer | None) -> Turns:
        """Whose turn it is: those that were visited longest ago. None: they could not be listed."""
        known = dict.fromkeys(database for database, _ in self._kept if database)
        if listed is not None:
            self._databases = listed.databases
            there = {item.name for item in listed.items if item.kind is ItemKind.DATABASE}
            known = dict.fromkeys(database for database in known if database in there)
        longest_ago = sorted(
            self._databases, key=lambda d: (d != self._home, self._visited.get(d, 0))
        )
        chosen = frozenset(longest_ago[:DATABASES_MAX])
        self._looks += 1
        self._visited = {
            database: self._looks if database in chosen else self._visited.get(database, 0)
            for database in self._databases
        }
        return Turns(
            visited=tuple(d for d in self._databases if d in chosen),
            waiting=tuple(d for d in self._databases if d not in chosen),
            shut=tuple(d for d in known if d not in self._databases),
        )

    def told(
        self,
        answers: Mapping[Place, Answered],
        turns: Turns,
        *,
        version_num: int,
        at: datetime,
    ) -> tuple[Reading, ...]:
        """Every subject of every name, once a look; what cannot be told is told to be unknown."""
        self._forget_all_but(turns)
        self._home = next(
            (d for (d, _), one in answers.items() if _has_statements(one.said)), self._home
        )
        found: list[Reading] = []
        for questions, places in ((OF_THE_SERVER, ("",)), (OF_A_DATABASE, turns.all)):
            for question in questions:
                if places and question.fits(version_num):
                    found += self._told_by(question, places, answers, at)
        return tuple(found)

    def _told_by(
        self,
        question: SlowQuestion,
        databases: Sequence[str],
        answers: Mapping[Place, Answered],
        at: datetime,
    ) -> Iterator[Reading]:
        asked: list[Reading] = []
        waiting: list[Reading] = []
        for database in databases:
            answered = answers.get((database, question.name))
            found = self._told_of(question, database, answered, at)
            (waiting if answered is None else asked).extend(found)
        yield from asked
        yield from _largest(waiting)
        told = {reading.name for reading in (*asked, *waiting)}
        yield from (Reading(name=name, value=0.0) for name in question.makes if name not in told)

    def _told_of(
        self, question: SlowQuestion, database: str, answered: Answered | None, at: datetime
    ) -> Sequence[Reading]:
        place = (database, question.name)
        kept = self._kept.get(place)
        if answered is None:
            if kept is not None and kept.stands_in(at, failures_max=0):
                return kept.answer.readings
            return _unknown(question, database, kept, why=_waits(kept, at))
        if isinstance(answered.said, SlowAnswer):
            # The items are kept outside this process: thousands of them a target are too many.
            kept = _Kept(answer=replace(answered.said, items=()), at=answered.at)
            self._kept[place] = kept
            return kept.answer.readings
        if kept is not None:
            kept = self._kept[place] = replace(kept, failures=kept.failures + 1)
            if kept.stands_in(at, failures_max=FAILURES_BRIDGED):
                return kept.answer.readings
        return _unknown(question, database, kept, why=answered.said)

    def _forget_all_but(self, turns: Turns) -> None:
        there = {"", *turns.all}
        self._kept = {place: kept for place, kept in self._kept.items() if place[0] in there}


def _has_statements(said: SlowAnswer | str) -> bool:
    return isinstance(said, SlowAnswer) and said.home is not None and not said.home.unusable


def _waits(kept: _Kept | None, at: datetime) -> str:
    if kept is None:
        return f"not visited yet: {DATABASES_MAX} databases have their turn in one look"
    return f"not asked for {span((at - kept.at).total_seconds())}"


def _largest(waiting: Sequence[Reading]) -> Iterator[Reading]:
    """Those with the largest values. That others are left out keeps what stands from being over."""
    if len(waiting) <= WAITING_MAX:
        yield from waiting
        return
    largest = sorted(waiting, key=lambda r: inf if r.value is None else r.value, reverse=True)
    yield from largest[:WAITING_MAX]
    why = f"more than {WAITING_MAX} are known of databases that wait for their turn"
    left_out = dict.fromkeys(reading.name for reading in largest[WAITING_MAX:])
    yield from (Reading(name=name, value=None, detail=why) for name in left_out)


def _unknown(
    question: SlowQuestion, database: str, kept: _Kept | None, *, why: str
) -> Sequence[Reading]:
    """Of everything told before, so that nothing of it seems to be over; else of the database."""
    before = () if kept is None else kept.answer.readings
    names = {reading.name for reading in before}
    return [
        *(Reading(name=r.name, value=None, subject=r.subject, detail=why) for r in before),
        *(
            Reading(name=name, value=None, subject=database, detail=why)
            for name in question.makes
            if name not in names
        ),
    ]
