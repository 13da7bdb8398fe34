"""What is asked beside the server, tried once: pools, services, their numbers, their logs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from stanch.adapters.channels.trying import Tried
from stanch.adapters.services.health import HttpHealth
from stanch.adapters.services.log_stores import LogStore
from stanch.facts.prometheus_numbers import NO_NUMBER_NOW
from stanch.model.ports.signs import SignSource
from stanch.model.readings import Reading
from stanch.model.shown import shortened
from stanch.policy.policy import TargetPolicy
from stanch.policy.signs import JsonSigns
from stanch.service.watched.signs import numbers_of, pool_source
from stanch.watch.signs.service_numbers import NO_REQUESTS

BETWEEN_S = 1.0
"""Two answers so far apart make a rate."""
DETAIL_CHARS_MAX = 400
POOLS_SHOWN = 5

NOTHING_TO_COUNT = frozenset({NO_REQUESTS, NO_NUMBER_NOW})
"""Reasons of a missing number that are no trouble: nobody uses the service just now."""

Trial = tuple[str, SignSource, int, Callable[[Sequence[Reading]], Tried]]
"""Its place in the policy, who asks, how many answers it takes, and what they say."""


async def try_sources(
    target: TargetPolicy, *, now: Callable[[], datetime], between_s: float = BETWEEN_S
) -> tuple[tuple[str, Tried], ...]:
    """Each source of a target asked once, all of them at once; counters are asked twice.

    Cost: one request or session a source; each has a deadline of its own. Nothing is changed.
    """

    async def one(trial: Trial) -> tuple[str, Tried]:
        place, source, answers, judged = trial
        try:
            told = await source.look()
            for _ in range(answers - 1):
                await asyncio.sleep(between_s)
                told = await source.look()
        finally:
            await source.close()
        said = judged(told)
        detail = shortened(said.detail, DETAIL_CHARS_MAX)
        return f"{target.name} {place}", Tried(ok=said.ok, detail=detail)

    return tuple(await asyncio.gather(*(one(trial) for trial in _trials(target, now))))


def _trials(target: TargetPolicy, now: Callable[[], datetime]) -> Iterator[Trial]:
    for pools in target.pools:
        yield f"pools {pools.name}", pool_source(pools), 1, pools_said
    for check in target.services:
        yield f"services {check.name}", HttpHealth(check), 1, service_said
    for signs in target.signs:
        answers = 2 if isinstance(signs, JsonSigns) and signs.counters else 1
        yield f"signs {signs.name}", numbers_of(signs), answers, numbers_said
    for logs in target.log_errors:
        yield f"log_errors {logs.name}", LogStore(logs, now=now), 1, numbers_said


def pools_said(told: Sequence[Reading]) -> Tried:
    """A source without pools is well; one whose pools say nothing is read in the wrong way."""
    well = next(r for r in told if r.name == "health_check_ok")
    if not well.value:
        return Tried(ok=False, detail=well.detail)
    pools = {r.subject.partition("/")[2]: r.detail for r in told if r.name == "pool_usage_pct"}
    known = any(r.value is not None for r in told if r is not well)
    if pools and not known:
        named = ", ".join(list(pools)[:POOLS_SHOWN])
        return Tried(ok=False, detail=f"pools {named}, and no number of any of them")
    listed = [f"{name}: {detail}" for name, detail in pools.items()]
    more = [f"and {len(listed) - POOLS_SHOWN} more"] if len(listed) > POOLS_SHOWN else []
    return Tried(ok=True, detail="; ".join([*listed[:POOLS_SHOWN], *more]) or "no pools now")


def service_said(told: Sequence[Reading]) -> Tried:
    """Whether it says it is well, and how long that took."""
    values = {r.name: r for r in told}
    well, ms = values["health_check_ok"], values["health_check_ms"].value
    if not well.value:
        return Tried(ok=False, detail=well.detail)
    return Tried(ok=True, detail="well" if ms is None else f"well, {ms:.0f} ms")


def numbers_said(told: Sequence[Reading]) -> Tried:
    """Every number with its value, or why there is none."""
    ok = all(r.value is not None or r.detail in NOTHING_TO_COUNT for r in told)
    return Tried(ok=ok, detail=", ".join(_number(r) for r in told))


def _number(reading: Reading) -> str:
    if reading.value is None:
        return f"{reading.name} unknown: {reading.detail}"
    detail = f" ({reading.detail})" if reading.detail else ""
    return f"{reading.name} {reading.value:.6g}{detail}"
