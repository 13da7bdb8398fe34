"""Evidence on which each cause has to be named, one module a section of the catalogue."""

from __future__ import annotations

from stanch.diagnose.evidence import Evidence

ALL: dict[str, Evidence] = {}
