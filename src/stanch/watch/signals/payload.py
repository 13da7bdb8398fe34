"""Reading what strangers send: bounded, printable, and never trusted to have a shape."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, cast

from stanch.model.shown import shortened
from stanch.model.signals import Bounded, Refused
from stanch.policy.quoting import printable

BODY_BYTES_MAX = 2 * 1024 * 1024
TITLE_CHARS_MAX = 200
DETAIL_CHARS_MAX = 1_000
KEY_CHARS_MAX = 120
LABELS_MAX = 48
LABEL_NAME_CHARS_MAX = 64
LABEL_VALUE_CHARS_MAX = 200
LABEL_CHARS_MAX = 3_000
"""Of one signal, names and values together."""
LINKS_MAX = 6
LINK_CHARS_MAX = 500
SIGNALS_MAX = 5_000
"""In one payload."""

AHEAD_S_MAX = 300.0
"""So far a source's clock may be before ours."""
AGE_S_MAX = 400 * 86_400.0

_KEY = re.compile(r"[!-~]+(?: [!-~]+)*")
_LINK = re.compile(r"https?://[^\s\"'<>\x00-\x20\x7f]+", re.IGNORECASE)
_BEFORE_ANY = datetime(1990, 1, 1, tzinfo=UTC)
"""Programs write the year 1 or 1970 where they know no moment."""


def read_object(body: bytes) -> dict[str, Any] | Refused:
    """The JSON object in a payload."""
    if len(body) > BODY_BYTES_MAX:
        return Refused(
            because="too_large",
            reason=f"{len(body)} bytes are more than the {BODY_BYTES_MAX} that are read",
        )
    try:
        plain = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        return Refused(because="malformed", reason=f"not UTF-8 at byte {error.start}")
    except RecursionError:
        return Refused(because="malformed", reason="nested too deeply")
    except ValueError as error:
        return Refused(because="malformed", reason=f"not JSON: {shown(str(error), 100)}")
    if not isinstance(plain, dict):
        return Refused(because="malformed", reason="not a JSON object")
    return cast("dict[str, Any]", plain)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def shown(text: str, chars_max: int) -> str:
    """On one line, control characters escaped, cut."""
    # Cut first: escaping makes text longer, and a payload may be one huge word.
    return shortened(printable(text[: chars_max + 1]), chars_max)


def text_at(plain: Mapping[str, Any], *names: str) -> str:
    """The first of these that holds a scalar, as text; empty where none does."""
    for name in names:
        found = scalar(plain.get(name))
        if found:
            return found
    return ""


def scalar(value: Any) -> str:
    """A text or number as text; empty for everything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        try:
            return str(value)
        except ValueError:  # An integer of thousands of digits.
            return ""
    return ""


def mapping_at(plain: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under a name; an empty one where there is none."""
    found = plain.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def key_of(text: str) -> str:
    """A key as it was given, where it is short and plain; else a digest of it."""
    if len(text) <= KEY_CHARS_MAX and _KEY.fullmatch(text):
        return text
    return "sha256-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def moment(value: Any) -> datetime | None:
    """A moment in ISO 8601 with its zone, or in Unix seconds; None for anything else."""
    try:
        if isinstance(value, str) and len(value) <= 64:
            at = datetime.fromisoformat(value)
            at = None if at.tzinfo is None else at.astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
        else:
            at = None
    except (ValueError, OverflowError, OSError):
        return None
    return at if at is not None and at > _BEFORE_ANY else None


@dataclass(slots=True)
class Fitting:
    """Brings the parts of one signal within the limits, and notes what did not fit."""

    received_at: datetime
    noted: list[Bounded] = field(default_factory=list[Bounded])

    def start(self, value: Any) -> datetime | None:
        """When it began, as far as that can be believed."""
        at = moment(value)
        if at is None:
            return None
        if at > self.received_at + timedelta(seconds=AHEAD_S_MAX):
            self.noted.append("starts_in_the_future")
            return self.received_at
        if at < self.received_at - timedelta(seconds=AGE_S_MAX):
            self.noted.append("starts_long_ago")
            return None
        return min(at, self.received_at)

    def end(self, value: Any) -> datetime | None:
        """When it was over; a source that does not know writes a moment to come."""
        at = moment(value)
        return at if at is not None and at <= self.received_at else None

    def key(self, text: str) -> str:
        key = key_of(text)
        if key != text:
            self.noted.append("key")
        return key

    def text(self, text: str, chars_max: int) -> str:
        cut = shown(text.strip(), chars_max)
        if len(text.strip()) > chars_max:
            self.noted.append("text")
        return cut

    def labels(self, given: Mapping[str, Any]) -> Mapping[str, str]:
        """Names and values in the order of the payload, until the room is used up."""
        kept: dict[str, str] = {}
        room = LABEL_CHARS_MAX
        for name, value in given.items():
            said = scalar(value)
            if not said:
                continue
            fits_name, fits = shown(name, LABEL_NAME_CHARS_MAX), shown(said, LABEL_VALUE_CHARS_MAX)
            room -= len(fits_name) + len(fits)
            if len(kept) >= LABELS_MAX or room < 0:
                self.noted.append("labels")
                break
            kept[fits_name] = fits
        return MappingProxyType(kept)

    def links(self, given: Iterable[str]) -> tuple[str, ...]:
        """Web addresses only, each once."""
        kept: dict[str, None] = {}
        for link in given:
            if not link:
                continue
            usable = len(link) <= LINK_CHARS_MAX and _LINK.fullmatch(link) and link.isprintable()
            if usable and len(kept) < LINKS_MAX:
                kept[link] = None
            elif link not in kept:
                self.noted.append("links")
        return tuple(kept)

    @property
    def bounded(self) -> tuple[Bounded, ...]:
        return tuple(dict.fromkeys(self.noted))
