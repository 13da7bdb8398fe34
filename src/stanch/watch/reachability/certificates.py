"""Readings of a certificate: how long it holds, and whether clients that verify would take it."""

from __future__ import annotations

from datetime import datetime

from stanch.model.certificates import CertificateSeen
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading

DAY_S = 86_400.0


def certificate_readings(
    seen: CertificateSeen | Missing | None, *, subject: str, at: datetime
) -> tuple[Reading, ...]:
    """`subject` is the service that shows it, empty for the server. None: nothing is encrypted."""
    if seen is None:
        return ()
    if isinstance(seen, Missing):
        return tuple(
            Reading(name=name, value=None, subject=subject, detail=seen.reason)
            for name in ("tls_days_left", "tls_chain_ok", "tls_name_ok")
        )
    days = None if seen.ends is None else (seen.ends - at).total_seconds() / DAY_S
    ends = "" if seen.ends is None else f"it ends on {seen.ends:%Y-%m-%d}"
    return (
        Reading(name="tls_days_left", value=days, subject=subject, detail=ends),
        Reading(
            name="tls_chain_ok", value=float(seen.chain_ok), subject=subject, detail=seen.detail
        ),
        Reading(name="tls_name_ok", value=float(seen.name_ok), subject=subject, detail=seen.detail),
    )
