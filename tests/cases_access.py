"""Evidence of logins, pools, certificates and rights, each as its cause shows it."""

from __future__ import annotations

from dataclasses import replace

import evidences as w
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import LogEvent
from stanch.model.reach import Reach

HBA = 'no pg_hba.conf entry for host "10.0.0.7", user "app", database "app", no encryption'
PASSWORD = 'password authentication failed for user "app"'
NO_LOGIN = 'role "app" is not permitted to log in'
LIMIT = 'too many connections for role "app"'
DENIED = "permission denied for table orders"
READ_ONLY = "cannot execute INSERT in a read-only transaction"


def lines(
    kind: str, text: str, count: int, *, who: str = "app@app", every_s: float = 5.0
) -> list[LogEvent]:
    """So many lines, the newest a moment ago."""
    return [
        w.line(kind, 2 + every_s * n, text, who=who, severity="FATAL")
        for n in reversed(range(count))
    ]


def tried(count: int, roles: int, kind: str = "role_unknown") -> list[LogEvent]:
    """Failed logins of so many roles, in turn."""
    said = 'password authentication failed for user "guess{}"'
    return [
        w.line(kind, 2 + 3.0 * n, said.format(n % roles), severity="FATAL")
        for n in reversed(range(count))
    ]


def refused(detail: str, *events: LogEvent, state: str = "auth_failed") -> Evidence:
    """The watch itself is turned away."""
    return w.healthy(
        reach=w.reach(state, detail),
        sessions=w.NOT_SERVED,
        chains=w.NOT_SERVED,
        activity=w.NOT_SERVED,
        figures=w.NOT_SERVED,
        history=w.NOT_SERVED,
        log=w.log(*events),
    )


def certificate(ends_ago_s: float, seen: Reading[Reach] | None = None) -> Reading[Reach]:
    found = seen or w.reach("up")
    return replace(found, value=replace(found.value, certificate_ends=w.ago(ends_ago_s)))


def pooled(usage: float, waiting: float, wait_s: float) -> tuple[w.Course, ...]:
    """What a pooler tells of one pool, which is half empty most of the time."""
    return (
        w.course("pool_usage_pct", 40, usage, "bouncer/app/app"),
        w.course("pool_waiting", 0, waiting, "bouncer/app/app"),
        w.course("pool_max_wait_s", 0, wait_s, "bouncer/app/app"),
    )


def told(usage: float, waiting: float, wait_s: float, *, paused: bool) -> Reading[Figures]:
    """What a pooler says of one pool when it is asked for a diagnosis."""
    numbers = {
        "pool_usage_pct": usage,
        "pool_waiting": waiting,
        "pool_max_wait_s": wait_s,
        "pool_paused": float(paused),
        "pool_size": 20.0,
    }
    items = tuple(w.figure(name, value, "bouncer/app/app") for name, value in numbers.items())
    return w.read(Figures(items=items))


HIT = ('role "app" has 20 of the 20 sessions that its own CONNECTION LIMIT allows',)
YOUNG = w.figure("sessions_begun_10s", 70, "", '66 of application "shop"')
COPY = w.figure("copying_out", 4e9, "temp_admin", "psql, from 203.0.113.9, pid 4711")
NEW_ROLE = w.change(1200, "role", "temp_admin", "is new: login")
SUPERUSER = w.change(300, "role", "temp_admin", "was: login; is: superuser login")
REVOKED = w.change(
    100, "object", "app", "ran REVOKE SELECT ON orders FROM app; by admin@app (psql)"
)
STANDBY = "the server is in recovery: a standby"
SWITCHED = "default_transaction_read_only is on for this role's sessions"

CASES: dict[str, Evidence] = {
    "hba_refused": refused(
        f"FATAL 28000: {HBA}", w.line("reloaded", 30), *lines("hba_rejected", HBA, 4)
    ),
    "password_expired": refused(
        f"FATAL 28P01: {PASSWORD}", *lines("password_expired", PASSWORD, 4)
    ),
    "login_not_permitted": refused(
        f"FATAL 28000: {NO_LOGIN}", *lines("login_not_permitted", NO_LOGIN, 4)
    ),
    "password_wrong": refused(f"FATAL 28P01: {PASSWORD}", *lines("auth_failed", PASSWORD, 4)),
    "certificate_expired": replace(
        refused(
            "certificate verify failed: certificate has expired; the certificate expired 3 days "
            "ago, on 2026-02-26",
            state="tls_failure",
        ),
        reach=certificate(
            3 * 86_400, w.reach("tls_failure", "certificate verify failed: certificate has expired")
        ),
    ),
    "certificate_untrusted": refused(
        "certificate verify failed: unable to get local issuer certificate", state="tls_failure"
    ),
    "hba_invalid": w.healthy(
        log=w.log(
            w.line("reloaded", 60), w.line("config_error", 60, "pg_hba.conf was not reloaded")
        )
    ),
    "connection_limit_reached": w.healthy(
        sessions=w.sessions(w.group("idle", 14), w.group("active", 6), limits_hit=HIT),
        log=w.log(*lines("too_many_for_role", LIMIT, 5)),
    ),
    "connection_storm": w.healthy(
        sessions=w.sessions(w.group("active", 20), w.group("idle", 60)),
        figures=w.figures(*w.HEALTHY_FIGURES, YOUNG, **w.SETTINGS),
        history=w.history(
            w.course("client_backends", 12, 80),
            w.course("log_class_total", 0.5, 40, "connection_received"),
        ),
    ),
    "pool_exhausted": w.healthy(history=w.history(*w.HEALTHY_COURSES, *pooled(100, 30, 12))),
    "pool_paused": w.healthy(beside=told(0, 30, 12, paused=True)),
    "pool_clients_exhausted": w.healthy(
        history=w.history(
            *w.HEALTHY_COURSES, w.course("pool_usage_pct", 50, 100, "bouncer/clients")
        )
    ),
    "login_attack": w.healthy(
        log=w.log(*tried(60, 12)),
        history=w.history(
            *w.HEALTHY_COURSES, w.course("auth_failures_total", 0.001, 0.4, "database")
        ),
    ),
    "dangerous_rights_gained": w.healthy(
        changes=w.changes(SUPERUSER), history=w.history(w.course("dangerous_roles", 1, 2))
    ),
    "data_copied_out": w.healthy(
        figures=w.figures(*w.HEALTHY_FIGURES, COPY, **w.SETTINGS), changes=w.changes(NEW_ROLE)
    ),
    "rights_revoked": w.healthy(
        log=w.log(*lines("permission_denied", DENIED, 30)), changes=w.changes(REVOKED)
    ),
    "read_only_setting": w.healthy(
        reach=w.reach("read_only", SWITCHED), log=w.log(*lines("read_only", READ_ONLY, 20))
    ),
    "standby_written_to": w.healthy(
        reach=w.reach("read_only", STANDBY),
        log=w.log(*lines("read_only", READ_ONLY, 20)),
        sessions=w.sessions(w.group("active", 6), in_recovery=True),
        figures=w.figures(w.figure("in_recovery", 1), **w.SETTINGS),
    ),
}
