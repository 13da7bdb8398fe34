"""What somebody with bad intentions does, rights that are lost, certificates that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import certificates, words
from stanch.drill.lab.means.certificates import OTHER, Authority, serve_tls
from stanch.drill.lab.means.visitors import PATIENCE_S, turned_away, usual_visitors, visit
from stanch.drill.lab.rig import Rig, Session

GUESSED_ROLES = (
    *("postgres", "admin", "root", "test", "user", "dbuser", "oracle", "pgsql"),
    *("replicator", "backup", "developer", "administrator", "sa", "odoo", "zabbix", "app"),
)
GUESSED_PASSWORDS = (
    "123456",
    "postgres",
    "password",
    "admin",
    "qwerty",
    "root",
    "P@ssw0rd",
    "test",
)

COPIED = ("customers_full", "orders_archive", "payment_methods")
COPIED_ROWS = 90_000
ROWS_A_STEP = 1000


# --- certificates -------------------------------------------------------------------------------


def _certificate_about_to_expire(rig: Rig) -> None:
    # Still good while those who watch get to know the server.
    serve_tls(rig, good_for=timedelta(seconds=20))
    usual_visitors(rig)


def _expired(rig: Rig) -> None:
    rig.until(turned_away(visit(rig), "certificate"), seconds=40)


def _good_certificate(rig: Rig) -> None:
    serve_tls(rig, good_for=timedelta(days=rig.rng.randint(20, 300)))
    usual_visitors(rig)


def _replaced(rig: Rig) -> None:
    ends = datetime.now(UTC) + timedelta(days=rig.rng.randint(30, 3000))
    Authority.create(rig, OTHER).install(rig, ends=ends)
    rig.until(turned_away(visit(rig), "certificate"))


# --- attacks ------------------------------------------------------------------------------------


def _guess_passwords(rig: Rig) -> None:
    roles = rig.rng.sample(GUESSED_ROLES, rig.rng.randint(6, len(GUESSED_ROLES)))
    dbname = rig.rng.choice(("postgres", "app", "template1"))

    def guess() -> None:
        role, password = rig.rng.choice(roles), rig.rng.choice(GUESSED_PASSWORDS)
        dsn = make_conninfo(
            rig.dsn, user=role, password=password, dbname=dbname, connect_timeout=PATIENCE_S
        )
        # An attacker does not slow down because he was refused.
        with suppress(psycopg.OperationalError):
            psycopg.connect(dsn).close()

    pause_s = rig.rng.uniform(0.01, 0.1)
    rig.keep(guess, threads=rig.rng.randint(2, 6), pause_s=pause_s)
    refused = "password authentication failed"
    rig.until(lambda: rig.server.log_text().count(refused) >= 30)


def _people(rig: Rig) -> None:
    """Roles of two people and of a report, beside the application's."""
    for role in ("ann", "bo", "reporting"):
        rig.admin(f"CREATE ROLE {role} LOGIN")
        if rig.server.passwords:
            word = f"{rig.rng.getrandbits(64):x}"
            rig.admin(f"ALTER ROLE {role} PASSWORD '{word}'")
            rig.server.passwords[role] = word
        rig.admin(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")


def _rights_gained(rig: Rig) -> None:
    role = rig.rng.choice(("ann", "bo", "reporting", "app"))
    rights = (
        ("ALTER ROLE {} SUPERUSER", "ALTER ROLE {} NOSUPERUSER"),
        *(
            (f"GRANT {right} TO {{}}", f"REVOKE {right} FROM {{}}")
            for right in ("pg_execute_server_program", "pg_write_server_files")
        ),
    )
    gained, lost = rig.rng.choice(rights)
    rig.undo(lambda: rig.admin(lost.format(role)))
    rig.admin(gained.format(role))


def _large_tables(rig: Rig) -> None:
    for name in COPIED:
        rig.admin(
            f"CREATE TABLE {name} AS SELECT n AS id, md5(n::text) AS name,"
            f" repeat(md5((n * 7)::text), {rig.rng.randint(8, 14)}) AS data"
            f" FROM generate_series(1, {COPIED_ROWS}) n"
        )
        rig.admin(f"ANALYZE {name}")
    _people(rig)


def _copied(session: Session, statement: LiteralString) -> Iterator[object]:
    with session.cursor() as cursor, cursor.copy(statement) as rows:
        yield from rows


def _copied_out(rig: Rig) -> None:
    person = rig.rng.choice(("ann", "bo", "reporting"))
    password = {"password": word} if (word := rig.server.passwords.get(person)) else {}
    tables = rig.rng.sample(COPIED, len(COPIED))
    application = rig.rng.choice(("psql", "DBeaver 24.1", "pgcli", ""))
    session = rig.session(application, user=person, **password)
    form = rig.rng.choice(("", " WITH (FORMAT csv, HEADER)", " (DELIMITER '|')"))
    rows = (row for table in tables for row in _copied(session, f"COPY {table} TO STDOUT{form}"))

    def take_some() -> None:
        # As fast as a line of some ten megabits a second lets whoever takes them.
        for _ in range(ROWS_A_STEP):
            next(rows, None)

    rig.keep(take_some, pause_s=rig.rng.uniform(0.12, 0.2))
    # Before its thread is waited for.
    rig.undo(session.cancel)
    rig.until(lambda: rig.admin("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY %'"))


# --- rights and read-only -----------------------------------------------------------------------


def _migrated_table(rig: Rig) -> None:
    """A table that belongs to whoever migrates it; the application has been given rights."""
    table = f"{words.table(rig.rng)}_log"
    rig.notes["table"] = table
    rig.admin("CREATE ROLE migrator")
    rig.admin(f"CREATE TABLE {table} (at timestamptz DEFAULT now(), what text)")
    rig.admin(f"ALTER TABLE {table} OWNER TO migrator")
    rig.admin(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO app")
    application = words.application(rig.rng)
    for sql in (f"INSERT INTO {table} (what) VALUES ('seen')", f"SELECT max(at) FROM {table}"):
        visits = visit(rig, sql, application_name=application)
        rig.keep(visits, pause_s=rig.rng.uniform(0.1, 0.4))


def _rights_revoked(rig: Rig) -> None:
    table = rig.notes["table"]
    revoked = rig.rng.choice(("INSERT", "SELECT", "ALL"))
    rig.undo(lambda: rig.admin(f"GRANT {revoked} ON {table} TO app"))
    rig.admin(f"REVOKE {revoked} ON {table} FROM app")
    rig.logged(f"permission denied for table {table}")


def _writing_visitors(rig: Rig) -> None:
    rig.sql("CREATE TABLE page_hit (at timestamptz DEFAULT now())")
    visits = visit(
        rig, "INSERT INTO page_hit DEFAULT VALUES", application_name=words.application(rig.rng)
    )
    rig.keep(visits, pause_s=rig.rng.uniform(0.1, 0.4))


def _read_only(rig: Rig) -> None:
    setting = "default_transaction_read_only"
    where = rig.rng.choice(("SYSTEM", "DATABASE app", "ROLE app"))
    rig.undo(lambda: rig.admin("SELECT pg_reload_conf()"))

    def lifted() -> None:
        # Whoever takes it back has to say that he means to write.
        session = rig.as_superuser()
        rig.run(session, f"SET {setting} = off")
        rig.run(session, f"ALTER {where} RESET {setting}")

    rig.undo(lifted)
    rig.admin(f"ALTER {where} SET {setting} = on")
    rig.admin("SELECT pg_reload_conf()")
    rig.logged("in a read-only transaction")


FAULTS = (
    Fault(
        id="certificate-over",
        area=Area.ACCESS,
        story="The server's certificate was not renewed and has expired; clients verify it.",
        causes=("certificate_expired",),
        make=_expired,
        needs=Needs(programs=certificates.PROGRAMS, prepare=(_certificate_about_to_expire,)),
        shows_after_s=3.0,
        answers=False,
    ),
    Fault(
        id="certificate-of-another-authority",
        area=Area.ACCESS,
        story="The server got a certificate of an authority that no client trusts.",
        causes=("certificate_untrusted",),
        make=_replaced,
        needs=Needs(programs=certificates.PROGRAMS, prepare=(_good_certificate,)),
        shows_after_s=3.0,
        answers=False,
    ),
    Fault(
        id="passwords-guessed",
        area=Area.SECURITY,
        story="Somebody tries common passwords for the roles that many servers have.",
        causes=("login_attack",),
        make=_guess_passwords,
        needs=Needs(auth="scram-sha-256", prepare=(usual_visitors,)),
        shows_after_s=5.0,
    ),
    Fault(
        id="dangerous-right-granted",
        area=Area.SECURITY,
        story="A role that needs no such thing became superuser, or may run programs or write "
        "files on the server.",
        causes=("dangerous_rights_gained",),
        make=_rights_gained,
        needs=Needs(prepare=(_people,)),
        shows_after_s=5.0,
    ),
    Fault(
        id="tables-copied-out",
        area=Area.SECURITY,
        story="Somebody copies the largest tables out, one after the other.",
        causes=("data_copied_out",),
        make=_copied_out,
        needs=Needs(prepare=(_large_tables,)),
        shows_after_s=5.0,
    ),
    Fault(
        id="rights-revoked",
        area=Area.ACCESS,
        story="Somebody revoked the application's rights on one of its tables.",
        causes=("rights_revoked",),
        make=_rights_revoked,
        needs=Needs(prepare=(_migrated_table,)),
        shows_after_s=3.0,
    ),
    Fault(
        id="left-read-only",
        area=Area.ACCESS,
        story="Transactions were made read-only for a maintenance, and stayed so.",
        causes=("read_only_setting",),
        make=_read_only,
        needs=Needs(prepare=(_writing_visitors,)),
        shows_after_s=3.0,
        answers=False,
    ),
)
