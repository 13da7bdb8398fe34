"""A command as it arrives, and what is answered to it; read strictly, whoever sent it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stanch.model import events as e
from stanch.model.errors import StanchError
from stanch.model.ids import CommandId, PersonId
from stanch.model.plans import Refusal
from stanch.policy.policy import Policy

TEXT_CHARS_MAX = 4000


class BadRequest(StanchError):
    """The request cannot be understood; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request, ready to be shown."""

    ok: bool
    text: str
    incident_id: str = ""
    refusal: Refusal | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def plain(self) -> dict[str, Any]:
        refusal = self.refusal
        return {
            "ok": self.ok,
            "text": self.text,
            "incident": self.incident_id,
            "refused_by": refusal.guard if refusal else None,
            "lifts": refusal.lifts if refusal else None,
            "details": dict(self.details),
        }


Request = Mapping[str, Any]


def text_in(request: Request, name: str, *, required: bool = False) -> str:
    """One part of it as text. Raises BadRequest."""
    value = request.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        if required:
            raise BadRequest(f"{name} is missing")
        return ""
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise BadRequest(f"{name} must be text of at most {TEXT_CHARS_MAX} characters")
    return value


def person_in(request: Request) -> PersonId:
    """Who asks. Raises BadRequest."""
    return PersonId(text_in(request, "by", required=True))


def seconds_in(request: Request) -> float:
    """A length of time, at most 30 days. Raises BadRequest."""
    value = request.get("seconds")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 30 * 86400:
        raise BadRequest("seconds must be a number above 0 and at most 30 days")
    return float(value)


def rank_in(request: Request, policy: Policy) -> int:
    """Severity by rank (`1`) or by the policy's own label (`P0`); default: the second worst."""
    wanted = text_in(request, "severity")
    scale = policy.severities
    if not wanted:
        return min(2, max(s.rank for s in scale))
    for severity in scale:
        if wanted.casefold() in (str(severity.rank), severity.label.casefold()):
            return severity.rank
    labels = ", ".join(f"{s.label} ({s.rank})" for s in scale)
    raise BadRequest(f"there is no severity {wanted!r}", hint=f"The policy has: {labels}.")


def stamped(request: Request, events: Sequence[e.Event]) -> tuple[e.Event, ...]:
    """The events of one append, the first of them with the id of the command they come from."""
    command_id = text_in(request, "id")
    if not command_id or not events:
        return tuple(events)
    first, *rest = events
    assert isinstance(first, e.Commanded), f"{first.kind} comes from no command"
    return (replace(first, command_id=CommandId(command_id)), *rest)
