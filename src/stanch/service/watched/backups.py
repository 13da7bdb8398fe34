"""The backups of a target that are looked at, beside what the server says of its archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from stanch.adapters.backups.dump_folder import DumpFolder
from stanch.adapters.backups.pgbackrest import PgBackRest, PgBackRestArchive, Stanza
from stanch.adapters.backups.s3_dumps import S3Dumps
from stanch.adapters.backups.s3_link import S3Link, warm_up
from stanch.adapters.backups.s3_wal import S3Wal
from stanch.adapters.backups.wal_folder import WalFolder
from stanch.adapters.channels.threads import in_own_thread
from stanch.adapters.hosts.commands import Commands, LocalCommands, SshCommands
from stanch.adapters.hosts.docker_exec import DockerCommands
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.adapters.hosts.ssh_link import SshLink
from stanch.facts.archive import ARCHIVED_SQL, parse_archived
from stanch.model.backups import Archived
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.backups import ArchiveReader, BackupReader
from stanch.policy.backups import DAY_S, CommandsPolicy
from stanch.policy.hosts import DockerHost, SshHost
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.eyes import SharedSentinel
from stanch.watch.backups.run import BackupWatch, Places

ASK_S = 1.0


async def prepare(targets: Sequence[TargetPolicy]) -> None:
    """What holds the whole process for a moment, done before anybody is watched."""
    if any(target.backups.s3 for target in targets):
        await in_own_thread(warm_up, name="stanch-s3")


class BackupPlaces:
    """The places that the policy names, and the ways to them."""

    def __init__(
        self, target: TargetPolicy, *, now: Callable[[], datetime], far: Commands | None = None
    ) -> None:
        """`far`: how commands run on the target's own machine, where a way is open already."""
        where = target.backups
        self._own: Commands | None = None
        backups: list[tuple[BackupReader, float]] = []
        archives: list[tuple[ArchiveReader, bool]] = []
        if where.dumps:
            backups.append((DumpFolder(where.dumps, now=now), where.dumps_keep_s / DAY_S))
        if where.pgbackrest:
            commands = self._commands(where.pgbackrest_on, target, far)
            stanza = Stanza(commands, where.pgbackrest, config=where.pgbackrest_config)
            backups.append((PgBackRest(stanza), where.pgbackrest_keep_s / DAY_S))
            archives.append((PgBackRestArchive(stanza), False))
        for one in where.s3:
            backups.append((S3Dumps(S3Link(one), now=now), one.keep_s / DAY_S))
            if one.wal_prefix:
                archives.append((S3Wal(S3Link(one)), True))
        if where.wal:
            archives.append((WalFolder(where.wal), True))
        self.places = Places(backups=backups, archives=archives)

    async def close(self) -> None:
        """Closes what was opened for these places alone."""
        if self._own is not None:
            await self._own.close()

    def _commands(
        self, chosen: CommandsPolicy, target: TargetPolicy, far: Commands | None
    ) -> Commands:
        if chosen == "here":
            return LocalCommands()
        if chosen == "host" and far is not None:
            return far
        self._own = commands_on(target.host if chosen == "host" else chosen)
        return self._own


def commands_on(host: object) -> Commands:
    """How commands run on a machine."""
    match host:
        case SshHost():
            return SshCommands(SshLink(host))
        case DockerHost():
            return DockerCommands(DockerLink(host))
        case _:
            # The policy's own check lets nothing else through.
            raise AssertionError(f"no command runs on {host!r}")


def backup_watch(
    target: TargetPolicy,
    places: BackupPlaces,
    *,
    server: SharedSentinel,
    now: Callable[[], datetime],
) -> BackupWatch:
    """The watch of the places that the policy names; of none it has nothing to tell."""

    async def archived() -> Archived | Missing:
        if not target.backups.any_wal or not server.is_open:
            return Missing(what="archive", reason="the server cannot be asked about its archive")
        try:
            return parse_archived(await server.fetch_json(ARCHIVED_SQL, timeout_s=ASK_S))
        except ProbeFailed as error:
            return Missing(what="archive", reason=str(error))

    return BackupWatch(places.places, archived=archived, now=now)
