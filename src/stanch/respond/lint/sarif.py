"""Findings as SARIF 2.1.0, which code review and CI systems show beside the lines. Pure.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stanch.respond.lint.hazards import HAZARDS, Hazard, Risky

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"danger": "error", "care": "warning"}


def sarif(found: Mapping[str, Sequence[Risky]], *, version: str) -> Mapping[str, Any]:
    """One run over files by name; every rule is listed, also those that found nothing."""
    order = {hazard.id: n for n, hazard in enumerate(HAZARDS)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "stanch runbook lint",
                        "semanticVersion": version,
                        "rules": [_rule(hazard) for hazard in HAZARDS],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [
                    _result(file, risky, order[risky.hazard.id])
                    for file, several in found.items()
                    for risky in several
                ],
            }
        ],
    }


def _rule(hazard: Hazard) -> Mapping[str, Any]:
    return {
        "id": hazard.id,
        "shortDescription": {"text": _sentence(hazard.what)},
        "fullDescription": {"text": _sentence(hazard.why)},
        "help": {"text": f"Instead: {hazard.instead}."},
        "helpUri": hazard.source,
        "defaultConfiguration": {"level": LEVELS[hazard.danger]},
    }


def _result(file: str, risky: Risky, index: int) -> Mapping[str, Any]:
    hazard = risky.hazard
    note = f" ({risky.note})" if risky.note else ""
    return {
        "ruleId": hazard.id,
        "ruleIndex": index,
        "level": LEVELS[hazard.danger],
        "message": {
            "text": f"{_sentence(hazard.what)[:-1]}{note}: {hazard.why}. Instead: {hazard.instead}."
        },
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": file.replace("\\", "/")},
                    "region": {"startLine": risky.line, "snippet": {"text": risky.step}},
                }
            }
        ],
    }


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
