"""`stanch diagnose --host`: another machine over ssh, and containers of a real daemon."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fix_machines import Docker
from fix_servers import MakeServer
from fix_servers_contained import Contained
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.cli import diagnose as command
from stanch.diagnose.bundle import read_bundle
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.diagnosis import Missing, Verdict
from stanch.policy.hosts import SshHost

pytestmark = pytest.mark.world

app = typer.Typer()
app.callback()(lambda: None)
command.register(app)
TIMEOUT = ("--timeout", "40")
PATIENCE_S = 30.0


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["diagnose", *arguments])


def looked(folder: Path, *arguments: str) -> tuple[dict[str, Any], Evidence]:
    """The answer, and the evidence behind it."""
    kept = folder / "kept.json"
    result = run(*arguments, *TIMEOUT, "--json", "--save", str(kept))
    assert result.stdout, result.stderr
    return json.loads(result.stdout), read_bundle(kept.read_bytes(), on="kept").evidence


def ssh(host: SshHost) -> str:
    named = {
        "host": host.host,
        "port": host.port,
        "user": host.user,
        "key_file": host.key_file,
        "known_hosts": host.known_hosts,
    }
    return json.dumps({"ssh": named})


def reasons(evidence: Evidence) -> dict[str, str]:
    return {m.what: m.reason for m in evidence.missing()}


SEEN_THERE = ("log", "control", "lock_file", "processes", "volumes", "kernel", "place", "files")


# --- over ssh -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pg_major", [15, 18], indirect=True)
def test_a_running_server_is_found_by_its_port_and_read_as_one_of_this_machine(
    server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    dsn = server.dsn(user="stanch_watch", dbname="app")
    found, there = looked(tmp_path, dsn, "--host", ssh(sshd))
    here = looked(tmp_path, dsn, "--host", "local")[1]
    assert found["verdict"] == "healthy", found
    lacking = reasons(there)
    assert not set(SEEN_THERE) & set(lacking), lacking
    place, log = value_of(there.place), value_of(there.log)
    assert place is not None
    assert place.data_directory == str(server.data_directory)
    assert f"port {server.port}" in place.concluded_from
    assert log is not None
    assert log.path == str(server.log_path)
    assert log.newest("ready") is not None
    ours, theirs = value_of(here.control), value_of(there.control)
    assert ours == theirs
    assert ours is not None
    mine, seen = value_of(here.processes), value_of(there.processes)
    assert mine is not None
    assert seen is not None
    assert (seen.postmaster_pid, seen.orphans) == (mine.postmaster_pid, 0)
    assert abs(seen.children - mine.children) <= 2, "sessions come and go"
    lock, known = value_of(there.lock_file), value_of(here.lock_file)
    assert lock is not None
    assert known is not None
    assert (lock.present, lock.state, lock.pid) == (True, "live", known.pid)
    volumes, before = value_of(there.volumes), value_of(here.volumes)
    assert volumes is not None
    assert before is not None
    assert {h for v in volumes.volumes for h in v.holds} >= {"data", "wal"}
    assert volumes.volumes[0].mount_point == before.volumes[0].mount_point
    assert volumes.volumes[0].total_bytes == before.volumes[0].total_bytes
    assert volumes.wal_bytes is not None
    assert before.wal_bytes is not None
    assert abs(volumes.wal_bytes - before.wal_bytes) <= 2**20
    assert value_of(there.files) == value_of(here.files)


@pytest.mark.parametrize("pg_major", [15, 18], indirect=True)
def test_a_killed_server_is_told_by_what_it_left_on_the_far_machine(
    make_server: MakeServer, sshd: SshHost, tmp_path: Path
) -> None:
    server = make_server()
    server.kill()
    dsn = server.dsn(user="stanch_watch", dbname="app")
    named = ("--data-directory", str(server.data_directory), "--log", str(server.log_path))
    found, evidence = looked(tmp_path, dsn, "--host", ssh(sshd), *named)
    assert found["causes"][0]["id"] == "killed", found["causes"]
    facts = found["causes"][0]["facts"]
    assert facts["control_state"] == "in production"
    assert facts["data_directory"] == str(server.data_directory)
    assert facts["server_running"] is False
    lock = value_of(evidence.lock_file)
    assert lock is not None
    assert lock.present
    assert lock.state == "unproven", "nothing is called stale from afar"


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_stop_in_order_is_told_from_a_kill(
    make_server: MakeServer, sshd: SshHost, tmp_path: Path
) -> None:
    server = make_server()
    server.stop()
    dsn = server.dsn(user="stanch_watch", dbname="app")
    named = ("--data-directory", str(server.data_directory), "--log", str(server.log_path))
    found, evidence = looked(tmp_path, dsn, "--host", ssh(sshd), *named)
    assert found["causes"][0]["id"] == "stopped_cleanly", found["causes"]
    lock = value_of(evidence.lock_file)
    assert lock is not None
    assert not lock.present


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_suspended_postmaster_is_seen_from_afar(
    make_server: MakeServer, sshd: SshHost, tmp_path: Path
) -> None:
    server = make_server()
    server.pause()
    dsn = server.dsn(user="stanch_watch", dbname="app")
    kept = tmp_path / "kept.json"
    result = run(dsn, "--host", ssh(sshd), "--timeout", "10", "--json", "--save", str(kept))
    server.resume()
    assert json.loads(result.stdout)["causes"][0]["id"] == "postmaster_stopped", result.stdout


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_server_of_another_port_is_not_taken_for_the_one_that_is_meant(
    server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    assert server.port != 1
    dsn = "host=127.0.0.1 port=1 user=app dbname=app"
    _, evidence = looked(tmp_path, dsn, "--host", ssh(sshd))
    assert isinstance(evidence.place, Missing)
    assert "no server of port 1 was found there" in evidence.place.reason
    assert "--data-directory" in evidence.place.reason
    assert value_of(evidence.lock_file) is None


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_machine_whose_key_is_not_known_is_said_and_the_server_judged_all_the_same(
    server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    other = Path(sshd.key_file).with_name("other.pub").read_text()
    known.write_text(f"[127.0.0.1]:{sshd.port} {other}")
    dsn = server.dsn(user="stanch_watch", dbname="app")
    strange = replace(sshd, known_hosts=str(known))
    found, evidence = looked(tmp_path, dsn, "--host", ssh(strange))
    assert found["verdict"] == "healthy"
    for what in ("log", "processes", "lock_file", "control"):
        item = getattr(evidence, what)
        assert isinstance(item, Missing), what
        assert f"is not the one that {known} has for it" in item.reason, (what, item.reason)


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_machine_that_is_gone_holds_nobody_up(
    server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    dsn = server.dsn(user="stanch_watch", dbname="app")
    began = time.monotonic()
    found, evidence = looked(tmp_path, dsn, "--host", ssh(replace(sshd, port=1)))
    assert time.monotonic() - began < 30, "and not the forty seconds there would be"
    assert found["verdict"] == "healthy"
    assert "refused" in reasons(evidence)["log"]


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_data_directory_that_is_not_there_is_said(
    server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    dsn = server.dsn(user="stanch_watch", dbname="app")
    _, evidence = looked(tmp_path, dsn, "--host", ssh(sshd), "--data-directory", str(closed))
    assert isinstance(evidence.control, Missing)
    assert evidence.control.reason == f"{closed} is not there, or root may not look"


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_policy_that_has_the_server_says_how_its_machine_is_seen(
    server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    dsn = server.dsn(user="stanch_watch", dbname="app")
    policy = tmp_path / "stanch.yaml"
    policy.write_text(
        f"state_directory: {tmp_path}/state\npeople: {{asha: {{name: Asha Example}}}}\n"
        "ladder: [asha]\nchannels: {console: {type: terminal}}\n"
        f"targets:\n  orders:\n    dsn: {json.dumps(dsn)}\n    host: {ssh(sshd)}\n"
    )
    _, evidence = looked(tmp_path, dsn, "--config", str(policy))
    assert value_of(evidence.control) is not None
    _, evidence = looked(tmp_path, dsn, "--config", str(policy), "--host", "none")
    assert isinstance(evidence.control, Missing), "what is said beats what is written"
    result = run("host=127.0.0.1 port=1", "--config", str(policy))
    assert result.exit_code == 2
    assert "no target of the policy is this server" in result.stderr


# --- containers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_server_in_a_container_is_read_from_inside(contained: Contained, tmp_path: Path) -> None:
    found, evidence = looked(tmp_path, contained.dsn, "--host", contained.host)
    assert found["verdict"] == "healthy", found
    place, seen = value_of(evidence.place), value_of(evidence.processes)
    assert place is not None
    assert (place.data_directory, place.manager) == (
        str(contained.server.data_directory),
        "docker",
    )
    assert seen is not None
    assert seen.postmaster_pid == 1
    assert seen.children >= 4
    control, log = value_of(evidence.control), value_of(evidence.log)
    assert control is not None
    assert control.state == "in production"
    assert log is not None
    assert log.newest("ready") is not None
    service = value_of(evidence.service)
    assert service is not None
    assert service.running
    volumes = value_of(evidence.volumes)
    assert volumes is not None
    assert volumes.wal_bytes


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_container_that_was_killed_still_tells_its_control_file_and_its_log(
    contained: Contained, tmp_path: Path
) -> None:
    contained.end("kill")
    found, evidence = looked(tmp_path, contained.dsn, "--host", contained.host)
    assert found["verdict"] == "cause", found
    assert found["causes"][0]["id"] == "killed", found["causes"]
    assert value_of(evidence.control) is not None, reasons(evidence)
    assert found["causes"][0]["facts"]["control_state"] == "in production"
    assert any("exit code 137" in f["text"] for f in found["causes"][0]["for"]), found["causes"][0]
    lock = value_of(evidence.lock_file)
    assert lock is not None
    assert (lock.present, lock.pid, lock.state) == (True, 1, "unproven")
    assert "the container does not run" in reasons(evidence)["volumes"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_container_that_was_stopped_in_order_is_no_killed_one(
    contained: Contained, tmp_path: Path
) -> None:
    contained.end("stop?signal=SIGINT")
    found, evidence = looked(tmp_path, contained.dsn, "--host", contained.host)
    assert found["causes"][0]["id"] == "stopped_cleanly", found["causes"]
    control = value_of(evidence.control)
    assert control is not None
    assert control.state == "shut down"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_container_that_is_not_there_is_said(
    dockerd: Docker, server: ScratchServer, tmp_path: Path
) -> None:
    host = json.dumps({"docker": {"container": "nowhere", "socket": dockerd.socket}})
    found, evidence = looked(tmp_path, server.dsn("stanch_watch"), "--host", host)
    assert found["verdict"] != "cause", found
    assert reasons(evidence)["place"] == "docker nowhere: there is no such container"
    assert "there is no container nowhere" in reasons(evidence)["log"]


def test_a_daemon_that_is_not_there_is_said_with_the_verdict(tmp_path: Path) -> None:
    host = json.dumps({"docker": {"container": "db", "socket": f"{tmp_path}/none.sock"}})
    found, evidence = looked(tmp_path, "host=127.0.0.1 port=1 user=app", "--host", host)
    assert found["verdict"] == Verdict.UNKNOWN
    assert "does not answer" in reasons(evidence)["place"]


@pytest.mark.parametrize(
    ("host", "says", "hint"),
    [
        ("ssh://root@db1", "is not a known value", "'ssh: {host: db1.example.com"),
        ("shh: {host: db1}", "unknown key", "Did you mean `ssh`?"),
        ("docker: {}", "names no container", "compose_service"),
    ],
)
def test_a_host_in_another_notation_is_a_usage_error_that_shows_the_right_one(
    host: str, says: str, hint: str
) -> None:
    result = run("service=x", "--host", host)
    assert result.exit_code == 2
    assert says in result.stderr
    assert hint in result.stderr
