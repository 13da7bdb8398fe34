"""Volumes of a fixed size: made where root may mount, full when they are full, gone when asked."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stanch.adapters.postgres.os_user import server_user
from stanch.adapters.postgres.volumes import mount_sized_volume, sized_volumes_possible

pytestmark = pytest.mark.skipif(
    not sized_volumes_possible(), reason="no volume of a fixed size can be made here"
)


def test_a_volume_is_full_at_its_size_and_not_before(tmp_path: Path) -> None:
    volume = mount_sized_volume(tmp_path / "volume", size_mb=2, owner=server_user())
    assert volume is not None
    try:
        assert volume.mount_point.stat().st_uid == (user.uid if (user := server_user()) else 0)
        (volume.mount_point / "fits").write_bytes(b"x" * 1_000_000)
        with pytest.raises(OSError, match="No space left") as full:
            (volume.mount_point / "too much").write_bytes(b"x" * 2_000_000)
        assert full.value.errno == errno.ENOSPC
        assert volume.free_bytes() < 100_000
    finally:
        volume.unmount()
    volume.unmount()
    assert list(volume.mount_point.iterdir()) == []


def test_a_volume_in_use_is_detached_all_the_same(tmp_path: Path) -> None:
    volume = mount_sized_volume(tmp_path / "volume", size_mb=1, owner=None)
    assert volume is not None
    with (volume.mount_point / "open").open("w"):
        volume.unmount()
        assert not os.path.ismount(volume.mount_point)
