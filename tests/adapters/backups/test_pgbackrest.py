"""A real repository of pgBackRest: what it holds, and what the server only believes it holds."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fix_servers import MakeServer
from samplings import ORDERS, Watched
from stanch.adapters.backups.pgbackrest import PgBackRest, PgBackRestArchive, Stanza
from stanch.adapters.hosts.commands import LocalCommands, Printed, SshCommands
from stanch.adapters.hosts.ssh_link import SshLink
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.archive import ARCHIVED_SQL, parse_archived
from stanch.facts.pgbackrest_info import parse_archives, parse_info
from stanch.model.backups import Archived, BackupsSeen, Branch, WalHeld, WalNeeded
from stanch.model.diagnosis import Missing
from stanch.model.samples import Sample
from stanch.policy.hosts import SshHost
from stanch.watch.backups.archive import ArchiveReadings
from stanch.watch.backups.readings import PlaceReadings
from stanch.watch.backups.run import EVERY_S, BackupWatch, Places

pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)


@pytest.fixture
def stanza(make_server: MakeServer) -> tuple[ScratchServer, Path]:
    """A server that archives into a repository of its own, and the tool's configuration."""
    server = make_server(conf={"archive_mode": "on", "wal_level": "replica"})
    folder = server.folder.sockets
    config = folder / "pgbackrest.conf"
    config.write_text(
        f"[global]\nrepo1-path={folder}/repo\nlog-path={folder}\nlock-path={folder}\n"
        f"spool-path={folder}\nstart-fast=y\ncompress-level=1\n"
        f"[orders]\npg1-path={server.data_directory}\npg1-port={server.port}\n"
        f"pg1-socket-path={folder}\npg1-user=postgres\n"
    )
    config.chmod(0o644)
    push = f"/usr/bin/pgbackrest --config={config} --stanza=orders archive-push %p"
    server.set_conf({"archive_command": push})
    run_in(server, config, "stanza-create")
    return server, config


def run_in(server: ScratchServer, config: Path, *command: str) -> None:
    done = server.folder.run(
        ["/usr/bin/pgbackrest", f"--config={config}", "--stanza=orders", *command]
    )
    assert done.returncode == 0, done.stdout


def here(config: Path) -> Stanza:
    return Stanza(LocalCommands(), "orders", config=str(config))


async def readings(server: ScratchServer, config: Path) -> dict[str, float | None]:
    seen = await PgBackRest(here(config)).look(deadline_s=30)
    assert isinstance(seen, BackupsSeen), seen
    found = PlaceReadings(place="x", keep_days=7).of(seen, told_by(server), at=datetime.now(UTC))
    return {r.name: r.value for r in found}


def told_by(server: ScratchServer) -> Archived:
    return parse_archived(server.query(ARCHIVED_SQL)[0][0])


def archive_more(server: ScratchServer, files: int) -> list[str]:
    """Fills and archives so many WAL files, and returns their names."""
    names: list[str] = []
    for number in range(files):
        server.query(f"CREATE TABLE IF NOT EXISTS more_{number}_{len(names)} ()")
        asked = "SELECT pg_walfile_name(pg_switch_wal())"
        names.append(server.query(asked)[0][0])
    wait_until(server, f"SELECT last_archived_wal >= '{names[-1]}' FROM pg_stat_archiver")
    return names


class Rules:
    """What they make of looks at the repository, five minutes apart by the clock they are given."""

    def __init__(self, server: ScratchServer, config: Path) -> None:
        self.watched, self._begun = Watched(), datetime.now(UTC)
        self._at = self._begun

        async def archived() -> Archived:
            return told_by(server)

        self._watch = BackupWatch(
            Places(backups=[(PgBackRest(here(config)), 7.0)]),
            archived=archived,
            now=lambda: self._at,
        )

    async def look(self) -> list[str]:
        """What this look raised."""
        await self._watch.look()
        before = len(self.watched.raised)
        sample = Sample(target=ORDERS, at=self._at, readings=self._watch.take())
        self.watched.look((self._at - self._begun).total_seconds(), sample)
        self._at += timedelta(seconds=EVERY_S)
        return [key.partition(":")[0] for key in self.watched.raised[before:]]


