"""How a server writes its log: what a reader of it has to know beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load

LOG_SETTINGS_SQL: Final = load("log_settings")
"""Takes no parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How the server says it writes its log; what is not known is guessed from each line."""

    log_line_prefix: str | None = None
    log_timezone: str | None = None


def parse_log_settings(payload: str) -> LogSettings:
    """The settings as told. Raises: ProbeFailed where the answer is not what was asked for."""
    told = read_object(payload, "log_settings")
    return LogSettings(
        log_line_prefix=told.text("log_line_prefix"), log_timezone=told.text("log_timezone")
    )
