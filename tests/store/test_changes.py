"""What changed, in the store: once, joined, bounded, and there for the next process."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from stanch.model.changes import Change, Inventory, Item, ItemKind, Look
from stanch.store import changes as s
from stanch.store.sql import SqlStore

T0 = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def ran(n: int, seconds: float = 0.0, **more: Any) -> Change:
    facts: dict[str, Any] = {
        "at": at(seconds),
        "kind": ItemKind.RELATION,
        "what": f"shop.t{n}",
        "before": None,
        "after": None,
        "source": "log",
        "by": "app@shop",
        "how": f"CREATE TABLE t{n} (id int)",
    }
    return Change(**{**facts, **more})


def look(seconds: float, **places: list[str]) -> Look:
    """Tables, by database."""
    found = tuple(
        Inventory(
            place=f"slow/inventory/{db}",
            source="inventory",
            items=tuple(
                Item(kind=ItemKind.RELATION, name=f"{db}.public.{n}", value="table") for n in names
            ),
        )
        for db, names in places.items()
    )
    return Look(
        at=at(seconds), lane="slow", inventories=found, places=frozenset(i.place for i in found)
    )


class Shelf:
    """A store with short names for what is asked of it."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store

    def note(self, *changes: Change, looks: tuple[Look, ...] = (), after: float = 0) -> int:
        """How many rows are new or another."""
        news = s.News(target="orders", changes=changes, looks=looks)
        return len(self.store.write(s.note([news], at=at(after))).get("orders", ()))

    def rows(self, target: str = "orders", **more: Any) -> list[Change]:
        asked = {"since": at(-1e7), "until": None, "limit": 5000, **more}
        return self.store.read(lambda c: s.changes_of(c, target, **asked))


def test_everything_of_a_change_comes_back_and_a_change_told_twice_is_one(kit: Any) -> None:
    shelf = Shelf(kit.memory())
    one = ran(1, link="https://example.com", failed=True, since=at(-9), what="a \ud800 b\x1b")
    assert (shelf.note(one), shelf.note(one)) == (1, 0)
    [row] = shelf.rows()
    assert (row.at, row.since, row.by, row.how) == (one.at, one.since, one.by, one.how)
    assert (row.link, row.failed, row.before) == (one.link, True, None)


def test_what_changed_while_nobody_looked_is_found_by_the_next_process(
    kit: Any, tmp_path: Path
) -> None:
    shelf = Shelf(first := kit.store(tmp_path / "state"))
    assert shelf.note(looks=(look(0, shop=["a", "b"]),)) == 0, "a first look is no change"
    first.close()
    shelf = Shelf(kit.store(tmp_path / "state"))
    shelf.note(looks=(look(9000, shop=["b", "c"]),))
    told = [(c.what, c.before, c.after, c.since, c.at) for c in shelf.rows()]
    assert told == [
        ("shop.public.a", "table", None, T0, at(9000)),
        ("shop.public.c", None, "table", T0, at(9000)),
    ]
    assert shelf.note(looks=(look(9300, shop=["b", "c"]),)) == 0


def test_a_place_that_is_not_read_in_every_look_changed_since_it_was_read_last(kit: Any) -> None:
    shelf = Shelf(kit.memory())
    both = frozenset({"slow/inventory/shop", "slow/inventory/crm"})

    def read(seconds: float, **places: list[str]) -> Look:
        one = look(seconds, **places)
        found = tuple(replace(i, read_at=at(seconds - 60)) for i in one.inventories)
        return replace(one, inventories=found, places=both)

    shelf.note(looks=(read(100, shop=["a"], crm=["b"]),))
    shelf.note(looks=(read(400, shop=["a"]),))
    shelf.note(looks=(read(700, shop=["a", "x"], crm=["b", "y"]),))
    told = {c.what: (c.since, c.at) for c in shelf.rows()}
    assert told == {
        "shop.public.x": (at(340), at(640)),
        "crm.public.y": (at(40), at(640)),
    }
    assert shelf.store.read(lambda c: s.looked_at(c, "orders", lane="slow")) == at(700)
    shelf.note(looks=(look(1000, shop=["a", "x"]),))
    rows = "SELECT lane FROM looked ORDER BY lane"
    kept = shelf.store.read(lambda c: [r[0] for r in c.exec_driver_sql(rows)])
    assert kept == ["slow", "slow/inventory/shop"], "of a database that is gone nothing is kept"


def test_a_statement_and_the_look_that_shows_it_are_one_row(kit: Any) -> None:
    shelf = Shelf(kit.memory())
    shelf.note(looks=(look(0, shop=[]),))
    shelf.note(ran(1, 30))
    shelf.note(looks=(look(300, shop=["t1"]),))
    [row] = shelf.rows()
    assert (row.what, row.after, row.by, row.at) == ("shop.public.t1", "table", "app@shop", at(30))
    assert shelf.note(ran(1, 30)) == 0, "read again after a crash"


