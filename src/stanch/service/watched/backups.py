"""The backups of a target that are looked at, beside what the server says of its archive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stanch.adapters.backups.dump_folder import DumpFolder
from stanch.adapters.backups.pgbackrest import PgBackRest
from stanch.facts.archive import ARCHIVED_SQL, parse_archived
from stanch.model.backups import Archived
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.backups import BackupReader
from stanch.policy.backups import Backups
from stanch.service.watched.eyes import SharedSentinel
from stanch.watch.backups.run import BackupWatch

ASK_S = 1.0


def backup_watch(
    where: Backups, *, server: SharedSentinel, now: Callable[[], datetime]
) -> BackupWatch:
    """The watch of the places that the policy names; of none it has nothing to tell."""
    readers: list[BackupReader] = []
    if where.dumps:
        readers.append(DumpFolder(where.dumps, now=now))
    if where.pgbackrest:
        readers.append(PgBackRest(where.pgbackrest, config=where.pgbackrest_config))

    async def archived() -> Archived | Missing:
        if not where.pgbackrest or not server.is_open:
            return Missing(what="archive", reason="the server cannot be asked about its archive")
        try:
            return parse_archived(await server.fetch_json(ARCHIVED_SQL, timeout_s=ASK_S))
        except ProbeFailed as error:
            return Missing(what="archive", reason=str(error))

    return BackupWatch(readers, archived=archived, now=now)
