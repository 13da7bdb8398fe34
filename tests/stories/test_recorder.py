"""The last minutes of a target are readable when the database and the responder are gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fix_responder import MakeResponder, Responder
from fix_servers import MakeServer

pytestmark = [pytest.mark.story, pytest.mark.parametrize("pg_major", [15], indirect=True)]


def kept(stanch: Responder) -> list[str]:
    return [event["name"] for event in stanch.events("evidence.kept")]


def test_the_minutes_before_are_kept_with_the_incident_and_readable_when_all_is_dead(
    make_server: MakeServer, make_responder: MakeResponder, tmp_path: Path
) -> None:
    server = make_server()
    stanch = make_responder(server, target={"actions": {"start_server": "observe"}})
    [recording] = (stanch.state / "recordings").iterdir()
    name = recording.name.removesuffix(".ring")
    server.kill()
    stanch.wait_for(lambda: "flight recorder at opening" in kept(stanch), what="kept")
    stanch.kill()

    shown = stanch.cli("recorder", "show", name)
    assert shown.status == 0, shown.err
    assert "refused" in shown.out
    assert "connections" in shown.out
    assert "▁" in shown.out or "█" in shown.out

    found = json.loads(stanch.call("recorder", "show", "1", "--json").out)
    assert found["schema"] == "stanch.recording/1"
    assert found["target"] == name
    backends = [one for one in found["series"] if one["name"] == "backends"]
    assert backends[0]["points"][0][1] >= 1

    # Somebody else's machine: the file alone, without a policy and without the store.
    copy = tmp_path / "copy.ring"
    assert stanch.cli("recorder", "export", "1", "--output", str(copy)).status == 0
    shutil.rmtree(stanch.state)
    elsewhere = stanch.call("recorder", "show", str(copy), "--since", "10m")
    assert elsewhere.status == 0, elsewhere.err
    assert elsewhere.out.startswith(name)
    gone = stanch.call("recorder", "show", name)
    assert gone.status == 1
    assert "hint:" in gone.err


def test_a_recorder_that_cannot_write_stops_neither_the_watch_nor_the_incident(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server()
    target = {"actions": {"start_server": "observe"}}
    stanch = make_responder(server, target=target, start=False)
    stanch.state.mkdir(mode=0o700, exist_ok=True)
    (stanch.state / "recordings").symlink_to("/proc/nowhere")
    stanch.start()
    server.kill()
    opened = stanch.wait_for_event("incident.opened")
    assert opened["symptom"]["kind"] == "server_down"
    stanch.wait_for(lambda: stanch.metric("stanch_recorder_lost") > 0, what="counted")
    assert kept(stanch) == []
