"""One application opens connections and never gives them back, until nobody gets in any more."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from stanch.drill.acts.act import Act, Broken, NotStaged, always_possible
from stanch.drill.judging import Expectation
from stanch.drill.scene import ORDERS, Place

LEAKER = "report-export"
FULL_AFTER_S = 0.4
"""So long no further connection was to be had: full."""
GIVE_UP_S = 20.0


@contextmanager
def _leak(place: Place) -> Generator[Broken]:
    with ExitStack() as leaked:
        opened = _open_until_full(place, leaked)
        first_refused_s = place.load.report().first_failure_s
        assert first_refused_s is not None
        at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - first_refused_s)
        what = f'"{LEAKER}" has opened {opened} sessions and idles; the application is refused.'
        yield Broken(at=at, what=what)


def _open_until_full(place: Place, leaked: ExitStack) -> int:
    """Until no slot was left for a while and the application has been refused."""
    opened = 0
    end = time.monotonic() + GIVE_UP_S
    won_at = time.monotonic()
    while time.monotonic() - won_at < FULL_AFTER_S or not _refused(place):
        if time.monotonic() > end:
            raise NotStaged(f"connections were still to be had after {GIVE_UP_S:g} s")
        try:
            session = place.server.connect("app", application_name=LEAKER)
        except psycopg.OperationalError:
            time.sleep(0.01)
            continue
        leaked.callback(session.close)
        opened += 1
        won_at = time.monotonic()
    return opened


def _refused(place: Place) -> bool:
    return place.load.report().first_failure_s is not None


LEAKED = Act(
    name="leaked",
    title="Connections exhausted by idle sessions",
    target=ORDERS,
    expected=Expectation(
        cause="connections_leaked",
        actions=("end_idle_sessions",),
        names=(LEAKER,),
        noticed_within_s=8,
        rescued_within_s=30,
    ),
    cannot=always_possible,
    breaks=_leak,
)
