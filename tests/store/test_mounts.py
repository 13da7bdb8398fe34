"""Network file systems are told from local ones by the mounts table alone."""

from __future__ import annotations

import pytest

from stanch.store.mounts import mount_of, network_fstype, parse_mounts

TABLE = r"""
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
srv:/export /mnt/nfs nfs4 rw,vers=4.2 0 0
//nas/share /mnt/with\040space cifs rw 0 0
/dev/vdb /mnt/nfs/local xfs rw 0 0
user@host:/ /mnt/ssh fuse.sshfs rw 0 0
/dev/sdc /mnt/ntfs fuseblk rw 0 0
tmpfs /mnt/twice tmpfs rw 0 0
srv:/b /mnt/twice nfs rw 0 0
srv:/c /mnt/again nfs rw 0 0
tmpfs /mnt/again tmpfs rw 0 0
overlay /var/lib/docker/overlay2/x overlay rw 0 0
share /mnt/vm virtiofs rw 0 0
half a
"""
MOUNTS = parse_mounts(TABLE.split("\n"))


@pytest.mark.parametrize(
    ("path", "fstype"),
    [
        ("/mnt/nfs/state", "nfs4"),
        ("/mnt/nfs", "nfs4"),
        ("/mnt/with space/x", "cifs"),
        ("/mnt/ssh/x", "fuse.sshfs"),
        ("/mnt/twice/x", "nfs"),
        ("/mnt/vm/x", "virtiofs"),
    ],
)
def test_a_path_on_a_network_file_system_is_named_with_its_type(path: str, fstype: str) -> None:
    assert network_fstype(path, MOUNTS) == fstype


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/stanch",
        "/mnt/nfs/local/state",  # a local disk mounted below a network one
        "/mnt/nfsx",  # only the name begins alike
        "/mnt/ntfs/x",
        "/mnt/again/x",  # the newest of two mounts on one point counts
        "/var/lib/docker/overlay2/x/y",
        "/",
    ],
)
def test_a_local_path_is_not_refused(path: str) -> None:
    assert network_fstype(path, MOUNTS) is None


def test_without_any_mount_nothing_is_claimed() -> None:
    assert mount_of("/x", []) is None
    assert network_fstype("/x", []) is None
