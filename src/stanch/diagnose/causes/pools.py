"""Limits short of the server's own: of a role, of a pool, of a pooler, of what logins cost."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.connections import NEVER_RAISE, NEVER_RESTART
from stanch.diagnose.causes.ids import (
    BLOCKING_CHAIN,
    CONNECTION_LIMIT_REACHED,
    CONNECTION_STORM,
    CONNECTIONS_LEAKED,
    CONNECTIONS_LOAD,
    CREDENTIALS_REFUSED,
    LOAD_SPIKE,
    POOL_CLIENTS_EXHAUSTED,
    POOL_EXHAUSTED,
    POOL_PAUSED,
)
from stanch.diagnose.clues import pools, sessions, twice
from stanch.diagnose.clues.pools import PoolNow, clients_of, pool_of
from stanch.diagnose.clues.refusals import first_of
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

FORBIDS = ("start_server", "set_aside_lock_file")
NAME_CHARS_MAX = 120


def _limits(evidence: Evidence) -> tuple[str, ...]:
    seen = value_of(evidence.sessions)
    return seen.limits_hit if seen is not None else ()


def _tell_limit(evidence: Evidence) -> str:
    hit = _limits(evidence)
    if not hit:
        return "A role or a database has as many sessions as its own CONNECTION LIMIT allows."
    text = shortened(hit[0], 200)
    return f"{text[0].upper()}{text[1:]}: it is turned away, others are not."


def _tell_storm(evidence: Evidence) -> str:
    figures = value_of(evidence.figures)
    young = figures.of("sessions_begun_10s") if figures is not None else None
    top = f" ({shortened(young.detail, NAME_CHARS_MAX)})" if young and young.detail else ""
    fast = twice.logins_fast.ask(evidence)
    if fast.yes:
        return f"A flood of new connections: {fast.text}{top}."
    if young is None or young.value is None:
        return "Many times as many connections arrive as usual."
    return f"A flood of new connections: {young.value:.0f} sessions are younger than 10 s{top}."


def _tell_pool(evidence: Evidence) -> str:
    pool = pool_of(evidence)
    if pool is None:
        return "A pooler has no server connection to give, and its clients give up waiting."
    use = "" if pool.usage_pct is None else f", {pool.usage_pct:.0f} % in use"
    waited = f", the longest for {span(pool.max_wait_s)}" if pool.max_wait_s else ""
    name = shortened(pool.name, NAME_CHARS_MAX)
    return f"{pool.waiting:.0f} clients wait for pool {name}{use}{waited}."


def _tell_clients(evidence: Evidence) -> str:
    fullest = clients_of(evidence)
    if fullest is None:
        return "A pooler takes no more client connections: max_client_conn is reached."
    pooler, share = fullest
    return (
        f"{share:.0f} % of the client connections of pooler {shortened(pooler, NAME_CHARS_MAX)} "
        "are taken (max_client_conn)."
    )


def _rounded(value: float | None) -> float | None:
    """Always a float: what was kept and read again has to be the same."""
    return None if value is None else round(float(value), 1)


def _tell_paused(evidence: Evidence) -> str:
    pool = pool_of(evidence)
    if pool is None:
        return "Somebody paused a pool, and its clients wait."
    waited = f", the longest for {span(pool.max_wait_s)}" if pool.max_wait_s else ""
    name = shortened(pool.name, NAME_CHARS_MAX)
    return f"Pool {name} is paused: {pool.waiting:.0f} clients wait for it{waited}."


def _place_facts(pool: PoolNow | None) -> Facts:
    """Where it is, as far as its name is that of a console's pool: pooler, database, role."""
    parts = pool.name.split("/") if pool is not None else []
    known = pool is not None and pool.paused is not None and len(parts) == 3
    return (("pooler", parts[0] if known else None), ("database", parts[1] if known else None))


