"""Machines over ssh: only those whose key is known, and nothing runs there but what is ours."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fix_machines import free_port
from samplings import Watched, seen
from stanch.adapters.hosts.ssh_link import REFUSED_RETRY_S, Ran, SshLink
from stanch.adapters.hosts.ssh_log import SshLog
from stanch.adapters.hosts.ssh_machine import SshMachine
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk
from stanch.model.machine import HostFacts
from stanch.policy.hosts import SshHost
from stanch.watch.hosts.readings import MachineReadings

pytestmark = pytest.mark.world


@pytest.fixture
async def link(sshd: SshHost) -> AsyncIterator[SshLink]:
    made = SshLink(sshd)
    yield made
    await made.close()


async def refused(host: SshHost) -> str:
    """Why no command runs there."""
    link = SshLink(host)
    found = await link.run("true", bytes_max=100, deadline_s=5)
    await link.close()
    assert isinstance(found, Missing), found
    return found.reason


def key_of(host: SshHost, name: str) -> str:
    return str(Path(host.key_file).with_name(name))


async def test_a_machine_with_another_key_than_the_known_one_is_refused(
    sshd: SshHost, tmp_path: Path
) -> None:
    other = Path(key_of(sshd, "other.pub")).read_text()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {other}")
    reason = await refused(replace(sshd, known_hosts=str(known)))
    assert f"the machine's key is not the one that {known} has for it" in reason


@pytest.mark.parametrize(
    "content", ["", "db9.example.com ssh-ed25519 AAAA\n", "\x00\xff nonsense\n"]
)
async def test_a_machine_whose_key_is_not_known_is_refused(
    sshd: SshHost, tmp_path: Path, content: str
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(content)
    reason = await refused(replace(sshd, known_hosts=str(known)))
    assert reason.startswith("ssh 127.0.0.1: ")


async def test_a_file_of_known_keys_that_is_not_there_is_no_reason_to_go_without(
    sshd: SshHost, tmp_path: Path
) -> None:
    path = str(tmp_path / "absent")
    assert f"{path}: no such file" in await refused(replace(sshd, known_hosts=path))


async def test_a_key_that_is_not_let_in_is_refused_and_not_tried_again_at_once(
    sshd: SshHost, tmp_path: Path
) -> None:
    link = SshLink(replace(sshd, key_file=key_of(sshd, "other")))
    first = await link.run("true", bytes_max=100, deadline_s=5)
    began = time.monotonic()
    second = await link.run("true", bytes_max=100, deadline_s=5)
    assert isinstance(first, Missing)
    assert first == second
    assert "root may not log in with these keys" in first.reason
    # A try costs a key exchange; this was none.
    assert time.monotonic() - began < 0.05
    assert REFUSED_RETRY_S >= 60
    await link.close()


async def test_a_machine_that_accepts_and_never_answers_ends_with_the_deadline(
    sshd: SshHost,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = replace(sshd, port=silent.getsockname()[1])
        link = SshLink(host)
        found = await link.run("true", bytes_max=100, deadline_s=0.5)
        await link.close()
    assert isinstance(found, Missing)
    assert "no connection within 0.5 s" in found.reason


async def test_words_arrive_as_they_are_and_run_nothing(link: SshLink, tmp_path: Path) -> None:
    hostile = f"'; touch {tmp_path}/hit; echo \"$(touch {tmp_path}/hit)` \n\\"
    ran = await link.run("printf", "%s", hostile, bytes_max=1000, deadline_s=5)
    assert isinstance(ran, Ran)
    assert ran.output.decode() == hostile
    assert list(tmp_path.iterdir()) == []


async def test_output_without_end_is_bounded(link: SshLink) -> None:
    ran = await link.run("yes", bytes_max=10_000, deadline_s=5)
    assert isinstance(ran, Ran)
    assert (len(ran.output), ran.ended) == (10_000, "more than 10000 bytes")


async def test_a_command_without_end_keeps_what_it_said_until_the_deadline(link: SshLink) -> None:
    ran = await link.run("sh", "-c", "echo first; sleep 30", bytes_max=100, deadline_s=1)
    assert isinstance(ran, Ran)
    assert (ran.output, ran.ended) == (b"first\n", "no end within 1 s")
    again = await link.run("echo", "second", bytes_max=100, deadline_s=5)
    assert isinstance(again, Ran)
    assert again.output == b"second\n"


async def test_a_connection_that_broke_is_opened_again(link: SshLink) -> None:
    assert isinstance(await link.run("true", bytes_max=10, deadline_s=5), Ran)
    # The far side ends it: the parent of the shell is the process of this connection.
    broken = await link.run("sh", "-c", "kill $PPID; sleep 5", bytes_max=10, deadline_s=5)
    assert isinstance(broken, Missing | Ran)
    found = await link.run("echo", "back", bytes_max=10, deadline_s=5)
    assert isinstance(found, Ran)
    assert found.output == b"back\n"


async def test_a_unit_is_asked_of_systemd_and_its_refusal_is_told(sshd: SshHost) -> None:
    link = SshLink(replace(sshd, service="postgresql@15-main"))
    machine = SshMachine(link, data_directory=lambda: "", now=lambda: datetime.now(UTC))
    facts = await machine.facts(deadline_s=10)
    await machine.close()
    assert isinstance(facts, HostFacts)
    booted = Path("/run/systemd/system").exists()
    assert booted or isinstance(facts.service, Missing)
    assert isinstance(facts.file_systems, tuple)


async def test_a_machine_whose_clock_is_ahead_is_told_and_one_whose_clock_is_right_is_not(
    sshd: SshHost, sshd_ahead: SshHost
) -> None:
    off = ["its clock is off by 10 s (10 s ahead)"]
    for host, told in ((sshd, []), (sshd_ahead, off)):
        machine = SshMachine(
            SshLink(host), data_directory=lambda: "", now=lambda: datetime.now(UTC)
        )
        facts = await machine.facts(deadline_s=10)
        await machine.close()
        assert isinstance(facts, HostFacts)
        rules = Watched()
        for at_s in (0, 61):
            readings = MachineReadings(volumes=False).of(facts, places=())
            rules.look(at_s, seen(readings=readings))
        assert [s.detail for s in rules.symptoms if s.kind == "clock_off"] == told


async def test_a_truncated_log_is_read_from_its_beginning(link: SshLink, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"much longer than what follows\n")
    log = SshLog(link, given=str(path), data_directory=lambda: "")
    before = await log.log_tail(bytes_max=1000)
    assert isinstance(before, LogChunk)
    path.write_bytes(b"new\n")
    after = await log.log_since(before.position, bytes_max=1000)
    assert isinstance(after, LogChunk)
    assert (after.content, after.started_anew) == (b"new\n", True)


async def test_the_log_is_found_where_the_server_says_it_is(link: SshLink, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.log").write_bytes(b"stderr\n")
    (tmp_path / "log" / "a.json").write_bytes(b"json\n")
    (tmp_path / "current_logfiles").write_text("stderr log/a.log\njsonlog log/a.json\n")
    found = await SshLog(link, given="", data_directory=lambda: str(tmp_path)).log_tail(
        bytes_max=99
    )
    assert isinstance(found, LogChunk)
    assert found.content == b"json\n"


@pytest.mark.parametrize("given", ["/nonexistent/x", "/dev/zero"])
async def test_what_is_no_log_file_is_missing_and_not_waited_for(link: SshLink, given: str) -> None:
    found = await SshLog(link, given=given, data_directory=lambda: "").log_tail(bytes_max=100)
    assert found == Missing(what="log", reason=f"there is no log file at {given}")


async def test_many_questions_at_once_share_one_connection(link: SshLink) -> None:
    asked = [link.run("echo", str(n), bytes_max=10, deadline_s=10) for n in range(8)]
    found = await asyncio.gather(*asked)
    assert [r.output for r in found if isinstance(r, Ran)] == [b"%d\n" % n for n in range(8)]


async def test_nobody_listening_is_told_in_a_word(sshd: SshHost) -> None:
    assert "refused" in (await refused(replace(sshd, port=free_port()))).lower()
