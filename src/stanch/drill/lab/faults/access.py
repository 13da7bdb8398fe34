"""Logins that are refused, names that do not resolve, packets that do not arrive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means import far, names, words
from stanch.drill.lab.means.far import far_machine, move_away
from stanch.drill.lab.means.names import by_name, zone
from stanch.drill.lab.means.visitors import FULL, turned_away, until_full, usual_visitors, visit
from stanch.drill.lab.rig import Rig

HOST_NAMES = ("db-1.example.com", "orders-db.example.com", "pg.internal.example.com")
WATCHERS = "stanch_watch, stanch_act, stanch_blind"


def _until_turned_away(rig: Rig, *saying: str) -> None:
    rig.until(turned_away(visit(rig), *saying))


# --- limits -------------------------------------------------------------------------------------


def _limit(rig: Rig, of: str, count: str) -> None:
    """A limit that suits today's sessions, with a few to spare; then the application grows."""
    [(present,)] = rig.admin(f"SELECT count(*) FROM pg_stat_activity WHERE {count}")
    rig.undo(lambda: rig.admin(f"ALTER {of} app CONNECTION LIMIT -1"))
    rig.admin(f"ALTER {of} app CONNECTION LIMIT {present + rig.rng.randint(1, 8)}")
    application = words.application(rig.rng)

    def arrive() -> None:
        session = rig.session(application)
        rig.run(session, "SELECT 1")

    until_full(rig, arrive)
    _until_turned_away(rig, *FULL)


def _role_limit(rig: Rig) -> None:
    _limit(rig, "ROLE", "usename = 'app'")


def _database_limit(rig: Rig) -> None:
    _limit(rig, "DATABASE", "datname = 'app'")


# --- pg_hba.conf --------------------------------------------------------------------------------


def _hba(rig: Rig, application: str, others: str) -> None:
    """Write the file as such a site has it, and have it read."""
    auth = rig.server.options.auth
    lines = [
        "# TYPE  DATABASE  USER  ADDRESS  METHOD",
        f"local all all {auth}",
        application,
        *(f"{others} {user} 127.0.0.1/32 {auth}" for user in ("postgres", WATCHERS) if others),
    ]
    text = "\n".join(line for line in lines if line) + "\n"
    rig.server.folder.write_owned(rig.server.data_directory / "pg_hba.conf", text)
    rig.admin("SELECT pg_reload_conf()")


def _line_a_role(rig: Rig) -> None:
    _hba(rig, f"host app app 127.0.0.1/32 {rig.server.options.auth}", "host all")


def _application_line_lost(rig: Rig) -> None:
    auth = rig.server.options.auth
    left = (
        "",
        f"# host app app 127.0.0.1/32 {auth}",
        f"host app app 10.20.0.0/16 {auth}",
        f"host apps app 127.0.0.1/32 {auth}",
        f"hostssl app app 127.0.0.1/32 {auth}",
        "host app app 127.0.0.1/32 reject",
    )
    rig.undo(lambda: _line_a_role(rig))
    _hba(rig, rig.rng.choice(left), "host all")
    _until_turned_away(rig, "pg_hba.conf")


def _tcp_lines_lost(rig: Rig) -> None:
    rig.undo(lambda: _line_a_role(rig))
    _hba(rig, "", rig.rng.choice(("", "hostssl all", "host replication")))
    _until_turned_away(rig, "pg_hba.conf")


# --- roles --------------------------------------------------------------------------------------


def _valid_until(rig: Rig) -> None:
    ended = datetime.now(UTC) - timedelta(seconds=rig.rng.randint(1, 3600))
    rig.undo(lambda: rig.admin("ALTER ROLE app VALID UNTIL 'infinity'"))
    rig.admin(f"ALTER ROLE app VALID UNTIL '{ended:%Y-%m-%d %H:%M:%S}+00'")
    _until_turned_away(rig)


def _nologin(rig: Rig) -> None:
    rig.undo(lambda: rig.admin("ALTER ROLE app LOGIN"))
    rig.admin("ALTER ROLE app NOLOGIN")
    _until_turned_away(rig)


