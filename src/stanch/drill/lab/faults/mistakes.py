"""What people and deploys do to data and tables that they did not mean to."""

from __future__ import annotations

import random
from collections.abc import Callable

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import site, words
from stanch.drill.lab.means.site import Site
from stanch.drill.lab.means.tables import free_name
from stanch.drill.lab.rig import Rig, Session

TOOLS = ("psql", "DBeaver 24.2.1", "pgAdmin 4 - CONN:5129047", "DataGrip 2024.3", "TablePlus")
DATABASES = ("billing", "reporting", "warehouse", "crm", "identity", "archive_2023")
NEW_COLUMNS = ("discount_code", "currency", "archived_at", "locale", "tax_rate", "channel")
NEW_TABLES = ("feature_flags", "outbox", "audit_log", "coupons", "device_tokens")
INT4_MAX = 2**31 - 1

NOTE = "mistakes"

Act = Callable[[Rig], None]

# --- what is there before -----------------------------------------------------------------------


def _used_table(rig: Rig) -> None:
    made = site.make_site(rig, rows=rig.rng.randint(2_000, 60_000))
    rig.notes[NOTE] = made
    site.lively(rig, made)


def _large_table(rig: Rig) -> None:
    made = site.make_site(rig, rows=rig.rng.randint(60_000, 160_000))
    rig.notes[NOTE] = made
    site.lively(rig, made)


def _children(rig: Rig) -> None:
    """A table, and another one whose rows belong to it."""
    _used_table(rig)
    made: Site = rig.notes[NOTE]
    items = f"{made.table}_items"
    rig.sql(
        f"CREATE TABLE {items} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        f" parent_id bigint NOT NULL REFERENCES {made.table} ON DELETE CASCADE, quantity int)"
    )
    many = rig.rng.randint(15_000, 50_000)
    # A few parents have most of the children, as a few customers have most of the orders.
    rig.sql(
        f"INSERT INTO {items} (parent_id, quantity)"
        f" SELECT 1 + floor(power(random(), {rig.rng.randint(8, 14)}) * {made.rows}), n % 9"
        f" FROM generate_series(1, {many}) n"
    )
    rig.sql(f"CREATE INDEX ON {items} (parent_id)")
    site.settle(rig, items)

    def more(rng: random.Random) -> str:
        parent = rng.randint(1, made.rows)
        return rng.choice(
            (
                f"SELECT sum(quantity) FROM {items} WHERE parent_id = {parent}",
                f"INSERT INTO {items} (parent_id, quantity) VALUES ({parent}, 1)",
            )
        )

    site.lively(rig, made, more)


def _person(rig: Rig) -> Session:
    """Somebody's session, from a tool that people use."""
    if rig.rng.random() < 0.5:
        session = rig.as_superuser()
        rig.run(session, f"SET application_name = '{rig.rng.choice(TOOLS)}'")
        return session
    return rig.session(rig.rng.choice(TOOLS))


def _somebody_says(rig: Rig, *statements: str) -> None:
    """Typed by a person, who stays a while or leaves."""
    session = _person(rig)
    for statement in statements:
        rig.run(session, statement)
    if rig.rng.random() < 0.5:
        session.close()


# --- tables and databases -----------------------------------------------------------------------


