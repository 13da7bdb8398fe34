"""The postmaster dies by SIGKILL, as the OOM killer would do it, and leaves its lock file."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from stanch.drill.acts.act import Act, Broken, always_possible
from stanch.drill.judging import Expectation
from stanch.drill.scene import ORDERS, Place


@contextmanager
def _kill(place: Place) -> Generator[Broken]:
    pid = place.server.kill()
    assert place.server.signalled_at is not None
    what = f"kill -9 {pid}: the postmaster is gone, its lock file stays."
    yield Broken(at=place.server.signalled_at, what=what)


KILLED = Act(
    name="killed",
    title="The postmaster is killed",
    target=ORDERS,
    expected=Expectation(
        cause="killed", actions=("start_server",), noticed_within_s=5, rescued_within_s=30
    ),
    cannot=always_possible,
    breaks=_kill,
)
