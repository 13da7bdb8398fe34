"""Evidence of data that is damaged, gone, or at the end of its numbers."""

from __future__ import annotations

from typing import Any

import evidences as w
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import LogEvent
from stanch.model.readings import Reading as Figure

SHOP = "app@app (shop)"
REPORTS = "reports@app (reports)"
BAD_PAGE = 'invalid page in block 3 of relation "base/16384/16401"'
BAD_CHUNK = "missing chunk number 0 for toast value 16401 in pg_toast_16388"
BAD_INDEX = 'index "orders_pkey" contains unexpected zero page at block 1'
BAD_CATALOG = "cache lookup failed for type 16405"
NO_ORDERS = 'relation "orders" does not exist at character 15'


def error(kind: str, seconds_ago: float, text: str, who: str = SHOP, **more: Any) -> LogEvent:
    return w.line(kind, seconds_ago, text, severity="ERROR", who=who, **more)


def again(kind: str, text: str, times: int = 20, **more: Any) -> tuple[LogEvent, ...]:
    """The same, every two seconds until now, by turns of two applications."""
    found = [
        error(kind, 2.0 * n + 1, text, (SHOP, REPORTS)[n % 2], **more)
        for n in reversed(range(times))
    ]
    return tuple(found)


def told(*found: Figure, **settings: str) -> Reading[Figures]:
    """What a healthy server says of itself, and these beside it."""
    names = {(f.name, f.subject) for f in found}
    usual = [f for f in w.HEALTHY_FIGURES if (f.name, f.subject) not in names]
    return w.figures(*usual, *found, **{**w.SETTINGS, **settings})


def of_table(
    name: str, *, before: float, live: float, dead: float, deleted: float = 0, updated: float = 0
) -> tuple[Figure, ...]:
    return (
        w.figure("tables", 7, "app"),
        w.figure("table_rows_before", before, name),
        w.figure("table_live_rows", live, name),
        w.figure("table_dead_rows", dead, name, f"{live:.0f} live; last vacuum never"),
        w.figure("table_deleted_rows_total", deleted, name),
        w.figure("table_updated_rows_total", updated, name),
    )


DROPPED = w.change(
    70,
    "relation",
    "app.public.orders",
    "is gone; it was: table of app, columns 1a2b; ran DROP TABLE orders; by app@app (psql)",
)
MISSED = again("no_such_table", NO_ORDERS)

CASES: dict[str, Evidence] = {
    "page_corruption": w.healthy(log=w.log(*again("invalid_page", BAD_PAGE, 4))),
    "toast_corruption": w.healthy(log=w.log(*again("toast_damaged", BAD_CHUNK, 4))),
    "index_corruption": w.healthy(log=w.log(*again("index_damaged", BAD_INDEX, 4))),
    "collation_drift": w.healthy(
        figures=told(
            w.figure("version_num", 160004),
            w.figure("collation_of_database", 1, "app", "made with 2.31, now 2.36"),
        )
    ),
    "catalog_corruption": w.healthy(log=w.log(*again("catalog_damaged", BAD_CATALOG, 8))),
    "table_dropped": w.healthy(log=w.log(*MISSED), changes=w.changes(DROPPED)),
    "schema_mismatch": w.healthy(
        log=w.log(*again("no_such_column", "column o.paid_at does not exist at character 8")),
        changes=w.changes(w.change(90, "deploy", "shop", "version 2.4, was 2.3")),
    ),
    "table_truncated": w.healthy(
        log=w.log(w.line("table_truncated", 80, "statement: TRUNCATE orders", who=SHOP)),
        figures=told(
            w.figure("tables", 7, "app"),
            w.figure("table_rows_vanished", 1e6, "public.orders", "90 scans, 80000 by index"),
        ),
    ),
    "database_dropped": w.healthy(
        log=w.log(*again("no_such_database", 'database "shop" does not exist')),
        changes=w.changes(w.change(60, "database", "shop", "is gone; it was: UTF8 C")),
        figures=told(w.figure("xid_age_of_database", 1e6, "postgres")),
    ),
    "mass_delete": w.healthy(
        figures=told(*of_table("public.orders", before=1e6, live=0, dead=1e6, deleted=1e6)),
        log=w.log(w.line("whole_table_deleted", 50, "statement: DELETE FROM orders", who=SHOP)),
    ),
    "mass_update": w.healthy(
        figures=told(*of_table("public.orders", before=1e6, live=1e6, dead=1e6, updated=1e6)),
        log=w.log(
            w.line("whole_table_updated", 50, "statement: UPDATE orders SET state = '…'", who=SHOP)
        ),
    ),
    "sequence_exhausted": w.healthy(
        log=w.log(
            *again(
                "sequence_exhausted",
                'nextval: reached maximum value of sequence "orders_id_seq" (2147483647)',
            )
        )
    ),
    "int4_overflow": w.healthy(
        log=w.log(
            *again(
                "integer_out_of_range",
                "integer out of range",
                statement="INSERT INTO lines (order_id, n) VALUES ($1, $2)",
            )
        )
    ),
}
