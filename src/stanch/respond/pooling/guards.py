"""What has to be so before anything of a pooler is changed. Pure: from a fresh look at it."""

from __future__ import annotations

from stanch.facts.pooler import PooledDatabase, Pooler, ServerRoom, is_plain
from stanch.model.diagnosis import CauseFinding, Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.guarding import no, unknown
from stanch.steps.action import Guard, Param

PRODUCT = "PgBouncer"
VERSION_MIN = (1, 18)
"""The oldest whose console says of each client how it calls itself."""

POOLER = Guard(name="pooler", asks="Does policy name this pooler, with an `admin_dsn`?")
SAME_POOLER = Guard(
    name="same_pooler", asks="Is it a PgBouncer, and the very process that is watched?"
)
KNOWN_DATABASE = Guard(
    name="known_database",
    asks="Does it have that one database, by a plain name, and not disabled?",
)
LEADS_HERE = Guard(
    name="leads_here", asks="Do its server connections lead to the watched server, seen from both?"
)
COMMON = (POOLER, SAME_POOLER, KNOWN_DATABASE)

ADMIN_HINT = "`admin_dsn` for that pool source, of a user in admin_users of pgbouncer.ini."

PARAMS = (
    Param(name="pooler", kind="text", doc="The name of its pool source in policy.", identity=True),
    Param(name="database", kind="text", doc="The database as the pooler calls it.", identity=True),
)


def withheld(step: PlannedStep, _cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    """Known before anybody is asked: policy has no way to change that pooler."""
    name = step.param("pooler")
    if not isinstance(name, str) or not name:
        return no("pooler", "which pooler it is is not known")
    if target.admin_console(name) is None:
        shown = printable(name)[:80]
        return no("pooler", f"policy has no way to change pooler {shown}", lifts=ADMIN_HINT)
    return None


def may_change(step: PlannedStep, seen: Pooler | Missing) -> Refusal | PooledDatabase:
    """The database of the pooler that may be changed, or the first reason to leave it alone."""
    if isinstance(seen, Missing):
        return unknown("pooler", seen, lifts=ADMIN_HINT)
    if seen.product != PRODUCT or seen.version < VERSION_MIN:
        what = f"{seen.product or 'an unknown pooler'} {'.'.join(map(str, seen.version))}".strip()
        needs = ".".join(map(str, VERSION_MIN))
        return no(
            "same_pooler", f"the console is {printable(what)}, not {PRODUCT} {needs} or newer"
        )
    if not seen.is_watched_one:
        reason = "the watched console does not see the session that would change it"
        lifts = "`dsn` and `admin_dsn` of that source that lead to one process."
        return no("same_pooler", reason, lifts=lifts)
    name = step.param("database")
    if not isinstance(name, str) or not is_plain(name):
        return no("known_database", "its name is one that a person has to write", lifts="A person.")
    database = seen.database(name)
    if database is None:
        return no("known_database", f"the pooler has no database {name}")
    if database.disabled is not False:
        return no("known_database", f"somebody disabled {name} on purpose, or it cannot be told")
    return database


def leads_here(
    database: PooledDatabase, seen: Pooler, room: ServerRoom | Missing
) -> Refusal | None:
    """Both ends have to know one connection: the backend's pid, and the port it is asked from."""
    if isinstance(room, Missing):
        return unknown("leads_here", room)
    if "," in database.host:
        return no("leads_here", f"{database.name} leads to several hosts, of which this is one")
    ends = {(s.pid, s.client_port) for s in room.sessions}
    links = [link for link in seen.links if link.database == database.name]
    if any((link.pid, link.port) in ends for link in links):
        return None
    reason = f"none of its {len(links)} connections for {database.name} is one of the server's"
    lifts = "A connection of that pool which the server shows with its port (pg_monitor, no NAT)."
    return no("leads_here", reason, lifts=lifts)
