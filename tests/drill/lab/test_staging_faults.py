"""What may be made on a staging server: by SQL alone, by an ordinary role, and without a trace."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

import pytest

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.drill.lab.catalogue import BY_ID
from stanch.drill.lab.fault import Fault, NotMade
from stanch.drill.lab.rig import Hand

STAGING = [fault for fault in BY_ID.values() if fault.on_staging]
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)

OBJECTS = """
SELECT c.relkind::text, c.relname FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 2
"""
LEFT = """
SELECT (SELECT count(*) FROM pg_locks WHERE locktype <> 'virtualxid' AND pid <> pg_backend_pid()),
       (SELECT count(*) FROM pg_prepared_xacts),
       (SELECT count(*) FROM pg_db_role_setting)
"""


@on_18
@pytest.mark.parametrize("fault", STAGING, ids=lambda fault: fault.id)
def test_it_is_made_by_an_ordinary_role_and_leaves_nothing(
    shared_server: ScratchServer, fault: Fault
) -> None:
    before = shared_server.query(OBJECTS, dbname="app")
    with Hand(dsn=shared_server.dsn("app"), rng=random.Random(11)) as hand:
        cast("Callable[[Hand], None]", fault.make)(hand)
        assert shared_server.query("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'")
    assert any(shared_server.query(LEFT) == [(0, 0, 0)] for _ in range(200))
    assert shared_server.query(OBJECTS, dbname="app") == before


def test_some_may_be_made() -> None:
    assert len(STAGING) >= 5


def test_an_undoing_that_fails_keeps_no_other_from_being_done() -> None:
    done: list[str] = []

    def fail() -> None:
        raise NotMade("the device is busy")

    with Hand(dsn="", rng=random.Random(1)) as hand:
        hand.undo(lambda: done.append("first made"))
        hand.undo(fail)
        hand.undo(lambda: done.append("last made"))
    assert done == ["last made", "first made"]
