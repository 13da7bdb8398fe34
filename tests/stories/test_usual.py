"""What is usual at an hour of the week, over a restart of the real process."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from fix_responder import MakeResponder
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.detect.usual import HOURS, Baseline
from stanch.incident.projection import IncidentProjection
from stanch.model.ids import TargetName
from stanch.store.chain import to_us
from stanch.store.sql import SqlStore
from stanch.store.usual import UsualRow, put
from timelines import POLICY

pytestmark = [pytest.mark.story, pytest.mark.parametrize("pg_major", [15], indirect=True)]


def learned() -> Baseline:
    """Four weeks of a layer that takes 2 ms at every hour."""
    baseline = Baseline()
    for hour in range(4 * HOURS + 1):
        for minute in (0, 20, 40):
            baseline.learn((60 * hour + minute) * 60.0, 2.0)
    return baseline


def row(target: str, subject: str, learned_at: datetime, content: bytes) -> UsualRow:
    return UsualRow(
        target=TargetName(target),
        rule="layer_slow",
        subject=subject,
        learned_at=learned_at,
        content=content,
    )


def cells(content: bytes) -> list[list[float]]:
    known = Baseline.from_stored(content)
    return [list(known.seen(hour)) for hour in range(HOURS)]


def test_a_restart_takes_up_what_was_learned_and_keeps_it_at_its_end(
    shared_server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(shared_server, start=False)
    then, content = datetime.now(UTC) - timedelta(days=10), learned().stored()
    projection = IncidentProjection(lambda policy_hash: POLICY, lambda: POLICY)
    with closing(SqlStore.open(stanch.state, projection)) as store:
        store.write(
            put(
                [
                    row("orders", "of a test", then, content),
                    row("orders", "damaged", then, content[:-1] + b"?"),
                    row("gone", "of a test", then, content),
                ]
            )
        )
    stanch.start()
    assert stanch.stop() == 0
    with closing(sqlite3.connect(stanch.state / "stanch.db")) as db:
        rows = {
            (target, subject): (learned_us, said)
            for target, subject, learned_us, said in db.execute(
                "SELECT target, subject, learned_us, content FROM usual"
            )
        }
    then_us = to_us(then)
    kept_us, kept = rows["orders", "of a test"]
    assert kept_us > then_us, "it was written anew at the end"
    assert cells(kept) == cells(content)
    assert rows["gone", "of a test"] == (then_us, content), "its target may come back"
    assert rows["orders", "damaged"][0] == then_us
    assert stanch.log_text().count("what was usual is damaged") == 1
