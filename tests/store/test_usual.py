"""What was learned to be usual: one row a series, bounded in number and in age."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from stanch.model.ids import TargetName
from stanch.store import usual
from stanch.store.usual import UsualRow

T0 = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
ORDERS, BILLS = TargetName("orders"), TargetName("bills")


def row(
    subject: str, *, of: TargetName = ORDERS, days: float = 0.0, says: bytes = b"x"
) -> UsualRow:
    learned_at = T0 + timedelta(days=days)
    return UsualRow(
        target=of, rule="layer_slow", subject=subject, learned_at=learned_at, content=says
    )


def test_a_series_has_one_row_however_often_it_is_kept(kit: Any) -> None:
    store = kit.memory()
    store.write(usual.put([row("tcp"), row("tls", says=b"old"), row("tcp", of=BILLS)]))
    store.write(usual.put([row("tls", days=1, says=b"new")]))
    found = store.read(lambda conn: usual.of_targets(conn, [ORDERS, TargetName("x")]))
    assert [(kept.subject, kept.content) for kept in found] == [("tls", b"new"), ("tcp", b"x")]


def test_what_is_old_or_too_much_is_forgotten_target_by_target(kit: Any) -> None:
    store = kit.memory()
    store.write(usual.put([row("gone", days=-61), row("old", days=-59)]))
    store.write(usual.put([row(f"s{n}", days=n / 10) for n in range(5)]))
    store.write(usual.put([row("only", of=BILLS, days=-59)]))
    assert store.write(usual.forget(at=T0, rows_max=3)) == 4
    found = store.read(lambda conn: usual.of_targets(conn, [ORDERS, BILLS]))
    assert {(kept.target, kept.subject) for kept in found} == {
        *((ORDERS, f"s{n}") for n in (2, 3, 4)),
        (BILLS, "only"),
    }


def test_names_of_any_content_are_kept(kit: Any) -> None:
    store = kit.memory()
    hostile = "a'; DROP TABLE usual; --\x00\u202e\ud800"
    store.write(usual.put([row(hostile)]))
    [kept] = store.read(lambda conn: usual.of_targets(conn, [ORDERS]))
    assert kept.subject.startswith("a'; DROP TABLE usual; --")
