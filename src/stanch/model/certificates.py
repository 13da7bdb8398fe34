"""What was seen of a certificate that somebody shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSeen:
    """One certificate, and what a client that verifies would make of it."""

    ends: datetime | None
    """None where its dates cannot be read."""
    chain_ok: bool
    """It is valid today and leads to an authority that is trusted here."""
    name_ok: bool
    """It was made out to the name under which it was asked for."""
    detail: str = ""
    """Why a client would refuse it; empty where none would."""
