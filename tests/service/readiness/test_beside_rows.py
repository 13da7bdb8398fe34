"""Whether poolers can be changed and hooks be seen, as `stanch check` says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acting_worlds import TARGET
from bouncer_at import bouncer_at, needs_pgbouncer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.pooler import Pooler
from stanch.model.diagnosis import Missing
from stanch.model.hooks import Hook
from stanch.service.readiness.beside_rows import (
    CALL_HOOKS,
    CHANGE_POOLER,
    judge_hooks,
    judge_poolers,
    look_beside,
)

POOLER = Pooler(
    product="PgBouncer",
    version=(1, 18, 0),
    settings={"admin_users": "chief, stanch_act"},
    is_watched_one=True,
)


def test_a_console_that_lets_us_change_it_is_a_yes() -> None:
    assert judge_poolers({"bouncer": ("stanch_act", POOLER)})["can"] is True


@pytest.mark.parametrize(
    ("user", "seen", "why"),
    [
        ("stats", POOLER, "stats is not among admin_users"),
        ("stanch", POOLER, "stanch is not among admin_users"),
        ("chief", replace(POOLER, version=(1, 17, 1)), "1.18 or newer"),
        ("chief", replace(POOLER, product="Odyssey"), "not a PgBouncer"),
        ("chief", replace(POOLER, is_watched_one=False), "one process"),
    ],
)
def test_what_is_lacking_is_told_with_the_lines_for_its_settings(
    user: str, seen: Pooler, why: str
) -> None:
    row = judge_poolers({"good": ("chief", POOLER), "bouncer": (user, seen)})
    assert row["can"] is False
    assert row["why"].startswith("bouncer: ")
    assert why in row["why"]
    assert "admin_users = stanch_act" in row["change"]


def test_a_pooler_that_is_only_watched_or_silent_is_not_changed() -> None:
    assert "admin_dsn" in judge_poolers({})["why"]
    silent = judge_poolers({"bouncer": Missing(what="x", reason="no session")})
    assert (silent["can"], silent["why"]) == (False, "bouncer: no session")


def test_a_hook_whose_effect_cannot_be_seen_is_a_no() -> None:
    assert judge_hooks({"on": "true", "off": "false"})["can"] is True
    row = judge_hooks({"on": "true", "off": Missing(what="x", reason="status 500")})
    assert (row["can"], row["why"]) == (False, "off: status 500")


@needs_pgbouncer
@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_real_pooler_is_looked_at_and_only_what_policy_names_has_a_row(
    server: ScratchServer,
) -> None:
    gone = "http://127.0.0.1:1/"
    hook = Hook(name="on", url=gone, verify_url=gone, json=".a", equals="1")
    with bouncer_at(server) as bouncer:
        pools = bouncer.pools()
        rows = await look_beside(replace(TARGET, pools=(pools,), hooks=(hook,)))
        stats = await look_beside(replace(TARGET, pools=(bouncer.pools(chief="stats"),)))
    assert rows[CHANGE_POOLER]["can"] is True, rows
    assert rows[CALL_HOOKS]["can"] is False
    assert "stats is not among admin_users" in stats[CHANGE_POOLER]["why"]
    assert await look_beside(TARGET) == {}