def _renamed(rig: Rig) -> None:
    new = rig.rng.choice(("app_old", "shop_rw", "app_2", "legacy_app"))
    rig.undo(lambda: rig.admin(f"ALTER ROLE {new} RENAME TO app"))
    rig.admin(f"ALTER ROLE app RENAME TO {new}")
    _until_turned_away(rig)


def _dropped(rig: Rig) -> None:
    password = rig.server.passwords.get("app", "")
    for statement in (
        "REASSIGN OWNED BY app TO postgres",
        "DROP OWNED BY app",
        "DROP ROLE app",
    ):
        rig.admin(statement)

    def again() -> None:
        rig.admin(f"CREATE ROLE app LOGIN PASSWORD '{password}'")
        rig.admin("ALTER DATABASE app OWNER TO app")
        rig.admin("ALTER TABLE load_row OWNER TO app")

    rig.undo(again)
    _until_turned_away(rig)


def _password_of(rig: Rig, role: str) -> Callable[[], object]:
    """Give the role another password; what gives it back its own."""
    new = f"{rig.rng.getrandbits(64):x}"
    rig.admin(f"ALTER ROLE {role} PASSWORD '{new}'")
    return lambda: rig.admin(f"ALTER ROLE {role} PASSWORD '{rig.server.passwords[role]}'")


def _application_password(rig: Rig) -> None:
    rig.undo(_password_of(rig, "app"))
    _until_turned_away(rig)


def _watchers_password(rig: Rig) -> None:
    for (role,) in rig.admin("SELECT rolname FROM pg_roles WHERE rolname ~ '^stanch_(wat|bli)'"):
        rig.undo(_password_of(rig, str(role)))
        rig.until(turned_away(visit(rig, user=role, password=rig.server.passwords[role])))


# --- the way there ------------------------------------------------------------------------------


def _known_by_name(rig: Rig) -> None:
    by_name(rig, rig.rng.choice(HOST_NAMES))


def _record_gone(rig: Rig) -> None:
    records, known = zone(rig), zone(rig).read_text()
    rig.undo(lambda: records.write_text(known))
    records.write_text("www.example.com 127.0.0.1\n")
    _until_turned_away(rig)


def _name_server_silent(rig: Rig) -> None:
    records, known = zone(rig), zone(rig).read_text()
    rig.undo(lambda: records.write_text(known))
    records.unlink()
    _until_turned_away(rig)


def _packets_dropped(rig: Rig) -> None:
    there, port = far_machine(rig), str(rig.server.port)
    rules = (
        ("INPUT", "-p", "tcp", "--dport", port, "-j", "DROP"),
        ("INPUT", "-j", "DROP"),
        ("OUTPUT", "-j", "DROP"),
    )
    rule = rig.rng.choice(rules)
    rig.undo(lambda: there.there("iptables", "-D", *rule))
    there.there("iptables", "-A", *rule)
    _until_turned_away(rig)


def _packets_rejected(rig: Rig) -> None:
    # Not port-unreachable: nobody could tell that from a server that is down.
    way = rig.rng.choice(("icmp-host-prohibited", "icmp-net-unreachable", "icmp-admin-prohibited"))
    rule = ("INPUT", "-p", "tcp", "-j", "REJECT", "--reject-with", way)
    there = far_machine(rig)
    rig.undo(lambda: there.there("iptables", "-D", *rule))
    there.there("iptables", "-A", *rule)
    _until_turned_away(rig)


def _route_lost(rig: Rig) -> None:
    address = far_machine(rig).address
    rig.undo(lambda: far.run("ip", "route", "del", "unreachable", f"{address}/32"))
    far.run("ip", "route", "add", "unreachable", f"{address}/32")
    _until_turned_away(rig)


# --- somebody else answers ----------------------------------------------------------------------


def _other_cluster(rig: Rig) -> None:
    server = rig.server
    options = ScratchOptions(parent=server.folder.path.parent)
    other = ScratchServer.create(server.binaries, options=options)
    rig.undo(other.destroy)
    other.set_conf({"port": server.port})
    rig.undo(server.start)
    server.stop(rig.rng.choice(("fast", "immediate")))
    rig.undo(other.stop)
    other.start()
    if other.port != server.port:
        raise NotMade("the port was not free at once")
    rig.until("SELECT 1")


