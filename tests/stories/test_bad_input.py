"""Bad input, each kind with a clear answer, and nothing lost."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fix_responder import MakeResponder, Responder
from fix_servers import DEBIAN_AS_ROOT
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.adapters.postgres.volumes import mount_sized_volume
from stanch.store.mounts import Mount, network_fstype

pytestmark = [pytest.mark.story, pytest.mark.parametrize("pg_major", [15], indirect=True)]

MIB = 1024 * 1024
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def edited(stanch: Responder, before: str, after: str) -> None:
    text = stanch.config.read_text()
    assert before in text
    stanch.config.write_text(text.replace(before, after, 1))


def test_a_policy_with_mistakes_names_each_with_its_line_and_starts_nothing(
    shared_server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(shared_server, start=False)
    edited(stanch, "idle_session_age_min: 1s", "idle_session_age_min: 1 kB")
    edited(stanch, "sample_every:", "sample_evry:")
    lines = stanch.config.read_text().splitlines()
    wrong_unit = next(n for n, ln in enumerate(lines, 1) if "1 kB" in ln)
    unknown = next(n for n, ln in enumerate(lines, 1) if "sample_evry" in ln)

    checked = stanch.cli("check")
    assert checked.status == 3, checked
    assert f"stanch.yaml:{wrong_unit}:" in checked.err
    assert f"stanch.yaml:{unknown}:" in checked.err
    assert "sample_every" in checked.err, "the nearest known key is named"
    refused = stanch.cli("run")
    assert refused.status == 1
    assert f"stanch.yaml:{min(wrong_unit, unknown)}:" in refused.err
    assert "Traceback" not in refused.err
    assert not stanch.state.exists(), "nothing is made for a policy that cannot be read"


def test_an_unreachable_target_is_a_clear_problem_to_check_and_an_incident_to_run(
    shared_server: ScratchServer, make_responder: MakeResponder
) -> None:
    port = free_port()
    nowhere = {
        key: shared_server.dsn(role, port=port)
        for key, role in (("dsn", "stanch_watch"), ("acting_dsn", "stanch_act"), ("app_dsn", "app"))
    }
    stanch = make_responder(shared_server, target=nowhere)
    checked = stanch.cli("check")
    assert checked.status == 1
    assert "target orders" in checked.err
    assert "refused" in checked.err
    page = stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
    assert "refused" in page.text
    assert stanch.started_actions() == []


@pytest.mark.parametrize("state", ["/proc/stanch", "/dev/null", "/sys/kernel/x"])
def test_a_state_directory_that_cannot_be_written_is_refused_by_check_and_by_run(
    shared_server: ScratchServer, make_responder: MakeResponder, state: str
) -> None:
    stanch = make_responder(shared_server, policy={"state_directory": state}, start=False)
    refused = stanch.cli("run")
    assert refused.status == 1
    assert state in refused.err
    assert "hint:" in refused.err
    assert "Traceback" not in refused.err
    told = stanch.call("declare", "x", "--target", "orders")
    assert told.status == 1
    assert "Traceback" not in told.err


@pytest.fixture
def small_volume(public_folder: Path) -> Iterator[Path]:
    volume = mount_sized_volume(public_folder / "v", size_mb=24, owner=None)
    if volume is None:
        if DEBIAN_AS_ROOT:
            pytest.fail("a small volume could not be mounted")
        pytest.skip("needs root to mount a volume")
    yield volume.mount_point
    volume.unmount()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return


def test_with_a_full_state_directory_people_are_paged_all_the_same_and_nothing_is_done(
    server: ScratchServer, make_responder: MakeResponder, small_volume: Path
) -> None:
    stanch = make_responder(server, policy={"state_directory": str(small_volume / "state")})
    stanch.state = small_volume / "state"
    stanch.wait_until_noted()
    filler = small_volume / "filler"
    fill(filler)
    server.kill()
    page = stanch.wait_for_mail(lambda m: "server down" in m.text, "from memory")
    assert "cannot write its journal" in page.subject + page.text
    assert stanch.alive
    time.sleep(2)
    assert server.postmaster_pid() is None, "without a durable intent nothing may be touched"

    filler.unlink()
    seen = stanch.wait_for_status("resolved")
    assert seen["diagnosis"]["cause"] == "killed"
    stanch.wait_for_event("page.unrecorded")
    assert stanch.call("timeline", "verify").status == 0


@pytest.mark.parametrize("fstype", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_told_from_a_local_one(
    shared_server: ScratchServer, fstype: str
) -> None:
    mounts = [Mount(point="/", fstype="ext4"), Mount(point="/srv", fstype=fstype)]
    assert network_fstype("/srv/stanch", mounts) == fstype
    assert network_fstype("/srvx/stanch", mounts) is None


def test_only_one_process_at_a_time_writes_a_state_directory(
    shared_server: ScratchServer, make_responder: MakeResponder
) -> None:
    first = make_responder(shared_server)
    # Told by the state directory, not by its listening port.
    second = make_responder(shared_server, start=False)
    second.write_policy({**second.policy, "state_directory": str(first.state)})
    refused = second.cli("run")
    assert refused.status == 1
    assert f"process {first.pid} is writing here" in refused.err
    assert "Only one `stanch run`" in refused.err
    first.wait_for(first.ready, what="the first at work")


def test_what_was_changed_behind_its_back_is_told_and_never_acted_on(
    shared_server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(shared_server)
    stanch.call("declare", "slow", "--target", "orders")
    stanch.call("note", "1", "the truth")
    [(writer, head)] = stanch.json("timeline", "verify")["heads"].items()
    assert stanch.call("timeline", "verify", "--anchor", f"{writer}:{head}").status == 0
    assert stanch.stop() == 0
    db = stanch.state / "stanch.db"
    with closing(sqlite3.connect(db)) as tampering:
        change = (
            "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), 'the truth', 'all well!')"
            " AS BLOB) WHERE kind LIKE 'note.added%'"
        )
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            tampering.execute(change)
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'journal'"
        for (name,) in tampering.execute(triggers).fetchall():
            tampering.execute(f'DROP TRIGGER "{name}"')
        assert tampering.execute(change).rowcount == 1
        tampering.commit()
    told = stanch.call("timeline", "verify")
    assert told.status == 1
    assert "NOT intact" in told.out
    assert "problem:" in told.out
    assert "Traceback" not in told.err
    shown = stanch.call("show", "1")
    assert "all well!" not in shown.out
    # And it is not written on as if nothing had been.
    refused = stanch.call("note", "1", "more")
    assert refused.status == 1
    assert "Traceback" not in refused.err
    assert "Traceback" not in stanch.call("timeline", "verify", "--anchor", f"{writer}:1:ff").err
    assert head


def test_a_journal_that_is_no_journal_any_more_is_refused_and_left_as_it_is(
    shared_server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(shared_server)
    assert stanch.stop() == 0
    db = stanch.state / "stanch.db"
    junk = b"not a database at all " * 1000
    db.write_bytes(junk)
    for beside in stanch.state.glob("stanch.db-*"):
        beside.unlink()
    refused = stanch.cli("run")
    assert refused.status == 1
    assert str(stanch.state) in refused.err
    assert "Traceback" not in refused.err
    assert db.read_bytes() == junk, "nothing replaces what may still be rescued by hand"


@pytest.mark.skipif(
    not FAKETIME.exists() and not DEBIAN_AS_ROOT, reason="needs libfaketime to set one clock"
)
def test_a_clock_set_a_day_ahead_skips_no_level_of_the_ladder(
    shared_server: ScratchServer, make_responder: MakeResponder, tmp_path: Path
) -> None:
    skew = tmp_path / "skew"
    skew.write_text("+0\n")
    env = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(skew),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }
    stanch = make_responder(shared_server, env=env)
    assert stanch.call("declare", "slow", "-t", "orders", "-s", "P0").status == 0
    stanch.wait_for_mail(lambda m: "ann@example.com" in m.recipients, "to Ann")
    skew.write_text("+1d\n")
    jump_s = stanch.wait_for(lambda: stanch.metric("stanch_clock_jump_seconds"), what="it is seen")
    assert 86_000 < jump_s < 87_000
    assert "the wall clock was set" in stanch.log_text()
    time.sleep(3)
    assert stanch.subjects("bo@example.com") == [], "nobody's time to answer has passed"
    stanch.wait_for(stanch.ready, what="every target being looked at")
    assert stanch.log_text().count("the wall clock was set") == 1, "said once"
    times = [e["at"] for e in stanch.show()["timeline"]]
    assert times == sorted(times)
    assert os.environ.get("LD_PRELOAD", "") == ""
