"""A server that was stopped in order, and nobody ordered it."""

from __future__ import annotations

import pytest

from fix_responder import MakeResponder
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = pytest.mark.story


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_where_policy_wants_it_running_the_stop_is_undone(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server, target={"desired": "running"})
    server.stop("fast")
    seen = stanch.wait_for_status("resolved")
    assert seen["diagnosis"]["cause"] == "stopped_cleanly"
    assert stanch.started_actions() == ["start_server"]
    assert server.postmaster_pid() is not None
    stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
    stanch.wait_for_mail(lambda m: "stopped" in m.text, "that names the cause")
    written = stanch.call("postmortem", "1").out
    assert "stopped" in written


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_where_nothing_says_so_a_person_is_asked_and_given_options(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server, target={"desired": "unmanaged"})
    server.stop("fast")
    withheld = stanch.wait_for_event("plan.withheld")
    assert withheld["refusal"]["guard"] == "clean_stop_unordered"
    assert any("Ask whoever stopped it" in option for option in withheld["options"])
    told = stanch.wait_for_mail(lambda m: "STANCH DOES NOT ACT" in m.text, "with the options")
    assert "Ask whoever stopped it" in told.text
    assert stanch.started_actions() == []

    # A person starts it, and that is seen, proven and told without anybody typing a command.
    server.start()
    stanch.wait_for_status("resolved")
    stanch.wait_for_mail(lambda m: "resolved" in m.subject, "that it is over")
    assert stanch.started_actions() == []
    written = stanch.call("postmortem", "1").out
    assert "stopped cleanly" in written
