"""Evidence for load, plans, statements, vacuum, ids that run out, and neighbours."""

from __future__ import annotations

from typing import Any

import evidences as w
from cases_locks import figures
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.history import Course


def courses(*found: Course) -> Any:
    """Those of a healthy server, with some that differ."""
    named = {(one.name, one.subject) for one in found}
    return w.history(*(c for c in w.HEALTHY_COURSES if (c.name, c.subject) not in named), *found)


def calls(query_id: str, usual: float | None, now: float) -> Course:
    return w.course("statement_calls_total", usual, now, query_id)


def slowdown(query_id: str, times: float) -> Course:
    return w.course("statement_slowdown_times", 1.0, times, query_id)


MORE_BUSY = w.course("active_sessions", 4, 30)
MORE_ON_CPU = w.course("active_without_wait", 2, 26)
LEADING = w.doing(26, query="SELECT … FROM orders WHERE customer = …", query_id="7")
READ_WHOLE = w.figure("table_seq_rows_total", 4e9, "public.orders", "4000 scans, 90000 by index")
DROPPED = w.change(70, "relation", "app.public.orders_customer", "ran DROP INDEX orders_customer")
STALE = w.figure(
    "table_unanalyzed_rows", 3e6, "public.orders", "4000000 live; last analyze 2026-02-27 01:00"
)
DEAD = w.figure("table_dead_rows", 9e6, "public.orders", "1000000 live; last vacuum never")
HELD = w.figure("horizon_age_xids", 30e6, "slot:reports", "inactive")

CASES: dict[str, Evidence] = {
    "load_spike": w.healthy(
        activity=w.activity(w.doing(20, query_id="1"), w.doing(6, query_id="2")),
        figures=figures(w.figure("active_without_wait", 26)),
        history=courses(
            MORE_BUSY,
            MORE_ON_CPU,
            w.course("commits_total", 100, 320),
            w.course("load_per_cpu", 0.4, 3.0),
            calls("1", 80, 250),
            slowdown("1", 1.1),
        ),
    ),
    "missing_index": w.healthy(
        activity=w.activity(LEADING),
        figures=figures(READ_WHOLE),
        history=courses(
            MORE_BUSY, w.course("commits_total", 100, 40), calls("7", 80, 30), slowdown("7", 40.0)
        ),
        changes=w.changes(DROPPED),
    ),
    "plan_flip": w.healthy(
        activity=w.activity(LEADING),
        figures=figures(STALE),
        history=courses(
            MORE_BUSY, w.course("commits_total", 100, 60), calls("7", 80, 60), slowdown("7", 25.0)
        ),
    ),
    "bad_query": w.healthy(
        activity=w.activity(LEADING),
        history=courses(MORE_BUSY, calls("1", 80, 60), calls("2", 5, 5)),
        changes=w.changes(w.change(90, "deploy", "shop", "version 42, was 41")),
    ),
    "generic_plan": w.healthy(
        activity=w.activity(LEADING),
        figures=figures(plan_cache_mode="force_generic_plan"),
        history=courses(MORE_BUSY, calls("7", 80, 80), slowdown("7", 12.0)),
    ),
    "table_bloat": w.healthy(
        figures=figures(DEAD),
        history=courses(w.course("table_bloat_pct", 82, 84, "public.orders")),
    ),
    "vacuum_held_back": w.healthy(figures=figures(HELD)),
    "autovacuum_starved": w.healthy(figures=figures(DEAD, autovacuum="off")),
    "xid_wraparound": w.healthy(
        figures=figures(w.figure("xid_age_of_database", 1.9e9, "app")),
        log=w.log(w.line("xid_wraparound", 30, 'database "app" must be vacuumed within 240000000')),
    ),
    "multixact_wraparound": w.healthy(
        figures=figures(w.figure("mxid_age_of_database", 1.9e9, "app")),
    ),
    "noisy_neighbour": w.healthy(
        history=courses(
            w.course("cpu_steal_pct", 1, 45),
            w.course("load_per_cpu", 0.4, 3.5),
            w.course("commits_total", 100, 45),
        )
    ),
    "maintenance_overload": w.healthy(
        activity=w.activity(
            w.doing(12, "IO:DataFileRead", query_id="1"),
            w.doing(1, "IO:BaseBackupRead", backend_type="walsender", query_id=""),
        ),
        figures=figures(w.figure("progress", 1, "basebackup", "streaming database files")),
        history=courses(w.course("active_sessions", 4, 12), w.course("commits_total", 100, 40)),
    ),
}
