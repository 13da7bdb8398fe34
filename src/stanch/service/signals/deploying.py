"""New versions that somebody tells of: whose they are, and stored before it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stanch.model.changes import Change
from stanch.model.signals import Refused, Signal, SignalStatus
from stanch.policy.policy import Policy
from stanch.policy.signals import SignalSource
from stanch.store.changes import EVERYWHERE, News
from stanch.watch.signals.deploys import Deploy, read_deploys
from stanch.watch.signals.routing import Router

TakeNews = Callable[[Sequence[News]], Awaitable[None]]
"""Makes changes durable. Raises StoreError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one payload told."""

    news: tuple[News, ...]
    refused: tuple[Refused, ...]

    @property
    def count(self) -> int:
        return sum(len(one.changes) for one in self.news)


def deploys_told(
    source: SignalSource, body: bytes, at: datetime, *, policy: Policy, router: Router
) -> Told:
    """The deploys of a payload by target; one that fits none is shown at all of them."""
    read = read_deploys(source.name, body, at)
    by_target: dict[str, list[Change]] = {}
    refused = list(read.refused)
    for one in read.deploys:
        named = one.labels.get("target", "")
        if named and policy.target(named) is None:
            reason = f"there is no target {named!r} in the policy"
            refused.append(Refused(because="malformed", reason=reason))
            continue
        by_target.setdefault(_target(one, source, router), []).append(one.change)
    news = tuple(News(target=target, changes=found) for target, found in by_target.items())
    return Told(news=news, refused=tuple(refused))


def _target(deploy: Deploy, source: SignalSource, router: Router) -> str:
    """By the same routes as alerts."""
    change = deploy.change
    signal = Signal(
        source=source.name,
        key=change.key,
        status=SignalStatus.FIRING,
        title=change.what,
        labels=deploy.labels,
    )
    return router.route(signal).target or EVERYWHERE
