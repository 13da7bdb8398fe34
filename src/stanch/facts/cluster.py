"""Which database cluster answers: the identity that no start, move or rename changes."""

from __future__ import annotations

from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load

CLUSTER_IDENTITY_SQL: Final = load("cluster_identity")
"""Takes no parameters."""


def parse_cluster_identity(payload: str) -> str:
    """The system identifier. Raises: ProbeFailed where the answer is not what was asked for."""
    return read_object(payload, "cluster_identity").text("system_identifier")
