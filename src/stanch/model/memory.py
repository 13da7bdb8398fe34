"""An incident of before that looked like the one at hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stanch.model.ids import CauseId, IncidentId, TargetName
from stanch.model.shown import span


@dataclass(frozen=True, slots=True, kw_only=True)
class PastIncident:
    """One that ended, how it ended, and how long it took."""

    id: IncidentId
    target: TargetName
    title: str
    cause: CauseId
    likeness: float
    """0 to 1: how much of its evidence and symptoms the two have in common."""
    opened_at: datetime
    took_s: float
    """From its onset until it served again, or until it was closed."""
    fixed_by: str
    """What ended it, for a person."""

    @property
    def told(self) -> str:
        """One line without a full stop; holds other people's words, to be escaped where shown."""
        over = f"over after {span(self.took_s)}, ended by {self.fixed_by}"
        return f"{self.id} on {self.target}, {self.cause}: {over}"
