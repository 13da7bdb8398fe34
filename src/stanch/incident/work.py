"""Kinds of due work, and one piece of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stanch.model.ids import DeliveryId, MessageId, ObligationId, PersonId, StepId
from stanch.model.timeline import Lane


class Job(StrEnum):
    """Kinds of due work; which room does each is said in `service/pipeline.py`."""

    PAGE = "page"
    LEVEL = "level"
    UPDATE = "update"
    EXPIRE_PLAN = "expire_plan"
    END_PLAN = "end_plan"
    RESCUED = "rescued"
    RESOLVE = "resolve"
    DELIVER = "deliver"
    DIAGNOSE = "diagnose"
    PROPOSE = "propose"
    STEP = "step"
    SETTLE = "settle"
    CHECK_RESCUE = "check_rescue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One piece of work and the earliest moment for it."""

    lane: Lane
    job: Job
    at: datetime
    obligation: ObligationId = ObligationId("")
    reason: str = ""
    level: int = 0
    notice: bool = False
    """Told without being paged."""
    persons: tuple[PersonId, ...] = ()
    message_id: MessageId = MessageId("")
    delivery_id: DeliveryId = DeliveryId("")
    step_id: StepId = StepId("")
    completed: bool = False
    self_healed: bool = False
    verified: bool = True
    """Whether the target itself has shown what is to be said of it."""
