"""Told incidents: memory, containers, and work that keeps the server from its own."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means.control_group import limit_memory
from stanch.drill.lab.means.estate import Records, estate, everyday, records, says, unused
from stanch.drill.lab.means.starting import enclose, recovers_from
from stanch.drill.lab.rig import Rig

NOTE = "incidents-machine"
STATEMENTS = 4000
"""So many would take several gigabytes: one of them is the last."""
WAITS_SQL = """
SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'LWLock'
AND lower(replace(wait_event, '_', '')) LIKE 'lockmanager%' HAVING count(*) >= 3
"""


# --- containers ---------------------------------------------------------------------------------


def _small_shared_memory(rig: Rig) -> None:
    """/dev/shm as a container has it, in the measure of these tables."""
    made = records(rig, rows=rig.rng.randint(180_000, 260_000), width=2)
    rig.notes[NOTE] = made
    size_kb = rig.rng.choice((2048, 3072, 4096))
    mount = f"mount -t tmpfs -o size={size_kb}k,mode=1777 shm /dev/shm"
    enclose(rig, "unshare", "-m", "/bin/sh", "-c", f'{mount} && exec "$@"', "-")
    for name, value in (("work_mem", "64MB"), ("parallel_setup_cost", "0")):
        rig.admin(f"ALTER ROLE {estate(rig).analyst} SET {name} = '{value}'")
    everyday(rig, made.usual)


def _parallel_reports(rig: Rig) -> None:
    """As told in https://www.instaclustr.com/blog/postgresql-docker-and-shared-memory/."""
    made: Records = rig.notes[NOTE]
    says(
        rig,
        lambda rng: (
            f"SELECT count(*), max(a.amount) FROM {made.name} a JOIN {made.name} b"
            f" ON a.body = b.body WHERE a.amount >= {rng.randint(0, 5)}"
        ),
        role=estate(rig).analyst,
        application="Superset",
        sessions=rig.rng.randint(1, 2),
        pause_s=rig.rng.uniform(0.3, 1.0),
    )
    rig.until(lambda: rig.server.log_text().count("could not resize shared memory") >= 2,
              seconds=40)  # fmt: skip


def _little_memory(rig: Rig) -> None:
    limit_memory(rig, rig.rng.randint(150, 240))
    made = records(rig, rows=rig.rng.randint(2_000, 9_000))
    rig.notes[NOTE] = made
    everyday(rig, made.usual)


def _statements_never_freed(rig: Rig) -> None:
    """An application prepares each list of ids as a statement of its own, and keeps them all."""
    made: Records = rig.notes[NOTE]
    home, ids = estate(rig), rig.rng.randint(4_000, 8_000)
    session = rig.session(home.program, user=home.web)
    said = f"(PID {session.info.backend_pid}) was terminated by signal 9"

    def prepare_all() -> None:
        with suppress(psycopg.OperationalError):
            for number in range(STATEMENTS):
                these = ", ".join(str(made.any_id(rig.rng)) for _ in range(ids))
                rig.run(
                    session,
                    f"PREPARE a{number} AS SELECT id, state FROM {made.name} WHERE id IN ({these})",
                )

    recovers_from(rig, prepare_all, said)


# --- vacuum that is called off ------------------------------------------------------------------


def _slowly_vacuumed(rig: Rig) -> None:
    made = records(rig, rows=rig.rng.randint(20_000, 40_000))
    rig.sql(
        f"ALTER TABLE {made.name} SET (autovacuum_vacuum_cost_delay = 50,"
        " autovacuum_vacuum_cost_limit = 20, autovacuum_vacuum_scale_factor = 0.02)"
    )
    rig.notes[NOTE] = made
    everyday(rig, made.usual)


