"""Told incidents: who came, who could not come in, and who should not have."""

from __future__ import annotations

import random
from contextlib import suppress

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means.estate import Records, estate, everyday, records, says
from stanch.drill.lab.means.visitors import FULL, turned_away, until_full, visit
from stanch.drill.lab.rig import Rig, Session

NOTE = "incidents-access"
FEW_SLOTS = 44
SESSIONS_SQL = "SELECT sum(sessions)::bigint FROM pg_stat_database"
HEADER = "# Managed by the configuration repository: changes made here are lost\n"


def _used(rig: Rig) -> None:
    made = records(rig, rows=rig.rng.randint(2_000, 9_000))
    rig.notes[NOTE] = made
    everyday(rig, made.usual)


# --- too many -----------------------------------------------------------------------------------


def _pods_come_and_die(rig: Rig) -> None:
    """Each of them opens its whole pool, fails its health check, and is replaced at once."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    at_once, application = rig.rng.randint(4, 8), f"api-{rig.rng.getrandbits(32):08x}"

    def pod() -> None:
        pool: list[Session] = []
        try:
            for _ in range(at_once):
                dsn = make_conninfo(
                    rig.dsn, user=home.web, application_name=application, connect_timeout=5
                )
                pool.append(psycopg.connect(dsn, autocommit=True))
                pool[-1].execute("SELECT version()")
            rig.run(pool[0], made.one(random.Random(at_once)))
        finally:
            for session in pool:
                session.close()

    ((before,),) = rig.admin(SESSIONS_SQL)
    rig.keep(pod, threads=rig.rng.randint(4, 7))
    rig.until(lambda: rig.admin(SESSIONS_SQL)[0][0] > before + 250, seconds=40)


def _scripts_never_leave(rig: Rig) -> None:
    """A cron job on every host logs in, waits for an answer of something else, and never ends."""
    home = estate(rig)
    last = (
        "SELECT pg_database_size(current_database())",
        f"SELECT count(*) FROM {rig.notes[NOTE].name}",
        "SELECT now() - pg_postmaster_start_time()",
    )

    def arrive() -> None:
        script = rig.session("check_disk.py", user=home.analyst)
        rig.run(script, rig.rng.choice(last))

    until_full(rig, arrive)
    rig.until(turned_away(visit(rig, user=home.web), *FULL))


# --- not let in ---------------------------------------------------------------------------------


def _rules_rewritten(rig: Rig) -> None:
    """What somebody had allowed by hand last year was not in the repository."""
    home, path = estate(rig), rig.server.data_directory / "pg_hba.conf"
    before = path.read_text(encoding="utf-8")
    allowed = "".join(
        f"host app {role} 127.0.0.1/32 {rig.server.options.auth}\n"
        for role in ("app", home.web, home.analyst, home.deployer, "stanch_watch", "stanch_blind")
    )
    rest = f"local all all {rig.server.options.auth}\nhost all postgres,stanch_watch,stanch_act"
    rest = f"{rest} 127.0.0.1/32 {rig.server.options.auth}\n"
    _write_rules(rig, f"{HEADER}{allowed}{rest}")
    rig.undo(lambda: _write_rules(rig, before))
    made: Records = rig.notes[NOTE]
    says(rig, made.add, role=home.worker, application="nightly-batch", pause_s=0.4, anew=True)
    rig.logged(f'no pg_hba.conf entry for host "127.0.0.1", user "{home.worker}"')


def _write_rules(rig: Rig, text: str) -> None:
    rig.server.folder.write_owned(rig.server.data_directory / "pg_hba.conf", text)
    rig.server.set_conf({})


def _leased(rig: Rig) -> None:
    """The site logs in with a role that is made for it, and lives for some hours."""
    _used(rig)
    made: Records = rig.notes[NOTE]
    role = f"v-approle-web-{rig.rng.getrandbits(60):015x}"
    rig.admin(f'CREATE ROLE "{role}" LOGIN IN ROLE {estate(rig).web}')
    rig.notes["lease"] = role
    site, pause_s = "checkout-service", rig.rng.uniform(0.2, 0.5)
    says(rig, made.usual, role=role, application=site)
    says(rig, made.one, role=role, application=site, pause_s=pause_s, anew=True)


def _lease_not_renewed(rig: Rig) -> None:
    """The store of secrets was sealed for an hour; then it removed what had run out."""
    role: str = rig.notes["lease"]
    rig.admin(f'ALTER ROLE "{role}" NOLOGIN')
    rig.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])
    if rig.rng.random() < 0.5:
        rig.admin(f'DROP ROLE "{role}"')
    rig.until(lambda: rig.server.log_text().count(f'role "{role}"') >= 2)


# --- not found, not allowed ---------------------------------------------------------------------


def _unqualified(rig: Rig) -> None:
    """Jobs that name their tables without the schema, as most applications do."""
    _used(rig)
    made: Records = rig.notes[NOTE]
    says(
        rig,
        lambda rng: made.usual(rng).replace(made.name, made.short),
        role=estate(rig).worker,
        application="worker-pool",
        sessions=rig.rng.randint(1, 4),
        pause_s=rig.rng.uniform(0.1, 0.4),
        anew=True,
    )


def _path_reset(rig: Rig) -> None:
    """Somebody tidied up the settings of roles."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    role = f"ALTER ROLE {home.worker} IN DATABASE app"
    rig.undo(lambda: rig.admin(f"{role} SET search_path = {home.schema}, public"))
    rig.admin(f"{role} RESET search_path")
    rig.until(lambda: rig.server.log_text().count(f'"{made.short}" does not exist') >= 3)