async def test_a_repository_is_told_before_and_after_its_first_backup_and_with_files_missing(
    stanza: tuple[ScratchServer, Path], sshd: SshHost
) -> None:
    server, config = stanza
    rules = Rules(server, config)
    before = await readings(server, config)
    assert (before["backup_age_s"], before["backup_failed"]) == (None, 1)
    assert await rules.look() == ["backup_failed"]

    server.query("CREATE TABLE ledger AS SELECT repeat('y', 5000) AS row", dbname="app")
    run_in(server, config, "--type=full", "backup")
    good = await readings(server, config)
    assert good["backup_failed"] == 0
    assert good["backup_age_s"] is not None
    assert 0 <= good["backup_age_s"] < 60
    assert good["archive_gap_segments"] == 0
    assert [await rules.look(), await rules.look()] == [[], []]
    assert [key.partition(":")[0] for key in rules.watched.cleared] == ["backup_failed"]

    await seen_alike_over_ssh(config, sshd)
    await a_hole_is_named(server, config)
    damage(server, "ledger")
    run_in(server, config, "--type=incr", "backup")
    assert await rules.look() == ["backup_verification_failed"]
    assert "pages with wrong checksums" in rules.watched.symptoms[-1].detail

    # An archive_command that discards is what the server cannot see.
    server.set_conf({"archive_command": "/bin/true"})
    last = server.query("SELECT last_archived_wal FROM pg_stat_archiver")[0][0]
    server.query("CREATE TABLE t ()")
    server.query("SELECT pg_switch_wal()")
    wait_until(server, f"SELECT last_archived_wal > '{last[:24]}' FROM pg_stat_archiver")
    gap = (await readings(server, config))["archive_gap_segments"]
    assert gap is not None
    assert gap >= 1
    assert await rules.look() == [], "it may be on its way"
    assert await rules.look() == ["archive_gap"]
    await a_new_timeline_is_read_with_its_history(config)


def damage(server: ScratchServer, table: str) -> None:
    """Bytes in the middle of its first page, on disk."""
    server.query("CHECKPOINT")
    [(path,)] = server.query(f"SELECT pg_relation_filepath('{table}')", dbname="app")
    with (server.data_directory / path).open("r+b") as file:
        file.seek(4000)
        file.write(b"\xff" * 64)


async def a_new_timeline_is_read_with_its_history(config: Path) -> None:
    archive = config.parent / "repo/archive/orders/15-1"
    (archive / "0000000200000000").mkdir()
    (archive / "0000000200000000" / f"000000020000000000000063-{'0' * 40}.gz").touch()
    (archive / "00000002.history").write_text("1\t0/6300000\tno recovery target specified\n")
    [held] = await walked(PgBackRestArchive(here(config)))
    assert held.branches == (Branch(timeline=1, end_bytes=0x6300000),)
    assert held.runs[-1].timeline == 2


async def seen_alike_over_ssh(config: Path, sshd: SshHost) -> None:
    commands = SshCommands(SshLink(sshd))
    try:
        far = Stanza(commands, "orders", config=str(config))
        seen = await PgBackRest(far).look(deadline_s=30)
        assert seen == await PgBackRest(here(config)).look(deadline_s=30)
        walked = await PgBackRestArchive(far).walk(deadline_s=30)
        assert walked == await PgBackRestArchive(here(config)).walk(deadline_s=30)
        missing = await PgBackRest(Stanza(commands, "orders", config="/no.conf")).look(deadline_s=9)
        assert isinstance(missing, Missing)
        assert "unable to open missing file '/no.conf'" in missing.reason
    finally:
        await commands.close()


async def a_hole_is_named(server: ScratchServer, config: Path) -> None:
    names = archive_more(server, 3)
    archive = PgBackRestArchive(here(config))
    made = ArchiveReadings(place="x", tells_gap=False)
    whole = await walked(archive)
    assert made.found(whole, told_by(server)) == ()
    assert not made.unsure
    [lost] = config.parent.glob(f"repo/archive/orders/15-1/*/{names[1]}-*")
    lost.unlink()
    assert made.found(await walked(archive), told_by(server)) == ()
    assert made.unsure
    found = made.found(await walked(archive), told_by(server))
    assert not isinstance(found, Missing)
    assert [(hole.first, hole.before, hole.files) for hole in found] == [(names[1], names[0], 1)]
    when = await archive.when(names[0], repository="", deadline_s=30)
    assert when is not None
    assert 0 <= (datetime.now(UTC) - when).total_seconds() < 60


async def walked(archive: PgBackRestArchive) -> tuple[WalHeld, ...]:
    found = await archive.walk(deadline_s=30)
    assert not isinstance(found, Missing), found
    return found


def wait_until(server: ScratchServer, question: str) -> None:
    for _ in range(200):
        if server.query(question) == [(True,)]:
            return
        server.query("SELECT pg_sleep(0.05)")
    raise AssertionError(question)


