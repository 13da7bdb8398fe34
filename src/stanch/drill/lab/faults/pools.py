"""Who takes the connections: applications that keep them, crowds, a pooler that is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import pooler, words
from stanch.drill.lab.means.pooler import clients_waiting, pool_size, pooler_port, start_pooler
from stanch.drill.lab.means.visitors import FULL, turned_away, until_full, usual_visitors, visit
from stanch.drill.lab.rig import Rig, Session

SLOTS = 40
"""A small server: so many connections are soon taken."""

LAST = 19
"""The weakest priority; who connects from now on is served with it, too."""

HABITS = (
    "SELECT now()",
    "SELECT count(*) FROM pg_class",
    "SELECT relname FROM pg_class WHERE oid = 1259",
    "BEGIN; SELECT 1; COMMIT",
    "SELECT current_setting('server_version')",
)
"""The last thing that an idle session was asked."""


def _table(rig: Rig, rows: int) -> str:
    table = words.table(rig.rng)
    rig.sql(
        f"CREATE TABLE {table} AS SELECT n AS id, n % 100 AS customer, n % 7 AS amount,"
        f" repeat('x', 80) AS note FROM generate_series(1, {rows}) n"
    )
    rig.sql(f"CREATE INDEX ON {table} (id)")
    rig.undo_sql(f"DROP TABLE IF EXISTS {table}")
    return table


def _give_way(rig: Rig) -> None:
    """Run the server behind everybody else: those who look have a CPU of their own in real life."""
    for pid in rig.server.processes():
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, pid, LAST)


# --- the server's slots -------------------------------------------------------------------------


def _leak(rig: Rig) -> None:
    application, habits = words.application(rig.rng), rig.rng.sample(HABITS, 2)

    def forget_one() -> None:
        session = rig.session(application)
        rig.run(session, rig.rng.choice(habits))

    until_full(rig, forget_one)
    rig.until(turned_away(visit(rig), *FULL))


def _queue_behind_a_lock(rig: Rig) -> None:
    rows = rig.rng.randint(20, 2000)
    table = _table(rig, rows)
    holder = rig.session(words.job(rig.rng))
    rig.run(holder, "BEGIN")
    taken = rig.rng.choice(
        (
            f"UPDATE {table} SET amount = amount + 1",
            f"LOCK TABLE {table} IN EXCLUSIVE MODE",
            f"SELECT count(*) FROM (SELECT 1 FROM {table} FOR UPDATE) locked",
            f"ALTER TABLE {table} ADD COLUMN checked bool",
        )
    )
    rig.run(holder, taken)
    applications = rig.rng.sample(words.APPLICATIONS, rig.rng.randint(1, 3))

    def arrive() -> None:
        waiting = rig.session(rig.rng.choice(applications))
        row = rig.rng.randint(1, rows)
        rig.send(waiting, f"UPDATE {table} SET amount = 0 WHERE id = {row}")

    until_full(rig, arrive)
    rig.until(turned_away(visit(rig), *FULL))


def _rush(rig: Rig) -> None:
    table = _table(rig, rows := rig.rng.randint(10_000, 40_000))
    applications = rig.rng.sample(words.APPLICATIONS, 3)
    # A wait where a larger database would wait for its disks: whoever looks needs a CPU, too.
    slow = f"pg_sleep({rig.rng.uniform(0.1, 0.4):.2f})"
    work = (
        f"SELECT max(amount), {slow} FROM {table} WHERE customer = {{0}} % 100",
        f"SELECT count(*), {slow} FROM {table} WHERE note LIKE '%y%' AND amount > 3",
        f"UPDATE {table} SET amount = amount + 1 WHERE id BETWEEN {{0}} AND {{0}} + 20",
    )

    def busy(session: Session) -> Callable[[], None]:
        def once() -> None:
            rig.run(session, rig.rng.choice(work).format(rig.rng.randint(1, rows)))

        return once

    def arrive() -> None:
        session = rig.session(rig.rng.choice(applications))
        rig.keep(busy(session))
        # Before its thread is waited for.
        rig.undo(session.cancel)

    until_full(rig, arrive)
    rig.until(turned_away(visit(rig), *FULL))


def _storm(rig: Rig) -> None:
    application, sql = words.application(rig.rng), rig.rng.choice(HABITS)
    rig.keep(visit(rig, sql, application_name=application), threads=rig.rng.randint(8, 16))
    before = _sessions_so_far(rig)
    rig.until(lambda: _sessions_so_far(rig) > before + 200)


def _sessions_so_far(rig: Rig) -> int:
    [(sessions,)] = rig.admin("SELECT sum(sessions)::bigint FROM pg_stat_database")
    return int(sessions)


# --- a pooler -----------------------------------------------------------------------------------


def _small_pool(rig: Rig) -> None:
    start_pooler(rig, {"default_pool_size": rig.rng.randint(2, 4), "max_client_conn": 200})
    _visitors_of_the_pooler(rig)


def _few_clients(rig: Rig) -> None:
    start_pooler(rig, {"default_pool_size": 10, "max_client_conn": rig.rng.randint(20, 40)})
    _visitors_of_the_pooler(rig)


def _visitors_of_the_pooler(rig: Rig) -> None:
    application = words.application(rig.rng)
    usual = visit(rig, application_name=application, port=pooler_port(rig))
    rig.keep(usual, pause_s=rig.rng.uniform(0.2, 0.5))


def _long_reports(rig: Rig) -> None:
    # Everybody with everybody: minutes of work.
    table, port = _table(rig, 30_000), pooler_port(rig)
    report = f"SELECT count(*) FROM {table} a JOIN {table} b ON a.note = b.note AND a.id <> b.id"
    reporter, application = words.job(rig.rng), words.application(rig.rng)
    for _ in range(pool_size(rig)):
        session = rig.session(reporter, port=port)
        rig.run(session, "BEGIN")
        rig.undo(session.cancel)
        rig.send(session, report)
    for _ in range(rig.rng.randint(5, 20)):
        waiting = rig.session(application, port=port)
        rig.send(waiting, "SELECT 1")
    rig.until(lambda: clients_waiting(rig) >= 5)


def _too_many_clients(rig: Rig) -> None:
    application, port = words.application(rig.rng), pooler_port(rig)

    def arrive() -> None:
        session = rig.session(application, port=port)
        rig.run(session, "SELECT 1")

    until_full(rig, arrive)
    rig.until(turned_away(visit(rig, port=port), "no more connections"))


FAULTS = (
    Fault(
        id="leaked-sessions",
        area=Area.ACCESS,
        story="An application forgot to close its sessions until every connection was taken.",
        causes=("connections_leaked",),
        make=_leak,
        needs=Needs(conf={"max_connections": SLOTS}, prepare=(usual_visitors,)),
        shows_after_s=2.0,
        answers=False,
    ),
    Fault(
        id="queue-takes-all-slots",
        area=Area.ACCESS,
        story="A job kept its lock without going on; whoever came waited, until there was no "
        "connection left.",
        causes=("idle_in_transaction",),
        make=_queue_behind_a_lock,
        needs=Needs(conf={"max_connections": SLOTS}, prepare=(usual_visitors,)),
        shows_after_s=2.0,
        answers=False,
    ),
    Fault(
        id="rush-takes-all-slots",
        area=Area.ACCESS,
        story="So many customers came at once that every connection was busy with real work.",
        causes=("connections_load",),
        # Who knows how much usually arrives can tell what the slots were taken by.
        or_else=("load_spike",),
        make=_rush,
        needs=Needs(conf={"max_connections": SLOTS}, prepare=(usual_visitors,)),
        shows_after_s=4.0,
        answers=False,
    ),
    Fault(
        id="connection-storm",
        area=Area.ACCESS,
        story="A new version of an application connects anew for each query, hundreds of times a "
        "second.",
        causes=("connection_storm",),
        make=_storm,
        needs=Needs(prepare=(_give_way, usual_visitors), major_min=14),
        shows_after_s=7.0,
    ),
    Fault(
        id="pool-held-by-reports",
        area=Area.ACCESS,
        story="Reports ran for minutes through PgBouncer and had all of its few server "
        "connections; every other client waited.",
        causes=("pool_exhausted",),
        make=_long_reports,
        by_policy_alone=True,
        needs=Needs(programs=pooler.PROGRAMS, prepare=(_give_way, _small_pool)),
        shows_after_s=8.0,
    ),
    Fault(
        id="pooler-out-of-clients",
        area=Area.ACCESS,
        story="PgBouncer had as many clients as it may have and turned further ones away.",
        causes=("pool_clients_exhausted",),
        make=_too_many_clients,
        by_policy_alone=True,
        needs=Needs(programs=pooler.PROGRAMS, prepare=(_few_clients,)),
        shows_after_s=6.0,
    ),
)
