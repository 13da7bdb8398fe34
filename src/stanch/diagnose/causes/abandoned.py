"""A slot without a consumer, as `drop_slot` is bound to it, and when it is time to speak of it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from stanch.diagnose.causes.common import Facts
from stanch.diagnose.clues.slots import unused_slot
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.symptoms import SymptomKind

UNUSED_S_MIN: Final = 3600.0
"""A consumer that was there within the last hour may come back by itself."""
PARTS: Final = ("slot_plugin", "slot_database", "slot_restart_lsn", "slot_confirmed_lsn")


def abandoned_facts(evidence: Evidence, *, full: bool) -> Facts:
    """What tells it from another slot of its name; a volume that is full gets room first."""
    slot, figures = unused_slot(evidence), value_of(evidence.figures)
    if slot is None or figures is None or not slot.kind:
        return ()
    told = {part: seen.detail for part in PARTS if (seen := figures.of(part, slot.name))}
    since = _unused_since(evidence, slot.name)
    long = since is not None and (evidence.at - since).total_seconds() >= UNUSED_S_MIN
    return (
        *told.items(),
        ("slot_unused_since", since.isoformat() if since else None),
        ("slot_abandoned", long and "slot_restart_lsn" in told and not full),
    )


def _unused_since(evidence: Evidence, name: str) -> datetime | None:
    """By the server itself, from version 17 on; else as long as the watch has told it so."""
    figures = value_of(evidence.figures)
    told = figures.of("slot_unused_since", name) if figures else None
    if told is not None:
        return _moment(told.detail)
    kind = SymptomKind.SLOT_INACTIVE
    seen = (s.since for s in evidence.symptoms if s.kind is kind and s.subject == name)
    return min(seen, default=None)


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