LOGGED_IN_ANEW = Needs(prepare=(usual_visitors,))
WITH_PASSWORDS = Needs(auth="scram-sha-256", prepare=(usual_visitors,))
FAR_AWAY = Needs(root=True, programs=far.PROGRAMS, prepare=(move_away, usual_visitors))
BY_NAME = Needs(root=True, programs=names.PROGRAMS, prepare=(_known_by_name, usual_visitors))


def _refusal(
    called: str,
    cause: str,
    make: Callable[[Rig], None],
    story: str,
    *,
    needs: Needs = LOGGED_IN_ANEW,
) -> Fault:
    """The application cannot log in from now on."""
    return Fault(
        id=called,
        area=Area.ACCESS,
        story=story,
        causes=(cause,),
        make=make,
        needs=needs,
        shows_after_s=3.0,
        answers=False,
    )


FAULTS = (
    _refusal(
        "role-limit-reached",
        "connection_limit_reached",
        _role_limit,
        "The application's role was given a CONNECTION LIMIT, and the application grew into it.",
    ),
    _refusal(
        "database-limit-reached",
        "connection_limit_reached",
        _database_limit,
        "The database was given a CONNECTION LIMIT, and its sessions grew into it.",
    ),
    _refusal(
        "hba-application-line-lost",
        "hba_refused",
        _application_line_lost,
        "Somebody edited pg_hba.conf; after the reload no line lets the application in.",
        needs=Needs(prepare=(_line_a_role, usual_visitors)),
    ),
    _refusal(
        "hba-tcp-lines-lost",
        "hba_refused",
        _tcp_lines_lost,
        "pg_hba.conf was rolled out anew without the lines for TCP.",
        needs=Needs(prepare=(_line_a_role, usual_visitors)),
    ),
    _refusal(
        "role-validity-over",
        "password_expired",
        _valid_until,
        "The application's role was VALID UNTIL a date that is past now.",
        needs=WITH_PASSWORDS,
    ),
    _refusal(
        "role-nologin",
        "login_not_permitted",
        _nologin,
        "Somebody cleaned up roles and made the application's one NOLOGIN.",
    ),
    _refusal(
        "role-renamed",
        "login_not_permitted",
        _renamed,
        "Somebody renamed the application's role.",
    ),
    _refusal(
        "role-dropped",
        "login_not_permitted",
        _dropped,
        "Somebody dropped the application's role, and gave what it owned to another one.",
    ),
    _refusal(
        "application-password-changed",
        "password_wrong",
        _application_password,
        "The application's password was changed on the server, and nobody told the application.",
        needs=WITH_PASSWORDS,
    ),
    _refusal(
        "watchers-password-changed",
        "password_wrong",
        _watchers_password,
        "The monitoring role's password was changed on the server, and nobody told the monitor.",
        needs=WITH_PASSWORDS,
    ),
    _refusal(
        "name-without-record",
        "dns_failure",
        _record_gone,
        "The server's name was deleted from the DNS zone.",
        needs=BY_NAME,
    ),
    _refusal(
        "name-server-silent",
        "dns_failure",
        _name_server_silent,
        "The name server no longer answers.",
        needs=BY_NAME,
    ),
    _refusal(
        "packets-dropped",
        "network_unreachable",
        _packets_dropped,
        "A new firewall rule drops every packet to the server.",
        needs=FAR_AWAY,
    ),
    _refusal(
        "packets-rejected",
        "network_unreachable",
        _packets_rejected,
        "A new firewall rule rejects every packet to the server.",
        needs=FAR_AWAY,
    ),
    _refusal(
        "route-lost",
        "network_unreachable",
        _route_lost,
        "There is no route to the server any more.",
        needs=FAR_AWAY,
    ),
    _refusal(
        "other-cluster-answers",
        "other_cluster",
        _other_cluster,
        "The server was stopped, and another data directory was started on its port.",
        needs=LOGGED_IN_ANEW,
    ),
)
