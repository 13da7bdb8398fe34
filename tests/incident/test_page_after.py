"""How long a dead server is left to whoever restarts it, before anybody is paged."""

from __future__ import annotations

import pytest

from stanch.incident.page_after import DERIVED_S_MAX, NOT_LOOKED, START_S, page_after
from stanch.model.diagnosis import Missing
from stanch.model.restarts import Restarts

SYSTEMD = Restarts(after_s=5.0, source="systemd (postgresql.service, Restart=on-failure)")
NEVER = Restarts(after_s=None, source="pg_ctl never does")


@pytest.mark.parametrize("restarts", [SYSTEMD, NEVER, NOT_LOOKED])
@pytest.mark.parametrize("said_s", [0.0, 42.0])
def test_what_the_policy_says_holds_whoever_restarts_it(
    restarts: Restarts | Missing, said_s: float
) -> None:
    found = page_after(said_s, restarts, recovery_s=7.0)
    assert (found.seconds, found.source) == (said_s, "the policy says so")


def test_left_out_it_is_the_managers_restart_and_the_longest_recovery_seen() -> None:
    found = page_after(None, SYSTEMD, recovery_s=12.5)
    assert found.seconds == 5.0 + START_S + 12.5
    assert found.source.startswith("systemd (postgresql.service")
    assert "12 s" in found.source or "13 s" in found.source


def test_without_a_recovery_ever_seen_the_restart_alone_counts_and_that_is_said() -> None:
    found = page_after(None, SYSTEMD, recovery_s=None)
    assert found.seconds == 5.0 + START_S
    assert "no crash recovery was seen yet" in found.source


@pytest.mark.parametrize("restarts", [NEVER, Missing(what="restarts", reason="far away")])
def test_where_nobody_else_is_known_to_restart_it_people_are_told_at_once(
    restarts: Restarts | Missing,
) -> None:
    found = page_after(None, restarts, recovery_s=600.0)
    assert found.seconds == 0.0
    known = restarts.reason if isinstance(restarts, Missing) else restarts.source
    assert known in found.source


def test_no_log_however_strange_silences_people_for_longer_than_minutes() -> None:
    found = page_after(None, SYSTEMD, recovery_s=864_000.0)
    assert found.seconds == DERIVED_S_MAX
    assert "policy" in found.source
