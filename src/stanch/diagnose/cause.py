"""What a cause is made of: questions to the evidence, their weights, and what follows from it.

Weights are log-odds (natural logarithm): +3 makes a cause about twenty times likelier, -3 twenty
times less likely. A question that cannot be answered weighs nothing. As a scale for all causes:

==========  ==============================================================================
 5 and up   the reading is the cause itself ("the volume has 0 bytes free")
 3 to 4     seldom seen with any other cause
 1 to 2     fits this cause better than its look-alikes
 -1 to -2   would usually look different
 -4 down    rules it out unless everything else speaks for it
==========  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stanch.diagnose.evidence import Evidence
from stanch.model.changes import ItemKind
from stanch.model.diagnosis import Scalar
from stanch.model.ids import CauseId
from stanch.model.symptoms import SymptomKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the evidence says to one question; `yes` is None where it cannot say."""

    yes: bool | None
    text: str
    """One sentence with the numbers; for None the reason, empty where it does not arise."""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """One question that evidence answers with yes, no, or not at all."""

    id: str
    question: str
    ask: Callable[[Evidence], Answer]
    reads: tuple[str, ...] = ()
    """Numbers by name that it rests on; a name that nobody tells is a question without answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weigh:
    """How the answer to one question moves one cause."""

    clue: Clue
    yes: float
    no: float
    now: bool = False
    """It speaks of this moment, not of what happened: left out when judging a past failure."""


class Section(StrEnum):
    """Where trouble sits; the catalogue is listed by it."""

    PROCESS = "process and host"
    DISK = "disk and WAL"
    ACCESS = "connections, logins, network"
    LOCKS = "locks and transactions"
    WORK = "work and capacity"
    REPLICATION = "replication"
    DATA = "data, backups, human error"


class Onset(StrEnum):
    """How it begins."""

    AT_ONCE = "at once"
    AT_START = "at a start or a reload"
    CREEPING = "unnoticed, over minutes to months"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One root cause: how it is recognised, what it brings about, what to do and never to do."""

    id: CauseId
    section: Section
    sentence: str
    """What it is, for somebody who has never met it."""
    onset: Onset
    impact: str
    """When it hurts, and whom."""
    family: str = ""
    """Causes of one family exclude each other and share one probability; families are independent.
    Empty: a family of its own."""
    prior: float
    """Log-odds before any evidence, against "something else"."""
    weighs: tuple[Weigh, ...]
    tell: Callable[[Evidence], str]
    """The sentence for this very case, with names and numbers."""
    facts: Callable[[Evidence], tuple[tuple[str, Scalar], ...]]
    apart: Mapping[CauseId, str] = field(default_factory=dict[CauseId, str])
    """What it is mistaken for, each with the one question that separates the two. A pair is told
    by one of them; `catalogue.look_alikes` knows both ways."""
    symptoms: tuple[SymptomKind, ...]
    """What the watch sees because of it."""
    brings_about: tuple[CauseId, ...] = ()
    """Causes that are only the next link of the same story."""
    safe_first: str
    never: tuple[str, ...]
    forbids: tuple[str, ...] = ()
    runbook: str
    source: str
    """Where PostgreSQL or the kernel documents it."""
    shown_by: tuple[tuple[Clue, bool], ...] = ()
    """At least one of these answers has to be there, else it is no candidate of this moment: what
    a healthy server shows as well adds up to nothing."""
    subject: Callable[[Evidence], str] = lambda _evidence: ""
    began: Callable[[Evidence], datetime | None] = lambda _evidence: None
    """Its onset in this very case, where the evidence tells it."""
    impact_in_s: Callable[[Evidence], float | None] = lambda _evidence: None
    """How long there is until it hurts; None: it does already, or nobody can say."""
    over_once: Clue | None = None
    """Once this is answered with yes, it is over: told as such where nothing else is wrong."""
    hurts_later: Callable[[Evidence], bool] = lambda _evidence: False
    """Nobody is kept from work by it yet: what keeps people now is told and acted on first."""

    follows_change: tuple[ItemKind, ...] = ()
    """Kinds of changes that can bring it about; the nearest before the onset is named with it."""

    @property
    def kin(self) -> str:
        """The family it shares its probability with."""
        return self.family or self.id