async def test_a_stanza_that_is_not_there_has_no_backup_and_what_cannot_be_read_is_missing(
    pg_major: int, tmp_path: Path
) -> None:
    config = tmp_path / "pgbackrest.conf"
    config.write_text(f"[global]\nrepo1-path={tmp_path}/none\n")
    found = await PgBackRest(here(config)).look(deadline_s=30)
    assert not isinstance(found, Missing)
    assert (found.backups, found.problem) == ((), "missing stanza path")
    unread = await PgBackRest(here(tmp_path / "no.conf")).look(deadline_s=30)
    assert isinstance(unread, Missing)
    assert "no.conf" in unread.reason


ELSE = (
    b"",
    b"[]",
    b"{}",
    b"\xff",
    b"[" * 100_000,
    b'[{"name":"orders"}]',
    b'[{"name":"orders","status":3}]',
    b'[{"name":"orders","status":{"code":0,"message":""},"backup":3,"archive":[]}]',
    b'[{"name":"orders","status":{"code":0,"message":""},"backup":[],"archive":[3]}]',
)


@pytest.mark.parametrize("printed", ELSE)
def test_whatever_else_is_printed_is_no_list_of_backups(pg_major: int, printed: bytes) -> None:
    assert isinstance(parse_info(printed, "orders"), Missing)
    found = parse_archives(printed, "orders")
    assert isinstance(found, Missing) or found == ()


def told_of_two_repositories(*, second: str = "ok", held: bool = False) -> bytes:
    """As 2.45 prints it, shortened."""
    archives = [
        {"database": {"id": d, "repo-key": r}, "id": f"15-{d}", "min": "0" * 24, "max": newest}
        for d, r, newest in ((1, 1, OLD), (2, 1, NEW), (2, 2, OLD))
    ]
    backup = {
        "archive": {"start": OLD, "stop": NEW},
        "database": {"id": 2, "repo-key": 1},
        "error": False,
        "info": {"delta": 9000},
        "label": "20261121-120000F",
        "timestamp": {"start": 1795262390, "stop": 1795262400},
        "type": "full",
    }
    code = 0 if second == "ok" else 1
    repositories = [
        {"key": 1, "status": {"code": 0, "message": "ok"}},
        {"key": 2, "status": {"code": code, "message": second}},
    ]
    status = {
        "code": 0 if second == "ok" else 4,
        "lock": {"backup": {"held": held}},
        "message": second if second == "ok" else "different across repos",
    }
    one = {"name": "orders", "archive": archives, "backup": [backup]}
    return json.dumps([{**one, "repo": repositories, "status": status}]).encode()


OLD, NEW = "000000010000000000000002", "000000010000000000000009"


def test_a_second_repository_that_is_not_well_and_a_backup_under_way_are_told(
    pg_major: int,
) -> None:
    well = parse_info(told_of_two_repositories(), "orders")
    assert isinstance(well, BackupsSeen)
    assert (well.problem, well.running, well.archived) == ("", False, (NEW, OLD))
    ill = parse_info(told_of_two_repositories(second="missing stanza path", held=True), "orders")
    assert isinstance(ill, BackupsSeen)
    assert (ill.problem, ill.running) == ("repo2: missing stanza path", True)


def test_each_repository_answers_for_the_backups_that_are_kept_in_it(pg_major: int) -> None:
    found = parse_archives(told_of_two_repositories(), "orders")
    assert not isinstance(found, Missing)
    needed = WalNeeded(backup="20261121-120000F", first=OLD, last=NEW)
    assert [(a.repository, a.folder, a.newest, a.needed) for a in found] == [
        (1, "15-2", NEW, (needed,)),
        (2, "15-2", OLD, ()),
    ]


async def test_a_program_that_is_not_there_or_says_nothing_is_missing_with_the_reason(
    pg_major: int,
) -> None:
    commands = LocalCommands()
    absent = await commands.printed("/no/such/program", bytes_max=9, deadline_s=5)
    assert isinstance(absent, Missing)
    assert absent.reason == "/no/such/program: No such file or directory"
    silent = await commands.printed("sleep", "60", bytes_max=9, deadline_s=0.05)
    assert isinstance(silent, Missing)
    assert silent.reason == "sleep gave no answer within 0.05 s"
    cut = await commands.printed("echo", "a" * 20, bytes_max=9, deadline_s=5)
    assert isinstance(cut, Printed)
    assert (cut.output, cut.incomplete) == (b"a" * 9, "more than 9 bytes")


def test_the_tool_is_on_this_machine(pg_major: int) -> None:
    assert shutil.which("pgbackrest"), "scripts/setup-test installs it"
