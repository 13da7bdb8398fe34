"""Rules over logs, from the lines that programs write to what is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from samplings import T0, Watched, seen
from stanch.facts.machines.kernel import printed
from stanch.model.diagnosis import Missing
from stanch.model.machine import HostFacts
from stanch.watch.hosts.readings import MachineReadings
from stanch.watch.logs.guard_log import GuardLog

BOOT = "[    1.000000] Linux version 6.1.0"
STUCK = "[  {at}.000000] INFO: task postgres:42 blocked for more than 120 seconds."
BROKEN = "[  {at}.000000] blk_update_request: I/O error, dev sda, sector 1"
BAN = "2026-03-02 03:{minute:02}:00,000 fail2ban.actions [9]: NOTICE  [sshd] {word} 192.0.2.{n}\n"

RECORDED = Path(__file__).parent.parent / "fixtures" / "logs"
"""What a kernel of Linux 6.18 and a fail2ban 1.0.2 wrote while it happened to them."""

UNKNOWN = Missing(what="machine", reason="not asked")
NOTHING_SEEN = HostFacts(
    at=T0,
    source="local",
    service=UNKNOWN,
    file_systems=UNKNOWN,
    memory=UNKNOWN,
    cpu=UNKNOWN,
    load_1min=UNKNOWN,
    oom_kills=UNKNOWN,
    clock_offset_s=UNKNOWN,
    uptime_s=UNKNOWN,
    kernel=UNKNOWN,
)


def kernel(*looks: Sequence[str]) -> list[str]:
    """What is raised when the kernel holds these lines, look after look."""
    machine, watched = MachineReadings(volumes=False), Watched()
    for n, lines in enumerate(looks):
        facts = replace(NOTHING_SEEN, kernel=printed("\n".join(lines)))
        watched.look(15.0 * n, seen(readings=machine.of(facts, places=())))
    return watched.raised


def test_tasks_that_wait_for_minutes_are_told_and_old_ones_are_not() -> None:
    old, new = STUCK.format(at=100), STUCK.format(at=900)
    assert kernel([BOOT, old], [BOOT, old, new]) == ["storage_stalled:hung_task"]
    assert kernel([BOOT, old], [BOOT, old], [BOOT, old]) == []


def test_errors_of_storage_are_another_matter_than_tasks_that_wait() -> None:
    assert kernel([BOOT], [BOOT, BROKEN.format(at=900)]) == ["storage_errors:io_error"]


def test_what_a_kernel_says_of_lost_damaged_and_frozen_storage_is_told() -> None:
    lines = (RECORDED / "kernel.dmesg").read_text().splitlines()
    mounted, lost, damaged = lines[:4], lines[:6], lines[:-3]
    assert kernel([], mounted, mounted) == []
    assert kernel(mounted, lost) == ["storage_errors:io_error"]
    assert kernel(lost, damaged) == ["storage_errors:file_system"]
    assert kernel(damaged, lines) == ["storage_stalled:hung_task"]
    assert kernel(lines, lines) == []


def banned(*lines: str) -> list[str]:
    """What is raised by a fail2ban.log that gets one of these pieces a minute."""
    log, watched = GuardLog(path="fail2ban.log"), Watched()
    for minute, piece in enumerate(("", *lines)):
        log.feed(piece.encode())
        for part in range(4):
            watched.look(60.0 * minute + 15 * part, seen(readings=tuple(log.readings())))
    return watched.raised


def bans(minute: int, count: int, word: str = "Ban") -> str:
    return "".join(BAN.format(minute=minute, word=word, n=n) for n in range(count))


def test_addresses_banned_by_the_dozen_are_told() -> None:
    assert banned(*(bans(minute, 3) for minute in range(12))) == ["addresses_banned:fail2ban.log"]


def test_a_ban_now_and_then_and_a_restart_of_fail2ban_stay_quiet() -> None:
    assert banned(*(bans(minute, 1) for minute in range(12))) == []
    assert banned(bans(0, 200, "Restore Ban"), *[""] * 11) == []


def test_a_fail2ban_that_bans_two_dozen_addresses_is_told_and_its_restart_is_not() -> None:
    written = (RECORDED / "fail2ban.log").read_text()
    few, rest = written.split("Ban 192.0.2.1\n", 1)
    many, again = rest.split("Starting Fail2ban", 1)
    few += "Ban 192.0.2.1\n"
    assert again.count("Restore Ban") == 24
    assert banned(few, *[""] * 11) == []
    assert banned(few, many, *[""] * 11) == ["addresses_banned:fail2ban.log"]
    assert banned(few, again, *[""] * 11) == []
