"""SQL that loses rows, locks people out, or proves nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stanch.respond.lint import hazards as h
from stanch.respond.lint.document import Block
from stanch.respond.lint.on_servers import DAMAGE
from stanch.respond.lint.shell import Command
from stanch.respond.lint.sql import FILLED_IN, Statement

Found = Iterator[tuple[h.Hazard, str]]

_KEPT = frozenset({"OBJECT_TABLE", "OBJECT_SCHEMA", "OBJECT_MATVIEW", "OBJECT_TABLESPACE"})
_THROWN_AWAY = re.compile(r"(?i)(^|[._])(te?mp|test|scratch|old|bak|restored|copy|staging)([._]|$)")
_CHOOSES = frozenset(
    {
        *("usename", "application_name", "client_addr", "client_hostname", "query", "query_id"),
        *(
            "query_start",
            "xact_start",
            "wait_event",
            "wait_event_type",
            "backend_xmin",
            "leader_pid",
        ),
    }
)
_PROOF = re.compile(r"integrit|verif|sanity|validat|health|intact|complete|correct|works")
_CHECKS = re.compile(r"check|corrupt|integrit|damage|verif")
_NO_ARCHIVE = re.compile(r"^(/usr)?(/bin/)?true$|^:$|^exit 0$|^cd \.$|/dev/null|^/?bin/:$")
_OFF, _ON = frozenset({"off", "false", "0", "no"}), frozenset({"on", "true", "1", "yes"})
_HARMFUL_OFF = frozenset({"fsync", "full_page_writes"})
_HARMFUL_ON = frozenset({"zero_damaged_pages", "ignore_checksum_failure", "ignore_invalid_pages"})
_SURGERY = frozenset({"heap_force_kill", "heap_force_freeze"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A statement, and where it stands."""

    statement: Statement
    block: Block
    command: Command | None
    """Of psql, where one is given it."""


def rewrites(asked: Asked, _all: Sequence[Asked]) -> Found:
    one = asked.statement
    full = one.kind == "vacuum_stmt" and any(o.def_elem.defname == "full" for o in one.node.options)
    if full or one.kind == "cluster_stmt":
        space = re.search(r"space|disk|enospc|full", asked.block.prose.replace("vacuum full", ""))
        yield h.VACUUM_FULL, "here, where there is no room for it" if space else ""


def drops(asked: Asked, _all: Sequence[Asked]) -> Found:
    one = asked.statement
    gone = (one.kind == "drop_stmt" and one.word("remove_type") in _KEPT) or one.kind in (
        "dropdb_stmt",
        "truncate_stmt",
        "drop_owned_stmt",
        "drop_table_space_stmt",
    )
    names = one.dropped if gone else one.tables
    thrown_away = bool(names) and all(_THROWN_AWAY.search(name) for name in names)
    if (gone or one.drops_a_column) and not thrown_away:
        yield h.DROPPED_UNGUARDED, ""


def changes_all(asked: Asked, everything: Sequence[Asked]) -> Found:
    one = asked.statement
    if one.kind not in ("delete_stmt", "update_stmt") or one.node.HasField("where_clause"):
        return
    before = [
        other.statement
        for other in everything
        if other.block is asked.block and other.statement.line <= one.line
    ]
    begun = [s.word("kind") for s in before if s.kind == "transaction_stmt"]
    if begun[-1:] not in (["TRANS_STMT_BEGIN"], ["TRANS_STMT_START"]):
        yield h.CHANGED_ALL_ROWS, ""


def ends_sessions(asked: Asked, _all: Sequence[Asked]) -> Found:
    one = asked.statement
    if "pg_terminate_backend" not in one.functions or one.kind != "select_stmt":
        return
    if not one.tables or one.columns & _CHOOSES or "pg_blocking_pids" in one.functions:
        return
    if any(text.startswith("idle in transaction") for text in one.strings):
        return
    if "state" in one.columns and "idle" in one.strings:
        yield h.IDLE_SESSIONS_ENDED, ""
    else:
        yield h.ALL_SESSIONS_ENDED, ""


def calls(asked: Asked, _all: Sequence[Asked]) -> Found:
    functions = asked.statement.functions
    if "pg_promote" in functions:
        yield h.PROMOTED_UNFENCED, ""
    if functions & _SURGERY:
        yield h.SAFETY_TURNED_OFF, ""
    if functions & {"pg_drop_replication_slot"}:
        yield h.SLOT_DROPPED, ""


def settings(asked: Asked, _all: Sequence[Asked]) -> Found:
    for name, value in asked.statement.settings:
        hazard = risky_setting(name, value)
        if hazard is not None:
            yield hazard, f"{name} = {value}"


def risky_setting(name: str, value: str) -> h.Hazard | None:
    """What a parameter does with this value, if it is one of those that lose data."""
    name, value = name.casefold(), value.strip().casefold()
    off = name in _HARMFUL_OFF and value in _OFF
    on = name in _HARMFUL_ON and value in _ON
    if off or on or (name == "session_replication_role" and value == "replica"):
        return h.SAFETY_TURNED_OFF
    if name in ("archive_command", "archive_library") and _NO_ARCHIVE.search(value):
        return h.ARCHIVE_DISCARDED
    return None


def indexes(asked: Asked, _all: Sequence[Asked]) -> Found:
    one = asked.statement
    if one.kind == "index_stmt" and not one.node.concurrent:
        yield h.INDEX_LOCKS_WRITES, ""
    if one.kind != "reindex_stmt":
        return
    looped = asked.command is not None and {"xargs", "find", "parallel"} & {*asked.command.within}
    every = looped or one.word("kind") != "REINDEX_OBJECT_INDEX"
    doubtful = _CHECKS.search(asked.block.prose) or DAMAGE.search(asked.block.prose)
    if every and doubtful:
        yield h.REINDEX_AS_CHECK, "of every index" if looped else ""
    elif not any(p.def_elem.defname == "concurrently" for p in one.node.params):
        yield h.INDEX_LOCKS_WRITES, ""


def counts(asked: Asked, _all: Sequence[Asked]) -> Found:
    one = asked.statement
    if one.kind != "select_stmt" or one.functions != frozenset({"count"}):
        return
    watches = any(table.startswith(("pg_stat", "pg_catalog.pg_stat")) for table in one.tables)
    said = f"{asked.block.heading.casefold()}\n{asked.block.prose}"
    if one.tables and not watches and FILLED_IN not in one.text and _PROOF.search(said):
        yield h.COUNT_AS_INTEGRITY, ""


RULES = (rewrites, drops, changes_all, ends_sessions, calls, settings, indexes, counts)
