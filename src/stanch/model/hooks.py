"""Requests that Stanch may send to what stands beside a server: flags, deployments, names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One request, and how it is seen that it did what it is for."""

    name: str
    url: str
    verify_url: str
    """Asked before and after; it must tell nothing but what is so."""
    json: str
    """Path to one value of that answer."""
    equals: str
    """The value that is there once the request has done its work."""
    method: Literal["POST", "PUT"] = "POST"
    body: str = "{}"
    """A JSON object, sent as it stands."""
    secret_file: str = ""
    ca_file: str = ""
    """Empty: the authorities that this machine trusts."""
    timeout_s: float = 5.0
    undo: str = ""
    """The hook that takes it back. Empty: there is none."""
