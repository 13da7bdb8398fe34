"""Told incidents: locks that everybody came to wait for, and transactions that kept them."""

from __future__ import annotations

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import pooler
from stanch.drill.lab.means.counters import advance_xids
from stanch.drill.lab.means.estate import (
    Records,
    busy,
    estate,
    everyday,
    queue,
    records,
    says,
    sent,
    wait_for_locks,
)
from stanch.drill.lab.means.pooler import clients_waiting, pool_size, pooler_port, start_pooler
from stanch.drill.lab.means.standbys import asked, caught_up, standby_of
from stanch.drill.lab.means.visitors import FULL, turned_away, until_full, visit
from stanch.drill.lab.rig import Rig, Session

NOTE = "incidents-locks"
FEW_SLOTS = 36
SLRU_SQL = "SELECT 1 FROM pg_stat_slru WHERE lower(name) LIKE 'subtrans%' AND blks_hit + blks_read"
WRAPAROUND_SQL = """
SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'
AND query LIKE %s AND query LIKE '%%to prevent wraparound%%'
"""


def _used(rig: Rig) -> None:
    made = records(rig, rows=rig.rng.randint(3_000, 20_000))
    rig.notes[NOTE] = made
    everyday(rig, made.usual)


def _wants(made: Records, rig: Rig) -> tuple[str, ...]:
    return (made.one(rig.rng), made.theirs(rig.rng), made.add(rig.rng), made.change(rig.rng))


# --- schema changes -----------------------------------------------------------------------------


def _old_rows(rig: Rig) -> None:
    """A table whose rows are so old that autovacuum goes over all of it, at its own slow pace."""
    rows, width = rig.rng.randint(25_000, 40_000), rig.rng.randint(8, 14)
    made = records(rig, rows=rows, width=width, vacuumed=False)
    schema = estate(rig).schema
    rig.sql(
        f"CREATE FUNCTION {schema}.counted() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NEW; END'"
    )
    rig.sql(
        f"CREATE TRIGGER count_rows BEFORE INSERT ON {made.name}"
        f" FOR EACH ROW EXECUTE FUNCTION {schema}.counted()"
    )
    rig.sql(
        f"ALTER TABLE {made.name} SET (autovacuum_freeze_max_age = {rig.rng.randint(2, 9)}00000,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
    )
    advance_xids(rig.server, rig.rng.randint(30_000_000, 190_000_000))
    rig.notes[NOTE] = made
    everyday(rig, made.usual)


def _trigger_dropped_during_vacuum(rig: Rig) -> None:
    """As told in https://www.tritondatacenter.com/blog/manta-postmortem-7-27-2015."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    rig.until(lambda: rig.admin(WRAPAROUND_SQL, [f"%{made.short}%"]), seconds=40)
    deploy = rig.session(rig.rng.choice(("moray", "schema-sync")), user=home.deployer)
    wait_for_locks(rig, [sent(rig, deploy, f"DROP TRIGGER count_rows ON {made.name}")])
    many = rig.rng.randint(4, 12)
    queue(rig, _wants(made, rig), role=home.web, application=home.program, many=many)


def _with_empty_child(rig: Rig) -> None:
    _used(rig)
    made: Records = rig.notes[NOTE]
    rig.sql(
        f"CREATE TABLE {made.name}_items (id bigint PRIMARY KEY, parent_id bigint,"
        f" CONSTRAINT fk_old_name FOREIGN KEY (parent_id) REFERENCES {made.name})"
    )


def _constraint_of_empty_table(rig: Rig) -> None:
    """As told in https://gocardless.com/blog/zero-downtime-postgres-migrations-the-hard-parts/."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    report = rig.session("Looker", user=home.analyst)
    busy(rig, report, f"SELECT account_id, sum(amount), pg_sleep(0.4) FROM {made.name} GROUP BY 1")
    migration = rig.session("rake db:migrate", user=home.deployer)
    change = f"ALTER TABLE {made.name}_items DROP CONSTRAINT fk_old_name"
    wait_for_locks(rig, [sent(rig, migration, change)])
    many = rig.rng.randint(3, 14)
    queue(rig, _wants(made, rig), role=home.web, application=home.program, many=many)


