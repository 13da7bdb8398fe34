"""Evidence for queues, deadlocks, timeouts, and contention inside the server."""

from __future__ import annotations

from typing import Any

import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.inside import Chain
from stanch.model.readings import Reading as Figure


def figures(*found: Figure, **settings: str) -> Any:
    """Those of a healthy server, with some that differ."""
    named = {(one.name, one.subject) for one in found}
    rest = [one for one in w.HEALTHY_FIGURES if (one.name, one.subject) not in named]
    return w.figures(*rest, *found, **(w.SETTINGS | settings))


def flood(kind: str, lines: int, text: str, **more: Any) -> list[Any]:
    """Lines of one class, ten seconds apart, up to now."""
    return [w.line(kind, 10.0 * n + 1, text, who="app@app (shop)", **more) for n in range(lines)]


CHANGE = w.held(4711, granted=False, application_name="migrate", relation="orders")
PREPARED = Chain(
    root_pid=0,
    root_state="prepared",
    root_in_state_s=7200.0,
    prepared_gid="pay-1",
    waiters=3,
    oldest_wait_s=20.0,
)
LEAKED = w.held(4242, "advisory", state="idle", state_s=900.0, relation="", xact_s=None)
WAITING = [w.held(n, "advisory", granted=False, relation="") for n in (51, 52, 53)]
NOTIFIERS = (
    w.held(4242, "object", relation=""),
    *(w.held(n, "object", granted=False, relation="") for n in (61, 62, 63, 64)),
)
SUBTRANS = (w.doing(9, "LWLock:SubtransSLRU"), w.doing(2, "LWLock:SubtransBuffer"), w.doing(2))
MAPPING = (w.doing(24, "LWLock:BufferMapping"), w.doing(4))
PILED = (
    *(c for c in w.HEALTHY_COURSES if c.name not in ("active_sessions", "commits_total")),
    w.course("active_sessions", 4, 28),
    w.course("commits_total", 100, 50),
)

CASES: dict[str, Evidence] = {
    "ddl_lock_queue": w.healthy(
        chains=w.chains(w.chain(8, 12.0)), activity=w.activity(w.doing(2), CHANGE)
    ),
    "deadlock_storm": w.healthy(
        log=w.log(*flood("deadlock", 8, "deadlock detected", sqlstate="40P01"))
    ),
    "prepared_transaction_orphaned": w.healthy(
        chains=w.chains(PREPARED),
        figures=figures(w.figure("prepared_xacts", 1.0), w.figure("prepared_xact_age_s", 7200.0)),
    ),
    "lock_table_full": w.healthy(
        log=w.log(*flood("lock_table_full", 3, "out of shared memory", sqlstate="53200")),
        figures=figures(w.figure("lock_slots_used", 6200.0)),
    ),
    "commits_behind_notify": w.healthy(activity=w.activity(*NOTIFIERS)),
    "advisory_lock_leak": w.healthy(
        chains=w.chains(w.chain(3, 60.0, "idle")), activity=w.activity(LEAKED, *WAITING)
    ),
    "statement_timeouts": w.healthy(
        log=w.log(
            *flood("statement_timeout", 9, "canceling statement due to statement timeout"),
        ),
        changes=w.changes(w.change(90, "setting", "statement_timeout", "was: 0; is: 50ms")),
    ),
    "subtransaction_overflow": w.healthy(
        activity=w.activity(*SUBTRANS),
        figures=figures(w.figure("oldest_xact_age_s", 900.0)),
    ),
    "lwlock_contention": w.healthy(activity=w.activity(*MAPPING), history=w.history(*PILED)),
}
