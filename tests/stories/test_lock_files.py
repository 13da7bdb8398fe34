"""Lock files: one of a dead server that PostgreSQL takes for alive, and one of a live server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fix_responder import MakeResponder
from fix_servers import DEBIAN_AS_ROOT
from stanch.adapters.postgres.scratch import ScratchServer, free_port

pytestmark = pytest.mark.story

NS_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
PID_TRIES = 500


@contextmanager
def another_process_with(pid: int, folder: Path) -> Iterator[None]:
    """A process of the folder's owner that really has this PID, which must be free."""
    owner = folder.stat()
    for _ in range(PID_TRIES):
        NS_LAST_PID.write_text(str(pid - 1))
        process = subprocess.Popen(
            ["/bin/sleep", "120"], user=owner.st_uid, group=owner.st_gid, cwd="/"
        )
        if process.pid == pid:
            break
        process.kill()
        process.wait()
    else:
        pytest.fail(f"pid {pid} could not be had")
    try:
        yield
    finally:
        process.kill()
        process.wait()


def lived_long_enough(server: ScratchServer) -> None:
    """A process that began within seconds of the file's start is no proof of a stranger."""
    lived = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
    [(lived_s,)] = server.query(lived)
    time.sleep(max(0.0, 5.0 - lived_s))


needs_pids = pytest.mark.skipif(
    not DEBIAN_AS_ROOT and not (sys.platform == "linux" and os.access(NS_LAST_PID, os.W_OK)),
    reason="needs root on Linux to give a process a chosen PID",
)


@needs_pids
@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_lock_file_whose_pid_was_taken_by_another_process_is_proven_stale_and_set_aside(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    stanch.wait_until_noted()
    lived_long_enough(server)
    before = (server.data_directory / "postmaster.pid").read_text()
    # Held while the stage is set: it would have started the server before the PID is taken.
    stanch.pause()
    pid = server.kill()
    stanch.wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="the PID is free")
    with another_process_with(pid, server.data_directory):
        stanch.resume()
        seen = stanch.wait_for_status("resolved")
        assert Path(f"/proc/{pid}").exists(), "the other process must be left alone"
    assert seen["diagnosis"]["cause"] == "stale_lock_file"
    assert stanch.started_actions() == ["set_aside_lock_file", "start_server"]
    [aside] = server.data_directory.glob("postmaster.pid.stale.*")
    assert aside.read_text() == before
    stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
    written = stanch.call("postmortem", "1").out
    assert "lock file" in written


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_lock_file_of_a_live_server_is_never_touched(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    """The server listens elsewhere now: refused at its address, alive in its directory."""
    known_where = {
        "data_directory": str(server.data_directory),
        "log": str(server.log_path),
        "bin_directory": str(server.binaries.bin_dir),
    }
    stanch = make_responder(server, target=known_where)
    old_dsn = server.dsn("stanch_watch")
    server.stop("fast")
    server.set_conf({"port": free_port()})
    server.start()
    assert server.dsn("stanch_watch") != old_dsn
    lock = server.data_directory / "postmaster.pid"
    held = (lock.stat().st_ino, lock.read_text())

    withheld = stanch.wait_for_event("plan.withheld")
    assert withheld["cause"] == "live_lock_file"
    assert any("Leave the lock file alone" in option for option in withheld["options"])
    stanch.wait_for_mail(lambda m: "Leave the lock file alone" in m.text, "with the options")
    pid = server.postmaster_pid()
    assert pid is not None
    assert (lock.stat().st_ino, lock.read_text()) == held
    assert "set_aside_lock_file" not in stanch.started_actions()