def _constraint_takes_every_slot(rig: Rig) -> None:
    """As told in https://status.flagsmith.com/incidents/h64tzjy7btly."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    batch = rig.session("feature-import", user=home.worker)
    slow = f"UPDATE {made.name} SET body = body || pg_sleep(0.2)::text WHERE id > {made.rows // 2}"
    busy(rig, batch, slow)
    migration = rig.session("manage.py migrate", user=home.deployer)
    change = f"ALTER TABLE {made.name} ADD CONSTRAINT amount_known CHECK (amount >= 0)"
    wait_for_locks(rig, [sent(rig, migration, change)])

    def arrive() -> None:
        sent(rig, rig.session(home.program, user=home.web), rig.rng.choice(_wants(made, rig)))

    until_full(rig, arrive)
    rig.until(turned_away(visit(rig, user=home.web), *FULL))


# --- transactions and advisory locks, through a pooler ------------------------------------------


def _pooled(rig: Rig) -> None:
    _used(rig)
    made: Records = rig.notes[NOTE]
    clients = rig.rng.randint(60, 120)
    start_pooler(rig, {"default_pool_size": rig.rng.randint(3, 6), "max_client_conn": clients})
    port = pooler_port(rig)
    usual = visit(rig, made.theirs(rig.rng), port=port)
    rig.keep(usual, pause_s=rig.rng.uniform(0.1, 0.3))
    rig.keep(visit(rig, made.change(rig.rng), port=port), pause_s=rig.rng.uniform(0.3, 0.8))


def _charged_within_transaction(rig: Rig) -> None:
    """Each of them has written something, and is asking a payment provider that hangs."""
    made: Records = rig.notes[NOTE]
    port, workers = pooler_port(rig), list[Session]()
    for number in range(1, pool_size(rig) + 1):
        worker = rig.session("charge-worker", port=port)
        workers.append(worker)
        rig.run(worker, "BEGIN")
        rig.run(worker, f"SELECT amount FROM {made.name} WHERE id = {number} FOR UPDATE")
        rig.run(worker, f"UPDATE {made.name} SET state = 'charging' WHERE id = {number}")
    for _ in range(rig.rng.randint(4, 15)):
        rig.keep(visit(rig, made.one(rig.rng), port=port), pause_s=rig.rng.uniform(0.1, 0.5))
    # First of all, as whoever waits behind them cannot be called off.
    rig.undo(lambda: [worker.close() for worker in workers])
    rig.until(lambda: clients_waiting(rig) >= 3)


def _migration_lock_in_pool(rig: Rig) -> None:
    """A migration took its lock through the pooler, went away, and the session kept the lock."""
    home = estate(rig)
    key = rig.rng.randint(10**12, 9 * 10**12)
    first = rig.session("rails db:migrate", port=pooler_port(rig))
    rig.run(first, f"SELECT pg_advisory_lock({key})")
    first.close()
    for _ in range(rig.rng.randint(1, 4)):
        again = rig.session("rails db:migrate", user=home.deployer)
        wait_for_locks(rig, [sent(rig, again, f"SELECT pg_advisory_lock({key})")])


# --- deadlocks ----------------------------------------------------------------------------------


def _stock(rig: Rig) -> None:
    _used(rig)
    schema = estate(rig).schema
    rig.sql(f"CREATE TABLE {schema}.stock_levels (sku int PRIMARY KEY, level bigint NOT NULL)")
    rig.sql(f"INSERT INTO {schema}.stock_levels SELECT n, 0 FROM generate_series(1, 400) n")


def _batches_in_any_order(rig: Rig) -> None:
    """Each batch adds up many counters at once, in the order in which its messages came."""
    home = estate(rig)
    skus = rig.rng.randint(60, 200)
    says(
        rig,
        lambda rng: (
            f"INSERT INTO {home.schema}.stock_levels"
            " SELECT sku, 1 + (pg_sleep(0.002) IS NULL)::int"
            f" FROM (SELECT sku FROM generate_series(1, {skus}) sku"
            f" ORDER BY md5(sku || '{rng.random()}') OFFSET 0) batch"
            " ON CONFLICT (sku) DO UPDATE SET level = stock_levels.level + excluded.level"
        ),
        role=home.worker,
        application="ingest-batch",
        sessions=rig.rng.randint(4, 7),
        pause_s=rig.rng.uniform(0.01, 0.1),
    )
    rig.until(lambda: rig.server.log_text().count("deadlock detected") >= 3, seconds=40)


# --- subtransactions, on a replica --------------------------------------------------------------


def _savepoints_stall_replica(rig: Rig) -> None:
    """As told in https://about.gitlab.com/blog/2021/09/29/
    why-we-spent-the-last-month-eliminating-postgresql-subtransactions/."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    before = rig.rng.randint(70_000, 100_000)
    hot = rig.rng.randint(300, 900)
    importer = rig.session("projects-import", user=home.worker)
    sent(
        rig,
        importer,
        f"DO $$ BEGIN FOR n IN 1..9000000 LOOP BEGIN UPDATE {made.name} SET amount = amount + 1"
        f" WHERE id = 1 + n % {hot}; EXCEPTION WHEN unique_violation THEN NULL; END;"
        f" IF n > {before} THEN PERFORM pg_sleep(0.02); END IF; END LOOP; END $$",
    )
    caught_up(rig)
    read = f"SELECT sum(amount) FROM {made.name} WHERE id <= {hot}"
    for _ in range(rig.rng.randint(4, 8)):
        reader = rig.session(home.program, port=standby_of(rig).port, user=home.web)
        rig.keep(lambda s=reader: rig.run(s, read), pause_s=0.02)
        rig.undo(reader.cancel)
    rig.until(lambda: asked(rig, f"{SLRU_SQL} > 100000"), seconds=60)


