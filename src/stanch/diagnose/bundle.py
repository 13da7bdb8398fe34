"""The evidence of one diagnosis as a file that a colleague can judge again, without any secret."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, cast

from stanch.diagnose.evidence import Evidence, Reading, from_bytes, to_bytes
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.codec import CodecError
from stanch.model.diagnosis import Missing
from stanch.model.errors import SetupError
from stanch.model.reach import Layer, Reach

SCHEMA = "stanch.evidence/1"
BYTES_MAX = 8 * 2**20
HIDDEN = "…"
SECRET_SETTINGS = re.compile(r"(?i)(pass|secret|token|conninfo)")

_LITERAL = re.compile(r"'(?:[^']|'')*'")
_SECRETS = re.compile(
    r"(?i)\b(password|passwd|secret|token|api_?key)(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s&;,)]+)"
)
_USER_INFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)([^\s/@:]*):([^\s/@]*)@")
_KEY_VALUES = re.compile(r"\)=\((.*?)\)(?=[^)]*$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a file holds."""

    evidence: Evidence
    made_by: str
    """The release that gathered it."""


def bundle_bytes(evidence: Evidence, *, made_by: str) -> bytes:
    """The file: one JSON object, without literals and whatever looks like a secret."""
    kept = json.loads(to_bytes(redacted(evidence)))
    whole = {"schema": SCHEMA, "made_by": made_by, "evidence": kept}
    return json.dumps(whole, indent=1, ensure_ascii=True, sort_keys=True).encode("ascii") + b"\n"


def read_bundle(content: bytes, *, on: str) -> Bundle:
    """The evidence in a file. Raises: SetupError where it is none, or of a newer release."""
    if len(content) > BYTES_MAX:
        raise SetupError(f"{on} is larger than any bundle", hint="`--save` makes a bundle.")
    try:
        whole = cast("object", json.loads(content))
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{on} is no bundle: {error}", hint="`--save` makes one.") from error
    fields = cast("dict[str, Any]", whole) if isinstance(whole, dict) else {}
    if fields.get("schema") != SCHEMA or not isinstance(fields.get("evidence"), dict):
        raise SetupError(f"{on} is no bundle of this kind ({SCHEMA})", hint="`--save` makes one.")
    made_by = str(fields.get("made_by", ""))
    try:
        evidence = from_bytes(json.dumps(fields["evidence"]).encode())
    except CodecError as error:
        hint = f"It was made by {made_by or 'an unknown release'}; another release may read it."
        raise SetupError(f"{on} does not fit this release: {error}", hint=hint) from error
    return Bundle(evidence=evidence, made_by=made_by)


def redacted(evidence: Evidence) -> Evidence:
    """The same evidence without what may be secret; the verdict on it is the same.

    Names of roles, databases, tables and applications stay: without them nobody could act.
    """
    return replace(
        evidence,
        log=_within(evidence.log, _log),
        reach=_within(evidence.reach, _reach),
        figures=_within(evidence.figures, _figures),
    )


def hidden(text: str) -> str:
    """A text that may quote anybody, without literals, passwords and values of keys."""
    text = _USER_INFO.sub(rf"\1\2:{HIDDEN}@", text)
    text = _SECRETS.sub(rf"\1\2{HIDDEN}", text)
    text = _KEY_VALUES.sub(f")=({HIDDEN})", text)
    return _LITERAL.sub(f"'{HIDDEN}'", text)


def _within(item: Any, change: Any) -> Any:
    if isinstance(item, Missing):
        return replace(item, reason=hidden(item.reason))
    assert isinstance(item, Reading)
    reading = cast("Reading[Any]", item)
    return replace(reading, value=change(reading.value))


def _log(log: Log) -> Log:
    return replace(log, events=tuple(_event(event) for event in log.events))


def _event(event: LogEvent) -> LogEvent:
    return replace(event, text=hidden(event.text))


def _reach(reach: Reach) -> Reach:
    layers = tuple(_layer(layer) for layer in reach.layers)
    return replace(reach, layers=layers)


def _layer(layer: Layer) -> Layer:
    return replace(layer, detail=hidden(layer.detail))


def _figures(figures: Figures) -> Figures:
    return Figures(
        items=tuple(
            replace(one, detail=HIDDEN if SECRET_SETTINGS.search(one.detail) else one.detail)
            if one.name in ("setting", "role_settings")
            else one
            for one in figures.items
        )
    )