def _growth_facts(pool: PoolNow | None) -> Facts:
    """Half as many again; what the server has left for them is asked before anything is done."""
    size = round(pool.size) if pool is not None and pool.size else None
    larger = None if size is None else size + max(1, size // 2)
    return (("pool_size", size), ("pool_size_larger", larger))


def _pool_facts(evidence: Evidence) -> Facts:
    pool, seen = pool_of(evidence), value_of(evidence.sessions)
    return (
        ("server_running", True),
        ("pool", pool.name if pool else None),
        *_place_facts(pool),
        *_growth_facts(pool),
        ("pool_usage_pct", _rounded(pool.usage_pct if pool else None)),
        ("pool_waiting", round(pool.waiting) if pool else None),
        ("pool_max_wait_s", _rounded(pool.max_wait_s if pool else None)),
        ("client_backends", seen.client_backends if seen else None),
        ("usable_connections", seen.usable if seen else None),
    )


connection_limit_reached = Cause(
    id=CONNECTION_LIMIT_REACHED,
    section=Section.ACCESS,
    sentence="A role or a database has all the sessions that its own CONNECTION LIMIT allows.",
    onset=Onset.CREEPING,
    impact="At once for new logins of that role, or to that database; nobody else notices.",
    family="limit",
    prior=-3.0,
    weighs=(
        # A pool as large as the limit of its role sits at it every day: alone it says little.
        Weigh(clue=pools.limit_hit, yes=1.5, no=-4.0, now=True),
        Weigh(clue=pools.limit_said, yes=6.5, no=0.0, now=True),
        Weigh(clue=pools.limit_logged, yes=4.0, no=-0.5),
    ),
    shown_by=((pools.limit_hit, True), (pools.limit_said, True), (pools.limit_logged, True)),
    tell=_tell_limit,
    facts=lambda e: (("server_running", True), ("limit", next(iter(_limits(e)), None))),
    began=lambda e: first_of(e, "too_many_for_role"),
    apart={
        CONNECTIONS_LEAKED: 'Does the refusal say "too many connections for" one role or '
        "database, or that all slots are taken?",
        CREDENTIALS_REFUSED: "Which SQLSTATE does the refusal carry: 53300 (no room), or 28P01 or "
        "28000 (who you are)?",
    },
    symptoms=(SymptomKind.CONNECTION_LIMIT_NEAR, SymptomKind.UNWATCHED),
    safe_first="Look at what the sessions of that role do; end those that are idle and not pooled, "
    "or raise that one limit (ALTER ROLE ... CONNECTION LIMIT), which takes no restart.",
    never=(NEVER_RAISE, NEVER_RESTART),
    follows_change=(ItemKind.ROLE, ItemKind.DATABASE, ItemKind.DEPLOY, ItemKind.ROLLOUT),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}sql-alterrole.html",
)

connection_storm = Cause(
    id=CONNECTION_STORM,
    section=Section.ACCESS,
    sentence="Clients open connections far faster than usual, most often because they lose them or "
    "are refused and try again at once; starting sessions takes the server's time.",
    onset=Onset.AT_ONCE,
    impact="At once for everybody: processors start sessions instead of working.",
    family="storm",
    prior=-3.0,
    weighs=(
        Weigh(clue=pools.logins_surged, yes=4.0, no=-1.0, now=True),
        Weigh(clue=pools.sessions_surged, yes=5.0, no=-1.0, now=True),
        Weigh(clue=twice.logins_fast, yes=5.0, no=-2.0, now=True),
        # Those that ask once and leave are gone before anybody looks.
        Weigh(clue=pools.sessions_young, yes=2.0, no=-0.5, now=True),
        Weigh(clue=pools.sessions_grown, yes=1.5, no=-0.5, now=True),
        Weigh(clue=sessions.refused_logged, yes=1.0, no=0.0),
        Weigh(clue=sessions.waiting, yes=-1.5, no=0.0, now=True),
        # New sessions that stay and do nothing are a leak that has just begun.
        Weigh(clue=pools.sessions_stay, yes=-4.0, no=0.0, now=True),
    ),
    shown_by=(
        (twice.logins_fast, True),
        (pools.logins_surged, True),
        (pools.sessions_surged, True),
        (pools.sessions_young, True),
    ),
    tell=_tell_storm,
    facts=lambda e: (("server_running", True), *_storm_facts(e)),
    apart={
        CONNECTIONS_LOAD: "Are most sessions in pg_stat_activity older than a minute "
        "(backend_start)?",
        CONNECTIONS_LEAKED: "Are most sessions in pg_stat_activity older than a minute "
        "(backend_start)?",
    },
    symptoms=(
        SymptomKind.CONNECTIONS_HIGH,
        SymptomKind.CONNECTIONS_EXHAUSTED,
        SymptomKind.LOAD_HIGH,
    ),
    brings_about=(CONNECTIONS_LOAD, LOAD_SPIKE),
    safe_first="Slow the clients down where they are (a pause between tries, fewer instances, a "
    "pooler in front), and find out what made them lose their connections.",
    never=(
        "Do not end all sessions at once: every client comes back in the same second.",
        NEVER_RAISE,
        NEVER_RESTART,
    ),
    follows_change=(
        ItemKind.SERVER,
        ItemKind.SETTING,
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.EVENT,
    ),
    forbids=("end_idle_sessions", *FORBIDS),
    runbook="",
    source=f"{DOC}runtime-config-logging.html#GUC-LOG-CONNECTIONS",
)


def _storm_facts(evidence: Evidence) -> Facts:
    figures, seen = value_of(evidence.figures), value_of(evidence.sessions)
    young = figures.value("sessions_begun_10s") if figures is not None else None
    return (
        ("sessions_begun_10s", None if young is None else round(young)),
        ("client_backends", seen.client_backends if seen else None),
    )


