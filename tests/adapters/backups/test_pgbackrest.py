"""A real repository of pgBackRest: what it holds, and what the server only believes it holds."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fix_servers import MakeServer
from stanch.adapters.backups.pgbackrest import PgBackRest
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.archive import ARCHIVED_SQL, parse_archived
from stanch.facts.pgbackrest_info import parse_info
from stanch.model.backups import BackupsSeen
from stanch.model.diagnosis import Missing
from stanch.watch.backups.readings import PlaceReadings

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


async def readings(server: ScratchServer, config: Path) -> dict[str, float | None]:
    seen = await PgBackRest("orders", config=str(config)).look(deadline_s=30)
    assert isinstance(seen, BackupsSeen), seen
    archived = parse_archived(server.query(ARCHIVED_SQL)[0][0])
    found = PlaceReadings(place="x").of(seen, archived, at=datetime.now(UTC))
    return {r.name: r.value for r in found}


async def test_a_repository_is_told_before_and_after_its_first_backup_and_with_files_missing(
    stanza: tuple[ScratchServer, Path],
) -> None:
    server, config = stanza
    before = await readings(server, config)
    assert (before["backup_age_s"], before["backup_failed"]) == (None, 1)

    run_in(server, config, "--type=full", "backup")
    good = await readings(server, config)
    assert good["backup_failed"] == 0
    assert good["backup_age_s"] is not None
    assert 0 <= good["backup_age_s"] < 60
    assert good["archive_gap_segments"] == 0

    # An archive_command that discards is what the server cannot see.
    server.set_conf({"archive_command": "/bin/true"})
    last = server.query("SELECT last_archived_wal FROM pg_stat_archiver")[0][0]
    server.query("CREATE TABLE t ()")
    server.query("SELECT pg_switch_wal()")
    wait_until(server, f"SELECT last_archived_wal > '{last[:24]}' FROM pg_stat_archiver")
    gap = (await readings(server, config))["archive_gap_segments"]
    assert gap is not None
    assert gap >= 1


def wait_until(server: ScratchServer, question: str) -> None:
    for _ in range(200):
        if server.query(question) == [(True,)]:
            return
        server.query("SELECT pg_sleep(0.05)")
    raise AssertionError(question)


async def test_a_stanza_that_is_not_there_is_missing_with_the_reason(
    pg_major: int, tmp_path: Path
) -> None:
    config = tmp_path / "pgbackrest.conf"
    config.write_text(f"[global]\nrepo1-path={tmp_path}/none\n")
    found = await PgBackRest("orders", config=str(config)).look(deadline_s=30)
    assert isinstance(found, Missing)
    assert "missing stanza path" in found.reason
    unread = await PgBackRest("orders", config=str(tmp_path / "no.conf")).look(deadline_s=30)
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


def test_the_tool_is_on_this_machine(pg_major: int) -> None:
    assert shutil.which("pgbackrest"), "scripts/setup-test installs it"
