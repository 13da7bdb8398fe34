"""A repository of pgBackRest: what no longer goes into it, and what it turns out not to hold."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means.clock import own_clock, set_clock
from stanch.drill.lab.means.repository import (
    CONF,
    PROGRAMS,
    archive_more,
    archives_into_repository,
    archives_into_small_repository,
    archiving_fails,
    back_up,
    repository_of,
)
from stanch.drill.lab.rig import Rig

DAY_S = 86_400
CHUNK = bytes(64 * 1024)
ROOT = 0
OTHERS = ("billing", "warehouse", "crm")


# --- archiving ----------------------------------------------------------------------------------


def _backed_up(rig: Rig) -> None:
    back_up(rig)
    archive_more(rig, rig.rng.randint(1, 4))


def _repository_full(rig: Rig) -> None:
    """The backup of another stanza takes the rest of the volume."""
    other = repository_of(rig).path / "backup" / rig.rng.choice(OTHERS)
    other.mkdir()
    with suppress(OSError), (other / "bundle").open("ab", buffering=0) as file:
        while True:
            file.write(CHUNK)
    archiving_fails(rig)


def _permission_gone(rig: Rig) -> None:
    """Somebody copied the repository back as root."""
    made, user = repository_of(rig), rig.server.folder.user
    if user is None:
        raise NotMade("nobody else's files can be made here")
    everything = [made.archive, *made.archive.rglob("*")]
    for path in everything:
        os.chown(path, ROOT, ROOT, follow_symlinks=False)
        path.chmod(0o750 if path.is_dir() else 0o640)
    rig.undo(lambda: [user.own(path) for path in everything])
    archiving_fails(rig)


def _stanza_broken(rig: Rig) -> None:
    """What describes the archive is gone with its copy, or is no such thing any more."""
    archive = repository_of(rig).archive
    files = [archive / "archive.info", archive / "archive.info.copy"]
    if rig.rng.random() < 0.5:
        for path in files:
            path.unlink()
    else:
        # As after a crash of the machine that the repository is on.
        for path in files:
            path.write_bytes(bytes(path.stat().st_size))
    archiving_fails(rig)


# --- backups ------------------------------------------------------------------------------------


def _backed_up_long_ago(rig: Rig) -> None:
    """The newest backup is older than anybody allows: its timer was switched off."""
    days = rig.rng.randint(9, 40)
    set_clock(rig, -days * DAY_S)
    back_up(rig)
    if rig.rng.random() < 0.5:
        back_up(rig, "diff")
    set_clock(rig, 0)
    archive_more(rig, rig.rng.randint(1, 4))


def _backups_deleted(rig: Rig) -> None:
    """Somebody made room in the repository, by hand."""
    back_up(rig)
    archive_more(rig, 1)
    shutil.rmtree(repository_of(rig).backups)


def _segments_deleted(rig: Rig) -> None:
    """A job that removes old files took some that the backup needs."""
    back_up(rig)
    archive_more(rig, rig.rng.randint(5, 10))
    files = repository_of(rig).segments()
    # Never the newest: a restore would only end a little earlier.
    gone = rig.rng.randint(1, 3)
    first = rig.rng.randint(len(files) - 4 - gone, len(files) - 1 - gone)
    for path in files[first : first + gone]:
        path.unlink()


def _was_at_night(rig: Rig) -> None:
    """It happened before anybody began to look: repositories are looked at now and then."""
    if not _is_there(repository_of(rig).path):
        raise NotMade("there is no repository")


def _is_there(path: Path) -> bool:
    return (path / "archive").is_dir()


FAULTS = (
    Fault(
        id="pgbackrest-repository-full",
        area=Area.BACKUPS,
        story="The volume of pgBackRest's repository was filled by another server's backup;"
        " archive-push fails.",
        causes=("archiver_failing",),
        make=_repository_full,
        needs=Needs(
            conf=CONF,
            root=True,
            programs=PROGRAMS,
            prepare=(archives_into_small_repository, _backed_up),
        ),
        shows_after_s=2.0,
    ),
    Fault(
        id="pgbackrest-permission-gone",
        area=Area.BACKUPS,
        story="The repository was copied back by root, and pgBackRest may no longer write into its"
        " archive.",
        causes=("archiver_failing",),
        make=_permission_gone,
        needs=Needs(
            conf=CONF, root=True, programs=PROGRAMS, prepare=(archives_into_repository, _backed_up)
        ),
        shows_after_s=2.0,
    ),
    Fault(
        id="pgbackrest-stanza-broken",
        area=Area.BACKUPS,
        story="The file that describes the stanza's archive was lost with its copy; archive-push"
        " asks for a stanza-create.",
        causes=("archiver_failing",),
        make=_stanza_broken,
        needs=Needs(conf=CONF, programs=PROGRAMS, prepare=(archives_into_repository, _backed_up)),
        shows_after_s=2.0,
    ),
    Fault(
        id="pgbackrest-backup-too-old",
        area=Area.BACKUPS,
        story="The timer of the backups was switched off for an upgrade and never on again; the"
        " newest is weeks old.",
        causes=("backup_failed",),
        make=_was_at_night,
        by_policy_alone=True,
        needs=Needs(
            conf=CONF,
            programs=PROGRAMS,
            prepare=(own_clock, archives_into_repository, _backed_up_long_ago),
        ),
    ),
    Fault(
        id="pgbackrest-backups-deleted",
        area=Area.BACKUPS,
        story="Somebody made room in the repository and removed the folder with all backups.",
        causes=("backup_failed",),
        make=_was_at_night,
        by_policy_alone=True,
        needs=Needs(
            conf=CONF, programs=PROGRAMS, prepare=(archives_into_repository, _backups_deleted)
        ),
    ),
    Fault(
        id="pgbackrest-never-backed-up",
        area=Area.BACKUPS,
        story="The stanza was made and WAL is archived, but nobody ever took a backup.",
        causes=("backup_failed",),
        make=_was_at_night,
        by_policy_alone=True,
        needs=Needs(conf=CONF, programs=PROGRAMS, prepare=(archives_into_repository,)),
    ),
    Fault(
        id="pgbackrest-wal-deleted",
        area=Area.BACKUPS,
        story="A job that removes old files removed WAL from the repository that the backup needs.",
        causes=("archive_gap",),
        make=_was_at_night,
        by_policy_alone=True,
        needs=Needs(
            conf=CONF, programs=PROGRAMS, prepare=(archives_into_repository, _segments_deleted)
        ),
    ),
)
