"""Which mounts count, and each space only once."""

from __future__ import annotations

import pytest

from stanch.facts.machines.file_systems import (
    FILE_SYSTEMS_MAX,
    each_once,
    parse_file_systems,
    worth_watching,
)
from stanch.model.machine import FileSystem


def one(mount: str) -> FileSystem:
    return FileSystem(mount=mount, total_bytes=10, free_bytes=5)


@pytest.mark.parametrize(
    ("mount", "kind"),
    [("/", "ext4"), ("/var/lib/postgresql", "xfs"), ("/data", "nfs4"), ("/dev/shm", "tmpfs")],
)
def test_what_a_server_could_fill_is_watched(mount: str, kind: str) -> None:
    assert worth_watching(mount, kind)


@pytest.mark.parametrize(
    ("mount", "kind"),
    [
        ("/proc", "proc"),
        ("/sys/fs/cgroup", "tmpfs"),
        ("/run/user/0", "tmpfs"),
        ("/snap/core/1", "squashfs"),
        ("/mnt/cd", "iso9660"),
        ("/etc/hosts", "ext4"),
        ("/dev", "devtmpfs"),
    ],
)
def test_what_is_always_full_or_nobodys_is_not(mount: str, kind: str) -> None:
    assert not worth_watching(mount, kind)


def test_views_of_one_device_are_one_and_file_systems_in_memory_are_each_their_own() -> None:
    found = each_once(
        [
            ("/dev/vda", one("/srv/bind")),
            ("/dev/vda", one("/")),
            ("tmpfs", one("/a")),
            ("tmpfs", one("/b")),
            ("nas:/export", one("/n/long")),
            ("nas:/export", one("/n")),
        ]
    )
    assert [f.mount for f in found] == ["/", "/a", "/b", "/n"]


def test_a_thousand_mounts_are_bounded() -> None:
    found = each_once((f"/dev/d{n}", one(f"/m{n:04d}")) for n in range(1000))
    assert len(found) == FILE_SYSTEMS_MAX


@pytest.mark.parametrize(
    "df",
    [
        "",
        "Filesystem\n",
        "/dev/x - - - - /x\n",
        "/dev/x 0 0 0 0% /x\n",
        "\x00\xff\n",
        "a b c d e f\n",
    ],
)
def test_what_is_no_line_of_df_is_passed_over(df: str) -> None:
    assert parse_file_systems(df, df, df) == ()


def test_blocks_kept_for_root_never_make_free_space_negative() -> None:
    [found] = parse_file_systems("/dev/x 1000 1100 -100 111% /x\n", "", "")
    assert found.free_bytes == 0
