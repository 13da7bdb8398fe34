"""What `stanch check` says of the places where backups and WAL lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fix_s3 import Storage
from stanch.adapters.channels.trying import Tried
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.ids import TargetName
from stanch.policy.backups import Backups
from stanch.policy.policy import TargetPolicy
from stanch.service.readiness.places import try_places

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def tried(dsn: str, backups: Backups) -> dict[str, Tried]:
    target = TargetPolicy(name=TargetName("orders"), dsn=dsn, backups=backups)
    return dict(await try_places(target, now=lambda: NOW))


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_every_place_is_looked_at_once_and_says_what_lies_there(
    shared_server: ScratchServer, s3: Storage, tmp_path: Path
) -> None:
    s3.put("orders/a.tar.gz", b"x" * 2048, at=NOW - timedelta(hours=3))
    for name in ("000000010000000000000002.gz", "000000010000000000000004.gz"):
        s3.put(f"orders-wal/{name}")
    (tmp_path / "000000010000000000000007").touch()
    places = Backups(
        dumps=str(tmp_path / "none"),
        wal=str(tmp_path),
        s3=(s3.where, replace(s3.where, name="other", bucket="never-was", wal_prefix="")),
    )
    found = await tried(shared_server.dsn("stanch_watch"), places)
    assert found == {
        f"orders backups {tmp_path}/none": Tried(
            ok=False, detail=f"{tmp_path}/none: No such file or directory"
        ),
        "orders backups s3 offsite": Tried(
            ok=True,
            detail="1 backup, 2.0 KiB; newest good a.tar.gz, 3 h old, 2.0 KiB; oldest 3 h",
        ),
        "orders backups s3 other": Tried(
            ok=False, detail="s3 other: there is no such bucket (NoSuchBucket)"
        ),
        "orders WAL in s3 offsite wal": Tried(
            ok=False,
            detail="2 WAL files, newest 000000010000000000000004; 1 file missing unless on the "
            "way, the first is 000000010000000000000003",
        ),
        f"orders WAL in {tmp_path}": Tried(
            ok=True, detail="1 WAL file, newest 000000010000000000000007, none is missing"
        ),
    }


async def test_a_server_that_is_down_leaves_holes_untold_and_the_rest_said(tmp_path: Path) -> None:
    (tmp_path / "000000010000000000000007").touch()
    found = await tried("host=127.0.0.1 port=1", Backups(wal=str(tmp_path)))
    [said] = found.values()
    assert said.ok
    assert "the server could not be asked" in said.detail


async def test_without_a_place_nothing_is_tried() -> None:
    assert await tried("host=127.0.0.1 port=1", Backups()) == {}
