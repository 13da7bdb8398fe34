"""Another database cluster answers in the place of the one that is watched."""

from __future__ import annotations

import signal

import pytest

from fix_responder import MakeResponder
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = pytest.mark.story


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_swap_while_nobody_watched_is_paged_until_the_policy_names_the_new_cluster(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    stanch.wait_until_noted()
    assert stanch.stop() == 0
    server.stop()
    with ScratchServer.create(server.binaries) as other:
        other.set_conf({"port": server.port})
        other.stop()
        other.start()
        stanch.start()
        stanch.wait_for_mail(lambda m: "another cluster answers" in m.subject, "of the page")
        stanch.wait_for_event("plan.withheld")
        shown = stanch.show("1")
        assert shown["diagnosis"]["cause"] == "other_cluster"
        assert shown["data_at_risk"] == "possible"
        assert stanch.started_actions() == []
        assert any("system_identifier" in option for option in shown["options"])

        [(theirs,)] = other.query("SELECT system_identifier::text FROM pg_control_system()")
        stanch.change_target(system_identifier=theirs)
        stanch.signal(signal.SIGHUP)
        stanch.wait_for_status("resolved")
        assert stanch.started_actions() == []
