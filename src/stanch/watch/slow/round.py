"""One look at everything, in as many visits as it takes: what is answered, and what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stanch.facts.slow.questions import OF_A_DATABASE, SlowAnswer, SlowQuestion
from stanch.facts.statements import StatementsHome, StatementsRead
from stanch.model.changes import Inventory, Look
from stanch.watch.slow.memory import Answered, Place, Turns

LANE = "slow"
"""What the places of its inventories begin with."""
LISTING = frozenset({"databases", "settings", "roles", "inventory"})
"""Questions whose answer may be an empty list of things."""
NO_STATEMENTS = "pg_stat_statements is in no database that was seen"


@dataclass(slots=True, kw_only=True)
class Round:
    """Kept while a look is broken off, so that it goes on with the question it had come to."""

    began_s: float
    """On the clock of the event loop."""
    answers: dict[Place, Answered] = field(default_factory=dict[Place, Answered])
    turns: Turns | None = None
    """None: the databases were not listed yet."""
    statements: StatementsRead | str | None = None
    """What was told of statements, or why nothing; None: nobody was asked."""
    statements_at: datetime | None = None

    def said(self, database: str, question: str) -> SlowAnswer | None:
        """The answer, where there is one."""
        answered = self.answers.get((database, question))
        said = answered.said if answered is not None else None
        return said if isinstance(said, SlowAnswer) else None

    def left(
        self, database: str, questions: Iterable[SlowQuestion], version_num: int
    ) -> list[SlowQuestion]:
        """Those that were not asked there yet."""
        return [
            question
            for question in questions
            if question.fits(version_num) and (database, question.name) not in self.answers
        ]

    def give_up(
        self, database: str, questions: Iterable[SlowQuestion], *, why: str, at: datetime
    ) -> None:
        """Nothing more can be asked there."""
        for question in questions:
            self.answers.setdefault((database, question.name), Answered(said=why, at=at))

    def home(self, database: str) -> StatementsHome | None:
        """Where the statements are to be read in this database, if that is still to be done."""
        said = self.said(database, "statements_home")
        home = said.home if said is not None else None
        return home if self.statements is None and home is not None and not home.unusable else None

    @property
    def no_statements(self) -> str:
        """Why nobody was asked about statements."""
        homes = (self.said(database, "statements_home") for database, _ in self.answers)
        told = (said.home.unusable for said in homes if said is not None and said.home is not None)
        return next(filter(None, told), NO_STATEMENTS)

    def listed(self, at: datetime) -> Look:
        """What the round listed, to be compared and kept elsewhere."""
        found = [
            Inventory(
                place=_place(database, name),
                source="inventory" if database else "server",
                items=answered.said.items,
                read_at=answered.at,
            )
            for (database, name), answered in self.answers.items()
            if isinstance(answered.said, SlowAnswer) and (answered.said.items or name in LISTING)
        ]
        return Look(
            at=at, lane=LANE, inventories=tuple(found), places=frozenset(self._places(self.answers))
        )

    def _places(self, answers: Mapping[Place, Answered]) -> Iterable[str]:
        """A database that is gone is told by the list of databases, not table by table."""
        yield from (_place(database, name) for database, name in answers)
        for database in self.turns.all if self.turns is not None else ():
            yield from (_place(database, question.name) for question in OF_A_DATABASE)


def _place(database: str, question: str) -> str:
    return f"{LANE}/{question}/{database}"
