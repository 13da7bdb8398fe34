"""The rescue check comes every few seconds; its credentials, once refused, do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanch.incident.state import Incident
from stanch.model.ids import IncidentId, TargetName
from stanch.policy.policy import TargetPolicy
from stanch.service.clock import SteadyClock
from stanch.service.watched.target import Watched
from stanch.store.statedir import StateDir
from stanch.testing.fakepg import FakePostgres

INCIDENT = Incident(id=IncidentId("20260301-001"))


def watched(policy: TargetPolicy, state: Path) -> Watched:
    async def no_doubts() -> tuple[str, ...]:
        return ()

    return Watched(policy, clock=SteadyClock(), state=StateDir(path=state), doubts=no_doubts)


@pytest.mark.parametrize("logs_in", ["as the application", "as the watch", "as both"])
async def test_a_stale_password_is_sent_once_however_often_the_rescue_is_checked(
    tmp_path: Path, logs_in: str
) -> None:
    async with FakePostgres(passwords={"app": "new"}) as server:
        stale, fine = server.dsn(password="old"), server.dsn(user="stanch_watch")
        policy = TargetPolicy(
            name=TargetName("orders"),
            dsn=fine if logs_in == "as the application" else stale,
            app_dsn="" if logs_in == "as the watch" else stale,
            host="none",
        )
        one = watched(policy, tmp_path)
        checks = [await one.hands.check_rescue(INCIDENT) for _ in range(3)]
        await one.close()

        assert server.passwords_tried == 1
        assert not any(checked.ok or checked.login_ok for checked in checks)
        assert ["ago" in checked.detail for checked in checks] == [False, True, True]


async def test_a_login_that_works_is_tried_by_every_check(tmp_path: Path) -> None:
    async with FakePostgres(passwords={"app": "new"}) as server:
        policy = TargetPolicy(
            name=TargetName("orders"),
            dsn=server.dsn(user="stanch_watch"),
            app_dsn=server.dsn(password="new"),
            host="none",
        )
        one = watched(policy, tmp_path)
        checks = [await one.hands.check_rescue(INCIDENT) for _ in range(3)]
        await one.close()

        assert [checked.login_ok for checked in checks] == [True] * 3
        assert server.passwords_tried == 6, "a probe, and libpq behind it"
