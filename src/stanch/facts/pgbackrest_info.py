"""What `pgbackrest info --output=json` prints about one stanza."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from stanch.model.backups import Backup, BackupsSeen
from stanch.model.diagnosis import Missing

BACKUPS_MAX: Final = 2000
_OK, _NO_BACKUP = 0, 2


def parse_info(printed: bytes, stanza: str) -> BackupsSeen | Missing:
    """The stanza's backups, oldest first. Whatever else is printed is Missing."""
    try:
        told: Any = json.loads(printed)
        [one] = [entry for entry in told if entry["name"] == stanza]
        code, message = int(one["status"]["code"]), str(one["status"]["message"])
        if code not in (_OK, _NO_BACKUP) and not one.get("backup"):
            return _missing(f"{stanza}: {message[:200]}")
        backups = tuple(sorted(_backups(one["backup"][-BACKUPS_MAX:]), key=lambda b: b.at))
        return BackupsSeen(backups=backups, archived=_archived(one))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, OSError):
        return _missing(f"pgbackrest told nothing about {stanza} that can be read")


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


def _archived(one: Any) -> tuple[str, ...]:
    """Of each repository the newest WAL file of the newest database; older ones are history."""
    newest: dict[int, tuple[int, str]] = {}
    for entry in one["archive"]:
        database = entry["database"]
        repository, number = int(database.get("repo-key", 1)), int(database["id"])
        known = newest.get(repository)
        if known is None or number > known[0]:
            newest[repository] = number, str(entry["max"] or "")[:64]
    return tuple(name for _, name in newest.values())


def _missing(reason: str) -> Missing:
    return Missing(what="backups", reason=reason)
