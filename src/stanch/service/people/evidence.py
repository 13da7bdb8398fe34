"""What an incident's diagnosis rests on, for whoever asks; without any responder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stanch.diagnose.evidence import Evidence, from_bytes
from stanch.model.codec import CodecError
from stanch.model.diagnosis import Diagnosis
from stanch.model.errors import StoreUnsuitable
from stanch.model.events import DiagnosisRecorded
from stanch.model.timeline import Recorded
from stanch.service.house import Store, open_house, open_store_reading, read_policy_file
from stanch.service.requests import BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """The diagnosis that an incident goes by, and the evidence it was made from."""

    diagnosis: Diagnosis | None
    """None: nobody has looked yet."""
    evidence: Evidence | None
    why_not: str = ""
    """Why there is no evidence."""


async def looked_at(config: Path, wanted: str) -> LookedAt:
    """Of one incident, by its id or number.

    Raises: StoreError, PolicyInvalid. Never: asks a responder or a database.
    """
    policies = read_policy_file(config)
    store = open_store_reading(policies)
    try:
        house = await open_house(policies, store, writable=False, attended=False)
        incident, timeline = await house.operations.timeline(wanted)
        told = incident.named or incident.diagnosis
        if told is None:
            return LookedAt(diagnosis=None, evidence=None, why_not="nobody has looked yet")
        return await _with_evidence(store, told, timeline)
    except BadRequest as error:
        raise StoreUnsuitable(
            "is no incident", on=wanted, hint="`stanch incidents --all` lists them."
        ) from error
    finally:
        await store.close()


async def _with_evidence(store: Store, told: Diagnosis, timeline: Sequence[Recorded]) -> LookedAt:
    recorded = (r.event for r in reversed(timeline) if isinstance(r.event, DiagnosisRecorded))
    key = next((event.evidence for event in recorded if event.diagnosis == told), None)
    if key is None:
        return LookedAt(diagnosis=told, evidence=None, why_not="no evidence was kept with it")
    content = (await store.blob(key)).content
    if content is None:
        return LookedAt(diagnosis=told, evidence=None, why_not="the evidence was erased")
    try:
        return LookedAt(diagnosis=told, evidence=from_bytes(content))
    except CodecError as error:
        why_not = f"another release kept the evidence ({error})"
        return LookedAt(diagnosis=told, evidence=None, why_not=why_not)