def test_a_database_that_is_gone_is_forgotten_and_one_that_could_not_be_asked_is_not(
    kit: Any,
) -> None:
    shelf = Shelf(kit.memory())
    shelf.note(looks=(look(0, shop=["a"], crm=["b"]),))
    closed = look(300, shop=["a"])
    asked = Look(
        at=closed.at,
        lane="slow",
        inventories=closed.inventories,
        places=closed.places | {"slow/inventory/crm"},
    )
    assert shelf.note(looks=(asked,)) == 0
    assert shelf.note(looks=(look(600, shop=["a"], crm=["b", "c"]),)) == 1
    shelf.note(looks=(look(900, shop=["a"]),))
    assert shelf.note(looks=(look(1200, shop=["a"], crm=["z"]),)) == 0, "another of that name"


def test_a_flood_of_statements_is_counted_beyond_a_number(kit: Any) -> None:
    shelf = Shelf(kit.memory())
    shelf.note(*(ran(n, n / 10) for n in range(500)), after=60)
    rows = shelf.rows()
    assert len(rows) == s.FLOOD_MAX + 1
    [rest] = [row for row in rows if row.times > 1]
    assert (rest.what, rest.times) == ("more of CREATE TABLE", 500 - s.FLOOD_MAX)
    assert shelf.note(ran(501, 2000)) == 1, "later there is room again"


def test_what_a_job_runs_again_and_again_is_one_row(kit: Any) -> None:
    shelf = Shelf(kit.memory())
    truncate = {"how": "TRUNCATE staging", "what": "shop.staging"}
    for minute in range(0, 50, 5):
        shelf.note(ran(0, 60 * minute, **truncate))
    shelf.note(ran(0, 60 * 45, **truncate))
    [row] = shelf.rows()
    assert (row.times, row.at) == (10, at(60 * 45)), "the last one was read twice"


def test_a_store_of_an_older_release_that_is_only_looked_into_has_no_changes(kit: Any) -> None:
    shelf = Shelf(store := kit.memory())
    store.write(lambda tx: tx.conn.exec_driver_sql("DROP TABLE change"))
    assert shelf.rows() == []
    assert store.read(lambda c: s.looked_at(c, "orders", lane="slow")) is None


def test_a_statement_that_the_server_refused_says_so(kit: Any) -> None:
    shelf = Shelf(kit.memory())
    shelf.note(ran(1, 1), ran(1, 1.2, failed=True))
    assert [row.failed for row in shelf.rows()] == [True]


def test_old_rows_go_and_of_too_many_the_oldest(kit: Any) -> None:
    shelf = Shelf(kit.memory())
    shelf.note(ran(1, -s.KEPT_S - 60), after=-s.KEPT_S)
    deploys = [
        ran(n, n, source="api", kind=ItemKind.DEPLOY, how="", after="1")
        for n in range(s.KEPT_MAX + 10)
    ]
    shelf.note(*deploys, after=10)
    rows = shelf.rows()
    assert (len(rows), rows[0].at) == (s.KEPT_MAX, at(10))


def test_a_damaged_inventory_is_a_first_look(kit: Any) -> None:
    shelf = Shelf(store := kit.memory())
    shelf.note(looks=(look(0, shop=["a"]),))
    store.write(
        lambda tx: tx.conn.exec_driver_sql("UPDATE inventory SET content = x'00', digest = x'00'")
    )
    assert shelf.note(looks=(look(300, shop=["b"]),)) == 0
    assert shelf.note(looks=(look(600, shop=["b", "c"]),)) == 1


def test_what_is_asked_for_is_of_the_target_or_of_everywhere_and_of_that_time(kit: Any) -> None:
    shelf = Shelf(store := kit.memory())
    shelf.note(ran(1, 0), ran(2, 100))
    deploy = ran(3, 50, kind=ItemKind.DEPLOY, source="api", how="", after="2")
    store.write(
        s.note([s.News(target=s.EVERYWHERE, changes=[deploy]), s.News(target="x")], at=at(0))
    )
    assert [c.what for c in shelf.rows(since=at(40))] == ["shop.t3", "shop.t2"]
    assert [c.what for c in shelf.rows(until=at(60))] == ["shop.t1", "shop.t3"]
    assert [c.what for c in shelf.rows("crm")] == ["shop.t3"]
    assert [c.what for c in shelf.rows(limit=1)] == ["shop.t2"]
    found = store.read(lambda c: s.lately(c, since=at(-60), each=1))
    assert {t: [c.what for c in rows.values()] for t, rows in found.items()} == {
        "orders": ["shop.t2"],
        "": ["shop.t3"],
    }


def test_five_thousand_tables_take_little_room(kit: Any) -> None:
    shelf = Shelf(store := kit.memory())
    shelf.note(looks=(look(0, shop=[f"table_{n}" for n in range(4900)]),))
    [(size,)] = store.read(
        lambda c: c.exec_driver_sql("SELECT sum(length(content)) FROM inventory").all()
    )
    assert size < 100_000
