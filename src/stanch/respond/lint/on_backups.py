"""Commands that restore, and copies that are taken before: over what, and of what worth."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stanch.respond.lint import hazards as h
from stanch.respond.lint.document import Block
from stanch.respond.lint.on_servers import DAMAGE
from stanch.respond.lint.shell import Command
from stanch.respond.lint.wrappers import SHELLS

Found = Iterator[tuple[h.Hazard, str]]

_RESTORE_SCRIPT = re.compile(r"(?i)(^|[/_.-])restore[\w-]*(\.(sh|bash|py|rb|js))?$")
_DUMP_FILE = re.compile(r"(?i)\.(dump|bak)(\.\w+)?$|\.sql\.(gz|bz2|xz|zst|lz4)$|backup|dump|latest")
_ELSEWHERE = re.compile(r"(?i)test|scratch|verify|_new\b|new_|_restored|restored_|_check|sandbox")
_READERS = frozenset({"cat", "zcat", "gunzip", "gzip", "bzcat", "xzcat", "zstdcat", "zstd", "pigz"})
_LOOKED = re.compile(r"(?i)amcheck|bt_index_check|verify_heapam|pg_checksums|\breindex\b")
_PART = re.compile(
    r"index(es)? (is|are|may be|seems?) (corrupt|damaged|broken)|corrupt(ed)? index"
    r"|could not read block|invalid page|bad block"
)
_SAFETY = re.compile(r"(?i)emergency|safety|before|pre[_-]?restore|current state|just in case")
_CHECKED = re.compile(r"pg_restore\s+(-l|--list)|set -e|pipefail|\$\?|gzip -t|gunzip -t|zstd -t")
_MIGRATES = (
    re.compile(r"\bprisma (migrate (deploy|dev|reset)|db push)"),
    re.compile(r"\b(alembic upgrade|flyway\b.*\bmigrate|liquibase\b.*\bupdate|goose\b.*\bup)\b"),
    re.compile(r"\b(knex|sequelize|dbmate|sqitch)\b.*\b(migrate|migrate:latest|up|deploy)\b"),
    re.compile(r"\b(rails|rake)\b.*\bdb:migrate\b|\bmanage\.py migrate\b|\bartisan migrate\b"),
)


def restores(command: Command) -> str:
    """How a command puts a backup in the place of what is there; empty: it does not."""
    name, said = command.name, command.words[1:]
    if name == "pg_restore":
        if command.has("-l", "--list") or command.has("-C", "--create"):
            return ""
        into = _after(said, "-d", "--dbname")
        over = command.has("-c", "--clean") and not _ELSEWHERE.search(into)
        return "--clean drops what is there" if over else ""
    if name == "psql":
        fed = any(one.name in _READERS for one in command.fed_by)
        dumped = any(_DUMP_FILE.search(word) for one in command.fed_by for word in one.arguments)
        given = [*command.reads, _after(said, "-f", "--file")]
        reads = (fed and dumped) or any(path and _DUMP_FILE.search(path) for path in given)
        return "" if not reads or _ELSEWHERE.search(" ".join(said)) else "a dump into it"
    if name == "pgbackrest" and "restore" in said:
        beside = any(re.match(r"--(pg\d*-path|db-path)\b", word) for word in said)
        return "" if beside else "pgBackRest writes to the stanza's own directory"
    if name == "wal-g" and "backup-fetch" in said and re.search(r"PGDATA|/var/lib/", command.text):
        return "into the data directory"
    script = said[0] if name in SHELLS and said and not said[0].startswith("-") else ""
    program = script or command.words[0]
    if _RESTORE_SCRIPT.search(program) and "/" in program and "--list" not in said:
        return f"what {program.rpartition('/')[2]} does is not to be seen here"
    return ""


def _after(words: tuple[str, ...], *options: str) -> str:
    """The value of an option; empty where it is not given."""
    for a, b in zip(words, (*words[1:], ""), strict=True):
        if a in options:
            return b
        if a.partition("=")[0] in options and "=" in a:
            return a.partition("=")[2]
    return ""


def in_place(command: Command, _block: Block) -> Found:
    note = restores(command)
    if note:
        yield h.RESTORED_IN_PLACE, note


def whole_for_a_part(command: Command, block: Block) -> Found:
    whole = restores(command) or command.name == "dropdb"
    said = f"{block.prose}\n{block.text}"
    if whole and _PART.search(block.prose) and not _LOOKED.search(said):
        yield h.WHOLE_FOR_A_PART, ""


def unchecked_copy(command: Command, block: Block) -> Found:
    if command.name not in ("pg_dump", "pg_dumpall") or command.checked:
        return
    to_file = command.writes or command.feeds or command.has("-f", "--file")
    near = f"{block.heading}\n{block.prose}\n{block.text}"
    matters = DAMAGE.search(block.prose) or (_SAFETY.search(near) and "restore" in near.casefold())
    if to_file and matters and not _CHECKED.search(block.text):
        yield h.COPY_UNCHECKED, ""


def migrated(command: Command, block: Block) -> Found:
    recovering = re.search(r"restore|recover|failover|corrupt", block.prose)
    if recovering and any(pattern.search(command.text) for pattern in _MIGRATES):
        yield h.MIGRATED_IN_RECOVERY, ""


RULES = (in_place, whole_for_a_part, unchecked_copy, migrated)
