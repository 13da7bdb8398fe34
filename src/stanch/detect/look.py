"""What a judge is asked, and what it answers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from stanch.model.rules import RuleSettings

SUBJECTS_MAX = 1_000
"""Of more subjects of one reading nothing is remembered: they get no verdict."""


class Look(NamedTuple):
    """What a judge says about one value."""

    bad: bool | None
    measured: float | None = None
    time_s: float | None = None
    """Time to impact, or since when nothing was heard."""
    usual: float | None = None
    anew: bool = False
    """It happened at this very look, whether or not it had happened before."""
    lapsed: bool = False
    """It still is so: it only counts as usual from now on."""


UNKNOWN = Look(None)


class Judge(Protocol):
    """One rule's way of judging."""

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        """`standing`: it is a symptom already, so that the clear limit holds."""
        ...

    def due(self, value: float | None, at_s: float) -> bool:
        """Whether a look at the only subject, that is no symptom now, would change anything."""
        ...