def _locked_every_second(rig: Rig) -> None:
    """A job exchanges rows with another system under a lock of the table, all day long."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    says(
        rig,
        lambda _rng: (
            f"LOCK TABLE {made.name} IN SHARE ROW EXCLUSIVE MODE;"
            f" SELECT count(*) FROM {made.name} WHERE amount < 0"
        ),
        role=home.worker,
        application="erp-exchange",
        pause_s=rig.rng.uniform(0.4, 0.9),
    )
    says(
        rig,
        lambda rng: (
            f"UPDATE {made.name} SET account_id = account_id + 1 WHERE id % 6 = {rng.randint(0, 5)}"
        ),
        role=home.worker,
        application="reassign",
        pause_s=rig.rng.uniform(0.3, 0.6),
    )
    dead = "SELECT 1 FROM pg_stat_user_tables WHERE relid = %s::regclass AND n_dead_tup > %s"

    def starved() -> bool:
        called_off = rig.server.log_text().count("canceling autovacuum task")
        return called_off >= 3 and bool(rig.admin(dead, (made.name, made.rows)))

    rig.until(starved, seconds=60)


# --- many partitions ----------------------------------------------------------------------------


def _hundreds_of_parts(rig: Rig) -> None:
    """Orders by day; what looks for one by its number has to look into each part."""
    name = f"{estate(rig).schema}.{unused(rig, ('orders', 'rides', 'payouts', 'visits'))}"
    parts = rig.rng.randint(140, 200)
    rig.sql(
        f"CREATE TABLE {name} (day int NOT NULL, ref bigint, state text) PARTITION BY LIST (day)"
    )
    for day in range(parts):
        rig.sql(f"CREATE TABLE {name}_{day} PARTITION OF {name} FOR VALUES IN ({day})")
    rig.sql(f"CREATE INDEX ON {name} (ref)")
    rig.sql(f"CREATE INDEX ON {name} (state)")
    rig.sql(f"INSERT INTO {name} SELECT n % {parts}, n, 'new' FROM generate_series(1, 20000) n")
    rig.sql(f"ANALYZE {name}")
    rig.notes["parts"] = name
    made = records(rig, rows=rig.rng.randint(2_000, 6_000))
    everyday(rig, made.usual)


def _looked_up_in_all_parts(rig: Rig) -> None:
    """As told in https://www.kylehailey.com/post/postgres-partition-pains-lockmanager-waits."""
    name: str = rig.notes["parts"]
    says(
        rig,
        lambda rng: f"SELECT state FROM {name} WHERE ref = {rng.randint(1, 20000)}",
        role=estate(rig).web,
        application="order-lookup",
        sessions=rig.rng.randint(30, 45),
        pause_s=0.0,
    )
    rig.until(lambda: rig.admin(WAITS_SQL), seconds=60)


FAULTS = (
    Fault(
        id="container-without-shared-memory",
        area=Area.PROCESS,
        story="The server moved into a container; parallel reports find no room in its small"
        " /dev/shm and fail, though every disk is nearly empty.",
        causes=("shared_memory_small",),
        make=_parallel_reports,
        needs=Needs(root=True, programs=("unshare", "mount"), prepare=(_small_shared_memory,)),
        shows_after_s=3.0,
    ),
    Fault(
        id="statements-never-freed",
        area=Area.PROCESS,
        story="A driver prepared each list of ids as a statement of its own and kept them all,"
        " until the kernel killed its session and the server started anew.",
        causes=("oom_killed",),
        make=_statements_never_freed,
        needs=Needs(root=True, prepare=(_little_memory,)),
        is_over=True,
    ),
    Fault(
        id="locked-every-second",
        area=Area.LOCKS,
        story="A job locks a table again and again, and each time autovacuum, which is at work"
        " there, is called off: dead rows pile up.",
        causes=("autovacuum_starved",),
        make=_locked_every_second,
        needs=Needs(
            conf={"autovacuum_naptime": "1s", "deadlock_timeout": "300ms"},
            prepare=(_slowly_vacuumed,),
        ),
        shows_after_s=6.0,
    ),
    Fault(
        id="looked-up-in-all-parts",
        area=Area.LOCKS,
        story="A new lookup has no condition on the day, and has to lock each of the hundreds of"
        " partitions; many sessions do so at once and wait for one another.",
        causes=("lwlock_contention",),
        make=_looked_up_in_all_parts,
        needs=Needs(conf={"max_connections": 120}, prepare=(_hundreds_of_parts,)),
        shows_after_s=6.0,
    ),
)
