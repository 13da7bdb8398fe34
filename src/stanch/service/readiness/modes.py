"""What policy lets happen with an action, in words for the capability table."""

from __future__ import annotations

from stanch.model.plans import Mode
from stanch.policy.policy import TargetPolicy

_WORDS = {
    Mode.OBSERVE: "; policy: observe, so people do it",
    Mode.ADVISE: "; policy: after `stanch approve`",
    Mode.ACT: "; policy: by itself",
}


def mode_told(target: TargetPolicy, action: str) -> str:
    """A clause that follows what can be done."""
    return _WORDS[target.mode(action)]
