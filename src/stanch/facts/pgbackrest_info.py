"""What `pgbackrest info --output=json` prints about one stanza."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from stanch.model.backups import Backup, BackupsSeen, WalNeeded
from stanch.model.diagnosis import Missing

BACKUPS_MAX: Final = 2000
REPOSITORIES_MAX: Final = 8
UNREADABLE: Final = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
    OSError,
)
_OK, _NO_BACKUP = 0, 2
_NOTHING_THERE: Final = frozenset({1, 3})
"""The repository was read, and has no folder of the stanza, or none of its lists of backups."""


def parse_info(printed: bytes, stanza: str) -> BackupsSeen | Missing:
    """The stanza's backups, oldest first. Whatever else is printed is Missing."""
    try:
        one = _stanza(printed, stanza)
        code, message = int(one["status"]["code"]), str(one["status"]["message"])
        if code in _NOTHING_THERE:
            return BackupsSeen(backups=(), problem=message[:200])
        if code not in (_OK, _NO_BACKUP) and not one.get("backup"):
            return _missing(f"{stanza}: {message[:200]}")
        backups = tuple(sorted(_backups(one["backup"][-BACKUPS_MAX:]), key=lambda b: b.at))
        return BackupsSeen(
            backups=backups,
            problem=_problem(one),
            running=one["status"].get("lock", {}).get("backup", {}).get("held") is True,
            archived=tuple(archive.newest for archive in _archives(one)),
        )
    except UNREADABLE:
        return _unreadable(stanza)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryArchive:
    """The WAL archive of one repository, for the newest database of the stanza."""

    repository: int
    folder: str
    """Its name in the repository, `15-1`."""
    newest: str
    needed: tuple[WalNeeded, ...]


def parse_archives(printed: bytes, stanza: str) -> tuple[RepositoryArchive, ...] | Missing:
    """Of each repository its archive, with what the backups that are kept there need of it."""
    try:
        return _archives(_stanza(printed, stanza))
    except UNREADABLE:
        return _unreadable(stanza)


def _stanza(printed: bytes, stanza: str) -> Any:
    told: Any = json.loads(printed)
    [one] = [entry for entry in told if entry["name"] == stanza]
    return one


def _backups(told: list[Any]) -> Iterator[Backup]:
    for one in told:
        error = one.get("error")
        yield Backup(
            name=str(one["label"])[:100],
            kind=str(one["type"])[:20],
            at=datetime.fromtimestamp(int(one["timestamp"]["stop"]), UTC),
            # What it took from the server, so that a repository that compresses changes nothing.
            size_bytes=int(one["info"]["delta"]),
            fault="pages with wrong checksums were found in it" if error is True else "",
            # Told only where every page was checked while it was being copied.
            verified=not error if isinstance(error, bool) else None,
        )


def _problem(one: Any) -> str:
    """Repositories that are not well, though the stanza has backups."""
    faults = [
        f"repo{int(repo['key'])}: {str(repo['status']['message'])[:200]}"
        for repo in one.get("repo", ())
        if int(repo["status"]["code"]) not in (_OK, _NO_BACKUP)
    ]
    if faults:
        return "; ".join(faults[:REPOSITORIES_MAX])
    code = int(one["status"]["code"])
    return "" if code in (_OK, _NO_BACKUP) else str(one["status"]["message"])[:200]


def _archives(one: Any) -> tuple[RepositoryArchive, ...]:
    """Of each repository the archive of the newest database; older ones are history."""
    newest: dict[int, tuple[int, str, str]] = {}
    for entry in one["archive"]:
        database = entry["database"]
        repository, number = int(database.get("repo-key", 1)), int(database["id"])
        known = newest.get(repository)
        if known is None or number > known[0]:
            newest[repository] = number, str(entry["max"] or "")[:64], str(entry["id"])[:64]
    return tuple(
        RepositoryArchive(
            repository=repository,
            folder=folder,
            newest=name,
            needed=tuple(_needed(one, repository, number)),
        )
        for repository, (number, name, folder) in sorted(newest.items())[:REPOSITORIES_MAX]
    )


def _needed(one: Any, repository: int, number: int) -> Iterator[WalNeeded]:
    for backup in one["backup"][-BACKUPS_MAX:]:
        database: Any = backup["database"]
        archive: Any = backup.get("archive") or {}
        if (int(database.get("repo-key", 1)), int(database["id"])) == (repository, number):
            first, last = archive.get("start"), archive.get("stop")
            if first and last:
                label = str(backup["label"])[:100]
                yield WalNeeded(backup=label, first=str(first)[:64], last=str(last)[:64])


def _unreadable(stanza: str) -> Missing:
    return _missing(f"pgbackrest told nothing about {stanza} that can be read")


def _missing(reason: str) -> Missing:
    return Missing(what="backups", reason=reason)
