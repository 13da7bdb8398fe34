"""Messages of the kernel that a database server suffers from, and those that look alike."""

from __future__ import annotations

import pytest

from stanch.facts.machines.kernel import MESSAGES_MAX, TEXT_CHARS_MAX, printed, recorded
from stanch.model.machine import KernelTrouble

TROUBLE = [
    ("Out of memory: Killed process 42 (postgres) total-vm:1kB", KernelTrouble.OOM_KILL),
    ("Memory cgroup out of memory: Killed process 42 (postgres)", KernelTrouble.OOM_KILL),
    ("EXT4-fs error (device vda): ext4_find_entry:1455", KernelTrouble.FILE_SYSTEM),
    ("EXT4-fs (vda): Remounting filesystem read-only", KernelTrouble.FILE_SYSTEM),
    ("XFS (vdb): Corruption detected. Unmount and run xfs_repair", KernelTrouble.FILE_SYSTEM),
    ("BTRFS error (device vdc): parent transid verify failed", KernelTrouble.FILE_SYSTEM),
    ("blk_update_request: I/O error, dev sda, sector 1", KernelTrouble.IO_ERROR),
    (
        "Buffer I/O error on dev vda1, logical block 9, lost async page write",
        KernelTrouble.IO_ERROR,
    ),
    ("nvme nvme0: I/O 5 QID 3 timeout, aborting", KernelTrouble.IO_ERROR),
    ("INFO: task postgres:42 blocked for more than 120 seconds.", KernelTrouble.HUNG_TASK),
    ("mce: [Hardware Error]: Machine check events logged", KernelTrouble.HARDWARE),
    ("EDAC MC0: 1 CE memory read error on CPU_SrcID#0", KernelTrouble.HARDWARE),
]


@pytest.mark.parametrize(("text", "trouble"), TROUBLE)
def test_trouble_is_recognised_as_printed_and_as_recorded(
    text: str, trouble: KernelTrouble
) -> None:
    [message] = printed(f"[12345.678901] {text}\n")
    assert (message.trouble, message.since_boot_s, message.text) == (trouble, 12345.678901, text)
    [message] = recorded([f"3,99,12345678901,-;{text}"])
    assert (message.trouble, message.since_boot_s) == (trouble, 12345.678901)


@pytest.mark.parametrize(
    "text",
    [
        "EXT4-fs (vda): mounted filesystem with ordered data mode",
        "EXT4-fs (vda): re-mounted. Opts: errors=remount-ro",
        "oom_reaper: reaped process 42 (postgres), now anon-rss:0kB",
        "sd 0:0:0:0: [sda] Attached SCSI disk",
        "postgres (42): drop_caches: 3",
        "EDAC MC: Ver: 3.0.0",
    ],
)
def test_what_only_looks_like_trouble_is_passed_over(text: str) -> None:
    assert printed(f"[1.0] {text}\n") == ()


def test_a_flood_and_a_long_line_are_bounded_and_the_newest_stay() -> None:
    line = "Out of memory: Killed process 42 " + "x" * 10_000
    found = printed("".join(f"[{n}.0] {line}\n" for n in range(500)))
    assert len(found) == MESSAGES_MAX
    assert found[-1].since_boot_s == 499.0
    assert len(found[-1].text) == TEXT_CHARS_MAX


@pytest.mark.parametrize("text", ["Out of memory: Killed process 1", "[x] I/O error", "[", "\x00"])
def test_lines_without_a_time_are_passed_over(text: str) -> None:
    assert printed(text) == ()
    assert recorded([text]) == ()