# --- two phases ---------------------------------------------------------------------------------


def _prepared_survives_restart(rig: Rig) -> None:
    """Somebody restarted the server to be rid of it; then came a migration, and everybody."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    gid = f"_sa_{rig.rng.getrandbits(60):015x}"
    manager = rig.session("Narayana", user=home.worker)
    rig.run(manager, "BEGIN")
    rig.run(manager, made.change(rig.rng))
    rig.run(manager, made.add(rig.rng))
    rig.run(manager, f"PREPARE TRANSACTION '{gid}'")
    rig.undo(lambda: rig.admin(f"ROLLBACK PREPARED '{gid}'"))
    rig.server.restart()
    migration = rig.session("liquibase", user=home.deployer)
    change = f"ALTER TABLE {made.name} ADD COLUMN region text"
    wait_for_locks(rig, [sent(rig, migration, change)])
    many = rig.rng.randint(3, 10)
    queue(rig, _wants(made, rig), role=home.web, application=home.program, many=many)


FAULTS = (
    Fault(
        id="trigger-dropped-during-wraparound-vacuum",
        area=Area.LOCKS,
        story="Autovacuum went over an old table to prevent wraparound and gave way to nobody; a"
        " DROP TRIGGER waited for it, and every request behind that.",
        causes=("ddl_lock_queue",),
        make=_trigger_dropped_during_vacuum,
        needs=Needs(conf={"autovacuum_naptime": "1s"}, prepare=(_old_rows,)),
        shows_after_s=4.0,
    ),
    Fault(
        id="constraint-of-an-empty-table",
        area=Area.LOCKS,
        story="A migration dropped the foreign key of an empty table; that locks the parent as"
        " well, which a long report was reading, and the site queued up behind.",
        causes=("ddl_lock_queue",),
        make=_constraint_of_empty_table,
        needs=Needs(prepare=(_with_empty_child,)),
        shows_after_s=4.0,
    ),
    Fault(
        id="constraint-takes-every-connection",
        area=Area.LOCKS,
        story="A release added a constraint to a busy table and waited for a batch; the requests"
        " that waited for the release used up every connection.",
        causes=("ddl_lock_queue",),
        make=_constraint_takes_every_slot,
        needs=Needs(conf={"max_connections": FEW_SLOTS}, prepare=(_used,)),
        shows_after_s=4.0,
        answers=False,
    ),
    Fault(
        id="charged-within-a-transaction",
        area=Area.LOCKS,
        story="Workers asked a payment provider in the middle of their transactions; it hung, they"
        " kept all of the pool's connections, and everybody else waited for one.",
        causes=("idle_in_transaction",),
        make=_charged_within_transaction,
        needs=Needs(programs=pooler.PROGRAMS, prepare=(_pooled,)),
        shows_after_s=8.0,
    ),
    Fault(
        id="migration-lock-left-in-the-pool",
        area=Area.LOCKS,
        story="A migration went through PgBouncer; its advisory lock stayed with the server's"
        " session when it left, and every later migration waits for that lock.",
        causes=("advisory_lock_leak",),
        make=_migration_lock_in_pool,
        needs=Needs(programs=pooler.PROGRAMS, prepare=(_pooled,)),
        shows_after_s=5.0,
    ),
    Fault(
        id="batches-in-any-order",
        area=Area.LOCKS,
        story="Consumers of a queue add up many counters in one statement each, in the order in"
        " which the messages came; they deadlock with one another.",
        causes=("deadlock_storm",),
        make=_batches_in_any_order,
        needs=Needs(conf={"deadlock_timeout": "300ms"}, prepare=(_stock,)),
        shows_after_s=6.0,
    ),
    Fault(
        id="savepoints-stall-the-replica",
        area=Area.LOCKS,
        story="An import on the primary sets a savepoint for every row in one transaction; reads"
        " of these rows on the replica have become slow.",
        causes=("subtransaction_overflow",),
        make=_savepoints_stall_replica,
        needs=Needs(standby=True, prepare=(_used,)),
        shows_after_s=6.0,
        seen_on="standby",
    ),
    Fault(
        id="prepared-transaction-outlives-restart",
        area=Area.LOCKS,
        story="A transaction manager lost a prepared transaction; a restart did not help, and now a"
        " migration waits for its table, and the site behind the migration.",
        causes=("prepared_transaction_orphaned",),
        make=_prepared_survives_restart,
        needs=Needs(conf={"max_prepared_transactions": 8}, prepare=(_used,)),
        shows_after_s=4.0,
    ),
)
