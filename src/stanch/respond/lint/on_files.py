"""Commands that delete, move or open files: of a server, of its volumes, of its backups."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stanch.respond.lint import hazards as h
from stanch.respond.lint.document import Block
from stanch.respond.lint.shell import Command
from stanch.respond.lint.wrappers import ENGINES, KUBES

Found = Iterator[tuple[h.Hazard, str]]

REMOVERS = frozenset({"rm", "unlink", "shred", "srm", "rmdir"})

_LOCK_FILE = re.compile(r"(^|/)postmaster\.pid$")
_OWNED = re.compile(
    r"(^|/)(pg_wal|pg_xlog|pg_xact|pg_clog|pg_multixact|pg_subtrans|pg_commit_ts)(/|$)"
    r"|(PGDATA|postgres\w*|pgsql|pgdata|/data)\}?(/[\w.-]+)*/(base|global)(/|$)"
)
_DATA = re.compile(
    r"(?i)PGDATA|/var/lib/(postgres\w*|pgsql)|/pgdata\b|/postgres\w*/(\d+/)?(main|data)"
)
_BESIDE_DATA = re.compile(
    r"(?i)(/|^)(log|logs|pg_log|backups?|archive|tmp)(/|$)|\.(old|bak|aside)\b"
)
_CONTAINER_LOG = re.compile(r"/docker/containers/|-json\.log|/var/log/pods/|/var/log/containers/")
_BACKUP = re.compile(r"(?i)backup|dump|\.sql\b|\.bak\b|pgbackrest|barman|wal-g|basebackup")
_PROVEN = re.compile(
    r"(?i)pg_restore\s+(-l|--list)|gzip\s+-t|gunzip\s+-t|zstd\s+-t|\bverify\b|restore test"
    r"|pg_verifybackup|restored? (it|the newest|the latest)|test restore"
)
_OPEN_TO_ALL = re.compile(r"^0?[0-7]?[0-7][0-7][2367]$|[ao]\+r?w|^\+w")
_VOLUME_KINDS = frozenset({"pvc", "pv", "persistentvolumeclaim", "persistentvolume", "pvcs"})


def removes(command: Command) -> bool:
    """Deletes what its words name, or what comes before it in the pipeline names."""
    return command.name in REMOVERS or (command.name == "find" and command.has("-delete"))


def named(command: Command) -> tuple[str, ...]:
    """What a command works on: its words, and those of a list that is handed to it."""
    listed = ()
    if "xargs" in command.within or "find" in command.within:
        listed = tuple(word for one in command.fed_by for word in one.arguments)
    return (*command.arguments, *command.writes, *listed)


def lock_file(command: Command, _block: Block) -> Found:
    if removes(command) and any(_LOCK_FILE.search(word) for word in named(command)):
        yield h.LOCK_FILE_REMOVED, ""


def owned_files(command: Command, _block: Block) -> Found:
    if removes(command) or command.name in ("mv", "truncate", "pg_archivecleanup"):
        hit = next((word for word in named(command) if _OWNED.search(word)), "")
        if hit:
            yield h.WAL_REMOVED, hit
    if command.name in ("pg_resetwal", "pg_resetxlog") and not command.has("-n", "--dry-run"):
        yield h.WAL_RESET, ""


def data_directory(command: Command, _block: Block) -> Found:
    if command.name == "rm" and command.has("-r", "-R", "--recursive"):
        hit = next(
            (w for w in named(command) if _DATA.search(w) and not _BESIDE_DATA.search(w)), ""
        )
        if hit and not _OWNED.search(hit):
            yield h.DATA_DIRECTORY_REMOVED, hit
    note = _volume(command)
    if note:
        yield h.DATA_DIRECTORY_REMOVED, note


def _volume(command: Command) -> str:
    """What a container engine or a cluster is told to throw away with its data."""
    said = command.words[1:]
    if command.name in ENGINES:
        if said[:1] == ("volume",) and command.has("rm", "remove", "prune"):
            return "the volume itself"
        if said[:1] == ("rm",) and command.has("-v", "--volumes"):
            return "with its anonymous volumes"
        if "prune" in said and command.has("--volumes"):
            return "every volume that no container uses now"
    compose = command.name == "docker-compose" or said[:1] == ("compose",)
    if compose and "down" in said and command.has("-v", "--volumes"):
        return "with the volumes of all services"
    if command.name in KUBES and "delete" in said:
        kinds = {part.partition("/")[0] for word in said for part in word.split(",")}
        if kinds & _VOLUME_KINDS:
            return "the claim, and with it usually the volume"
    return ""


def rights(command: Command, _block: Block) -> Found:
    if command.name == "chmod" and any(_OPEN_TO_ALL.search(word) for word in command.words[1:]):
        yield h.RIGHTS_OPENED, ""


def container_log(command: Command, _block: Block) -> Found:
    words = named(command)
    hit = any(_CONTAINER_LOG.search(word) for word in words)
    empties = removes(command) or command.name in ("truncate", "tee")
    into = any(_CONTAINER_LOG.search(word) for word in command.writes)
    if (hit and empties) or into:
        yield h.CONTAINER_LOG_TRUNCATED, ""


def old_backups(command: Command, block: Block) -> Found:
    if _PROVEN.search(block.text) or _PROVEN.search(block.prose):
        return
    listed = (*named(command), *(w for one in command.fed_by for w in one.arguments))
    if removes(command) and any(
        _BACKUP.search(word) and not _CONTAINER_LOG.search(word) for word in listed
    ):
        yield h.BACKUPS_REMOVED, ""
    elif command.name == "aws" and command.words[1:3] == ("s3", "rm"):
        if any(_BACKUP.search(word) for word in command.words[3:]):
            yield h.BACKUPS_REMOVED, "in the object storage, too"
    elif command.name in ("wal-g", "barman") and "delete" in command.words[1:2]:
        if command.has("everything") or not command.has("retain"):
            yield h.BACKUPS_REMOVED, ""
    elif command.name == "pgbackrest" and command.has("stanza-delete"):
        yield h.BACKUPS_REMOVED, "every backup of the stanza"


RULES = (
    lock_file,
    owned_files,
    data_directory,
    rights,
    container_log,
    old_backups,
)
