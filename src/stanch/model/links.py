"""Where people look further: dashboards, traces, log searches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One web address with a name; from a policy it may have placeholders."""

    name: str
    url: str
