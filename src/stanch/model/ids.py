"""Names for things, so that one cannot be passed for another."""

from __future__ import annotations

from typing import NewType

IncidentId = NewType("IncidentId", str)
"""`YYYYMMDD-NNN`, counted per UTC day; the reserved stream `RESPONDER` uses the same type."""

TargetName = NewType("TargetName", str)
PersonId = NewType("PersonId", str)
ChannelName = NewType("ChannelName", str)
CauseId = NewType("CauseId", str)
PlanId = NewType("PlanId", str)
StepId = NewType("StepId", str)
MessageId = NewType("MessageId", str)
DeliveryId = NewType("DeliveryId", str)
WriterId = NewType("WriterId", str)
CommandId = NewType("CommandId", str)
"""Given by whoever sends a command; the same one when it is sent again."""

BlobKey = NewType("BlobKey", str)
"""Hex SHA-256 over salt and content: it names the content without giving it away."""

ObligationId = NewType("ObligationId", str)
"""`rule/ordinal@seq`: the rule, how often it fired, and the event that caused it."""

ITSELF = TargetName("stanch")
"""What an incident about the responder's own sight is about; no target may have this name."""

RESPONDER = IncidentId("responder")
"""The stream of what concerns the responder itself: halt, maintenance, policy, blindness."""
