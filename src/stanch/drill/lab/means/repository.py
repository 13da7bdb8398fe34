"""A repository of pgBackRest that the rig's server archives into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stanch.adapters.postgres.volumes import SizedVolume, mount_sized_volume
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.means.daemons import program
from stanch.drill.lab.rig import Rig

PROGRAMS = ("pgbackrest",)
CONF = {"archive_mode": "on"}
STANZAS = ("orders", "shop", "main", "prod-15", "db1")
NOTE = "repository"
SMALL_MB = (24, 48)
ARCHIVED_SQL = "SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= %s"
FAILED_SQL = "SELECT 1 FROM pg_stat_archiver WHERE failed_count > 0"
ARCHIVED_S = 60.0

CONFIG = """[global]
repo1-path={folder}/repo
log-path={folder}
lock-path={folder}
spool-path={folder}
start-fast=y
compress-level=1
[{stanza}]
pg1-path={data}
pg1-port={port}
pg1-socket-path={sockets}
pg1-user=postgres
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Where everything of it lies."""

    stanza: str
    config: Path
    path: Path
    volume: SizedVolume | None

    @property
    def archive(self) -> Path:
        return self.path / "archive" / self.stanza

    @property
    def backups(self) -> Path:
        return self.path / "backup" / self.stanza

    def segments(self) -> Sequence[Path]:
        """The archived WAL files, the oldest first; not their timelines' histories."""
        return sorted(path for path in self.archive.glob("*/*/*-*") if path.is_file())


def archives_into_repository(rig: Rig) -> None:
    """archive_command is pgBackRest's, and works. Raises: NotMade."""
    _begin(rig, None)


def archives_into_small_repository(rig: Rig) -> None:
    """The same, on a volume of a few megabytes."""
    _begin(rig, rig.rng.randint(*SMALL_MB))


def repository_of(rig: Rig) -> Repository:
    """What one of them has made."""
    made: Repository = rig.notes[NOTE]
    return made


def pgbackrest(rig: Rig, *words: str) -> str:
    """One of its commands, as the server's user; what it said. Raises: NotMade."""
    made = repository_of(rig)
    done = rig.server.folder.run(_command(made, *words))
    if done.returncode != 0:
        raise NotMade(f"pgbackrest {words[-1]}: {done.stdout.strip()[-800:]}")
    return done.stdout


def back_up(rig: Rig, kind: str = "full") -> None:
    """A backup of the running server. Raises: NotMade."""
    pgbackrest(rig, f"--type={kind}", "backup")


def switch(rig: Rig) -> str:
    """One more WAL file is complete; its name."""
    rig.admin("SELECT txid_current()")
    ((name,),) = rig.admin("SELECT pg_walfile_name(pg_switch_wal())")
    return str(name)


def archive_more(rig: Rig, files: int) -> None:
    """So many further WAL files are filled and archived. Raises: NotMade."""
    last = ""
    for _ in range(files):
        last = switch(rig)
    rig.until(lambda: rig.admin(ARCHIVED_SQL, [last]), seconds=ARCHIVED_S)


def archiving_fails(rig: Rig) -> None:
    """Wait until the server has noticed; WAL is switched, as every busy server does."""

    def failed() -> object:
        switch(rig)
        return rig.admin(FAILED_SQL)

    rig.until(failed, seconds=ARCHIVED_S)


def _begin(rig: Rig, volume_mb: int | None) -> None:
    server = rig.server
    folder, user = server.folder.path / "pgbackrest", server.folder.user
    repo, config = folder / "repo", folder / "pgbackrest.conf"
    for path in (folder, repo):
        path.mkdir(mode=0o750)
        if user is not None:
            user.own(path)
    volume = None
    if volume_mb is not None:
        volume = mount_sized_volume(repo, size_mb=volume_mb, owner=user)
        if volume is None:
            raise NotMade("no volume of limited size can be made here")
        rig.undo(volume.unmount)
    stanza = rig.rng.choice(STANZAS)
    text = CONFIG.format(
        folder=folder,
        stanza=stanza,
        data=server.data_directory,
        port=server.port,
        sockets=server.folder.sockets,
    )
    config.write_text(text, encoding="utf-8")
    if user is not None:
        user.own(config)
    made = Repository(stanza=stanza, config=config, path=repo, volume=volume)
    rig.notes[NOTE] = made
    server.set_conf({"archive_command": " ".join(_command(made, "archive-push", "%p"))})
    pgbackrest(rig, "stanza-create")
    archive_more(rig, 2)
    rig.policy["backups"] = {"pgbackrest": stanza, "pgbackrest_config": str(config)}


def _command(made: Repository, *words: str) -> list[str]:
    return [program("pgbackrest"), f"--config={made.config}", f"--stanza={made.stanza}", *words]
