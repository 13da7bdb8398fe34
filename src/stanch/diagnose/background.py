"""What whoever watches a target knows beside what can be asked now."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stanch.diagnose.cluster import ClusterSeen
from stanch.diagnose.history import History
from stanch.diagnose.inside import Changes
from stanch.model.diagnosis import Missing
from stanch.model.symptoms import Symptom

UNWATCHED = "nobody watches this server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Of one target, for one diagnosis."""

    history: Callable[[], Coroutine[Any, Any, History | Missing]]
    changes: Callable[[], Coroutine[Any, Any, Changes | Missing]]
    cluster: ClusterSeen | Missing = Missing(what="cluster", reason=UNWATCHED)
    symptoms: tuple[Symptom, ...] = ()
    onset: datetime | None = None


def cluster_known(background: Background | None) -> ClusterSeen | Missing:
    """The other servers, where somebody watches them."""
    return Missing(what="cluster", reason=UNWATCHED) if background is None else background.cluster
