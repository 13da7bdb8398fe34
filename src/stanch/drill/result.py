"""How one act ended, with its figures. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stanch.drill.judging import Seen, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One act's outcome. Durations are seconds after the break."""

    act: str
    title: str
    status: Status
    reasons: tuple[str, ...] = ()
    """Why it failed or was skipped."""
    seen: Seen | None = None
    """None where the act was skipped."""
    post_mortem: str = ""
    """The path of the file, where one was written."""

    @property
    def noticed_s(self) -> float | None:
        """When the incident was opened; negative where the limit was passed before the break."""
        return self._after(self.seen.told.opened_at if self.seen and self.seen.told else None)

    @property
    def diagnosed_s(self) -> float | None:
        return self._after(self.seen.told.diagnosed_at if self.seen and self.seen.told else None)

    @property
    def paged_s(self) -> float | None:
        """When the first page had arrived at the mail server."""
        return self._after(self.seen.pages[0].at if self.seen and self.seen.pages else None)

    @property
    def rescued_s(self) -> float | None:
        """When "rescued" was said, the whole window of checks included."""
        return self._after(self.seen.told.rescued_at if self.seen and self.seen.told else None)

    @property
    def outage_s(self) -> float | None:
        return self.seen.outside.outage_s if self.seen else None

    def _after(self, moment: datetime | None) -> float | None:
        if self.seen is None or moment is None:
            return None
        return round((moment - self.seen.broke_at).total_seconds(), 3)


def as_json(result: Result) -> dict[str, Any]:
    """One act for a program to read."""
    head = {
        "act": result.act,
        "title": result.title,
        "status": result.status.value,
        "reasons": list(result.reasons),
    }
    if result.seen is None:
        return head
    told, outside = result.seen.told, result.seen.outside
    return {
        **head,
        "broke_at": result.seen.broke_at.isoformat(),
        "noticed_after_s": result.noticed_s,
        "diagnosed_after_s": result.diagnosed_s,
        "paged_after_s": result.paged_s,
        "rescued_after_s": result.rescued_s,
        "outage_s": outside.outage_s,
        "rows_lost": outside.rows_lost,
        "incident": told.incident_id if told else None,
        "cause": told.cause if told else None,
        "probability": told.probability if told else None,
        "summary": told.summary if told else None,
        "evidence": {
            "for": list(told.evidence_for) if told else [],
            "against": list(told.evidence_against) if told else [],
            "missing": list(told.missing) if told else [],
        },
        "steps": [
            {
                "action": step.action,
                "outcome": step.outcome,
                "detail": step.detail,
                "verified": step.verified,
                "verified_by": step.verified_by,
            }
            for step in (told.steps if told else ())
        ],
        "pages": [
            {"to": page.to, "subject": page.subject, "short": page.short}
            for page in result.seen.pages
        ],
        "outside": outside.detail,
        "post_mortem": result.post_mortem,
    }
