"""What may be lost of a log read over ssh is said; what was read in full is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stanch.adapters.hosts.ssh_link import SshLink
from stanch.adapters.hosts.ssh_log import SshLog
from stanch.model.host import LogChunk, LogPosition
from stanch.policy.hosts import SshHost

pytestmark = pytest.mark.world


@pytest.fixture
async def log(sshd: SshHost, public_folder: Path) -> AsyncIterator[tuple[Path, SshLog]]:
    link = SshLink(sshd)
    path = public_folder / "auth.log"
    path.write_text("one\ntwo\n")
    path.chmod(0o644)
    yield path, SshLog(link, given=str(path), data_directory=lambda: "")
    await link.close()


async def since(log: SshLog, position: LogPosition) -> LogChunk:
    found = await log.log_since(position, bytes_max=1000)
    assert isinstance(found, LogChunk), found
    return found


async def test_a_renamed_log_is_no_gap_and_one_that_is_gone_or_emptied_is(
    log: tuple[Path, SshLog],
) -> None:
    path, reader = log
    tail = await reader.log_tail(bytes_max=1000)
    assert isinstance(tail, LogChunk)

    path.rename(path.with_suffix(".1"))
    path.write_text("three\n")
    path.chmod(0o644)
    renamed = await since(reader, tail.position)
    assert (renamed.content, renamed.gap) == (b"three\n", "")

    # The old file stays open elsewhere, so that its inode is not given to the new one.
    with path.open():
        path.unlink()
        path.write_text("four\nfive\n")
        path.chmod(0o644)
        gone = await since(reader, renamed.position)
    assert (gone.content, gone.gap) == (b"four\nfive\n", "the file read before is gone")

    path.write_text("six\n")
    emptied = await since(reader, gone.position)
    assert (emptied.content, emptied.gap) == (b"six\n", "the file was emptied")
