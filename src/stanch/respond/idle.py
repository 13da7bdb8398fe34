"""Why an idle session is left alone, whoever wants it ended. Pure."""

from __future__ import annotations

import re

from stanch.facts.sessions import IdleSession
from stanch.policy.policy import TargetPolicy
from stanch.respond.sessions import is_protected

POOLERS = ("pgbouncer", "pgcat", "pgpool", "odyssey", "supavisor", "pgagroal")
"""Names poolers give their own sessions; others belong into `protected_applications`."""

_RESET = re.compile(r"\s*discard\s+all\s*;?\s*", re.IGNORECASE)


def spared_because(session: IdleSession, target: TargetPolicy) -> str:
    """Why this session is left alone; empty when it may be ended."""
    if is_protected(session.application_name, target):
        return "protected"
    reasons = session.exclusions(pooler_names=POOLERS)
    if reasons:
        return reasons[0]
    if _RESET.fullmatch(session.query) or _pooled(session.application_name):
        return "pooler"
    if session.idle_s < target.idle_session_age_s_min:
        return "idle_too_short"
    return ""


def _pooled(application: str) -> bool:
    return application.casefold().startswith(POOLERS)