def _belongs_to_somebody_else(rig: Rig) -> None:
    """The schema belongs to those who migrate; a guest has been given what it needs."""
    _used(rig)
    made: Records = rig.notes[NOTE]
    rig.admin("CREATE ROLE partner_api LOGIN")
    rig.admin(f"GRANT USAGE ON SCHEMA {estate(rig).schema} TO PUBLIC")
    rig.admin(f"GRANT SELECT ON {made.name} TO partner_api")
    pause_s = rig.rng.uniform(0.1, 0.4)
    says(rig, made.theirs, role="partner_api", application="partner-gateway", pause_s=pause_s)


def _hardened(rig: Rig) -> None:
    """A list of good practices was worked through, on a Friday."""
    schema = estate(rig).schema
    rig.undo(lambda: rig.admin(f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC"))
    for sql in (
        f"REVOKE ALL ON SCHEMA {schema} FROM PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "REVOKE TEMPORARY ON DATABASE app FROM PUBLIC",
    ):
        rig.admin(sql)
    rig.logged(f"permission denied for schema {schema}")


# --- not wanted ---------------------------------------------------------------------------------


def _miner_moves_in(rig: Rig) -> None:
    """As told of PG_MEM, https://finoracle.net/?p=65961: a role of its own that may do everything,
    and programs that run as the server."""
    intruder = rig.as_superuser("postgres")
    role = rig.rng.choice(("pgdbadm", "priv_esc", "pgmem", "dbuser1"))
    rig.run(intruder, f"CREATE ROLE {role} WITH LOGIN SUPERUSER REPLICATION")
    rig.undo(lambda: rig.admin(f"DROP ROLE IF EXISTS {role}"))
    mine = rig.session(user=role, dbname="postgres")
    table = f"t{rig.rng.getrandbits(40):010x}"
    rig.run(mine, f"CREATE TABLE {table} (line text)")
    for program in rig.rng.sample(("uname -a", "id", "nproc", "echo bm8= | base64 -d"), 2):
        with suppress(psycopg.Error):
            rig.run(mine, f"COPY {table} FROM PROGRAM '{program}'")
    rig.run(mine, f"DROP TABLE {table}")
    rig.run(intruder, "SELECT pg_reload_conf()")
    intruder.close()


FAULTS = (
    Fault(
        id="pods-come-and-die",
        area=Area.ACCESS,
        story="A release fails its health check: its pods open whole pools of connections, are"
        " killed and replaced at once, again and again.",
        causes=("connection_storm",),
        make=_pods_come_and_die,
        needs=Needs(prepare=(_used,), major_min=14),
        shows_after_s=6.0,
    ),
    Fault(
        id="scripts-never-leave",
        area=Area.ACCESS,
        story="A script that cron starts on every host hangs after its last query, and never closes"
        " its connection; by now they have all there are.",
        causes=("connections_leaked",),
        make=_scripts_never_leave,
        needs=Needs(conf={"max_connections": FEW_SLOTS}, prepare=(_used,)),
        shows_after_s=3.0,
        answers=False,
    ),
    Fault(
        id="rules-rewritten-from-a-repository",
        area=Area.ACCESS,
        story="The configuration management wrote pg_hba.conf anew, without the line that somebody"
        " once had added by hand for the batch.",
        causes=("hba_refused",),
        make=_rules_rewritten,
        needs=Needs(prepare=(_used,)),
        shows_after_s=4.0,
        answers=False,
    ),
    Fault(
        id="lease-of-a-role-ran-out",
        area=Area.ACCESS,
        story="The site's role was made for some hours and not renewed in time; it was locked, its"
        " sessions were ended, and the site cannot log in.",
        causes=("login_not_permitted",),
        make=_lease_not_renewed,
        needs=Needs(prepare=(_leased,)),
        shows_after_s=4.0,
    ),
    Fault(
        id="search-path-was-tidied-up",
        area=Area.DATA,
        story="Somebody reset the settings of a role; it does not find its tables any more, because"
        " it has never said which schema they are in.",
        causes=("schema_mismatch",),
        make=_path_reset,
        needs=Needs(prepare=(_unqualified,)),
        shows_after_s=3.0,
    ),
    Fault(
        id="hardened-on-a-friday",
        area=Area.ACCESS,
        story="Somebody took every right from PUBLIC, as a list of good practices says; a partner's"
        " role had its way into the schema from there.",
        causes=("rights_revoked",),
        make=_hardened,
        needs=Needs(prepare=(_belongs_to_somebody_else,)),
        shows_after_s=3.0,
    ),
    Fault(
        id="miner-moves-in",
        area=Area.SECURITY,
        story="Somebody got in as superuser, made a superuser of their own, and runs programs on"
        " the machine by COPY.",
        causes=("dangerous_rights_gained",),
        make=_miner_moves_in,
        needs=Needs(conf={"log_statement": "ddl"}, prepare=(_used,)),
        shows_after_s=5.0,
    ),
)