pool_exhausted = Cause(
    id=POOL_EXHAUSTED,
    section=Section.ACCESS,
    sentence="Every server connection of a pool is in use, and clients wait for one.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever waits; the server itself may look idle.",
    family="pool",
    prior=-3.0,
    weighs=(
        Weigh(clue=pools.pool_queue, yes=3.5, no=-4.0, now=True),
        Weigh(clue=pools.pool_full, yes=1.5, no=-1.0, now=True),
        Weigh(clue=pools.pool_timeout_said, yes=6.0, no=0.0, now=True),
        Weigh(clue=pools.server_has_room, yes=0.5, no=-0.5, now=True),
        Weigh(clue=pools.pool_held, yes=-4.0, no=0.0, now=True),
    ),
    shown_by=((pools.pool_queue, True), (pools.pool_timeout_said, True)),
    tell=_tell_pool,
    facts=_pool_facts,
    subject=lambda e: pool.name if (pool := pool_of(e)) else "",
    apart={
        CONNECTIONS_LOAD: "Does the server have free connections (max_connections) while clients "
        "wait for the pooler?",
        BLOCKING_CHAIN: "What do the pool's sessions do in pg_stat_activity: work, wait for a "
        "lock, or sit idle in a transaction?",
        POOL_CLIENTS_EXHAUSTED: "Do clients wait in SHOW POOLS (cl_waiting), or does the pooler "
        "refuse them?",
    },
    symptoms=(
        SymptomKind.POOL_EXHAUSTED,
        SymptomKind.POOL_HIGH,
        SymptomKind.POOL_WAITING,
        SymptomKind.POOL_WAIT_LONG,
    ),
    safe_first="Look at what the pool's sessions do in the server: end the transaction that holds "
    "them up; raise pool_size only where the server has processors and connections to spare.",
    never=(
        "Do not restart the pooler: every client is thrown off and comes back at once.",
        "Do not raise pool_size beyond what the server can work on: the queue moves into it.",
        NEVER_RESTART,
    ),
    follows_change=(ItemKind.SETTING, ItemKind.DEPLOY, ItemKind.ROLLOUT),
    forbids=FORBIDS,
    runbook="pool-exhausted",
    source=f"{DOC}runtime-config-connection.html",
)

pool_paused = Cause(
    id=POOL_PAUSED,
    section=Section.ACCESS,
    sentence="Somebody paused a pool of a pooler (PAUSE), and nobody resumed it; its clients wait.",
    onset=Onset.AT_ONCE,
    impact="At once for every client of that pool; the server itself is idle and well.",
    family="pool",
    prior=-3.5,
    weighs=(
        Weigh(clue=pools.pool_held, yes=8.0, no=-8.0, now=True),
        Weigh(clue=pools.pool_queue, yes=1.5, no=-1.0, now=True),
    ),
    shown_by=((pools.pool_held, True),),
    tell=_tell_paused,
    facts=_pool_facts,
    subject=lambda e: pool.name if (pool := pool_of(e)) else "",
    apart={
        POOL_EXHAUSTED: "Does SHOW DATABASES of the pooler's console show it as paused?",
    },
    symptoms=(
        SymptomKind.POOL_WAITING,
        SymptomKind.POOL_WAIT_LONG,
    ),
    safe_first="Ask whoever is at work on the server or the pooler whether they paused it; then "
    "RESUME that one database on its console.",
    never=(
        "Do not restart the pooler: every client is thrown off and comes back at once.",
        "Do not resume it while a move to another server is under way: clients would write to "
        "the old one.",
        NEVER_RESTART,
    ),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.EVENT),
    forbids=FORBIDS,
    runbook="pool-paused",
    source="https://www.pgbouncer.org/usage.html#process-controlling-commands",
)

pool_clients_exhausted = Cause(
    id=POOL_CLIENTS_EXHAUSTED,
    section=Section.ACCESS,
    sentence="A pooler has all the clients that it takes (max_client_conn) and refuses more.",
    onset=Onset.CREEPING,
    impact="At once for every new client of the pooler; those that are connected go on.",
    family="pool_clients",
    prior=-3.0,
    weighs=(
        Weigh(clue=pools.pool_clients_full, yes=4.5, no=-4.0, now=True),
        Weigh(clue=pools.pool_clients_said, yes=6.0, no=0.0, now=True),
    ),
    shown_by=((pools.pool_clients_full, True), (pools.pool_clients_said, True)),
    tell=_tell_clients,
    facts=lambda e: (
        ("server_running", True),
        ("pooler", fullest[0] if (fullest := clients_of(e)) else None),
    ),
    subject=lambda e: fullest[0] if (fullest := clients_of(e)) else "",
    apart={
        CONNECTIONS_LEAKED: "Who refuses the login: the pooler (max_client_conn) or the server "
        "(53300)?",
    },
    symptoms=(SymptomKind.POOL_EXHAUSTED, SymptomKind.POOL_HIGH),
    safe_first="Find the application that opens clients and does not close them (SHOW CLIENTS); "
    "raise max_client_conn and reload: a client of the pooler costs little.",
    never=(
        "Do not restart the pooler: every client is thrown off and comes back at once.",
        NEVER_RAISE,
    ),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}runtime-config-connection.html",
)
