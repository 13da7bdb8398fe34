"""What a server says about its own archive of WAL."""

from __future__ import annotations

from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load
from stanch.model.backups import Archived

ARCHIVED_SQL: Final = load("archived")
"""Takes no parameters."""


def parse_archived(payload: str) -> Archived:
    """Raises: ProbeFailed where the answer is not what was asked for."""
    told = read_object(payload, "archived")
    return Archived(last_wal=told.text("last_wal"), segment_bytes=told.whole("segment_bytes"))