def _table_dropped(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    _somebody_says(rig, f"DROP TABLE {made.table}{rig.rng.choice(('', ' CASCADE'))}")
    rig.logged(f'relation "{made.table}" does not exist')


def _table_truncated(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    _somebody_says(rig, f"TRUNCATE {rig.rng.choice(('', 'TABLE '))}{made.table}")


def _truncated_with_children(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    _somebody_says(rig, f"TRUNCATE {made.table} CASCADE")
    # Whoever still adds to an order finds that there is none.
    rig.logged("violates foreign key constraint")


def _second_database(rig: Rig) -> None:
    """Another application has a database of its own on the server."""
    name = rig.rng.choice(DATABASES)
    table = words.table(rig.rng)
    rig.admin(f"CREATE DATABASE {name} OWNER app", dbname="postgres")
    rig.sql(
        f"CREATE TABLE {table} AS SELECT n AS id, md5(n::text) AS name"
        f" FROM generate_series(1, {rig.rng.randint(500, 5_000)}) n",
        dbname=name,
    )
    site.log_statements(rig)
    site.goes_on(
        rig,
        lambda rng: f"SELECT name FROM {table} WHERE id = {rng.randint(1, 500)}",
        application=words.application(rig.rng),
        sessions=rig.rng.randint(1, 4),
        pause_s=rig.rng.choice((0.1, 0.3)),
        dbname=name,
    )
    rig.notes[NOTE] = name


def _database_dropped(rig: Rig) -> None:
    name: str = rig.notes[NOTE]
    session = rig.as_superuser("postgres")
    rig.run(session, f"SET application_name = '{rig.rng.choice(TOOLS)}'")
    rig.run(session, f"DROP DATABASE {name} WITH (FORCE)")
    rig.logged(f'database "{name}" does not exist')


# --- columns ------------------------------------------------------------------------------------


def _deployed_too_early(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    minor = rig.rng.randint(2, 60)
    version = rig.rng.choice((f"{made.application}-1.{minor}.0", f"{made.application} v{minor}"))
    table, column = rig.rng.choice(NEW_TABLES), rig.rng.choice(NEW_COLUMNS)
    says = rig.rng.choice(
        (
            [f"SELECT id, {made.value}, {column} FROM {made.table} WHERE id = "],
            [f"UPDATE {made.table} SET {column} = 'x' WHERE id = "],
            [f"SELECT * FROM {table} WHERE id = ", f"DELETE FROM {table} WHERE id = "],
        )
    )
    site.goes_on(
        rig,
        lambda rng: f"{rng.choice(says)}{rng.randint(1, made.rows)}",
        application=rig.rng.choice((version, made.application)),
        sessions=rig.rng.randint(1, 5),
        pause_s=rig.rng.choice((0.1, 0.2, 0.4)),
    )
    rig.logged("does not exist")


def _column_taken_away(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    column = rig.rng.choice((made.value, made.state, made.text))
    changes = (f"RENAME COLUMN {column} TO {column}_old", f"DROP COLUMN {column}")
    session = rig.session(words.migration(rig.rng))
    rig.run(session, f"ALTER TABLE {made.table} {rig.rng.choice(changes)}")
    session.close()
    rig.logged(f'column "{column}"')


# --- rows ---------------------------------------------------------------------------------------


def _rows_deleted(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    # Nothing at all after it, or what somebody took for a few rows.
    wheres = ("", f" WHERE {made.state} <> 'open'", f" WHERE id > {rig.rng.randint(0, 99)}")
    _somebody_says(rig, f"DELETE FROM {made.table}{rig.rng.choice(wheres)}")


def _rows_updated(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    changes = (f"{made.state} = 'cancelled'", f"{made.value} = 0", f"{made.text} = NULL")
    _somebody_says(rig, f"UPDATE {made.table} SET {rig.rng.choice(changes)}")


def _rows_cascaded(rig: Rig) -> None:
    """Some parents are cleared away, and most of the children hang on just those."""
    made: Site = rig.notes[NOTE]
    to = made.rows * rig.rng.randint(2, 10) // 100
    _somebody_says(rig, f"DELETE FROM {made.table} WHERE id <= {to}")


# --- numbers ------------------------------------------------------------------------------------


def _numbered(rig: Rig, *, of: str, last: int, key: str) -> None:
    """A table whose numbers are nearly used up, `last` being the last of them."""
    table = free_name(rig)
    sequence = f"{table}_number_seq"
    left = rig.rng.randint(400, 3_000)
    rig.sql(f"CREATE SEQUENCE {sequence} {of}")
    rig.sql(
        f"CREATE TABLE {table} (id {key} PRIMARY KEY DEFAULT nextval('{sequence}'),"
        " name text NOT NULL)"
    )
    rows = rig.rng.randint(1_000, 9_000)
    rig.sql(
        f"INSERT INTO {table} SELECT n, md5(n::text)"
        f" FROM generate_series({last - left - rows}, {last - left}) n"
    )
    rig.sql(f"SELECT setval('{sequence}', {last - left})")
    site.settle(rig, table)
    site.log_statements(rig)
    site.goes_on(
        rig,
        lambda rng: f"INSERT INTO {table} (name) VALUES ('{rng.random()}')",
        application=words.application(rig.rng),
        sessions=rig.rng.randint(1, 3),
        pause_s=rig.rng.choice((0.2, 0.4)),
    )
    rig.notes[NOTE] = table


def _limited_numbers(rig: Rig) -> None:
    maximum = rig.rng.choice((99_999, 999_999, 50_000))
    of, last = rig.rng.choice((("AS smallint", 32_767), (f"MAXVALUE {maximum}", maximum)))
    _numbered(rig, of=of, last=last, key="bigint")


def _int4_numbers(rig: Rig) -> None:
    """A key of four bytes, numbered by a sequence of eight, as tables from before version 10."""
    _numbered(rig, of="", last=INT4_MAX, key="integer")


def _import_until(rig: Rig, says: str) -> None:
    """A job adds many rows, until there are no more numbers and the application has none too."""
    table: str = rig.notes[NOTE]
    at_once = rig.rng.randint(20, 200)
    site.goes_on(
        rig,
        lambda _rng: (
            f"INSERT INTO {table} (name) SELECT 'row ' || n FROM generate_series(1, {at_once}) n"
        ),
        application=words.job(rig.rng),
        pause_s=0.05,
    )
    rig.logged(says)


def _sequence_used_up(rig: Rig) -> None:
    _import_until(rig, "reached maximum value of sequence")


def _key_outgrown(rig: Rig) -> None:
    _import_until(rig, "integer out of range")


def _fault(name: str, story: str, cause: str, *, make: Act, prepare: Act) -> Fault:
    return Fault(
        id=name,
        area=Area.DATA,
        story=story,
        causes=(cause,),
        make=make,
        needs=Needs(prepare=(prepare,)),
        # Counters of tables are told with a delay.
        shows_after_s=2.0,
    )


FAULTS = (
    _fault(
        "table-dropped",
        "Somebody dropped a table that an application uses, on the wrong server.",
        "table_dropped",
        make=_table_dropped,
        prepare=_used_table,
    ),
    _fault(
        "table-truncated",
        "Somebody meant to empty a copy and truncated the table that is in use.",
        "table_truncated",
        make=_table_truncated,
        prepare=_used_table,
    ),
    _fault(
        "truncated-with-children",
        "TRUNCATE with CASCADE emptied a table and all that refers to it.",
        "table_truncated",
        make=_truncated_with_children,
        prepare=_children,
    ),
    _fault(
        "database-dropped",
        "Somebody dropped a database that was thought unused; its application cannot log in.",
        "database_dropped",
        make=_database_dropped,
        prepare=_second_database,
    ),
    _fault(
        "deployed-before-its-migration",
        "A new version went out before its migration; it asks for what the database has not got.",
        "schema_mismatch",
        make=_deployed_too_early,
        prepare=_used_table,
    ),
    _fault(
        "column-migrated-away",
        "A migration renamed or dropped a column that the running application still asks for.",
        "schema_mismatch",
        make=_column_taken_away,
        prepare=_used_table,
    ),
    _fault(
        "rows-deleted-without-where",
        "A DELETE lacked its WHERE, or had one that nearly every row meets.",
        "mass_delete",
        make=_rows_deleted,
        prepare=_used_table,
    ),
    _fault(
        "rows-deleted-by-cascade",
        "A few rows were cleared away, and ON DELETE CASCADE took most of another table along.",
        "mass_delete",
        make=_rows_cascaded,
        prepare=_children,
    ),
    _fault(
        "rows-updated-without-where",
        "An UPDATE lacked its WHERE and changed every row of a large table.",
        "mass_update",
        make=_rows_updated,
        prepare=_large_table,
    ),
    _fault(
        "sequence-used-up",
        "The numbers of a sequence ran out, and nothing can be inserted any more.",
        "sequence_exhausted",
        make=_sequence_used_up,
        prepare=_limited_numbers,
    ),
    _fault(
        "int4-key-outgrown",
        "An integer key went past two billion; its sequence could go on, the column cannot.",
        "int4_overflow",
        make=_key_outgrown,
        prepare=_int4_numbers,
    ),
)
