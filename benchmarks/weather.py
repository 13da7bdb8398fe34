"""A network that loses packets, on virtual time: what TCP makes of it, and a server behind it.

Data that is lost is sent again 0.2 s later, then after 0.4 s, 0.8 s and so on; a lost first packet
of a connection after 1 s and 3 s (RFC 6298 and Linux). Whatever comes later than somebody waits for
does not come at all, as far as he can tell.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from stanch.model.errors import ProbeFailed
from stanch.model.reach import Layer, Reach, ReachState
from stanch.model.vitals import ServerSettings, Vitals, WorkCounters
from stanch.testing.virtual_time import VirtualClock

DATA_AGAIN_S, CONNECT_AGAIN_S = 0.2, 1.0
NEVER_S = math.inf
LOGIN_EXCHANGES = 5
"""TLS or its refusal, the start-up message, two of SCRAM, and the first question."""

VITALS = Vitals(
    at=datetime(2026, 3, 1, tzinfo=UTC),
    postmaster_start=datetime(2026, 2, 1, tzinfo=UTC),
    version_num=160004,
    in_recovery=False,
    transaction_read_only=False,
    sees_sessions=False,
    settings=ServerSettings(max_connections=100, superuser_reserved_connections=3),
    backends=1,
    sessions=None,
    work=WorkCounters(commits=0, rollbacks=0, deadlocks=0, temp_files=0, temp_bytes=0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A while in which packets are lost, each way alike."""

    from_s: float
    until_s: float
    lost: float
    """Share of the packets, 0 to 1."""


@dataclass(slots=True)
class Weather:
    """What happens to packets at each moment; overlapping spells: the worst one counts."""

    spells: Sequence[Spell]
    usually: float
    """Share of packets lost at any other time."""

    def lost(self, at_s: float) -> float:
        return max(
            (s.lost for s in self.spells if s.from_s <= at_s < s.until_s), default=self.usually
        )


class Way:
    """Between Stanch and one server."""

    def __init__(self, weather: Weather, *, round_trip_s: float, seed: int) -> None:
        self.weather, self.round_trip_s = weather, round_trip_s
        self.cut_at_s = NEVER_S
        """From here on nothing gets through."""
        self._random = random.Random(seed)

    def over_s(self, at_s: float) -> float:
        """When what is sent at `at_s` has arrived, sent again as often as it takes."""
        return self._through_s(at_s, DATA_AGAIN_S, after_s=(0.0,)) + self.round_trip_s / 2

    def told_s(self, at_s: float) -> tuple[float, float]:
        """When what is sent at `at_s` has arrived, and when that is known here: it is sent again
        until it is, and acknowledgements get lost as well."""
        half_s, again_s, arrived_s = self.round_trip_s / 2, DATA_AGAIN_S, NEVER_S
        while at_s < self.cut_at_s:
            if not self._is_lost(at_s):
                arrived_s = min(arrived_s, at_s + half_s)
                if not self._is_lost(at_s + half_s):
                    return arrived_s, at_s + self.round_trip_s
            at_s += again_s
            again_s *= 2
        return arrived_s, NEVER_S

    def exchange_s(self, at_s: float) -> float:
        """When the answer to what is said at `at_s` is here."""
        return self.over_s(self.over_s(at_s))

    def connect_s(self, at_s: float) -> float:
        """When a connection begun at `at_s` stands: either packet may be lost."""
        packets_s = (0.0, self.round_trip_s / 2)
        return self._through_s(at_s, CONNECT_AGAIN_S, after_s=packets_s) + self.round_trip_s

    def _through_s(self, at_s: float, again_s: float, *, after_s: Sequence[float]) -> float:
        """When the try began of which no packet is lost, each sent so long after the first."""
        while any(self._is_lost(at_s + later_s) for later_s in after_s):
            if at_s >= self.cut_at_s:
                return NEVER_S
            at_s += again_s
            again_s *= 2
        return at_s

    def _is_lost(self, at_s: float) -> bool:
        return at_s >= self.cut_at_s or self._random.random() < self.weather.lost(at_s)


class FarServer:
    """A healthy server at the other end of a way; also the session that Stanch holds there."""

    def __init__(self, way: Way) -> None:
        self._way, self._clock = way, VirtualClock()
        self.is_open = False
        self._gone = asyncio.Event()
        self._lost_at = self._clock.now()
        self._asked_s = self._heard_s = 0.0

    # --- the session ---

    @property
    def round_trip_s(self) -> float:
        return self._way.round_trip_s

    @property
    def unheard(self) -> bool | None:
        return self.is_open and _now_s() < self._heard_s

    async def open(self, deadline_s: float) -> Reach:
        reach = await self.probe(deadline_s)
        self.is_open = reach.state is ReachState.UP
        if self.is_open:
            self._gone.clear()
        return reach

    async def vitals(self, *, timeout_s: float) -> Vitals:
        asked_s = _now_s()
        arrived_s, self._heard_s = self._way.told_s(asked_s)
        took_s = self._way.over_s(arrived_s) - asked_s if arrived_s < NEVER_S else NEVER_S
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(took_s)
        except TimeoutError as error:
            self.end()
            raise ProbeFailed("no answer") from error
        return replace(VITALS, at=self._clock.now())

    async def lost(self) -> datetime:
        await self._gone.wait()
        return self._lost_at

    async def lost_within(self, wait_s: float) -> datetime | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                return await self.lost()
        return None

    async def close(self) -> None:
        self.end()

    def end(self) -> None:
        """The session is over: it was given up, or somebody ended it."""
        if self.is_open:
            self.is_open, self._lost_at = False, self._clock.now()
            self._gone.set()

    # --- from outside ---

    async def knock(self, deadline_s: float) -> bool:
        began_s = _now_s()
        return await _comes(self._way.connect_s(began_s) - began_s, deadline_s)

    async def greet(self, deadline_s: float) -> bool:
        """As the real one: no connection is no sign of a server that ignores its clients."""
        began_s = _now_s()
        stands_s = self._way.connect_s(began_s)
        if not await _comes(stands_s - began_s, deadline_s):
            return True
        return await _comes(self._way.exchange_s(stands_s) - stands_s, deadline_s)

    async def probe(self, deadline_s: float) -> Reach:
        began_s = _now_s()
        stands_s = self._way.connect_s(began_s)
        end_s = stands_s
        said_s = NEVER_S
        for _ in range(LOGIN_EXCHANGES):
            end_s = self._way.exchange_s(end_s) if end_s < NEVER_S else NEVER_S
            said_s = min(said_s, end_s)
        if await _comes(end_s - began_s, deadline_s):
            state = ReachState.UP
        else:
            connected = stands_s - began_s < deadline_s
            state = ReachState.HUNG if connected else ReachState.TIMEOUT
        passed = (
            Layer(name="tcp", ok=True, ms=1000 * (stands_s - began_s)),
            Layer(name="startup", ok=True, ms=1000 * (said_s - began_s)),
        )
        layers = tuple(layer for layer in passed if layer.ms < 1000 * deadline_s)
        return Reach(state=state, layers=layers, elapsed_ms=1000 * (_now_s() - began_s))


async def _comes(after_s: float, deadline_s: float) -> bool:
    await asyncio.sleep(min(after_s, deadline_s))
    return after_s <= deadline_s


def _now_s() -> float:
    return asyncio.get_running_loop().time()
